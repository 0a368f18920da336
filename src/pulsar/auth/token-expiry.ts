// When a token ends, as far as it says so itself: for words about a refusal, and for what can be known beforehand.
// Brokers decide; nothing is refused here.

import { Buffer } from "node:buffer";

/** `exp` of a JSON Web Token (RFC 7519 §4.1.4) in epoch milliseconds; undefined where it has none, or is another kind. */
export function expiryOf(token: string): number | undefined {
  try {
    const claims: unknown = JSON.parse(Buffer.from(token.split(".")[1] ?? "", "base64url").toString());
    const { exp } = claims as { exp?: unknown };
    return typeof exp === "number" ? exp * 1000 : undefined;
  } catch {
    return undefined; // opaque tokens are none of our business
  }
}
