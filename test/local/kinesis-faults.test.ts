// Injected faults: each does what it says, to the calls it names and to no other.

import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { test } from "node:test";
import {
  DescribeStreamSummaryCommand,
  GetRecordsCommand,
  GetShardIteratorCommand,
  PutRecordCommand,
} from "@aws-sdk/client-kinesis";
import { FakeClock, settle } from "../fakes.ts";
import { type KinesisStream, startKinesisStream } from "../servers/kinesis.ts";

function describe({ client, streamName }: KinesisStream) {
  return client.send(new DescribeStreamSummaryCommand({ StreamName: streamName }));
}

function put({ client, streamName }: KinesisStream, text: string) {
  return client.send(
    new PutRecordCommand({ StreamName: streamName, Data: Buffer.from(text), PartitionKey: "k" }),
  );
}

function stored({ kinesis, streamName }: KinesisStream): string[] {
  return kinesis.records(streamName).map((record) => new TextDecoder().decode(record.data));
}

async function outcomes(calls: number, call: () => Promise<unknown>): Promise<string[]> {
  const names: string[] = [];
  for (let i = 0; i < calls; i++) {
    names.push(await call().then(() => "ok", (error: Error) => error.name));
  }
  return names;
}

test("local kinesis: a fault hits the n-th call and as many as told", async (t) => {
  const stream = await startKinesisStream(t);
  const fault = stream.kinesis.inject({
    operation: "DescribeStreamSummary",
    nth: 3,
    times: 2,
    error: "LimitExceededException",
    message: "slow down",
  });
  await put(stream, "not hit");
  assert.deepEqual(await outcomes(6, () => describe(stream)), [
    "ok",
    "ok",
    "LimitExceededException",
    "LimitExceededException",
    "ok",
    "ok",
  ]);
  assert.equal(fault.hits, 2);
});

test("local kinesis: a fault for every call lasts until it is removed", async (t) => {
  const stream = await startKinesisStream(t);
  const fault = stream.kinesis.inject({
    operation: "*",
    times: Infinity,
    error: "InternalFailure",
    message: "broken",
  });
  await assert.rejects(describe(stream), { name: "InternalFailure", message: /broken/ });
  await assert.rejects(put(stream, "x"), (error: { $metadata?: { httpStatusCode?: number } }) => {
    assert.equal(error.$metadata?.httpStatusCode, 500);
    return true;
  });
  fault.remove();
  await describe(stream);
  assert.equal(fault.hits, 2);
  assert.deepEqual(stored(stream), []);
});

test("local kinesis: a fault for one shard leaves the others alone", async (t) => {
  const stream = await startKinesisStream(t, { shards: 2 });
  const { kinesis, client, streamName, shardIds } = stream;
  kinesis.inject({
    operation: "GetRecords",
    shardId: shardIds[1],
    error: "ProvisionedThroughputExceededException",
  });
  const read = async (ShardId: string) => {
    const { ShardIterator } = await client.send(
      new GetShardIteratorCommand({ StreamName: streamName, ShardId, ShardIteratorType: "TRIM_HORIZON" }),
    );
    await client.send(new GetRecordsCommand({ ShardIterator }));
  };
  await read(shardIds[0]!);
  await assert.rejects(read(shardIds[1]!), { name: "ProvisionedThroughputExceededException" });
  await read(shardIds[1]!);
});

test("local kinesis: an applied write whose answer is lost is stored, a dropped one is not", async (t) => {
  const stream = await startKinesisStream(t);
  const { kinesis } = stream;
  // every call: a client may repeat by itself what broke on a connection that it had used before
  const dropped = kinesis.inject({ operation: "PutRecord", drop: true, times: Infinity });
  await assert.rejects(put(stream, "dropped"));
  dropped.remove();
  assert.deepEqual(stored(stream), []);
  const lost = kinesis.inject({ operation: "PutRecord", drop: true, applied: true, times: Infinity });
  await assert.rejects(put(stream, "lost"));
  lost.remove();
  assert.deepEqual([...new Set(stored(stream))], ["lost"]);
  assert.deepEqual([...new Set(kinesis.calls("PutRecord").map((call) => call.outcome))], ["dropped"]);
  await put(stream, "kept");
  assert.equal(stored(stream).at(-1), "kept");
});

test("local kinesis: an error after an applied write tells a lie", async (t) => {
  const stream = await startKinesisStream(t);
  stream.kinesis.inject({ operation: "PutRecord", error: "InternalFailure", applied: true });
  await assert.rejects(put(stream, "there"), { name: "InternalFailure" });
  assert.deepEqual(stored(stream), ["there"]);
});

test("local kinesis: a call that is never answered ends with the client or the server", async (t) => {
  const stream = await startKinesisStream(t);
  const { kinesis, client, streamName } = stream;
  kinesis.inject({ operation: "PutRecord", hang: true, applied: true });
  const leave = new AbortController();
  const left = assert.rejects(
    client.send(
      new PutRecordCommand({ StreamName: streamName, Data: Buffer.from("x"), PartitionKey: "k" }),
      { abortSignal: leave.signal },
    ),
    { name: "AbortError" },
  );
  while (stored(stream).length === 0) await settle();
  assert.equal(kinesis.calls("PutRecord")[0]!.outcome, "hung");
  leave.abort();
  await left;
  kinesis.inject({ operation: "DescribeStreamSummary", hang: true, times: Infinity });
  const hanging = assert.rejects(describe(stream));
  while (kinesis.calls("DescribeStreamSummary").length === 0) await settle();
  await kinesis.close();
  await hanging;
});

test("local kinesis: a delay is waited for on the server's clock", async (t) => {
  const clock = new FakeClock();
  const stream = await startKinesisStream(t, { clock });
  stream.kinesis.inject({ operation: "PutRecord", delayMs: 5000 });
  const answer = put(stream, "late");
  while (clock.sleeping === 0) await settle();
  assert.deepEqual(stored(stream), []);
  assert.equal(stream.kinesis.calls("PutRecord")[0]!.outcome, "open");
  await clock.advance(5000);
  await answer;
  assert.equal(stream.kinesis.calls("PutRecord")[0]!.durationMs, 5000);
});

test("local kinesis: an iterator expires on demand", async (t) => {
  const stream = await startKinesisStream(t);
  const { kinesis, client, streamName, shardIds } = stream;
  kinesis.inject({ operation: "GetRecords", expireIterator: true });
  const { ShardIterator } = await client.send(
    new GetShardIteratorCommand({
      StreamName: streamName,
      ShardId: shardIds[0],
      ShardIteratorType: "LATEST",
    }),
  );
  await assert.rejects(client.send(new GetRecordsCommand({ ShardIterator })), {
    name: "ExpiredIteratorException",
  });
  await client.send(new GetRecordsCommand({ ShardIterator }));
});

test("local kinesis: faults that contradict themselves are refused", async (t) => {
  const { kinesis } = await startKinesisStream(t);
  const refused = { name: "ConnectorError", code: "CONFIG_INVALID" };
  assert.throws(() => kinesis.inject({ operation: "PutRecord" }), { ...refused, message: /no effect/ });
  assert.throws(() => kinesis.inject({ operation: "PutRecord", drop: true, hang: true }), refused);
  assert.throws(() => kinesis.inject({ operation: "PutRecord", expireIterator: true }), refused);
  assert.throws(() => kinesis.inject({ operation: "PutRecord", delayMs: 1, applied: true }), refused);
  assert.throws(() => kinesis.inject({ operation: "PutRecord", drop: true, nth: 0 }), refused);
});
