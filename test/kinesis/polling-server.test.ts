// The polling reader against servers that speak Kinesis' protocol: ours, which can fail on purpose, and kinesis-local as
// a second opinion.

import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { randomBytes } from "node:crypto";
import { test, type TestContext } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import {
  CreateStreamCommand,
  DeleteStreamCommand,
  DescribeStreamSummaryCommand,
  SplitShardCommand,
} from "@aws-sdk/client-kinesis";
import { isSequenceNumber } from "../../src/core/position.ts";
import { awsClientConfig } from "../../src/aws/client-config.ts";
import { ConnectorError } from "../../src/core/errors.ts";
import { silentLogger } from "../../src/core/log.ts";
import type { RecordPage } from "../../src/core/record.ts";
import type { ReadShardOptions, ShardReader, ThrottleEvent } from "../../src/kinesis/source.ts";
import { kinesisClient, putAll, randomName, startKinesisStream } from "../servers/kinesis.ts";
import { startKinesisLocal } from "../servers/kinesis-local.ts";
import { Grants, openSource, readFrom, readUntil } from "./kit.ts";

const TRIM_HORIZON = { type: "TRIM_HORIZON" } as const;
const HALF = String(2n ** 127n);

function texts(count: number, prefix = ""): { data: string; partitionKey: string }[] {
  return Array.from(
    { length: count },
    (_, index) => ({ data: `${prefix}${index}`, partitionKey: `k${index}` }),
  );
}

async function failureOf(reader: ShardReader): Promise<ConnectorError> {
  const error = await readUntil(reader, () => false).then(
    () => assert.fail("it ended"),
    (error: unknown) => error,
  );
  assert.ok(error instanceof ConnectorError, String(error));
  return error;
}

test("polling: reads a shard from its beginning, in order, under one grant per page", async (t) => {
  const { kinesis, streamName, shardIds } = await startKinesisStream(t);
  kinesis.putRecords(streamName, texts(25));
  const { source } = await openSource(t, { url: kinesis.url, streamName });
  const grants = new Grants(10);
  let connected = 0;
  const reader = source.open(readFrom(shardIds[0]!, TRIM_HORIZON, { onConnected: () => connected++ }));
  const { data, pages } = await readUntil(reader, (all) => all.length === 25, grants);
  assert.deepEqual(data, texts(25).map((record) => record.data));
  assert.deepEqual(pages.map((page) => page.records.length), [10, 10, 5]);
  assert.equal(pages[0]!.bytes, 10);
  assert.ok(pages[0]!.records.every((record) => isSequenceNumber(record.sequenceNumber) && record.last));
  assert.deepEqual(pages[0]!.records[3]!.partitionKey, "k3");
  assert.equal(grants.held, 3);
  assert.equal(connected, 1);
});

test("polling: bytes, keys and times arrive as they were put, encrypted streams too", async (t) => {
  const { kinesis, streamName, shardIds } = await startKinesisStream(t);
  const put = [1, 2, 3].map((n) => ({ data: randomBytes(1000 * n), partitionKey: `ключ-"${n}"\n` }));
  kinesis.putRecords(streamName, put);
  kinesis.setEncryption(streamName, "KMS");
  kinesis.putRecords(streamName, put);
  const { source } = await openSource(t, { url: kinesis.url, streamName });
  const { pages } = await readUntil(
    source.open(readFrom(shardIds[0]!, TRIM_HORIZON)),
    (all) => all.length === 6,
  );
  const records = pages.flatMap((page) => page.records);
  const stored = kinesis.records(streamName);
  assert.deepEqual(
    records.map((record) => Buffer.from(record.data)),
    [...put, ...put].map(({ data }) => data),
  );
  assert.deepEqual(
    records.map((r) => [r.sequenceNumber, r.approximateArrivalTimestamp, r.encryptionType, r.partitionKey]),
    stored.map((r) => [r.sequenceNumber, r.approximateArrivalTimestamp, r.encryptionType, r.partitionKey]),
  );
  assert.deepEqual(records.map((record) => record.encryptionType).join(), "NONE,NONE,NONE,KMS,KMS,KMS");
});

test("polling: each start position begins where it says", async (t) => {
  const { kinesis, streamName, shardIds } = await startKinesisStream(t);
  const now = Date.now();
  const put = [3000, 2000, 1000].map((age, index) =>
    kinesis.putRecord(streamName, { data: String(index), partitionKey: "k", arrivedAt: now - age })
  );
  const { source } = await openSource(t, { url: kinesis.url, streamName });
  const read = async (start: ReadShardOptions["start"], count: number) =>
    (await readUntil(source.open(readFrom(shardIds[0]!, start)), (all) => all.length >= count)).data;
  assert.deepEqual(await read(TRIM_HORIZON, 3), ["0", "1", "2"]);
  assert.deepEqual(await read({ type: "AT_TIMESTAMP", timestamp: now - 2000 }, 2), ["1", "2"]);
  const second = put[1]!.sequenceNumber;
  assert.deepEqual(await read({ type: "AT_SEQUENCE_NUMBER", sequenceNumber: second }, 2), ["1", "2"]);
  const latest = read({ type: "LATEST" }, 1);
  while (kinesis.calls("GetRecords").length < 12) await delay(5);
  kinesis.putRecord(streamName, { data: "new", partitionKey: "k" });
  assert.deepEqual(await latest, ["new"]);
});

test("polling: a checkpoint whose record has expired goes on at the oldest record there is", async (t) => {
  const { kinesis, streamName, shardIds } = await startKinesisStream(t);
  const put = kinesis.putRecords(streamName, texts(5));
  kinesis.trim(streamName, shardIds[0]!, put[3]!.sequenceNumber);
  const { source } = await openSource(t, { url: kinesis.url, streamName });
  const start = { type: "AT_SEQUENCE_NUMBER", sequenceNumber: put[0]!.sequenceNumber } as const;
  const { data } = await readUntil(source.open(readFrom(shardIds[0]!, start)), (all) => all.length === 2);
  assert.deepEqual(data, ["3", "4"]);
});

test("polling: a checkpoint of another shard or stream is a foreign checkpoint", async (t) => {
  const { kinesis, streamName, shardIds } = await startKinesisStream(t, { shards: 2 });
  const there = kinesis.putRecord(streamName, { data: "x", partitionKey: "k", shardId: shardIds[1]! });
  kinesis.createStream("other", { shards: 1 });
  const elsewhere = kinesis.putRecord("other", { data: "x", partitionKey: "k" });
  const { source } = await openSource(t, { url: kinesis.url, streamName });
  for (const { sequenceNumber } of [there, elsewhere]) {
    const start = { type: "AT_SEQUENCE_NUMBER", sequenceNumber } as const;
    const error = await failureOf(source.open(readFrom(shardIds[0]!, start)));
    assert.equal(error.code, "FOREIGN_CHECKPOINT");
    assert.match(
      error.message,
      new RegExp(`checkpoint ${sequenceNumber} is not one of shard ${shardIds[0]}`),
    );
  }
});

test("polling: no fault of the way loses, repeats or reorders a record (KCL scenario 25)", async (t) => {
  const { kinesis, streamName, shardIds } = await startKinesisStream(t);
  kinesis.putRecords(streamName, texts(200));
  const faults = [
    { error: "InternalFailure" },
    { error: "ServiceUnavailableException", status: 503 },
    { error: "ProvisionedThroughputExceededException" },
    { error: "KMSThrottlingException" },
    { error: "ExpiredIteratorException" },
    { expireIterator: true },
    { drop: true },
    { drop: true, applied: true },
  ];
  for (const [index, fault] of faults.entries()) {
    kinesis.inject({ operation: "GetRecords", nth: 2 + 2 * index, ...fault });
  }
  kinesis.inject({ operation: "GetShardIterator", error: "ProvisionedThroughputExceededException" });
  kinesis.inject({ operation: "GetShardIterator", nth: 2, drop: true });
  const throttles: ThrottleEvent[] = [];
  const { source, log } = await openSource(t, { url: kinesis.url, streamName }, {
    onThrottle: (throttle) => void throttles.push(throttle),
  });
  const grants = new Grants(10);
  const reader = source.open(readFrom(shardIds[0]!, TRIM_HORIZON));
  const { data, pages } = await readUntil(reader, (all) => all.length >= 200, grants);
  assert.deepEqual(data, texts(200).map((record) => record.data));
  assert.equal(grants.held, pages.length);
  assert.deepEqual(throttles.map((throttle) => throttle.operation), [
    "GetShardIterator",
    "GetRecords",
    "GetRecords",
  ]);
  assert.ok(log.messages("warn").some((line) => line.includes("got no answer")));
});

test("polling: keeps to the service's limits after its first throttle", async (t) => {
  const { kinesis, streamName, shardIds } = await startKinesisStream(t, { limits: true });
  kinesis.fill(streamName, { records: 60, bytes: 100 });
  const throttles: ThrottleEvent[] = [];
  const { source } = await openSource(t, { url: kinesis.url, streamName }, {
    backoffTimeMs: 1000,
    maxReadsPerSecond: 5,
    maxReadBytesPerSecond: 2 * 1024 * 1024,
    onThrottle: (throttle) => void throttles.push(throttle),
  });
  const reader = source.open(readFrom(shardIds[0]!, TRIM_HORIZON));
  // Twelve pages: the sixth within a second is refused, those after it come in time.
  await readUntil(reader, (all) => all.length === 60, new Grants(5));
  assert.equal(throttles.length, 1);
  assert.equal(kinesis.calls("GetRecords").filter((call) => call.error).length, 1);
});

test("polling: a shard that was split ends with its children, named by the server or looked up", async (t) => {
  const { kinesis, client, streamName, shardIds } = await startKinesisStream(t);
  kinesis.putRecords(streamName, texts(3));
  await client.send(
    new SplitShardCommand({ StreamName: streamName, ShardToSplit: shardIds[0]!, NewStartingHashKey: HALF }),
  );
  const { source } = await openSource(t, { url: kinesis.url, streamName });
  const { data, pages } = await readUntil(source.open(readFrom(shardIds[0]!, TRIM_HORIZON)), () => false);
  assert.deepEqual(data, ["0", "1", "2"]);
  assert.deepEqual(pages.at(-1)!.shardEnd?.childShards, [
    {
      shardId: "shardId-000000000001",
      parentShardIds: [shardIds[0]],
      startingHashKey: "0",
      endingHashKey: String(2n ** 127n - 1n),
    },
    {
      shardId: "shardId-000000000002",
      parentShardIds: [shardIds[0]],
      startingHashKey: HALF,
      endingHashKey: String(2n ** 128n - 1n),
    },
  ]);
});

test("polling: a stream deleted or made again while it is read stops the reader and ends no shard", async (t) => {
  for (const again of [false, true]) {
    const { kinesis, client, streamName, shardIds } = await startKinesisStream(t);
    kinesis.putRecords(streamName, texts(3));
    const summary = await client.send(new DescribeStreamSummaryCommand({ StreamName: streamName }));
    const { source } = await openSource(t, { url: kinesis.url, streamName }, {
      streamCreatedAt: summary.StreamDescriptionSummary!.StreamCreationTimestamp!.getTime(),
    });
    const reader = source.open(readFrom(shardIds[0]!, TRIM_HORIZON));
    await readUntil(reader, (all) => all.length === 3);
    await client.send(new DeleteStreamCommand({ StreamName: streamName }));
    if (again) {
      await delay(1100); // creation times are in seconds
      kinesis.createStream(streamName, { shards: 1 });
    }
    const error = await failureOf(reader);
    assert.equal(error.code, "STREAM_GONE", error.message);
    assert.match(error.message, again ? /made again/ : /was deleted/);
  }
});

test("polling: an abort ends a read that the server does not answer, at once", async (t) => {
  const { kinesis, streamName, shardIds } = await startKinesisStream(t);
  kinesis.inject({ operation: "GetRecords", hang: true, times: Infinity });
  const { source } = await openSource(t, { url: kinesis.url, streamName });
  const stop = new AbortController();
  const grants = new Grants();
  const next = source.open(readFrom(shardIds[0]!, TRIM_HORIZON, { signal: stop.signal })).next(grants.admit);
  while (kinesis.calls("GetRecords").length === 0) await delay(5);
  const startedAt = performance.now();
  stop.abort();
  assert.equal(await next, undefined);
  assert.equal(grants.held, 0);
  assert.ok(performance.now() - startedAt < 5000, "long before its time limit");
});

test("polling: a call that is never answered ends by its time limit, and reading goes on", async (t) => {
  const { kinesis, streamName, shardIds } = await startKinesisStream(t);
  kinesis.putRecords(streamName, texts(5));
  kinesis.inject({ operation: "GetShardIterator", hang: true });
  kinesis.inject({ operation: "GetRecords", hang: true });
  const clientConfig = await awsClientConfig({
    region: "us-east-1",
    endpoint: kinesis.url,
    credentials: () => Promise.resolve({ accessKeyId: "a", secretAccessKey: "b" }),
    userAgent: { applicationName: "Test", version: "0" },
    log: silentLogger,
    requestTimeoutMs: 150,
  });
  const { source, log } = await openSource(t, { url: kinesis.url, streamName }, {}, clientConfig);
  const { data } = await readUntil(
    source.open(readFrom(shardIds[0]!, TRIM_HORIZON)),
    (all) => all.length === 5,
  );
  assert.equal(data.length, 5);
  assert.match(log.messages("warn")[0]!, /got no answer \(TimeoutError/);
});

test("polling: forty shards are read side by side", async (t) => {
  const { kinesis, streamName, shardIds } = await startKinesisStream(t, { shards: 40 });
  kinesis.fill(streamName, { records: 20, bytes: 10 });
  const { source } = await openSource(t, { url: kinesis.url, streamName });
  const counts = await Promise.all(shardIds.map(async (shardId) => {
    const reader = source.open(readFrom(shardId, TRIM_HORIZON));
    return (await readUntil(reader, (all) => all.length >= 20, new Grants(7))).data.length;
  }));
  assert.ok(counts.every((count) => count === 20));
});

test("polling: reads kinesis-local from start to split, and what comes after it in the children", async (t) => {
  const server = await startKinesisLocal();
  t.after(() => server.stop());
  const client = kinesisClient(t, server.url);
  const streamName = randomName("polling");
  await client.send(new CreateStreamCommand({ StreamName: streamName, ShardCount: 1 }));
  await active(t, client, streamName);
  const put = await putAll(client, streamName, texts(30));
  const parent = put[0]!.shardId;
  await client.send(
    new SplitShardCommand({ StreamName: streamName, ShardToSplit: parent, NewStartingHashKey: HALF }),
  );
  await active(t, client, streamName);
  await putAll(client, streamName, texts(30, "child-"));

  const { source } = await openSource(t, { url: server.url, streamName });
  const read = await readUntil(source.open(readFrom(parent, TRIM_HORIZON)), () => false, new Grants(10));
  assert.deepEqual(read.data, texts(30).map((record) => record.data));
  const children = read.pages.at(-1)!.shardEnd!.childShards;
  assert.deepEqual(children.map((child) => child.parentShardIds), [[parent], [parent]]);
  const checkpoint = { type: "AT_SEQUENCE_NUMBER", sequenceNumber: put[27]!.sequenceNumber } as const;
  assert.deepEqual((await readUntil(source.open(readFrom(parent, checkpoint)), () => false)).data, [
    "27",
    "28",
    "29",
  ]);
  const after: RecordPage[] = [];
  const stop = new AbortController();
  const count = () => after.reduce((sum, page) => sum + page.records.length, 0);
  await Promise.all(children.map(async ({ shardId }) => {
    const reader = source.open(readFrom(shardId, TRIM_HORIZON, { signal: stop.signal }));
    while (!stop.signal.aborted) {
      const granted = await reader.next(new Grants().admit);
      if (granted !== undefined) after.push(granted.page);
      if (count() === 30) stop.abort();
    }
  }));
  assert.equal(count(), 30);
});

async function active(t: TestContext, client: ReturnType<typeof kinesisClient>, streamName: string) {
  while (!t.signal.aborted) {
    const answer = await client.send(new DescribeStreamSummaryCommand({ StreamName: streamName }));
    if (answer.StreamDescriptionSummary?.StreamStatus === "ACTIVE") return;
    await delay(20);
  }
}
