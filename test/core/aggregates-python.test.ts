// Aggregates of another implementation, AWS's for Python: what it packs we take apart, what our encoder packs it takes
// apart, and what it does not take for an aggregate is none for us.

import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { randomBytes } from "node:crypto";
import { test } from "node:test";
import fc from "fast-check";
import { deaggregate } from "../../src/core/deaggregate.ts";
import { FULL_HASH_RANGE } from "../../src/core/shard.ts";
import { kplMissing, packByPython, unpackByPython } from "../servers/kpl.ts";
import { type AggregateInput, encodeAggregate, sealAggregate } from "./aggregate.ts";

const skip = kplMissing() ?? false;

const key = fc.oneof(
  fc.constantFrom("a", "b"),
  fc.string({ minLength: 1, maxLength: 256, unit: "grapheme" }),
);
const hashKey = fc.bigInt(0n, 2n ** 128n - 1n).map(String);
/** All of an aggregate with a hash key or none: the module gives the first hash key to a record without one. */
const aggregates = fc.sample(
  fc.tuple(
    fc.boolean(),
    fc.array(fc.tuple(key, hashKey, fc.uint8Array({ maxLength: 300 })), { minLength: 1 }),
  ),
  { numRuns: 100, seed: 5 },
).map(([isHashed, records]): AggregateInput[] =>
  records.map(([partitionKey, explicitHashKey, data]) => ({
    partitionKey,
    ...isHashed ? { explicitHashKey } : {},
    data,
  }))
);
/** Of many small records, and of few large ones. */
const large: AggregateInput[][] = [
  Array.from({ length: 5000 }, (_, i) => ({
    partitionKey: `customer-${i % 700}`,
    explicitHashKey: String(BigInt(i) << 100n),
    data: randomBytes(i % 150),
  })),
  Array.from({ length: 3 }, (_, i) => ({ partitionKey: `k${i}`, data: randomBytes(300_000) })),
];
const lists = [...aggregates, ...large];

function takenApart(data: Uint8Array) {
  const { records, misindexed } = deaggregate([{
    data,
    partitionKey: "container",
    sequenceNumber: "1",
    approximateArrivalTimestamp: 0,
    encryptionType: "NONE",
  }], FULL_HASH_RANGE);
  assert.equal(misindexed, 0);
  return records;
}

test("aggregates of Python: what it packs we take apart", { skip }, async () => {
  for (const [index, data] of (await packByPython(lists)).entries()) {
    const input = lists[index]!;
    const records = takenApart(data);
    assert.equal(records.length, input.length);
    for (const [sub, { partitionKey, data, subSequenceNumber, last }] of records.entries()) {
      assert.equal(partitionKey, input[sub]!.partitionKey);
      assert.ok(Buffer.from(data).equals(input[sub]!.data));
      assert.deepEqual([subSequenceNumber, last], [sub, sub === input.length - 1]);
    }
  }
});

test("aggregates of Python: hash keys that it packs decide on the shard", { skip }, async () => {
  const hashed = [3n, 7n].map((low): AggregateInput => ({
    partitionKey: "same",
    explicitHashKey: String(low << 120n),
    data: new Uint8Array(1),
  }));
  const [both] = await packByPython([hashed]);
  const kept = (startingHashKey: bigint, endingHashKey: bigint) => {
    const range = {
      startingHashKey: String(startingHashKey << 120n),
      endingHashKey: String(endingHashKey << 120n),
    };
    const { records, skipped } = deaggregate([{
      data: both!,
      partitionKey: "same",
      sequenceNumber: "1",
      approximateArrivalTimestamp: 0,
      encryptionType: "NONE",
    }], range);
    return [records.length, ...skipped.map(({ reason, encoded }) => `${reason} ${encoded}`)];
  };
  assert.deepEqual(kept(3n, 7n), [2]);
  assert.deepEqual(kept(4n, 7n), [0, "outside-range 2"]);
  assert.deepEqual(kept(3n, 6n), [0, "outside-range 2"]);
});

test("aggregates of Python: it takes apart what our encoder packs", { skip }, async () => {
  const unpacked = await unpackByPython(lists.map(encodeAggregate));
  for (const [index, records] of unpacked.entries()) {
    const input = lists[index]!;
    assert.equal(records.length, input.length);
    for (const [sub, record] of records.entries()) {
      const { partitionKey, explicitHashKey, data } = input[sub]!;
      assert.deepEqual([record.partitionKey, record.explicitHashKey], [partitionKey, explicitHashKey]);
      assert.ok(record.data.equals(data));
      assert.equal(record.subSequenceNumber, sub);
    }
  }
});

test("aggregates of Python: both pass damaged ones as they are", { skip }, async () => {
  const good = encodeAggregate(aggregates[0]!);
  const body = good.slice(4, -16);
  const damaged = [
    good.map((byte, at) => at === 1 ? byte ^ 1 : byte),
    good.map((byte, at) => at === 10 ? byte ^ 1 : byte),
    good.map((byte, at) => at === good.length - 1 ? byte ^ 1 : byte),
    good.slice(0, -1),
    Uint8Array.from([...good, 0]),
    good.slice(0, 20),
    sealAggregate(new Uint8Array()),
    sealAggregate(body.slice(0, -1)),
    sealAggregate(Uint8Array.from([...body, 0x1a, 0xff, 0xff, 0xff, 0xff, 0x0f])), // a record of 4 GiB
    sealAggregate(Uint8Array.from([...body, 0x1f])),
  ];
  const python = await unpackByPython(damaged);
  for (const [index, data] of damaged.entries()) {
    const [record, ...more] = takenApart(data);
    assert.equal(more.length, 0, `case ${index}`);
    assert.equal(record!.data, data);
    assert.deepEqual(
      python[index]!.map(({ subSequenceNumber }) => subSequenceNumber),
      [undefined],
      `case ${index}`,
    );
    assert.ok(python[index]![0]!.data.equals(data));
  }
});
