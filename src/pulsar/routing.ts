// Which partition a key belongs to. The hashes are those of Pulsar's Java client: Murmur3 (x86, 32 bit, seed 0)
// over UTF-8 bytes, the only one on which all clients agree, and String.hashCode over UTF-16 units.

import { Buffer } from "node:buffer";

/** Pulsar's names of the hashes. */
export type HashingScheme = "Murmur3_32Hash" | "JavaStringHash";

/** The partition of `count` that messages with this key go to. */
export function partitionOf(key: string, count: number, scheme: HashingScheme): number {
  return (scheme === "JavaStringHash" ? javaStringHash(key) : murmur3(key)) % count;
}

/** Java's String.hashCode without its sign bit. */
export function javaStringHash(key: string): number {
  let hash = 0;
  for (let i = 0; i < key.length; i++) hash = (Math.imul(hash, 31) + key.charCodeAt(i)) | 0;
  return hash & 0x7fffffff;
}

let scratch: Buffer = Buffer.allocUnsafe(1024);

/** Murmur3_32 without its sign bit. */
export function murmur3(key: string): number {
  if (scratch.length < key.length * 3) scratch = Buffer.allocUnsafe(key.length * 3);
  const bytes = scratch;
  const length = bytes.write(key);
  let hash = 0;
  let at = 0;
  for (; at + 4 <= length; at += 4) {
    hash ^= mix(bytes[at]! | (bytes[at + 1]! << 8) | (bytes[at + 2]! << 16) | (bytes[at + 3]! << 24));
    hash = (Math.imul((hash << 13) | (hash >>> 19), 5) + 0xe6546b64) | 0;
  }
  let tail = 0;
  for (let i = length - 1; i >= at; i--) tail = (tail << 8) | bytes[i]!;
  hash ^= mix(tail) ^ length;
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return (hash ^ (hash >>> 16)) & 0x7fffffff;
}

function mix(block: number): number {
  const k = Math.imul(block, 0xcc9e2d51);
  return Math.imul((k << 15) | (k >>> 17), 0x1b873593);
}
