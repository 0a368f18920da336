// A stream's description, shards and clock, against our Kinesis server.

import assert from "node:assert/strict";
import { test, type TestContext } from "node:test";
import { ConnectorError } from "../../src/core/errors.ts";
import type { ThrottleEvent } from "../../src/kinesis/source.ts";
import { createKinesisStream, type DataStream, type KinesisStreamOptions } from "../../src/kinesis/stream.ts";
import { systemClock } from "../../src/runtime.ts";
import { RecordingLogger } from "../fakes.ts";
import { kinesisClientConfig, startKinesisStream } from "../servers/kinesis.ts";
import { QUICK, readFrom, readUntil } from "./kit.ts";

const signal = new AbortController().signal;

async function openStream(
  t: TestContext,
  url: string,
  streamName: string,
  options: Partial<KinesisStreamOptions> = {},
): Promise<DataStream> {
  const stream = await createKinesisStream({
    clientConfig: kinesisClientConfig(url),
    streamName,
    clock: systemClock,
    log: new RecordingLogger(),
    ...QUICK,
    ...options,
  });
  t.after(() => stream.close());
  return stream;
}

test("kinesis stream: is described by name or ARN, and its clock is the server's", async (t) => {
  const { kinesis, streamName } = await startKinesisStream(t, { shards: 3 });
  const before = Math.floor(Date.now() / 1000) * 1000;
  const stream = await openStream(t, kinesis.url, streamName);
  const described = await stream.describe(signal);
  assert.equal(described.streamName, streamName);
  assert.equal(described.streamArn, `arn:aws:kinesis:us-east-1:000000000000:stream/${streamName}`);
  assert.equal(described.status, "ACTIVE");
  assert.equal(described.openShardCount, 3);
  assert.ok(Math.abs(described.streamCreatedAt - Date.now()) < 10_000);
  assert.ok(stream.now() >= before && stream.now() <= Date.now() && stream.now() % 1000 === 0);

  kinesis.clearRequests();
  const byArn = await openStream(t, kinesis.url, streamName, { streamArn: described.streamArn });
  assert.deepEqual(await byArn.describe(signal), described);
  await byArn.listShards(undefined, signal);
  kinesis.putRecord(streamName, { data: "x", partitionKey: "k", shardId: "shardId-000000000000" });
  const reader = (await byArn.openSource(signal)).open(
    readFrom("shardId-000000000000", { type: "TRIM_HORIZON" }),
  );
  await readUntil(reader, (all) => all.length === 1);
  for (const { operation, input } of kinesis.requests) {
    assert.equal(input.StreamARN, described.streamArn, operation);
    assert.equal(input.StreamName, undefined, operation);
  }
});

test("kinesis stream: one that does not exist is an error that names region and endpoint", async (t) => {
  const { kinesis } = await startKinesisStream(t);
  const stream = await openStream(t, kinesis.url, "nowhere");
  await assert.rejects(stream.describe(signal), (error) => {
    assert.ok(error instanceof ConnectorError);
    assert.equal(error.code, "STREAM_NOT_FOUND");
    assert.match(error.message, /stream "nowhere" does not exist in region us-east-1 at http:\/\/127/);
    return true;
  });
});

test("kinesis stream: one that is being created is waited for, one that is being deleted is not", async (t) => {
  const { kinesis } = await startKinesisStream(t, { transitionMs: 500 });
  kinesis.createStream("young", { shards: 1 });
  const stream = await openStream(t, kinesis.url, "young");
  assert.equal((await stream.describe(signal)).status, "ACTIVE");
  kinesis.deleteStream("young");
  await assert.rejects(stream.describe(signal), { code: "STREAM_NOT_FOUND", message: /is being deleted/ });
});

test("kinesis stream: ten thousand shards are listed whole, through throttles", async (t) => {
  const { kinesis, streamName } = await startKinesisStream(t, { shards: 10_000 });
  kinesis.inject({ operation: "ListShards", nth: 3, times: 2, error: "LimitExceededException" });
  const throttles: ThrottleEvent[] = [];
  const stream = await openStream(t, kinesis.url, streamName, {
    onThrottle: (event) => void throttles.push(event),
  });
  const shards = await stream.listShards(undefined, signal);
  assert.deepEqual(shards.map((shard) => shard.shardId), kinesis.shardIds(streamName));
  assert.equal(new Set(shards.map((shard) => shard.startingHashKey)).size, 10_000);
  assert.deepEqual(throttles.map((event) => [event.operation, event.attempt]), [["ListShards", 1], [
    "ListShards",
    2,
  ]]);
  assert.ok(kinesis.calls("ListShards").length > 10);
});

test("kinesis stream: lists the shards of a position, with parents and the ends of closed ones", async (t) => {
  const { kinesis, streamName, shardIds } = await startKinesisStream(t, { shards: 2 });
  const beforeSplit = Date.now();
  await new Promise((resolve) => setTimeout(resolve, 20));
  kinesis.splitShard(streamName, shardIds[0]!);
  const stream = await openStream(t, kinesis.url, streamName);
  const ids = async (position: Parameters<DataStream["listShards"]>[0]) =>
    (await stream.listShards(position, signal)).map((shard) => Number(shard.shardId.slice(-3)));
  assert.deepEqual(await ids(undefined), [0, 1, 2, 3]);
  assert.deepEqual(await ids({ type: "LATEST" }), [1, 2, 3]);
  assert.deepEqual(await ids({ type: "TRIM_HORIZON" }), [0, 1]);
  assert.deepEqual(await ids({ type: "AT_TIMESTAMP", timestamp: beforeSplit }), [0, 1]);
  const [closed, open, child] = await stream.listShards(undefined, signal);
  assert.ok(closed!.endingSequenceNumber !== undefined && open!.endingSequenceNumber === undefined);
  assert.deepEqual([closed!.parentShardIds, child!.parentShardIds], [[], [shardIds[0]]]);
});

test("kinesis stream: an unreachable or silent endpoint is an error worth another try", async (t) => {
  const { kinesis, streamName } = await startKinesisStream(t);
  const stream = await openStream(t, kinesis.url, streamName);
  kinesis.inject({ operation: "*", drop: true });
  const unavailable = { code: "AWS_UNAVAILABLE", retryable: true };
  await assert.rejects(stream.describe(signal), unavailable);
  await kinesis.close();
  await assert.rejects(stream.listShards(undefined, signal), unavailable);
});
