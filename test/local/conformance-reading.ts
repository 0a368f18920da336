// Conformance checks of reading: sequence numbers, iterators, pages, what is refused.

import { setTimeout as delay } from "node:timers/promises";
import { GetShardIteratorCommand } from "@aws-sdk/client-kinesis";
import { MAX_HASH, refusal, textsOf } from "./conformance-kit.ts";

import type { Check } from "./conformance.ts";

/** The checks. */
export const READING_CHECKS: readonly Check[] = [
  {
    name: "sequence numbers have 56 digits and ascend",
    expected: { digits: [56, 56, 56], ascend: true, aboveStart: true },
    async see(kit) {
      const name = await kit.stream();
      const numbers: string[] = [];
      for (let i = 0; i < 3; i++) numbers.push((await kit.put(name, String(i))).sequenceNumber);
      const [shard] = await kit.shards(name);
      return {
        digits: numbers.map((number) => number.length),
        ascend: numbers.every((number, i) => i === 0 || BigInt(number) > BigInt(numbers[i - 1]!)),
        aboveStart: BigInt(numbers[0]!) > BigInt(shard!.SequenceNumberRange!.StartingSequenceNumber!),
      };
    },
  },
  {
    name: "five kinds of iterators",
    expected: {
      trimHorizon: ["a", "b", "c"],
      latest: [],
      at: ["b", "c"],
      after: ["c"],
      atShardStart: ["a", "b", "c"],
      afterLast: [],
      beforeAll: ["a", "b", "c"],
      between: ["c"],
      afterAll: [],
    },
    async see(kit) {
      const name = await kit.stream();
      await delay(10);
      const beforeAll = new Date();
      await delay(10);
      await kit.put(name, "a");
      const b = await kit.put(name, "b");
      await delay(10);
      const between = new Date();
      await delay(10);
      const c = await kit.put(name, "c");
      await delay(10);
      const [shard] = await kit.shards(name);
      const at = (number: string) =>
        kit.texts(name, { ShardIteratorType: "AT_SEQUENCE_NUMBER", StartingSequenceNumber: number });
      const after = (number: string) =>
        kit.texts(name, { ShardIteratorType: "AFTER_SEQUENCE_NUMBER", StartingSequenceNumber: number });
      const from = (time: Date) => kit.texts(name, { ShardIteratorType: "AT_TIMESTAMP", Timestamp: time });
      return {
        trimHorizon: await kit.texts(name, { ShardIteratorType: "TRIM_HORIZON" }),
        latest: await kit.texts(name, { ShardIteratorType: "LATEST" }),
        at: await at(b.sequenceNumber),
        after: await after(b.sequenceNumber),
        atShardStart: await at(shard!.SequenceNumberRange!.StartingSequenceNumber!),
        afterLast: await after(c.sequenceNumber),
        beforeAll: await from(beforeAll),
        between: await from(between),
        afterAll: await from(new Date()),
      };
    },
  },
  {
    name: "an iterator at the tip sees what comes later",
    expected: { latest: ["b"], after: ["b"] },
    async see(kit) {
      const name = await kit.stream();
      const a = await kit.put(name, "a");
      const latest = await kit.get(await kit.iterator(name, { ShardIteratorType: "LATEST" }));
      const after = await kit.get(
        await kit.iterator(name, {
          ShardIteratorType: "AFTER_SEQUENCE_NUMBER",
          StartingSequenceNumber: a.sequenceNumber,
        }),
      );
      await kit.put(name, "b");
      return {
        latest: textsOf(await kit.get(latest.NextShardIterator!)),
        after: textsOf(await kit.get(after.NextShardIterator!)),
      };
    },
  },
  {
    name: "AT_TIMESTAMP in the future is refused",
    expected: "InvalidArgumentException",
    see: async (kit) =>
      refusal(
        kit.iterator(await kit.stream(), {
          ShardIteratorType: "AT_TIMESTAMP",
          Timestamp: new Date(Date.now() + 60_000),
        }),
      ),
  },
  {
    name: "AT_SEQUENCE_NUMBER without a number is refused",
    expected: "InvalidArgumentException",
    see: async (kit) =>
      refusal(kit.iterator(await kit.stream(), { ShardIteratorType: "AT_SEQUENCE_NUMBER" })),
  },
  {
    name: "AT_TIMESTAMP without a time is refused",
    expected: "InvalidArgumentException",
    see: async (kit) => refusal(kit.iterator(await kit.stream(), { ShardIteratorType: "AT_TIMESTAMP" })),
  },
  {
    name: "another shard's sequence number is refused",
    expected: "InvalidArgumentException",
    async see(kit) {
      const name = await kit.stream(2);
      const { sequenceNumber } = await kit.put(name, "x", { hash: MAX_HASH });
      return refusal(
        kit.iterator(name, {
          ShardIteratorType: "AT_SEQUENCE_NUMBER",
          StartingSequenceNumber: sequenceNumber,
        }),
      );
    },
  },
  {
    name: "another stream's sequence number is refused",
    expected: "InvalidArgumentException",
    async see(kit) {
      const { sequenceNumber } = await kit.put(await kit.stream(), "x");
      return refusal(
        kit.iterator(await kit.stream(), {
          ShardIteratorType: "AT_SEQUENCE_NUMBER",
          StartingSequenceNumber: sequenceNumber,
        }),
      );
    },
  },
  {
    name: "an iterator of a missing shard is refused",
    expected: "ResourceNotFoundException",
    see: async (kit) =>
      refusal(
        kit.iterator(await kit.stream(), { shard: "shardId-000000000009", ShardIteratorType: "LATEST" }),
      ),
  },
  {
    name: "an iterator type that does not exist is refused",
    expected: "ValidationException",
    see: async (kit) =>
      refusal(
        kit.client.send(
          new GetShardIteratorCommand({
            StreamName: await kit.stream(),
            ShardId: "shardId-000000000000",
            ShardIteratorType: "NEXT" as "LATEST",
          }),
        ),
      ),
  },
  {
    name: "a made-up iterator is refused",
    expected: "InvalidArgumentException",
    see: (kit) => refusal(kit.get("AAAAAAAAAAEmadeup")),
  },
  {
    name: "GetRecords keeps to its Limit",
    expected: { pages: [["a", "b"], ["c"]], tooMany: "ValidationException" },
    async see(kit) {
      const name = await kit.stream();
      for (const text of ["a", "b", "c"]) await kit.put(name, text);
      const iterator = await kit.iterator(name, { ShardIteratorType: "TRIM_HORIZON" });
      const first = await kit.get(iterator, 2);
      const second = await kit.get(first.NextShardIterator!, 2);
      return { pages: [textsOf(first), textsOf(second)], tooMany: await refusal(kit.get(iterator, 10_001)) };
    },
  },
  {
    name: "MillisBehindLatest is 0 at the tip only",
    expected: { behind: true, tip: 0, empty: 0 },
    async see(kit) {
      const name = await kit.stream();
      await kit.put(name, "a");
      await delay(20);
      await kit.put(name, "b");
      const first = await kit.get(await kit.iterator(name, { ShardIteratorType: "TRIM_HORIZON" }), 1);
      const second = await kit.get(first.NextShardIterator!, 1);
      const third = await kit.get(second.NextShardIterator!, 1);
      return {
        behind: first.MillisBehindLatest! > 0,
        tip: second.MillisBehindLatest,
        empty: third.MillisBehindLatest,
      };
    },
  },
];
