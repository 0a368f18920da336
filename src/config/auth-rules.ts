// The rules over [pulsar] that concern security: one source of credentials, and encryption where a choice needs it.

import type { Findings } from "./findings.ts";
import type { Settings } from "./schema.ts";

type Pulsar = Settings["pulsar"];

/** Checks `pulsar.auth` and `pulsar.tls` against each other and the service URL. */
export function checkSecurity(pulsar: Pulsar, findings: Findings): void {
  const { auth, tls, serviceUrl } = pulsar;
  const isPlain = serviceUrl?.startsWith("pulsar://") ?? false;
  if (!findings.isReported(["pulsar", "auth"])) checkAuth(auth, findings);
  if (tls !== undefined && isPlain) {
    findings.problem(
      ["pulsar", "tls"],
      " is given, but pulsar.serviceUrl is not encrypted: write pulsar+ssl://",
    );
  }
  if ((tls?.certFile === undefined) !== (tls?.keyFile === undefined)) {
    findings.problem(["pulsar", "tls"], " needs certFile and keyFile together");
  }
  if (auth.type === "tls" && isPlain) {
    findings.problem(
      ["pulsar", "auth"],
      ' of type "tls" shows a certificate, but pulsar.serviceUrl is not encrypted: write pulsar+ssl://',
    );
  }
  if (auth.type === "tls" && tls?.certFile !== undefined) {
    findings.problem(
      ["pulsar", "auth"],
      ' of type "tls" and pulsar.tls.certFile both give a certificate: leave one of them out',
    );
  }
}

function checkAuth(auth: Pulsar["auth"], findings: Findings): void {
  const path = ["pulsar", "auth"];
  if (auth.type === "token") {
    const sources = [auth.token, auth.file, auth.env, auth.script].filter((source) => source !== undefined);
    if (sources.length !== 1) {
      const fault = sources.length === 0 ? "has no token" : "has several sources of a token";
      findings.problem(path, ` ${fault}: give exactly one of token, file, env and script`);
    }
    if (/^\s*(file|env):/.test(auth.token ?? "")) {
      findings.problem(
        [...path, "token"],
        " is no token but a place: write it as pulsar.auth.file or pulsar.auth.env",
      );
    }
  }
  if (auth.type === "oauth2") {
    const hasId = auth.clientId !== undefined;
    const hasSecret = auth.clientSecret !== undefined;
    if (hasId !== hasSecret || hasId === (auth.keyFile !== undefined)) {
      findings.problem(path, " needs clientId and clientSecret, or keyFile instead of both");
    }
  }
  if (auth.type === "basic" && auth.user.includes(":")) {
    findings.problem(
      [...path, "user"],
      " must not hold a colon: brokers take what is behind it for the password",
    );
  }
}
