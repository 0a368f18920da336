// Effectively once on the whole road: a real broker that deduplicates, killed programs, the official Java client as
// judge. What each sentence of the design promises is tested faster in test/pipeline/once-*.test.ts.

import assert from "node:assert/strict";
import { test, type TestContext } from "node:test";
import { DynamoDBClient, ScanCommand, UpdateItemCommand } from "@aws-sdk/client-dynamodb";
import { pulsarAdmin } from "../servers/admin.ts";
import { brokerMissing } from "../servers/broker.ts";
import type { CliProcess } from "../servers/cli.ts";
import { dynaliteClientConfig } from "../servers/dynalite.ts";
import { readTopic, summarizeTopic } from "../servers/topic-reader.ts";
import { layRoad, randomName, received, type Road, type RoadOptions, stopped } from "./kit.ts";

const skip = brokerMissing() ?? false;

interface OnceRoad extends Road {
  readonly topic: string;
  /** Runs `kinesis-pulsar run` with this configuration. */
  start(changes?: Record<string, unknown>): Promise<CliProcess>;
  put(from: number, count: number): void;
  /** The attributes of the first shard's row. */
  row(): Promise<Record<string, Record<string, unknown>>>;
  edit(expression: string, values: Record<string, unknown>): Promise<void>;
}

/** A road into a namespace of its own. */
async function onceRoad(
  t: TestContext,
  options: RoadOptions & { readonly partitions?: number; readonly deduplication?: boolean } = {},
): Promise<OnceRoad> {
  const { partitions, deduplication = true, ...rest } = options;
  const road = await layRoad(t, { shards: 1, ...rest });
  const admin = pulsarAdmin();
  const namespace = `public/${randomName("once")}`;
  await admin.call("PUT", `namespaces/${namespace}`, {});
  await admin.setDeduplication(deduplication, namespace);
  const topic = `persistent://${namespace}/topic`;
  if (partitions !== undefined) await admin.createPartitionedTopic(topic, partitions);
  const client = new DynamoDBClient(dynaliteClientConfig(road.dynamoUrl));
  t.after(() => client.destroy());
  const TableName = road.config["applicationName"] as string;
  const [shardId] = road.kinesis.shardIds(road.streamName);
  return {
    ...road,
    topic,
    async start(changes = {}) {
      const { pulsar = {}, ...others } = changes as { pulsar?: Record<string, unknown> };
      const file = await road.write("once.toml", {
        checkpointInterval: 300,
        leases: { failoverTimeMs: 2_000 },
        ...others,
        pulsar: { topic, delivery: "effectively-once", ...pulsar },
      });
      return road.run("run", file);
    },
    put(from, count) {
      const numbers = Array.from({ length: count }, (_, index) => from + index);
      road.kinesis.putRecords(
        road.streamName,
        numbers.map((number) => ({ partitionKey: `key ${number % 50}`, data: String(number) })),
      );
    },
    async row() {
      const { Items = [] } = await client.send(new ScanCommand({ TableName, ConsistentRead: true }));
      return Items.find((item) => item["leaseKey"]!.S === shardId) as never;
    },
    async edit(expression, values) {
      await client.send(
        new UpdateItemCommand({
          TableName,
          Key: { leaseKey: { S: shardId! } },
          UpdateExpression: expression,
          ExpressionAttributeValues: values as never,
        }),
      );
    },
  };
}

async function killed(cli: CliProcess): Promise<void> {
  cli.kill("SIGKILL");
  await cli.exitCode;
}

/** Asserts that the topic holds the numbers 0 … count−1 once each, each key's in order. */
async function assertOnce(topic: string, count: number): Promise<void> {
  const messages = await readTopic(topic, { count });
  const numbers = messages.map(({ data }) => Number(data));
  assert.deepEqual([...numbers].sort((a, b) => a - b), Array.from({ length: count }, (_, index) => index));
  for (const partition of new Set(messages.map((message) => message.partition))) {
    const here = messages.filter((message) => message.partition === partition).map(({ data }) =>
      Number(data)
    );
    assert.deepEqual(here, [...here].sort((a, b) => a - b), `partition ${partition} is out of order`);
  }
}

test("e2e once: killed again and again under load, a partitioned topic holds each record once, in order", {
  skip,
}, async (t) => {
  const road = await onceRoad(t, { partitions: 3 });
  road.put(0, 1_000);
  for (let round = 1; round <= 4; round++) {
    const cli = await road.start();
    await received(cli, road.topic, round * 1_000);
    road.put(round * 1_000, 1_000);
    await received(cli, road.topic, round * 1_000 + 200);
    await killed(cli);
  }
  road.put(5_000, 10);
  const last = await road.start();
  await received(last, road.topic, 5_010);
  await stopped(last);
  await assertOnce(road.topic, 5_010);
  const names = new Set(
    (await readTopic(road.topic, { count: 5_010 })).map((message) => message.producerName),
  );
  assert.equal(names.size, 1);
  assert.deepEqual((await road.row())["pulsarDrained"], { BOOL: true });
});

test(
  "e2e once: deduplication that is off stops the connector behind its first batch",
  { skip },
  async (t) => {
    const road = await onceRoad(t, { deduplication: false });
    road.put(0, 5_000);
    const cli = await road.start({ pulsar: { batchMaxMessages: 10 } });
    assert.equal(await cli.exitCode, 1, cli.stderr);
    assert.match(cli.stderr, /deduplication is off .* set-deduplication public\/once-\w+ --enable/);
    assert.ok((await summarizeTopic(road.topic)).length <= 10);
  },
);
