// Why a connection could not be made, in words that say what to do: names, ports, certificates, credentials. Node and
// Deno give the same codes for certificates (Deno translates those of rustls).
// Invariant: before any broker was reached a configuration is in doubt, so what waiting does not cure ends the start;
// afterwards the same is a fault of the other side (a certificate that ran out, a stranger), waited for and said.

import { Buffer } from "node:buffer";
import { ConnectorError, messageOf } from "../core/errors.ts";
import { hideSecrets } from "../core/secrets.ts";
import type { AuthSupplier } from "./auth/supplier.ts";
import { expiryOf } from "./auth/token-expiry.ts";
import { brokerError } from "./errors.ts";
import { addressText, type BrokerAddress } from "./service-url.ts";
import { CLOSED_BY_PEER } from "./transport.ts";
import { serverErrorName } from "./wire/server-error.ts";

/** How far an attempt had come. */
export interface ConnectAttempt {
  readonly address: BrokerAddress;
  /** `connect`: no socket yet, or no TLS; `handshake`: CONNECT was sent. */
  readonly phase: "connect" | "handshake";
  /** Any broker was reached before. */
  readonly isProven: boolean;
}

const UNKNOWN_AUTHORITY =
  "is signed by nobody that is trusted here: give the certificate of its authority (CA) as pulsar.tls.caFile";

/** What certificates are refused for, by the code of the error. */
const CERTIFICATE_FAULTS: Readonly<Record<string, string>> = {
  CERT_HAS_EXPIRED:
    "(or its authority's) has expired: renew it on the broker, and check the clock of this machine",
  CERT_NOT_YET_VALID: "(or its authority's) is not valid yet: check the clock of this machine",
  CERT_REVOKED: "was revoked",
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: UNKNOWN_AUTHORITY,
  UNABLE_TO_GET_ISSUER_CERT: UNKNOWN_AUTHORITY,
  UNABLE_TO_GET_ISSUER_CERT_LOCALLY: UNKNOWN_AUTHORITY,
  DEPTH_ZERO_SELF_SIGNED_CERT: UNKNOWN_AUTHORITY,
  SELF_SIGNED_CERT_IN_CHAIN: UNKNOWN_AUTHORITY,
};

const NO_TLS = /WRONG_VERSION_NUMBER|PACKET_LENGTH_TOO_LONG|RECORD_LAYER|InvalidContentType/;
const NO_COMMON_VERSION = /ALERT_PROTOCOL_VERSION|UNSUPPORTED_PROTOCOL|NO_PROTOCOLS_AVAILABLE/;
const CLIENT_CERTIFICATE_MISSING = /ALERT_CERTIFICATE_REQUIRED/;
const CLIENT_CERTIFICATE_REFUSED =
  /ALERT_(BAD_CERTIFICATE|UNSUPPORTED_CERTIFICATE|CERTIFICATE_\w+|UNKNOWN_CA|ACCESS_DENIED|DECRYPT_ERROR)/;
/** Java brokers say no more about a client's certificate that they do not trust. */
const HANDSHAKE_ENDED = /ALERT_(INTERNAL_ERROR|HANDSHAKE_FAILURE)/;
const ANY_TLS_CODE = /^(ERR_SSL|ERR_TLS|ERR_OSSL|CERT_|INVALID_|EPROTO|UNABLE_TO|HOSTNAME_)/;
const UNKNOWN_NAME = /^(ENOTFOUND|EAI_\w+)$/;

/** A failed attempt as an error. What is a ConnectorError already keeps its words. */
export function connectFailure(why: unknown, attempt: ConnectAttempt): ConnectorError {
  if (why instanceof ConnectorError) return why;
  const { address, phase, isProven } = attempt;
  const broker = addressText(address);
  const code = codeOf(why);
  const tls = (what: string): ConnectorError =>
    new ConnectorError(what, { code: "PULSAR_TLS", retryable: isProven, cause: why });
  const unreachable = (what: string): ConnectorError =>
    new ConnectorError(what, { code: "PULSAR_UNREACHABLE", retryable: true, cause: why });

  if (code === "ERR_TLS_CERT_ALTNAME_INVALID") {
    return tls(
      `the certificate of ${broker} was issued for other names (${namesIn(why)}): use one of them in ` +
        "pulsar.serviceUrl (or as the broker's advertised address), or set pulsar.tls.verifyHostname = false to accept any",
    );
  }
  const fault = CERTIFICATE_FAULTS[code];
  if (fault !== undefined) return tls(`the certificate of ${broker} ${fault} (${code})`);
  if (CLIENT_CERTIFICATE_MISSING.test(code)) {
    return tls(`${broker} demands a client's certificate: give pulsar.tls.certFile and keyFile`);
  }
  if (CLIENT_CERTIFICATE_REFUSED.test(code)) {
    return tls(`${broker} does not accept the certificate of pulsar.tls.certFile or pulsar.auth (${code})`);
  }
  if (NO_TLS.test(code)) {
    return tls(`${broker} does not speak TLS on this port: use its TLS port (6651 by default), or pulsar://`);
  }
  if (NO_COMMON_VERSION.test(code)) return tls(`${broker} knows no version of TLS from 1.2 on (${code})`);
  if (HANDSHAKE_ENDED.test(code)) {
    return tls(
      `${broker} ended the TLS handshake (${code}): does it trust the client's certificate of pulsar.tls.certFile ` +
        "or pulsar.auth? The broker's log says why",
    );
  }
  if (ANY_TLS_CODE.test(code)) return tls(`no encrypted connection to ${broker}: ${wordsOf(why)} (${code})`);
  if (UNKNOWN_NAME.test(code)) {
    return unreachable(
      `the name ${address.host} of the broker ${broker} cannot be resolved (${code}): check the name in ` +
        "pulsar.serviceUrl, the broker's advertised address, and DNS from here",
    );
  }
  const words = wordsOf(why);
  if (address.tls && phase === "connect" && code === "ECONNRESET") {
    return unreachable(
      `${broker} closed the connection during the TLS handshake: is it starting, or is this a port without TLS ` +
        "(use its TLS port, 6651 by default, or pulsar://)?",
    );
  }
  if (phase === "handshake" && (code === "ECONNRESET" || words === CLOSED_BY_PEER)) {
    const hint = address.tls
      ? "does it demand another client's certificate?"
      : "is it starting, or is this its port for TLS (then write pulsar+ssl://)?";
    return unreachable(`${broker} closed the connection without an answer to CONNECT: ${hint}`);
  }
  return unreachable(`cannot connect to the broker ${broker}: ${words}`);
}

/** The other side accepted a connection and fell silent, or not even that. */
export function connectTimeout(attempt: ConnectAttempt, timeoutMs: number): ConnectorError {
  const { address, phase } = attempt;
  const broker = addressText(address);
  const what = phase === "connect"
    ? `cannot connect to the broker ${broker}: no ${
      address.tls ? "encrypted " : ""
    }connection within ${timeoutMs} ms`
    : `${broker} accepted the connection, but did not answer CONNECT within ${timeoutMs} ms`;
  return new ConnectorError(what, { code: "PULSAR_UNREACHABLE", retryable: true });
}

/** What answered a plain CONNECT with a TLS alert or handshake (RFC 8446 §5.1: type 20 to 23, version 3.x). */
export function isTlsRecord(bytes: Uint8Array): boolean {
  return bytes.length >= 2 && bytes[0]! >= 20 && bytes[0]! <= 23 && bytes[1] === 3;
}

/** For {@link isTlsRecord}. */
export function tlsExpected(attempt: ConnectAttempt): ConnectorError {
  return new ConnectorError(
    `${addressText(attempt.address)} speaks TLS on this port: write pulsar+ssl:// in pulsar.serviceUrl`,
    { code: "PULSAR_TLS", retryable: attempt.isProven },
  );
}

/** ERROR as the answer to CONNECT. The credentials that were sent are hidden, should the broker repeat them. */
export function connectRefused(
  error: number | undefined,
  message: string,
  broker: string,
  auth: AuthSupplier,
  sent: Uint8Array | undefined,
  now: number,
): ConnectorError {
  const secret = sent === undefined ? "" : Buffer.from(sent).toString();
  const said = brokerError(error, hideSecrets(message, [secret]), { operation: "CONNECT", broker });
  if (serverErrorName(error) !== "AuthenticationError") return said;
  const { message: words, code, retryable, where } = said;
  return new ConnectorError(`${words} ${credentialHint(auth, secret, message, now)}`, {
    code,
    retryable,
    where,
  });
}

function credentialHint(auth: AuthSupplier, secret: string, message: string, now: number): string {
  if (auth.method === "none") return "This connection gave none (pulsar.auth is not set).";
  const end = auth.method === "token" ? expiryOf(secret) : undefined;
  if (end !== undefined && end <= now) {
    return `The token of ${auth.source} expired on ${new Date(end).toISOString()}: give a new one.`;
  }
  const isOld = /expired/i.test(message) ? "The broker finds them expired: renew them. " : "";
  return `${isOld}They came from ${auth.source}.`;
}

function codeOf(why: unknown): string {
  const { code } = (why ?? {}) as { code?: unknown };
  return typeof code === "string" ? code : "";
}

/** One line; of several addresses of a name each failure once. */
function wordsOf(why: unknown): string {
  const inner: unknown[] = why instanceof AggregateError ? why.errors : [];
  const words = inner.length > 0 ? [...new Set(inner.map(messageOf))].join(", ") : messageOf(why);
  const { reason } = why as { reason?: unknown }; // without OpenSSL's places in its sources
  return (typeof reason === "string" ? reason : words).split("\n", 1)[0]! || "no reason given";
}

function namesIn(why: unknown): string {
  const { cert } = why as { cert?: { subjectaltname?: string; subject?: { CN?: string } } };
  return cert?.subjectaltname || cert?.subject?.CN || "it names none";
}
