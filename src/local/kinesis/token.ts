// Tokens that clients must not look into: shard iterators and page tokens. They carry their state (the server
// keeps none) under a keyed hash, so that a made-up or cut one is refused as the service refuses it.

import { Buffer } from "node:buffer";
import { createHmac, randomBytes, timingSafeEqual } from "node:crypto";

const HASH_BYTES = 12;
// The service's iterators begin with a version too: all its tokens start with "AAAAAAAAAA".
const VERSION = Buffer.from([0, 0, 0, 0, 0, 0, 0, 1]);

/** Makes and opens tokens of one server. */
export class TokenSeal {
  readonly #key = randomBytes(32);

  /** A token that carries these fields (none may contain a line feed). */
  seal(fields: readonly (string | number)[]): string {
    const body = Buffer.from(fields.join("\n"));
    return Buffer.concat([VERSION, this.#hash(body), body]).toString("base64");
  }

  /** The fields of a token that this server made; undefined for anything else. */
  open(token: string): string[] | undefined {
    const bytes = Buffer.from(token, "base64");
    const body = bytes.subarray(VERSION.length + HASH_BYTES);
    const hash = bytes.subarray(VERSION.length, VERSION.length + HASH_BYTES);
    if (hash.length !== HASH_BYTES || !timingSafeEqual(hash, this.#hash(body))) return undefined;
    return body.toString().split("\n");
  }

  #hash(body: Buffer): Buffer {
    return createHmac("sha256", this.#key).update(body).digest().subarray(0, HASH_BYTES);
  }
}
