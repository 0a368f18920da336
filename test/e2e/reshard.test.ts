// Splits and merges under load with one worker: everything arrives once, and children after their parents, so that
// the records of a key keep their order through every reshard.

import assert from "node:assert/strict";
import { test } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import { brokerMissing } from "../servers/broker.ts";
import { summarizeTopic } from "../servers/topic-reader.ts";
import { leaseRows } from "./judge.ts";
import { eventually, layRoad, stopped } from "./kit.ts";

const skip = brokerMissing() ?? false;

const KEYS = 40;

test("e2e reshard: under load, splits and merges lose nothing, double nothing, and keep each key's order", {
  skip,
}, async (t) => {
  const road = await layRoad(t, { shards: 2 });
  const { kinesis, streamName } = road;
  const put = (count: number) => {
    kinesis.putRecords(
      streamName,
      Array.from({ length: count }, (_, i) => ({ partitionKey: `key ${i % KEYS}`, data: `record ${i}` })),
    );
  };
  put(200);
  const file = await road.write("connector.toml", { checkpointInterval: 200 });
  const cli = road.run("run", file);
  await cli.waitFor(/reading shard/, 60_000);
  // Load goes on while shards are split and merged, children of children included.
  let loading = true;
  const load = (async () => {
    while (loading) {
      put(100);
      await delay(25);
    }
  })();
  for (let round = 0; round < 3; round++) {
    const open = kinesis.openShardIds(streamName);
    kinesis.splitShard(streamName, open[0]!);
    kinesis.splitShard(streamName, open.at(-1)!);
    await delay(400);
    const [, second, third] = kinesis.openShardIds(streamName) as [string, string, string];
    kinesis.mergeShards(streamName, second, third);
    await delay(400);
  }
  loading = false;
  await load;
  const stored = kinesis.records(streamName);
  await summarizeTopic(road.topic, { count: stored.length });
  const ended = (rows: Awaited<ReturnType<typeof leaseRows>>) =>
    [...rows].filter(([, row]) => row["checkpoint"]!.S === "SHARD_END").map(([shardId]) => shardId).sort();
  const open = new Set(kinesis.openShardIds(streamName));
  const closed = kinesis.shardIds(streamName).filter((shardId) => !open.has(shardId)).sort();
  const rows = () => leaseRows(t, road.dynamoUrl, String(road.config["applicationName"]));
  await eventually(
    async () => ended(await rows()).join() === closed.join(),
    "every closed shard is at SHARD_END",
  );
  await stopped(cli);

  const messages = await summarizeTopic(road.topic);
  const numbers = messages.map(({ sequenceNumber }) => sequenceNumber!);
  assert.equal(new Set(numbers).size, numbers.length, "nothing came twice");
  assert.deepEqual([...numbers].sort(), stored.map(({ sequenceNumber }) => sequenceNumber).sort());
  // A stream's sequence numbers grow along each key, from parents to children too.
  const lastOf = new Map<string, bigint>();
  for (const { key, sequenceNumber } of messages) {
    const number = BigInt(sequenceNumber!);
    assert.ok(number > (lastOf.get(key!) ?? -1n), `${key}: ${sequenceNumber} after ${lastOf.get(key!)}`);
    lastOf.set(key!, number);
  }
  assert.equal(lastOf.size, KEYS);
  assert.ok(closed.length >= 12);
  for (const [shardId, row] of await rows()) {
    assert.equal(row["leaseOwner"], undefined, `${shardId} is given up`);
  }
});
