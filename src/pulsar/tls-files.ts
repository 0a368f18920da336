// The PEM files of an encrypted connection, read and looked at before a handshake: what is wrong with a file is said
// with its name and key, alike on every runtime (Deno would leave out a broken certificate without a word).

import { createPrivateKey, type KeyObject, X509Certificate } from "node:crypto";
import { readFile } from "node:fs/promises";
import { ConnectorError } from "../core/errors.ts";

/** `pulsar.tls`; the client's certificate also from `pulsar.auth` of type "tls". Paths. */
export interface TlsOptions {
  /** Certificates to trust. @default those that the runtime trusts */
  readonly caFile?: string | undefined;
  /** The client's certificate, and those between it and its authority. With `keyFile`. */
  readonly certFile?: string | undefined;
  readonly keyFile?: string | undefined;
  /** Whether the broker's certificate must carry the name that was dialled. @default true */
  readonly verifyHostname?: boolean | undefined;
  /** The table that names `certFile` and `keyFile`, for errors. @default "pulsar.tls" */
  readonly clientTable?: string | undefined;
}

/** Their contents, as node:tls takes them. */
export interface TlsMaterial {
  readonly ca?: string;
  readonly cert?: string;
  readonly key?: string;
}

const CERTIFICATE =
  /-----BEGIN (?:X509 |TRUSTED )?CERTIFICATE-----[^-]+-----END (?:X509 |TRUSTED )?CERTIFICATE-----/;

/**
 * Reads the files; anew for each connection, so that certificates can be changed while the connector runs.
 * @param now epoch milliseconds
 * @throws ConnectorError CONFIG_INVALID naming the file: not there, no PEM, encrypted, expired, or no pair
 */
export async function readTlsFiles(options: TlsOptions, now: number): Promise<TlsMaterial> {
  const { caFile, certFile, keyFile, clientTable = "pulsar.tls" } = options;
  const material: { ca?: string; cert?: string; key?: string } = {};
  if (caFile !== undefined) {
    const file = new PemFile("pulsar.tls.caFile", caFile);
    material.ca = await file.text();
    file.certificate(material.ca);
  }
  if (certFile !== undefined && keyFile !== undefined) {
    const certificate = new PemFile(`${clientTable}.certFile`, certFile);
    const key = new PemFile(`${clientTable}.keyFile`, keyFile);
    material.cert = await certificate.text();
    material.key = await key.text();
    const client = certificate.certificate(material.cert);
    const end = Date.parse(client.validTo);
    if (end < now) {
      throw certificate.fault(`holds a certificate that expired on ${new Date(end).toISOString()}`);
    }
    if (!client.checkPrivateKey(key.privateKey(material.key))) {
      throw key.fault(`is not the key of the certificate in ${certFile}`);
    }
  }
  return material;
}

class PemFile {
  readonly #key: string;
  readonly #path: string;

  constructor(key: string, path: string) {
    this.#key = key;
    this.#path = path;
  }

  async text(): Promise<string> {
    try {
      return await readFile(this.#path, "utf8");
    } catch (error) {
      const { code } = error as { code?: string };
      throw this.fault(code === "ENOENT" ? "is not there" : `cannot be read (${code ?? "no reason given"})`);
    }
  }

  /** The first certificate of a file. */
  certificate(text: string): X509Certificate {
    const pem = CERTIFICATE.exec(text)?.[0];
    if (pem === undefined) throw this.fault("holds no certificate (-----BEGIN CERTIFICATE-----)");
    try {
      return new X509Certificate(pem);
    } catch {
      throw this.fault("holds a certificate that cannot be read: is it damaged?");
    }
  }

  privateKey(text: string): KeyObject {
    if (!/-----BEGIN [A-Z ]*PRIVATE KEY-----/.test(text)) {
      throw this.fault("holds no private key (-----BEGIN PRIVATE KEY-----)");
    }
    if (/-----BEGIN ENCRYPTED|^Proc-Type: 4,ENCRYPTED/m.test(text)) {
      throw this.fault("is encrypted with a passphrase: give it without, readable by this user alone");
    }
    try {
      return createPrivateKey(text);
    } catch {
      throw this.fault("holds a private key that cannot be read: is it damaged?"); // the parser's words are its own
    }
  }

  fault(what: string): ConnectorError {
    return new ConnectorError(`the file ${this.#path} (${this.#key}) ${what}`, {
      code: "CONFIG_INVALID",
      where: { file: this.#path, key: this.#key },
    });
  }
}
