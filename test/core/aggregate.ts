// Makes KPL aggregates, for our tests and for tests of those who write scripts: the counterpart of
// src/core/aggregate.ts, written from the format alone.

import { createHash } from "node:crypto";
import { Buffer } from "node:buffer";

/** A user record to be packed. */
export interface AggregateInput {
  readonly partitionKey: string;
  /** Decimal. */
  readonly explicitHashKey?: string | undefined;
  readonly data: Uint8Array;
  readonly tags?: readonly { readonly key: string; readonly value?: string | undefined }[] | undefined;
}

const MAGIC = Uint8Array.of(0xf3, 0x89, 0x9a, 0xc2);

/** A Kinesis record's data that holds these user records, as the KPL packs them (each key once in its table). */
export function encodeAggregate(records: readonly AggregateInput[]): Uint8Array {
  const partitionKeys = new Map<string, number>();
  const hashKeys = new Map<string, number>();
  const entries = records.map((record) => {
    const parts = [varintField(1, indexIn(partitionKeys, record.partitionKey))];
    if (record.explicitHashKey !== undefined) {
      parts.push(varintField(2, indexIn(hashKeys, record.explicitHashKey)));
    }
    parts.push(bytesField(3, record.data));
    for (const { key, value } of record.tags ?? []) {
      const tag = [textField(1, key)];
      if (value !== undefined) tag.push(textField(2, value));
      parts.push(bytesField(4, Buffer.concat(tag)));
    }
    return bytesField(3, Buffer.concat(parts));
  });
  return sealAggregate(Buffer.concat([
    ...[...partitionKeys.keys()].map((key) => textField(1, key)),
    ...[...hashKeys.keys()].map((key) => textField(2, key)),
    ...entries,
  ]));
}

/** Magic, any body, and the body's MD5. */
export function sealAggregate(body: Uint8Array): Uint8Array {
  return new Uint8Array(Buffer.concat([MAGIC, body, createHash("md5").update(body).digest()]));
}

/** A protobuf field of wire type 0. */
export function varintField(field: number, value: number): Uint8Array {
  return Uint8Array.from([...varint(field << 3), ...varint(value)]);
}

/** A protobuf field of wire type 2. */
export function bytesField(field: number, value: Uint8Array): Uint8Array {
  return Buffer.concat([Uint8Array.from([...varint((field << 3) | 2), ...varint(value.length)]), value]);
}

function textField(field: number, value: string): Uint8Array {
  return bytesField(field, new TextEncoder().encode(value));
}

function varint(value: number): number[] {
  const bytes: number[] = [];
  for (; value >= 0x80; value = Math.floor(value / 0x80)) bytes.push((value & 0x7f) | 0x80);
  return [...bytes, value];
}

function indexIn(table: Map<string, number>, key: string): number {
  const known = table.get(key);
  if (known !== undefined) return known;
  table.set(key, table.size);
  return table.size - 1;
}
