// Certificates for tests, made by the openssl command when a test runs: an authority of its own, and what it issues.

import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

/** Paths of PEM files. */
export interface CertificateFiles {
  readonly certFile: string;
  readonly keyFile: string;
}

/** What to issue. */
export interface CertificateRequest {
  /** The subject's common name: the role of a client. */
  readonly name: string;
  /** As openssl writes them: `DNS:localhost,IP:127.0.0.1`. @default none */
  readonly alternativeNames?: string;
  /** Negative: it has expired. @default 30 */
  readonly days?: number;
}

/** An authority in a folder of its own. */
export interface CertificateAuthority {
  readonly folder: string;
  /** Its own certificate. */
  readonly caFile: string;
  issue(request: CertificateRequest): CertificateFiles;
}

/** Makes an authority; its folder is removed with the test. */
export function certificateAuthority(t: { after(close: () => unknown): void }): CertificateAuthority {
  const folder = mkdtempSync(join(tmpdir(), "kinesis-pulsar-certificates-"));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  const at = (name: string): string => join(folder, name);
  const newKey = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"];
  const [caFile, caKey] = [at("ca.crt"), at("ca.key")];
  openssl([
    "req",
    "-x509",
    ...newKey,
    "-days",
    "30",
    "-subj",
    "/CN=test authority",
    "-keyout",
    caKey,
    "-out",
    caFile,
  ]);
  let issued = 0;
  return {
    folder,
    caFile,
    issue({ name, alternativeNames, days = 30 }) {
      const leaf = `${++issued}`;
      const [certFile, keyFile, request] = [at(`${leaf}.crt`), at(`${leaf}.key`), at(`${leaf}.csr`)];
      openssl(["req", ...newKey, "-subj", `/CN=${name}`, "-keyout", keyFile, "-out", request]);
      writeFileSync(
        at("extensions"),
        [
          "basicConstraints=CA:FALSE",
          ...alternativeNames === undefined ? [] : [`subjectAltName=${alternativeNames}`],
        ].join("\n"),
      );
      const authority = ["-CA", caFile, "-CAkey", caKey, "-CAcreateserial", "-days", `${days}`];
      openssl(["x509", "-req", "-in", request, ...authority, "-extfile", at("extensions"), "-out", certFile]);
      return { certFile, keyFile };
    },
  };
}

function openssl(args: readonly string[]): void {
  const run = spawnSync("openssl", args, { encoding: "utf8" });
  if (run.status !== 0) throw new Error(`openssl ${args.join(" ")}: ${run.stderr || run.error}`);
}
