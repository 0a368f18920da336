// What the producers publish, the same bytes for each of them: orders as JSON, which compress as such things do.
// A file holds them one behind the other, so that Python's producer reads it too.

import { Buffer } from "node:buffer";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";

const COUNT = 500;
const PRODUCTS = [
  "espresso beans",
  "paper filters",
  "hand grinder",
  "kettle",
  "scale",
  "travel mug",
  "descaler",
];

/** Random, and the same in each run (mulberry32). */
function randomNumbers(seed: number): () => number {
  return () => {
    seed = (seed + 0x6d2b79f5) | 0;
    let mixed = Math.imul(seed ^ (seed >>> 15), 1 | seed);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** Writes payloads of exactly so many bytes into the folder; gives the file. */
export function writePayloads(folder: string, bytes: number): string {
  const random = randomNumbers(bytes);
  const integer = (below: number) => Math.floor(random() * below);
  const payloads = Array.from({ length: COUNT }, () => {
    let text = `{"id":"${integer(2 ** 31).toString(36)}${integer(2 ** 31).toString(36)}","lines":[`;
    while (text.length < bytes) {
      text += `{"product":"${PRODUCTS[integer(PRODUCTS.length)]}","count":${1 + integer(9)},"price":${
        integer(10_000) / 100
      },"sku":"${integer(2 ** 31).toString(36)}"},`;
    }
    return Buffer.from(text).subarray(0, bytes);
  });
  const path = join(folder, `payloads-${bytes}`);
  writeFileSync(path, Buffer.concat(payloads));
  return path;
}

/** The payloads of such a file. */
export function readPayloads(path: string, bytes: number): Buffer[] {
  const all = readFileSync(path);
  return Array.from(
    { length: all.length / bytes },
    (_, index) => all.subarray(index * bytes, (index + 1) * bytes),
  );
}
