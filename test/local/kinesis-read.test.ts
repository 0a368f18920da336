// Reading from the local Kinesis server: what needs its clock, its limits or its direct interface.

import assert from "node:assert/strict";
import { test } from "node:test";
import {
  GetRecordsCommand,
  GetShardIteratorCommand,
  type GetShardIteratorInput,
  type KinesisClient,
  ListShardsCommand,
} from "@aws-sdk/client-kinesis";
import { FakeClock } from "../fakes.ts";
import { startKinesisStream } from "../servers/kinesis.ts";

const SHARD = "shardId-000000000000";

async function iterator(
  client: KinesisClient,
  StreamName: string,
  input: Partial<GetShardIteratorInput> = {},
) {
  const answer = await client.send(
    new GetShardIteratorCommand({ StreamName, ShardId: SHARD, ShardIteratorType: "TRIM_HORIZON", ...input }),
  );
  return answer.ShardIterator!;
}

function get(client: KinesisClient, ShardIterator: string, Limit?: number) {
  return client.send(new GetRecordsCommand({ ShardIterator, Limit }));
}

test("local kinesis: an iterator lives five minutes and not longer", async (t) => {
  const clock = new FakeClock({ now: Date.UTC(2026, 0, 1, 12) });
  const { client, streamName } = await startKinesisStream(t, { clock });
  const token = await iterator(client, streamName);
  await clock.advance(300_000);
  await get(client, token);
  await clock.advance(1);
  await assert.rejects(get(client, token), {
    name: "ExpiredIteratorException",
    message:
      "Iterator expired. The iterator was created at time Thu Jan 01 12:00:00 UTC 2026 while right now it is " +
      "Thu Jan 01 12:05:00 UTC 2026 which is further in the future than the tolerated delay of 300000 milliseconds.",
  });
});

test("local kinesis: an iterator's life can be set", async (t) => {
  const clock = new FakeClock();
  const { client, streamName } = await startKinesisStream(t, { clock, iteratorLifeMs: 50 });
  const token = await iterator(client, streamName);
  await clock.advance(51);
  await assert.rejects(get(client, token), { name: "ExpiredIteratorException" });
});

test("local kinesis: a page ends at 10 MiB or 10 000 records", async (t) => {
  const { kinesis, client, streamName } = await startKinesisStream(t, { shards: 2 });
  kinesis.fill(streamName, { records: 12, bytes: 1_000_000, shardIds: [SHARD] });
  const large = await get(client, await iterator(client, streamName));
  assert.equal(large.Records!.length, 10);
  assert.equal((await get(client, large.NextShardIterator!)).Records!.length, 2);

  const other = "shardId-000000000001";
  kinesis.fill(streamName, { records: 10_001, bytes: 10, shardIds: [other] });
  const many = await get(client, await iterator(client, streamName, { ShardId: other }));
  assert.equal(many.Records!.length, 10_000);
  assert.equal((await get(client, many.NextShardIterator!)).Records!.length, 1);
});

test("local kinesis: a filled shard holds what a client reads", async (t) => {
  const { kinesis, client, streamName } = await startKinesisStream(t);
  kinesis.fill(streamName, { records: 100, bytes: 1024 });
  const page = await get(client, await iterator(client, streamName));
  const stored = kinesis.records(streamName);
  assert.equal(stored.length, 100);
  page.Records!.forEach((record, i) => {
    assert.deepEqual(
      [record.SequenceNumber, record.PartitionKey, record.ApproximateArrivalTimestamp!.getTime(), [
        ...record.Data!,
      ]],
      [
        stored[i]!.sequenceNumber,
        `key-${i}`,
        stored[i]!.approximateArrivalTimestamp,
        [...stored[i]!.data],
      ],
    );
    assert.equal(record.Data!.length, 1024);
  });
});

test("local kinesis: MillisBehindLatest is the age of the last record read", async (t) => {
  const clock = new FakeClock();
  const { kinesis, client, streamName } = await startKinesisStream(t, { clock });
  for (const data of ["a", "b", "c"]) {
    kinesis.putRecord(streamName, { partitionKey: "k", data });
    await clock.advance(1000);
  }
  const first = await get(client, await iterator(client, streamName), 1);
  const second = await get(client, first.NextShardIterator!, 1);
  const third = await get(client, second.NextShardIterator!, 1);
  assert.deepEqual([first, second, third].map((page) => page.MillisBehindLatest), [3000, 2000, 0]);
});

test("local kinesis: limits refuse the sixth read of a second, per shard", async (t) => {
  const clock = new FakeClock();
  const { kinesis, client, streamName } = await startKinesisStream(t, { clock, limits: true, shards: 2 });
  const token = await iterator(client, streamName);
  for (let i = 0; i < 5; i++) await get(client, token);
  await assert.rejects(get(client, token), {
    name: "ProvisionedThroughputExceededException",
    message: `Rate exceeded for shard ${SHARD} in stream ${streamName} under account 000000000000.`,
  });
  await get(client, await iterator(client, streamName, { ShardId: "shardId-000000000001" }));
  await clock.advance(1000);
  await get(client, token);
  kinesis.setLimits(false);
  for (let i = 0; i < 10; i++) await get(client, token);
});

test("local kinesis: limits make a 10 MiB page block its shard for five seconds", async (t) => {
  const clock = new FakeClock();
  const { kinesis, client, streamName } = await startKinesisStream(t, { clock, limits: true });
  kinesis.fill(streamName, { records: 12, bytes: 1024 * 1024 - 10 });
  const page = await get(client, await iterator(client, streamName));
  assert.equal(page.Records!.length, 10);
  await clock.advance(4990);
  await assert.rejects(get(client, page.NextShardIterator!), {
    name: "ProvisionedThroughputExceededException",
  });
  await clock.advance(10);
  assert.equal((await get(client, page.NextShardIterator!)).Records!.length, 2);
});

test("local kinesis: limits refuse the sixth iterator of a second", async (t) => {
  const { client, streamName } = await startKinesisStream(t, { clock: new FakeClock(), limits: true });
  for (let i = 0; i < 5; i++) await iterator(client, streamName);
  await assert.rejects(iterator(client, streamName), { name: "ProvisionedThroughputExceededException" });
});

test("local kinesis: foreign sequence numbers are refused in AWS's words", async (t) => {
  const { kinesis, client, streamName } = await startKinesisStream(t, { shards: 2 });
  kinesis.createStream("other", { shards: 1 });
  const foreign = kinesis.putRecord("other", { partitionKey: "k", data: "x" }).sequenceNumber;
  const at = (StartingSequenceNumber: string) =>
    iterator(client, streamName, { ShardIteratorType: "AT_SEQUENCE_NUMBER", StartingSequenceNumber });
  await assert.rejects(at(foreign), {
    name: "InvalidArgumentException",
    message:
      `StartingSequenceNumber ${foreign} used in GetShardIterator on shard ${SHARD} in stream ${streamName} ` +
      "under account 000000000000 is invalid because it did not come from this stream.",
  });
  const sibling = kinesis.putRecord(streamName, {
    partitionKey: "k",
    data: "x",
    shardId: "shardId-000000000001",
  });
  await assert.rejects(at(sibling.sequenceNumber), {
    name: "InvalidArgumentException",
    message:
      "Invalid StartingSequenceNumber. It encodes shardId-000000000001, while it was used in a call to a " +
      `shard with ${SHARD}`,
  });
  await assert.rejects(at("12345"), {
    name: "InvalidArgumentException",
    message:
      `StartingSequenceNumber 12345 used in GetShardIterator on shard ${SHARD} in stream ${streamName} under ` +
      "account 000000000000 is invalid.",
  });
});

test("local kinesis: a stream made again refuses the old one's numbers and iterators", async (t) => {
  const { kinesis, client, streamName } = await startKinesisStream(t);
  const { sequenceNumber } = kinesis.putRecord(streamName, { partitionKey: "k", data: "x" });
  const token = await iterator(client, streamName);
  kinesis.deleteStream(streamName);
  await assert.rejects(get(client, token), { name: "ResourceNotFoundException" });
  kinesis.createStream(streamName, { shards: 1 });
  await assert.rejects(get(client, token), { name: "ResourceNotFoundException" });
  await assert.rejects(
    iterator(client, streamName, {
      ShardIteratorType: "AT_SEQUENCE_NUMBER",
      StartingSequenceNumber: sequenceNumber,
    }),
    { name: "InvalidArgumentException", message: /did not come from this stream/ },
  );
});

test("local kinesis: trimmed records are gone, and their positions mean the trim horizon", async (t) => {
  const { kinesis, client, streamName } = await startKinesisStream(t);
  const positions = kinesis.putRecords(
    streamName,
    ["a", "b", "c"].map((data) => ({ partitionKey: "k", data })),
  );
  const before = await iterator(client, streamName);
  kinesis.trim(streamName, SHARD, positions[1]!.sequenceNumber);
  const at = await iterator(client, streamName, {
    ShardIteratorType: "AT_SEQUENCE_NUMBER",
    StartingSequenceNumber: positions[0]!.sequenceNumber,
  });
  for (const token of [before, at, await iterator(client, streamName)]) {
    assert.deepEqual(
      (await get(client, token)).Records!.map((record) => record.SequenceNumber),
      positions.slice(1).map((position) => position.sequenceNumber),
    );
  }
});

test("local kinesis: retention takes records, then closed shards", async (t) => {
  const clock = new FakeClock();
  const { kinesis, client, streamName } = await startKinesisStream(t, { clock });
  kinesis.putRecord(streamName, { partitionKey: "k", data: "old" });
  await clock.advance(20 * 3_600_000);
  kinesis.putRecord(streamName, { partitionKey: "k", data: "new" });
  kinesis.splitShard(streamName, SHARD);
  await clock.advance(5 * 3_600_000);
  const page = await get(client, await iterator(client, streamName));
  assert.deepEqual(page.Records!.map((record) => new TextDecoder().decode(record.Data)), ["new"]);
  await clock.advance(20 * 3_600_000);
  const { Shards } = await client.send(new ListShardsCommand({ StreamName: streamName }));
  assert.deepEqual(Shards!.map((shard) => shard.ShardId), ["shardId-000000000001", "shardId-000000000002"]);
  await assert.rejects(iterator(client, streamName), {
    name: "ResourceNotFoundException",
    message: `Shard ${SHARD} in stream ${streamName} under account 000000000000 does not exist`,
  });
});

test("local kinesis: a shard's end comes with its last records, or as a page of its own", async (t) => {
  for (const emptyPageAtShardEnd of [false, true]) {
    const { kinesis, client, streamName } = await startKinesisStream(t, { emptyPageAtShardEnd });
    kinesis.putRecord(streamName, { partitionKey: "k", data: "last" });
    kinesis.splitShard(streamName, SHARD);
    const page = await get(client, await iterator(client, streamName));
    assert.equal(page.Records!.length, 1);
    assert.equal(page.NextShardIterator === undefined, !emptyPageAtShardEnd);
    const end = emptyPageAtShardEnd ? await get(client, page.NextShardIterator!) : page;
    assert.equal(end.NextShardIterator, undefined);
    assert.deepEqual(end.ChildShards!.map((child) => child.ShardId), [
      "shardId-000000000001",
      "shardId-000000000002",
    ]);
  }
});

test("local kinesis: a shard closed by hand ends without children", async (t) => {
  const { kinesis, client, streamName } = await startKinesisStream(t);
  kinesis.closeShard(streamName, SHARD);
  const page = await get(client, await iterator(client, streamName, { ShardIteratorType: "LATEST" }));
  assert.deepEqual([page.Records, page.NextShardIterator, page.ChildShards], [[], undefined, []]);
  assert.throws(() => kinesis.putRecord(streamName, { partitionKey: "k", data: "x" }), {
    name: "InvalidArgumentException",
  });
});

test("local kinesis: 10 000 shards are listed in pages of 1000", async (t) => {
  const { client, streamName } = await startKinesisStream(t, { shards: 10_000 });
  const seen = new Set<string>();
  let pages = 0;
  let next: string | undefined;
  do {
    const page = await client.send(
      new ListShardsCommand(next ? { NextToken: next } : { StreamName: streamName }),
    );
    for (const shard of page.Shards!) seen.add(shard.ShardId!);
    next = page.NextToken;
    pages++;
  } while (next && pages < 20);
  assert.deepEqual([pages, seen.size], [10, 10_000]);
});

test("local kinesis: a page token expires, and a filter holds on all its pages", async (t) => {
  const clock = new FakeClock();
  const { kinesis, client, streamName } = await startKinesisStream(t, { clock, shards: 3 });
  await clock.advance(1000);
  kinesis.splitShard(streamName, "shardId-000000000001");
  const first = await client.send(
    new ListShardsCommand({ StreamName: streamName, ShardFilter: { Type: "AT_LATEST" }, MaxResults: 1 }),
  );
  const rest = await client.send(new ListShardsCommand({ NextToken: first.NextToken }));
  assert.deepEqual(rest.Shards!.map((shard) => shard.ShardId), [
    "shardId-000000000002",
    "shardId-000000000003",
    "shardId-000000000004",
  ]);
  await clock.advance(300_001);
  await assert.rejects(client.send(new ListShardsCommand({ NextToken: first.NextToken })), {
    name: "ExpiredNextTokenException",
  });
});

test("local kinesis: a split in the millisecond of the creation still has an order", async (t) => {
  const { kinesis, client, streamName } = await startKinesisStream(t, { clock: new FakeClock() });
  const [child] = kinesis.splitShard(streamName, SHARD);
  kinesis.splitShard(streamName, child);
  const list = async (Type: "AT_TRIM_HORIZON" | "AT_LATEST") => {
    const { Shards } = await client.send(
      new ListShardsCommand({ StreamName: streamName, ShardFilter: { Type } }),
    );
    return Shards!.map((shard) => Number(shard.ShardId!.slice(-3)));
  };
  assert.deepEqual(await list("AT_TRIM_HORIZON"), [0]);
  assert.deepEqual(await list("AT_LATEST"), [2, 3, 4]);
  const { Shards } = await client.send(new ListShardsCommand({ StreamName: streamName }));
  const ranges = Shards!.map((shard) => shard.SequenceNumberRange!);
  assert.ok(BigInt(ranges[1]!.StartingSequenceNumber!) > BigInt(ranges[0]!.EndingSequenceNumber!));
  assert.ok(BigInt(ranges[3]!.StartingSequenceNumber!) > BigInt(ranges[1]!.EndingSequenceNumber!));
});
