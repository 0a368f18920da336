// Real data for the end-to-end tests: tables of the vega-datasets package as JSON records, and bytes that are no text.

import { Buffer } from "node:buffer";
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import type { LocalRecord } from "../../src/local/mod.ts";

const folder = new URL("../../node_modules/vega-datasets/data/", import.meta.url);

/** Rows of a JSON table as records; the key is a column's text. */
export function tableRecords(table: string, keyColumn: string, limit = Infinity): LocalRecord[] {
  const rows = JSON.parse(readFileSync(new URL(`${table}.json`, folder), "utf8")) as Record<
    string,
    unknown
  >[];
  return rows.slice(0, limit).map((row) => ({
    partitionKey: (String(row[keyColumn]) || "nameless").slice(0, 256),
    data: JSON.stringify(row),
  }));
}

/** Lines of a CSV table as records, the line as it stands in the file; the key is a column's text. */
export function lineRecords(table: string, keyColumn: number, limit = Infinity): LocalRecord[] {
  const lines = readFileSync(new URL(`${table}.csv`, folder), "utf8").split("\n").slice(1);
  return lines.filter((line) => line !== "").slice(0, limit)
    .map((data) => ({ partitionKey: data.split(",")[keyColumn] || "nameless", data }));
}

/** What a connector that decodes text would spoil: bytes that are no UTF-8, nothing at all, a mebibyte, odd keys. */
export function oddRecords(): LocalRecord[] {
  const mebibyte = noise("mebibyte", 1024 * 1024 - "large".length); // key and data together are 1 MiB at most
  return [
    { partitionKey: "no utf-8", data: Buffer.of(0xff, 0x00, 0x80) },
    { partitionKey: "every byte", data: Buffer.from(Array.from({ length: 256 }, (_, byte) => byte)) },
    { partitionKey: "nothing", data: Buffer.alloc(0) },
    { partitionKey: "large", data: mebibyte },
    { partitionKey: 'ключ "1"\n\'\u{1f980}', data: "BOM stays: \ufeff" },
    { partitionKey: "k".repeat(256), data: Buffer.of(0xf3, 0x89, 0x9a, 0xc2, 1, 2, 3) }, // an aggregate's magic, no aggregate
    ...Array.from(
      { length: 40 },
      (_, i) => ({ partitionKey: `noise ${i % 9}`, data: noise(`${i}`, i * 97) }),
    ),
  ];
}

/** Bytes without a pattern, the same at every run. */
export function noise(seed: string, length: number): Uint8Array {
  const block = (i: number) => createHash("sha256").update(`${seed} ${i}`).digest();
  return Buffer.concat(Array.from({ length: Math.ceil(length / 32) }, (_, i) => block(i))).subarray(
    0,
    length,
  );
}
