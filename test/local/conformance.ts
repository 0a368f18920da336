// What a Kinesis client may expect of a server, as a list of named checks: each looks at something through the
// SDK and says what it saw; `expected` is what AWS shows. Run on our server and on kinesis-local.

import { randomBytes } from "node:crypto";
import { setTimeout as delay } from "node:timers/promises";
import {
  CreateStreamCommand,
  DeleteStreamCommand,
  DescribeStreamCommand,
  DescribeStreamSummaryCommand,
  GetShardIteratorCommand,
  IncreaseStreamRetentionPeriodCommand,
  ListShardsCommand,
  ListStreamsCommand,
  MergeShardsCommand,
  PutRecordsCommand,
  SplitShardCommand,
  StartStreamEncryptionCommand,
  StopStreamEncryptionCommand,
} from "@aws-sdk/client-kinesis";
import { hashOf, type Kit, MAX_HASH, refusal, shortId, textsOf } from "./conformance-kit.ts";

/** One check. What it sees must be JSON. */
export interface Check {
  readonly name: string;
  readonly expected: unknown;
  see(kit: Kit): Promise<unknown>;
}

const ids = (shards: readonly { ShardId?: string | undefined }[]) =>
  shards.map((shard) => shortId(shard.ShardId));

/** The checks. Names are stable: the table of differences refers to them. */
export const CHECKS: readonly Check[] = [
  {
    name: "a new stream is described",
    expected: { status: "ACTIVE", shards: 2, encryption: "NONE", mode: "PROVISIONED", hours: 24, arn: true },
    async see(kit) {
      const name = await kit.stream(2);
      const summary = await kit.summary(name);
      return {
        status: summary.StreamStatus,
        shards: summary.OpenShardCount,
        encryption: summary.EncryptionType,
        mode: summary.StreamModeDetails?.StreamMode,
        hours: summary.RetentionPeriodHours,
        arn: summary.StreamARN === `arn:aws:kinesis:us-east-1:000000000000:stream/${name}`,
      };
    },
  },
  {
    name: "a stream's name is taken",
    expected: "ResourceInUseException",
    see: async (kit) =>
      refusal(kit.client.send(new CreateStreamCommand({ StreamName: await kit.stream(), ShardCount: 1 }))),
  },
  {
    name: "a missing stream is not found",
    expected: "ResourceNotFoundException",
    see: (kit) => refusal(kit.summary("no-such-stream")),
  },
  {
    name: "a stream is found by its ARN",
    expected: true,
    async see(kit) {
      const name = await kit.stream();
      const StreamARN = `arn:aws:kinesis:us-east-1:000000000000:stream/${name}`;
      const answer = await kit.client.send(new DescribeStreamSummaryCommand({ StreamARN }));
      return answer.StreamDescriptionSummary?.StreamName === name;
    },
  },
  {
    name: "streams are listed page by page",
    expected: { first: 1, more: true, second: true },
    async see(kit) {
      const names = [await kit.stream(), await kit.stream()].sort();
      const first = await kit.client.send(
        new ListStreamsCommand({ ExclusiveStartStreamName: names[0]!.slice(0, -1), Limit: 1 }),
      );
      const after = await kit.client.send(new ListStreamsCommand({ ExclusiveStartStreamName: names[0] }));
      return {
        first: first.StreamNames?.length,
        more: first.HasMoreStreams,
        second: after.StreamNames?.includes(names[1]!),
      };
    },
  },
  {
    name: "a stream made again is another stream",
    expected: { gone: "ResourceNotFoundException", differs: true },
    async see(kit) {
      const name = await kit.stream();
      const before = (await kit.summary(name)).StreamCreationTimestamp!;
      await kit.client.send(new DeleteStreamCommand({ StreamName: name }));
      let gone = "";
      for (let i = 0; i < 100 && gone !== "ResourceNotFoundException"; i++) {
        gone = await refusal(kit.summary(name));
        await delay(10);
      }
      await kit.client.send(new CreateStreamCommand({ StreamName: name, ShardCount: 1 }));
      await kit.active(name);
      const after = (await kit.summary(name)).StreamCreationTimestamp!;
      return { gone, differs: before.getTime() !== after.getTime() };
    },
  },
  {
    name: "DescribeStream pages its shards",
    expected: { first: ["0", "1"], more: true, second: ["2"] },
    async see(kit) {
      const StreamName = await kit.stream(3);
      const first = await kit.client.send(new DescribeStreamCommand({ StreamName, Limit: 2 }));
      const second = await kit.client.send(
        new DescribeStreamCommand({ StreamName, ExclusiveStartShardId: "shardId-000000000001" }),
      );
      return {
        first: ids(first.StreamDescription!.Shards!),
        more: first.StreamDescription!.HasMoreShards,
        second: ids(second.StreamDescription!.Shards!),
      };
    },
  },
  {
    name: "ListShards pages by NextToken",
    expected: [["0", "1"], ["2", "3"], ["4"]],
    async see(kit) {
      const pages: string[][] = [];
      let page = await kit.client.send(
        new ListShardsCommand({ StreamName: await kit.stream(5), MaxResults: 2 }),
      );
      pages.push(ids(page.Shards!));
      while (page.NextToken && pages.length < 5) {
        page = await kit.client.send(new ListShardsCommand({ NextToken: page.NextToken, MaxResults: 2 }));
        pages.push(ids(page.Shards!));
      }
      return pages;
    },
  },
  {
    name: "ListShards takes a name or a token, not both",
    expected: "InvalidArgumentException",
    async see(kit) {
      const StreamName = await kit.stream(2);
      const { NextToken } = await kit.client.send(new ListShardsCommand({ StreamName, MaxResults: 1 }));
      return refusal(kit.client.send(new ListShardsCommand({ StreamName, NextToken })));
    },
  },
  {
    name: "ListShards filters",
    expected: {
      all: ["0", "1", "2", "3"],
      atTrimHorizon: ["0", "1"],
      fromTrimHorizon: ["0", "1", "2", "3"],
      atLatest: ["1", "2", "3"],
      atTimeBeforeSplit: ["0", "1"],
      atTimeAfterSplit: ["1", "2", "3"],
      fromTimeBeforeSplit: ["0", "1", "2", "3"],
      fromTimeAfterSplit: ["1", "2", "3"],
      after1: ["2", "3"],
    },
    async see(kit) {
      const name = await kit.stream(2);
      await delay(kit.tickMs);
      const before = new Date();
      await delay(kit.tickMs);
      await kit.split(name);
      await delay(kit.tickMs);
      const after = new Date();
      await delay(10);
      const listed = async (filter?: Parameters<Kit["shards"]>[1]) => ids(await kit.shards(name, filter));
      return {
        all: await listed(),
        atTrimHorizon: await listed({ Type: "AT_TRIM_HORIZON" }),
        fromTrimHorizon: await listed({ Type: "FROM_TRIM_HORIZON" }),
        atLatest: await listed({ Type: "AT_LATEST" }),
        atTimeBeforeSplit: await listed({ Type: "AT_TIMESTAMP", Timestamp: before }),
        atTimeAfterSplit: await listed({ Type: "AT_TIMESTAMP", Timestamp: after }),
        fromTimeBeforeSplit: await listed({ Type: "FROM_TIMESTAMP", Timestamp: before }),
        fromTimeAfterSplit: await listed({ Type: "FROM_TIMESTAMP", Timestamp: after }),
        after1: await listed({ Type: "AFTER_SHARD_ID", ShardId: "shardId-000000000001" }),
      };
    },
  },
  {
    name: "shards cover the hash range",
    expected: { first: "0", last: String(MAX_HASH), gaps: 0 },
    async see(kit) {
      const ranges = (await kit.shards(await kit.stream(3))).map((shard) => shard.HashKeyRange!);
      const gaps = ranges.slice(1).filter((range, i) =>
        BigInt(range.StartingHashKey!) !== BigInt(ranges[i]!.EndingHashKey!) + 1n
      );
      return { first: ranges[0]!.StartingHashKey, last: ranges.at(-1)!.EndingHashKey, gaps: gaps.length };
    },
  },
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
    name: "the MD5 of the partition key chooses the shard",
    expected: true,
    async see(kit) {
      const name = await kit.stream(4);
      for (let i = 0; i < 12; i++) {
        const { shardId } = await kit.put(name, "x", { key: `key-${i}` });
        if (shortId(shardId) !== String(hashOf(`key-${i}`) / ((MAX_HASH + 1n) / 4n))) {
          return `key-${i}: ${shardId}`;
        }
      }
      return true;
    },
  },
  {
    name: "an explicit hash key chooses the shard",
    expected: ["0", "1"],
    async see(kit) {
      const name = await kit.stream(2);
      const first = await kit.put(name, "x", { hash: 0n });
      const last = await kit.put(name, "x", { hash: MAX_HASH });
      return [shortId(first.shardId), shortId(last.shardId)];
    },
  },
  {
    name: "an explicit hash key of 2^128 is refused",
    expected: "InvalidArgumentException",
    see: async (kit) => refusal(kit.put(await kit.stream(), "x", { hash: MAX_HASH + 1n })),
  },
  {
    name: "records come back as they were put",
    expected: { keys: ['ключ-"1"\n', "b"], sameBytes: true, empty: 0, arrived: true, encryption: "none" },
    async see(kit) {
      const StreamName = await kit.stream();
      const bytes = randomBytes(1000);
      const before = Date.now();
      const put = await kit.client.send(
        new PutRecordsCommand({
          StreamName,
          Records: [{ Data: bytes, PartitionKey: 'ключ-"1"\n' }, {
            Data: new Uint8Array(),
            PartitionKey: "b",
          }],
        }),
      );
      const { Records } = await kit.get(
        await kit.iterator(StreamName, { ShardIteratorType: "TRIM_HORIZON" }),
      );
      const arrived = Records!.map((record) => record.ApproximateArrivalTimestamp!.getTime());
      return {
        keys: Records!.map((record) => record.PartitionKey),
        sameBytes: bytes.equals(Records![0]!.Data!) &&
          Records![0]!.SequenceNumber === put.Records![0]!.SequenceNumber,
        empty: Records![1]!.Data!.length,
        arrived: arrived.every((time) => time >= before && time <= Date.now()),
        encryption: Records![0]!.EncryptionType ?? "none",
      };
    },
  },
  {
    name: "PutRecords keeps the order and answers in the order of the request",
    expected: true,
    async see(kit) {
      const StreamName = await kit.stream();
      const texts = Array.from({ length: 50 }, (_, i) => `record ${i}`);
      const put = await kit.client.send(
        new PutRecordsCommand({
          StreamName,
          Records: texts.map((text, i) => ({
            Data: new TextEncoder().encode(text),
            PartitionKey: `key-${i}`,
          })),
        }),
      );
      const { Records } = await kit.get(
        await kit.iterator(StreamName, { ShardIteratorType: "TRIM_HORIZON" }),
      );
      return put.FailedRecordCount === 0 &&
        Records!.every((record, i) =>
          record.SequenceNumber === put.Records![i]!.SequenceNumber &&
          new TextDecoder().decode(record.Data) === texts[i]
        );
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
  {
    name: "a record above 1 MiB is refused",
    expected: "ValidationException",
    see: async (kit) => refusal(kit.put(await kit.stream(), new Uint8Array(1024 * 1024 + 1))),
  },
  {
    name: "501 records at once are refused",
    expected: "ValidationException",
    see: async (kit) =>
      refusal(
        kit.client.send(
          new PutRecordsCommand({
            StreamName: await kit.stream(),
            Records: Array.from({ length: 501 }, () => ({ Data: new Uint8Array(1), PartitionKey: "k" })),
          }),
        ),
      ),
  },
  {
    name: "encryption is told with the records put while it is on",
    expected: { summary: "KMS", put: "KMS", records: ["none", "KMS", "none"] },
    async see(kit) {
      const StreamName = await kit.stream();
      const key = { StreamName, EncryptionType: "KMS" as const, KeyId: "alias/aws/kinesis" };
      await kit.put(StreamName, "a");
      await kit.client.send(new StartStreamEncryptionCommand(key));
      await kit.active(StreamName);
      const summary = (await kit.summary(StreamName)).EncryptionType;
      const put = await kit.put(StreamName, "b");
      await kit.client.send(new StopStreamEncryptionCommand(key));
      await kit.active(StreamName);
      await kit.put(StreamName, "c");
      const page = await kit.get(await kit.iterator(StreamName, { ShardIteratorType: "TRIM_HORIZON" }));
      return {
        summary,
        put: put.encryption,
        records: page.Records!.map((record) => record.EncryptionType ?? "none"),
      };
    },
  },
  {
    name: "a split shard ends with its children",
    expected: {
      shards: [["0", "none", true], ["1", "none", false], ["2", "0", false], ["3", "0", false]],
      texts: ["a"],
      ended: true,
      children: [["2", ["0"]], ["3", ["0"]]],
      ranges: true,
      behind: 0,
      childAboveParent: true,
    },
    async see(kit) {
      const name = await kit.stream(2);
      await kit.put(name, "a", { hash: 0n });
      await kit.split(name);
      const shards = await kit.shards(name);
      const { texts, ended, last } = await kit.readToEnd(name, "shardId-000000000000");
      const number = (i: number, edge: "StartingSequenceNumber" | "EndingSequenceNumber") =>
        BigInt(shards[i]!.SequenceNumberRange![edge]!);
      return {
        shards: shards.map((shard) => [
          shortId(shard.ShardId),
          shortId(shard.ParentShardId),
          shard.SequenceNumberRange!.EndingSequenceNumber !== undefined,
        ]),
        texts,
        ended,
        children: last.ChildShards?.map((child) => [
          shortId(child.ShardId),
          child.ParentShards!.map((id) => shortId(id)),
        ]),
        ranges: last.ChildShards?.every((child, i) =>
          child.HashKeyRange!.StartingHashKey === shards[2 + i]!.HashKeyRange!.StartingHashKey &&
          child.HashKeyRange!.EndingHashKey === shards[2 + i]!.HashKeyRange!.EndingHashKey
        ),
        behind: last.MillisBehindLatest,
        childAboveParent: number(2, "StartingSequenceNumber") > number(0, "EndingSequenceNumber"),
      };
    },
  },
  {
    name: "merged shards end with their one child",
    expected: { parents: ["0", "1"], ends: [[true, "2", ["0", "1"]], [true, "2", ["0", "1"]]] },
    async see(kit) {
      const name = await kit.stream(2);
      await kit.merge(name, "shardId-000000000000", "shardId-000000000001");
      const child = (await kit.shards(name))[2]!;
      const ends: unknown[] = [];
      for (const shardId of ["shardId-000000000000", "shardId-000000000001"]) {
        const { ended, last } = await kit.readToEnd(name, shardId);
        const [told] = last.ChildShards ?? [];
        ends.push([ended, shortId(told?.ShardId), told?.ParentShards?.map((id) => shortId(id)).sort()]);
      }
      return { parents: [shortId(child.ParentShardId), shortId(child.AdjacentParentShardId)], ends };
    },
  },
  {
    name: "after a split the children receive",
    expected: { shards: ["1", "2"], texts: [["low"], ["high"]] },
    async see(kit) {
      const name = await kit.stream();
      await kit.split(name);
      const low = await kit.put(name, "low", { hash: 0n });
      const high = await kit.put(name, "high", { hash: MAX_HASH });
      return {
        shards: [shortId(low.shardId), shortId(high.shardId)],
        texts: [
          await kit.texts(name, { shard: low.shardId, ShardIteratorType: "TRIM_HORIZON" }),
          await kit.texts(name, { shard: high.shardId, ShardIteratorType: "TRIM_HORIZON" }),
        ],
      };
    },
  },
  {
    name: "a split outside the shard is refused",
    expected: "InvalidArgumentException",
    see: async (kit) =>
      refusal(
        kit.client.send(
          new SplitShardCommand({
            StreamName: await kit.stream(2),
            ShardToSplit: "shardId-000000000000",
            NewStartingHashKey: String(MAX_HASH - 5n),
          }),
        ),
      ),
  },
  {
    name: "a merge of shards that are no neighbours is refused",
    expected: "InvalidArgumentException",
    see: async (kit) =>
      refusal(
        kit.client.send(
          new MergeShardsCommand({
            StreamName: await kit.stream(3),
            ShardToMerge: "shardId-000000000000",
            AdjacentShardToMerge: "shardId-000000000002",
          }),
        ),
      ),
  },
  {
    name: "retention grows",
    expected: { grown: 48, shrunk: "InvalidArgumentException" },
    async see(kit) {
      const StreamName = await kit.stream();
      const to = (hours: number) =>
        kit.client.send(
          new IncreaseStreamRetentionPeriodCommand({ StreamName, RetentionPeriodHours: hours }),
        );
      await to(48);
      return { grown: (await kit.summary(StreamName)).RetentionPeriodHours, shrunk: await refusal(to(24)) };
    },
  },
];
