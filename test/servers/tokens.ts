// JSON Web Tokens (RFC 7519, HS256) that a broker started with --auth-token accepts.

import { Buffer } from "node:buffer";
import { createHmac } from "node:crypto";
import { readFileSync } from "node:fs";

/** A token for a role. @param seconds until it expires; never when not given */
export function brokerToken(secretKeyFile: string, role: string, seconds?: number): string {
  const part = (value: unknown): string => Buffer.from(JSON.stringify(value)).toString("base64url");
  const claims = {
    sub: role,
    ...seconds === undefined ? {} : { exp: Math.floor(Date.now() / 1000) + seconds },
  };
  const signed = `${part({ alg: "HS256" })}.${part(claims)}`;
  return `${signed}.${createHmac("sha256", readFileSync(secretKeyFile)).update(signed).digest("base64url")}`;
}
