// How much taking KPL aggregates apart costs, MD5 included, beside protobufjs (with the same MD5, and without judging
// hash keys): npm run bench:kpl (or deno run -A test/bench/deaggregate.ts). The best of many rounds, in one process.

import { Buffer } from "node:buffer";
import { createHash } from "node:crypto";
import process from "node:process";
import { Oracle } from "../core/aggregate-oracle.ts";
import { deaggregate } from "../../src/core/deaggregate.ts";
import type { RawRecord } from "../../src/core/record.ts";
import { FULL_HASH_RANGE, type HashKeyRange } from "../../src/core/shard.ts";
import { encodeAggregate } from "../core/aggregate.ts";
import { knownArguments } from "../usage.ts";

knownArguments({ text: "npm run bench:kpl\nWhat taking KPL aggregates apart costs, beside protobufjs." });

const PAGE = 10_000;
const PER_AGGREGATE = 100;
const HALF: HashKeyRange = { ...FULL_HASH_RANGE, startingHashKey: "1" };

// One literal per shape: Node 20 keeps spread objects as dictionaries, ten times slower to read.
function raw(data: Uint8Array, complete: boolean): RawRecord {
  const partitionKey = "k";
  const sequenceNumber = "49680476692433014098179508999634594405486341000000000003";
  const approximateArrivalTimestamp = 1_795_000_000_123;
  const encryptionType = "NONE";
  if (!complete) return { data, partitionKey, sequenceNumber, approximateArrivalTimestamp, encryptionType };
  return {
    data,
    partitionKey,
    sequenceNumber,
    approximateArrivalTimestamp,
    encryptionType,
    subSequenceNumber: 0,
    last: true,
  };
}

function aggregates(bytes: number): RawRecord[] {
  return Array.from({ length: PAGE / PER_AGGREGATE }, (_, container) =>
    raw(
      encodeAggregate(Array.from({ length: PER_AGGREGATE }, (_, index) => ({
        partitionKey: `customer-${container * PER_AGGREGATE + index}`,
        data: new Uint8Array(bytes).fill(index),
      }))),
      true,
    ));
}

const plain = (complete: boolean): RawRecord[] =>
  Array.from({ length: PAGE }, () => raw(new Uint8Array(1024).fill(0x7b), complete));

/** What a reader on protobufjs has to do for the same result. */
function byProtobufjs(page: readonly RawRecord[]): number {
  const records: unknown[] = [];
  for (const container of page) {
    const body = container.data.subarray(4, -16);
    const digest = createHash("md5").update(body).digest();
    if (!digest.equals(Buffer.from(container.data.subarray(-16)))) throw new Error("damaged");
    const message = Oracle.decode(body) as unknown as {
      partition_key_table: string[];
      records: { partition_key_index: { toNumber(): number } | number; data: Uint8Array }[];
    };
    const { sequenceNumber, approximateArrivalTimestamp, encryptionType } = container;
    message.records.forEach(({ partition_key_index: index, data }, subSequenceNumber) => {
      const partitionKey = message.partition_key_table[typeof index === "number" ? index : index.toNumber()];
      records.push({
        data,
        partitionKey,
        sequenceNumber,
        approximateArrivalTimestamp,
        encryptionType,
        subSequenceNumber,
        last: subSequenceNumber === message.records.length - 1,
      });
    });
  }
  return records.length;
}

/** A line of µs per user record and MB/s, of the best round of about a second. */
function measure(name: string, page: readonly RawRecord[], work: () => number): void {
  let best = Infinity;
  for (const end = performance.now() + 1000; performance.now() < end;) {
    const start = performance.now();
    if (work() !== PAGE) throw new Error("records are missing");
    best = Math.min(best, performance.now() - start);
  }
  const bytes = page.reduce((sum, { data }) => sum + data.length, 0);
  const perRecord = (best * 1000 / PAGE).toFixed(3);
  const rate = (bytes / 1e6 / (best / 1000)).toFixed(0);
  process.stdout.write(`${name.padEnd(42)} ${perRecord.padStart(7)} µs/record ${rate.padStart(8)} MB/s\n`);
}

const plainPages: [string, RawRecord[], HashKeyRange][] = [
  ["plain records of 1 KiB, complete", plain(true), HALF],
  ["plain records of 1 KiB, to be completed", plain(false), HALF],
];
for (const [name, page, range] of plainPages) {
  measure(name, page, () => deaggregate(page, range).records.length);
}
for (const size of [100, 1024]) {
  const page = aggregates(size);
  const name = `aggregates of ${PER_AGGREGATE} × ${size} B`;
  measure(`${name}, only shard`, page, () => deaggregate(page, FULL_HASH_RANGE).records.length);
  measure(`${name}, hash keys judged`, page, () => deaggregate(page, HALF).records.length);
  measure(`${name}, protobufjs`, page, () => byProtobufjs(page));
}
