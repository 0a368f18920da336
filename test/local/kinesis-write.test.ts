// Writing to the local Kinesis server: sizes, limits, partial failures, states of a stream.

import assert from "node:assert/strict";
import { test } from "node:test";
import {
  CreateStreamCommand,
  DescribeStreamSummaryCommand,
  GetShardIteratorCommand,
  type KinesisClient,
  PutRecordCommand,
  PutRecordsCommand,
  SplitShardCommand,
  UpdateMaxRecordSizeCommand,
} from "@aws-sdk/client-kinesis";
import { FakeClock } from "../fakes.ts";
import { putAll, startKinesisStream } from "../servers/kinesis.ts";

const MIB = 1024 * 1024;

function put(client: KinesisClient, StreamName: string, bytes: number) {
  return client.send(new PutRecordCommand({ StreamName, Data: new Uint8Array(bytes), PartitionKey: "key" }));
}

test("local kinesis: data and key together have 1 MiB by default", async (t) => {
  const { client, streamName } = await startKinesisStream(t);
  await put(client, streamName, MIB - 3);
  await assert.rejects(put(client, streamName, MIB - 2), { name: "ValidationException", message: /1048576/ });
});

test("local kinesis: the largest record is settable, for the server and for a stream", async (t) => {
  const { client, streamName } = await startKinesisStream(t, { maxRecordBytes: 10 * MIB });
  await put(client, streamName, 10 * MIB - 3);
  await assert.rejects(put(client, streamName, 10 * MIB), { name: "ValidationException" });
  await client.send(new CreateStreamCommand({ StreamName: "two", ShardCount: 1, MaxRecordSizeInKiB: 2048 }));
  await put(client, "two", 2 * MIB - 3);
  const { StreamDescriptionSummary: summary } = await client.send(
    new DescribeStreamSummaryCommand({ StreamName: "two" }),
  );
  assert.equal(summary!.MaxRecordSizeInKiB, 2048);
  await client.send(
    new UpdateMaxRecordSizeCommand({ StreamARN: summary!.StreamARN, MaxRecordSizeInKiB: 1024 }),
  );
  await assert.rejects(put(client, "two", 2 * MIB - 3), { name: "ValidationException" });
});

test("local kinesis: violated constraints are named as AWS names them", async (t) => {
  const { client, streamName } = await startKinesisStream(t);
  await assert.rejects(client.send(new CreateStreamCommand({ StreamName: "a b", ShardCount: 0 })), {
    name: "ValidationException",
    message:
      "2 validation errors detected: Value 'a b' at 'streamName' failed to satisfy constraint: Member must " +
      "satisfy regular expression pattern: [a-zA-Z0-9_.-]+; Value '0' at 'shardCount' failed to satisfy " +
      "constraint: Member must have value greater than or equal to 1",
  });
  await assert.rejects(
    client.send(
      new PutRecordsCommand({
        StreamName: streamName,
        Records: [{ Data: new Uint8Array(1), PartitionKey: "k" }, {
          Data: new Uint8Array(1),
          PartitionKey: "",
        }],
      }),
    ),
    { name: "ValidationException", message: /Value '' at 'records\.2\.member\.partitionKey' failed/ },
  );
});

test("local kinesis: limits refuse single records of PutRecords, the others are stored", async (t) => {
  const { kinesis, client, streamName } = await startKinesisStream(t, {
    clock: new FakeClock(),
    limits: true,
  });
  const Records = Array.from(
    { length: 3 },
    () => ({ Data: new Uint8Array(MIB / 2 - 10), PartitionKey: "k" }),
  );
  const answer = await client.send(new PutRecordsCommand({ StreamName: streamName, Records }));
  assert.equal(answer.FailedRecordCount, 1);
  assert.deepEqual(answer.Records![2], {
    ErrorCode: "ProvisionedThroughputExceededException",
    ErrorMessage:
      `Rate exceeded for shard shardId-000000000000 in stream ${streamName} under account 000000000000.`,
  });
  assert.deepEqual(
    kinesis.records(streamName).map((record) => record.sequenceNumber),
    answer.Records!.slice(0, 2).map((record) => record.SequenceNumber),
  );
});

test("local kinesis: limits refuse the 1001st record of a second", async (t) => {
  const clock = new FakeClock();
  const { client, streamName } = await startKinesisStream(t, { clock, limits: true });
  await putAll(client, streamName, Array.from({ length: 1000 }, () => ({ data: "x", partitionKey: "k" })));
  await assert.rejects(put(client, streamName, 1), { name: "ProvisionedThroughputExceededException" });
  await clock.advance(1000);
  await put(client, streamName, 1);
});

test("local kinesis: putAll stores any number of records in order", async (t) => {
  const { kinesis, client, streamName } = await startKinesisStream(t);
  const records = Array.from({ length: 1203 }, (_, i) => ({ data: `record ${i}`, partitionKey: `key-${i}` }));
  const positions = await putAll(client, streamName, records);
  const stored = kinesis.records(streamName);
  assert.deepEqual(
    stored.map((record) => new TextDecoder().decode(record.data)),
    records.map(({ data }) => data),
  );
  assert.deepEqual(stored.map((record) => record.sequenceNumber), positions.map((at) => at.sequenceNumber));
});

test("local kinesis: a stream takes its time when told so", async (t) => {
  const clock = new FakeClock();
  const { kinesis, client, streamName } = await startKinesisStream(t, { clock, transitionMs: 100 });
  const status = async () =>
    (await client.send(new DescribeStreamSummaryCommand({ StreamName: streamName })))
      .StreamDescriptionSummary!.StreamStatus;
  const split = () =>
    client.send(
      new SplitShardCommand({
        StreamName: streamName,
        ShardToSplit: "shardId-000000000000",
        NewStartingHashKey: String(2n ** 127n),
      }),
    );
  assert.equal(await status(), "CREATING");
  await assert.rejects(put(client, streamName, 1), { name: "ResourceNotFoundException" });
  await assert.rejects(split(), {
    name: "ResourceInUseException",
    message: /not ACTIVE, instead in state CREATING/,
  });
  await clock.advance(100);
  assert.equal(await status(), "ACTIVE");
  await split();
  assert.equal(await status(), "UPDATING");
  await clock.advance(100);
  await assert.rejects(split(), { name: "ResourceInUseException", message: /is closed/ });
  kinesis.deleteStream(streamName);
  assert.equal(await status(), "DELETING");
  await clock.advance(100);
  await assert.rejects(status(), { name: "ResourceNotFoundException" });
});

test("local kinesis: a stream that cannot be is refused directly as through a client", async (t) => {
  const { kinesis } = await startKinesisStream(t);
  assert.throws(() => kinesis.createStream("none", { shards: 0 }), { name: "ValidationException" });
  assert.throws(() => kinesis.createStream("a b", { shards: 1 }), { name: "ValidationException" });
});

test("local kinesis: too many shards are refused", async (t) => {
  const { client, streamName } = await startKinesisStream(t, { shards: 2, shardLimit: 3 });
  await assert.rejects(client.send(new CreateStreamCommand({ StreamName: "more", ShardCount: 2 })), {
    name: "LimitExceededException",
  });
  await client.send(new CreateStreamCommand({ StreamName: "one", ShardCount: 1 }));
  await assert.rejects(
    client.send(
      new SplitShardCommand({
        StreamName: streamName,
        ShardToSplit: "shardId-000000000000",
        NewStartingHashKey: String(2n ** 126n),
      }),
    ),
    { name: "LimitExceededException" },
  );
});

test("local kinesis: direct puts choose shard and arrival, and are encrypted as the stream is", async (t) => {
  const clock = new FakeClock();
  const { kinesis, client, streamName, shardIds } = await startKinesisStream(t, { clock, shards: 2 });
  const arrivedAt = clock.now() - 60_000;
  kinesis.setEncryption(streamName, "KMS");
  kinesis.putRecord(streamName, { partitionKey: "k", data: "x", shardId: shardIds[1], arrivedAt });
  const [record] = kinesis.records(streamName, shardIds[1]);
  assert.deepEqual([record!.approximateArrivalTimestamp, record!.encryptionType], [arrivedAt, "KMS"]);
  const answer = await client.send(
    new GetShardIteratorCommand({
      StreamName: streamName,
      ShardId: shardIds[1],
      ShardIteratorType: "AT_TIMESTAMP",
      Timestamp: new Date(arrivedAt),
    }),
  );
  assert.ok(answer.ShardIterator);
});
