// MD5, which Kinesis uses to spread partition keys over shards and the KPL to seal its aggregates. A pure
// function of bytes; partition keys (short, nearly always ASCII) are hashed here, because a call of OpenSSL costs 3
// times as much on Node and 13 times on Deno as the 64 steps of their one block.

import { hash } from "node:crypto";

/** MD5 of any bytes: 16 bytes. */
export function md5(bytes: Uint8Array): Uint8Array {
  return hash("md5", bytes, "buffer");
}

/** MD5 of a text's UTF-8 as four unsigned 32-bit words, most significant first, written to `into`. */
export function md5Words(text: string, into: Uint32Array): void {
  if (fillBlock(text)) {
    hashBlock(into);
  } else {
    const digest = md5(new TextEncoder().encode(text));
    const view = new DataView(digest.buffer, digest.byteOffset);
    for (let word = 0; word < 4; word++) into[word] = view.getUint32(word * 4);
  }
}

// RFC 1321: constants are the sines of whole radians.
const SINES = Int32Array.from(
  { length: 64 },
  (_, step) => Math.floor(Math.abs(Math.sin(step + 1)) * 2 ** 32),
);
const SHIFTS = Uint8Array.of(7, 12, 17, 22, 5, 9, 14, 20, 4, 11, 16, 23, 6, 10, 15, 21);
// 64 bytes less the terminating bit and the length.
const LONGEST = 55;
const block = new Int32Array(16);

function fillBlock(text: string): boolean {
  const length = text.length;
  if (length > LONGEST) return false;
  block.fill(0);
  for (let index = 0; index < length; index++) {
    const code = text.charCodeAt(index);
    if (code > 0x7f) return false;
    block[index >> 2]! |= code << ((index & 3) * 8);
  }
  block[length >> 2]! |= 0x80 << ((length & 3) * 8);
  block[14] = length * 8;
  return true;
}

function hashBlock(into: Uint32Array): void {
  let a = 0x67452301;
  let b = 0xefcdab89 | 0;
  let c = 0x98badcfe | 0;
  let d = 0x10325476;
  for (let step = 0; step < 64; step++) {
    let mixed: number;
    let word: number;
    if (step < 16) {
      mixed = d ^ (b & (c ^ d));
      word = step;
    } else if (step < 32) {
      mixed = c ^ (d & (b ^ c));
      word = (5 * step + 1) & 15;
    } else if (step < 48) {
      mixed = b ^ c ^ d;
      word = (3 * step + 5) & 15;
    } else {
      mixed = c ^ (b | ~d);
      word = (7 * step) & 15;
    }
    const sum = (a + mixed + SINES[step]! + block[word]!) | 0;
    const shift = SHIFTS[(step >> 4) * 4 + (step & 3)]!;
    a = d;
    d = c;
    c = b;
    b = (b + ((sum << shift) | (sum >>> (32 - shift)))) | 0;
  }
  into[0] = swap(a + 0x67452301);
  into[1] = swap(b + 0xefcdab89);
  into[2] = swap(c + 0x98badcfe);
  into[3] = swap(d + 0x10325476);
}

function swap(word: number): number {
  return (word << 24) | ((word & 0xff00) << 8) | ((word >>> 8) & 0xff00) | (word >>> 24);
}
