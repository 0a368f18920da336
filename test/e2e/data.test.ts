// Real data on the whole road, through our Kinesis server and through another's: bytes, keys, properties, event times,
// order and partitions as a reader of the Java connector's topics knows them, and its lease rows.

import assert from "node:assert/strict";
import { test } from "node:test";
import {
  CreateStreamCommand,
  DescribeStreamSummaryCommand,
  GetRecordsCommand,
  GetShardIteratorCommand,
  type KinesisClient,
  ListShardsCommand,
  StartStreamEncryptionCommand,
} from "@aws-sdk/client-kinesis";
import type { LocalRecord, StoredRecord } from "../../src/local/mod.ts";
import { JAVA_ROWS } from "../leases/java-rows.ts";
import { pulsarAdmin } from "../servers/admin.ts";
import { brokerMissing } from "../servers/broker.ts";
import { kinesisClient, putAll } from "../servers/kinesis.ts";
import { startKinesisLocal } from "../servers/kinesis-local.ts";
import { readTopic, sendToTopic } from "../servers/topic-reader.ts";
import {
  assertCopied,
  digest,
  JAVA_MESSAGE,
  javaProperties,
  leaseRows,
  plain,
  type Row,
  shape,
  typesOf,
} from "./judge.ts";
import { eventually, layRoad, randomName, received, stopped } from "./kit.ts";
import { lineRecords, oddRecords, tableRecords } from "./tables.ts";

const skip = brokerMissing() ?? false;

test(
  "G3 bytes stay bytes: tables and random bytes arrive as they were put, with Java's keys, properties and lease rows",
  {
    skip,
  },
  async (t) => {
    const road = await layRoad(t, { shards: 4 });
    const second = Math.floor(Date.now() / 1000) * 1000;
    road.kinesis.putRecords(road.streamName, [
      ...tableRecords("cars", "Name"),
      ...tableRecords("movies", "Title"),
      ...lineRecords("airports", 3),
      ...oddRecords(),
      { partitionKey: "on the second", data: "no fraction", arrivedAt: second },
      { partitionKey: "in the second", data: "three digits", arrivedAt: second + 120 },
    ]);
    const stored = road.kinesis.records(road.streamName);
    const cli = road.run("run", await road.write("connector.toml", { checkpointInterval: 300 }));
    const messages = await received(cli, road.topic, stored.length);
    assertCopied(messages, stored);

    // The same properties in the same form as the Java connector's; it has no event time and no ordering key.
    const usual = messages.find((message) => message.key === "in the second")!;
    assert.deepEqual(Object.keys(usual.properties).sort(), Object.keys(JAVA_MESSAGE.properties).sort());
    for (const name of ["kinesis.arrival.timestamp", "kinesis.sequence.number"] as const) {
      assert.equal(shape(usual.properties[name]!), shape(JAVA_MESSAGE.properties[name]));
    }
    const whole = messages.find((message) => message.key === "on the second")!;
    assert.equal(shape(whole.properties["kinesis.arrival.timestamp"]!), "9999-99-99T99:99:99Z");
    assert.ok(messages.every((message) => message.orderingKey === undefined));

    // Rows of a running worker: every attribute of Java's, and two that prove which stream they belong to.
    const table = String(road.config["applicationName"]);
    const last = (shardId: string) => stored.findLast((record) => record.shardId === shardId)!.sequenceNumber;
    const expected = (shardId: string, owned: boolean) => {
      const { leaseOwner, ...types } = typesOf(
        JAVA_ROWS.find((row) => row["leaseKey"]!.S === shardId)! as Row,
      );
      return { ...types, ...owned ? { leaseOwner } : {}, streamArn: "S", streamCreatedAt: "N" };
    };
    await eventually(async () => {
      const rows = [...(await leaseRows(t, road.dynamoUrl, table)).values()];
      return rows.every((row) => row["checkpoint"]!.S === last(row["leaseKey"]!.S!));
    }, "every shard's last record is checkpointed");
    const running = await leaseRows(t, road.dynamoUrl, table);
    await stopped(cli);
    const after = await leaseRows(t, road.dynamoUrl, table);
    const { Shards = [] } = await kinesisClient(t, road.kinesis.url)
      .send(new ListShardsCommand({ StreamName: road.streamName }));
    const ranges = new Map(Shards.map((shard) => [shard.ShardId, shard.HashKeyRange!]));
    assert.deepEqual([...after.keys()].sort(), road.kinesis.shardIds(road.streamName));
    for (const shardId of road.kinesis.shardIds(road.streamName)) {
      const [held, given] = [running.get(shardId)!, after.get(shardId)!];
      assert.deepEqual(typesOf(held), expected(shardId, true));
      assert.deepEqual(typesOf(given), expected(shardId, false));
      assert.deepEqual(
        [given["startingHashKey"]!.S, given["endingHashKey"]!.S],
        [ranges.get(shardId)!.StartingHashKey, ranges.get(shardId)!.EndingHashKey],
      );
      assert.equal(given["checkpointSubSequenceNumber"]!.N, "0");
      assert.equal(given["checkpoint"]!.S, last(shardId));
      assert.match(given["streamArn"]!.S!, new RegExp(`:stream/${road.streamName}$`));
    }
  },
);

test(
  "e2e data: every record property, the shard id as key, and no event time, as the Java connector has them",
  {
    skip,
  },
  async (t) => {
    const road = await layRoad(t, { shards: 2 });
    road.kinesis.putRecords(road.streamName, tableRecords("cars", "Origin", 60));
    const stored = road.kinesis.records(road.streamName);
    const file = await road.write("connector.toml", {
      messageKeyMode: "SHARD_ID",
      kinesisRecordProperties: "kinesis.arrival.timestamp, kinesis.encryption.type,kinesis.partition.key," +
        "kinesis.sequence.number,kinesis.shard.id,kinesis.millis.behind.latest,kinesis.subsequence.number," +
        "kinesis.stream.name",
      pulsar: { eventTime: "none" },
    });
    const cli = road.run("run", file);
    const messages = await received(cli, road.topic, stored.length);
    await stopped(cli);
    const read = new Map(messages.map((message) => [message.properties["kinesis.sequence.number"], message]));
    for (const record of stored) {
      const message = read.get(record.sequenceNumber)!;
      const { "kinesis.millis.behind.latest": lag, ...properties } = message.properties;
      assert.match(lag!, /^\d+$/);
      assert.deepEqual(plain({ ...message, properties }), {
        key: record.shardId,
        eventTime: JAVA_MESSAGE.eventTime,
        properties: {
          ...javaProperties(record),
          "kinesis.shard.id": record.shardId,
          "kinesis.subsequence.number": "0",
          "kinesis.stream.name": road.streamName,
        },
        data: digest(record.data),
      });
    }
    assert.equal(messages.length, stored.length);
  },
);

test("e2e data: in a partitioned topic each key is where Java's Murmur3 puts it, in the order of its shard", {
  skip,
}, async (t) => {
  const road = await layRoad(t, { shards: 3 });
  const admin = pulsarAdmin();
  await admin.createPartitionedTopic(road.topic, 4);
  road.kinesis.putRecords(road.streamName, [
    ...tableRecords("movies", "Distributor", 1500),
    ...lineRecords("airports", 2, 500),
    ...oddRecords(),
  ]);
  const stored = road.kinesis.records(road.streamName);
  const cli = road.run("run", await road.write("connector.toml"));
  const messages = await received(cli, road.topic, stored.length);
  await stopped(cli);
  assert.equal(messages.length, stored.length);

  const keys = [...new Set(stored.map((record) => record.partitionKey))];
  const byJava = randomName("topic");
  await admin.createPartitionedTopic(byJava, 4);
  await sendToTopic(byJava, keys.map((key) => ({ key, data: new Uint8Array() })));
  const partitionOf = new Map(
    (await readTopic(byJava, { count: keys.length })).map(({ key, partition }) => [key, partition]),
  );
  assert.deepEqual(
    messages.map(({ key, partition }) => `${key} in ${partition}`),
    messages.map(({ key }) => `${key} in ${partitionOf.get(key)}`),
  );
  assert.deepEqual(new Set(messages.map(({ partition }) => partition)), new Set([0, 1, 2, 3]));
  for (const key of keys) {
    assert.deepEqual(
      messages.filter((message) => message.key === key).map(plain),
      stored.filter((record) => record.partitionKey === key).map((record) => ({
        key,
        eventTime: record.approximateArrivalTimestamp,
        properties: javaProperties(record),
        data: digest(record.data),
      })),
    );
  }
});

test("e2e data: a KMS-encrypted stream arrives byte for byte and says KMS", { skip }, async (t) => {
  const road = await layRoad(t, { shards: 2 });
  const client = kinesisClient(t, road.kinesis.url);
  road.kinesis.putRecords(road.streamName, tableRecords("cars", "Name", 20));
  await client.send(
    new StartStreamEncryptionCommand({
      StreamName: road.streamName,
      EncryptionType: "KMS",
      KeyId: "alias/aws/kinesis",
    }),
  );
  road.kinesis.putRecords(road.streamName, oddRecords());
  const stored = road.kinesis.records(road.streamName);
  const types = stored.map((record) => record.encryptionType);
  assert.ok(types.includes("KMS") && types.includes("NONE"));
  const cli = road.run("run", await road.write("connector.toml"));
  const messages = await received(cli, road.topic, stored.length);
  await stopped(cli);
  assertCopied(messages, stored);
});

test(
  "e2e data: through kinesis-local too, encrypted or not, each byte arrives as it was put",
  { skip },
  async (t) => {
    const server = await startKinesisLocal();
    t.after(() => server.stop());
    const client = kinesisClient(t, server.url);
    const StreamName = randomName("stream");
    await client.send(new CreateStreamCommand({ StreamName, ShardCount: 2 }));
    await active(client, StreamName);
    await putAll(client, StreamName, [...tableRecords("cars", "Name", 100), ...odd()]);
    await client.send(
      new StartStreamEncryptionCommand({ StreamName, EncryptionType: "KMS", KeyId: "alias/aws/kinesis" }),
    );
    await active(client, StreamName);
    await putAll(client, StreamName, [...lineRecords("airports", 3, 100), ...odd()]);
    const stored = await readBack(client, StreamName);
    assert.deepEqual(new Set(stored.map(({ encryptionType }) => encryptionType)), new Set(["NONE", "KMS"]));

    const road = await layRoad(t, { kinesisUrl: server.url });
    const file = await road.write("connector.toml", { awsKinesisStreamName: StreamName });
    const cli = road.run("run", file);
    const messages = await received(cli, road.topic, stored.length);
    await stopped(cli);
    assertCopied(messages, stored);
  },
);

const odd = (): LocalRecord[] => oddRecords().slice(0, 20);

async function active(client: KinesisClient, StreamName: string): Promise<void> {
  for (;;) {
    const { StreamDescriptionSummary } = await client.send(new DescribeStreamSummaryCommand({ StreamName }));
    if (StreamDescriptionSummary?.StreamStatus === "ACTIVE") return;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

/** What the stock SDK reads from a stream's open shards until it is caught up. */
async function readBack(client: KinesisClient, StreamName: string): Promise<StoredRecord[]> {
  const stored: StoredRecord[] = [];
  const { Shards = [] } = await client.send(new ListShardsCommand({ StreamName }));
  for (const { ShardId } of Shards) {
    let { ShardIterator } = await client.send(
      new GetShardIteratorCommand({ StreamName, ShardId, ShardIteratorType: "TRIM_HORIZON" }),
    );
    for (let behind = Infinity; behind > 0;) {
      const page = await client.send(new GetRecordsCommand({ ShardIterator }));
      for (const record of page.Records ?? []) {
        stored.push({
          shardId: ShardId!,
          sequenceNumber: record.SequenceNumber!,
          data: record.Data!,
          partitionKey: record.PartitionKey!,
          approximateArrivalTimestamp: record.ApproximateArrivalTimestamp!.getTime(),
          encryptionType: record.EncryptionType === "KMS" ? "KMS" : "NONE",
        });
      }
      behind = page.MillisBehindLatest ?? 0;
      ShardIterator = page.NextShardIterator;
    }
  }
  return stored;
}
