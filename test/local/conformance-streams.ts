// Conformance checks of streams and shards: describing, listing, filtering, splitting, merging.

import { setTimeout as delay } from "node:timers/promises";
import {
  CreateStreamCommand,
  DeleteStreamCommand,
  DescribeStreamCommand,
  DescribeStreamSummaryCommand,
  IncreaseStreamRetentionPeriodCommand,
  ListShardsCommand,
  ListStreamsCommand,
  MergeShardsCommand,
  SplitShardCommand,
} from "@aws-sdk/client-kinesis";
import { type Kit, MAX_HASH, refusal, shortId } from "./conformance-kit.ts";

import type { Check } from "./conformance.ts";

const ids = (shards: readonly { ShardId?: string | undefined }[]) =>
  shards.map((shard) => shortId(shard.ShardId));

/** The checks. */
export const STREAM_CHECKS: readonly Check[] = [
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
