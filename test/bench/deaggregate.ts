// How much taking KPL aggregates apart costs: node --import tsx test/bench/deaggregate.ts (or deno run -A …).

import { deaggregate } from "../../src/core/deaggregate.ts";
import type { RawRecord } from "../../src/core/record.ts";
import { FULL_HASH_RANGE, type HashKeyRange } from "../../src/core/shard.ts";
import { encodeAggregate } from "../core/aggregate.ts";
import { measure } from "./measure.ts";

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

const cases: [string, RawRecord[], HashKeyRange][] = [
  ["plain records, complete", plain(true), HALF],
  ["plain records, to be completed", plain(false), HALF],
  ["aggregates of 100 × 100 B, only shard", aggregates(100), FULL_HASH_RANGE],
  ["aggregates of 100 × 100 B, hashed", aggregates(100), HALF],
  ["aggregates of 100 × 1 KiB, hashed", aggregates(1024), HALF],
];
for (const [name, page, range] of cases) {
  await measure(name, PAGE, () => {
    if (deaggregate(page, range).records.length !== PAGE) throw new Error("records are missing");
  });
}
