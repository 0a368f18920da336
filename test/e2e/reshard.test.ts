// Shards that are split and merged, under load and long before anyone reads, by polling and by fan-out: everything
// arrives once, and children after their parents, so that the records of a key keep their order through every reshard.

import assert from "node:assert/strict";
import { test, type TestContext } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import type { Clock } from "../../src/core/clock.ts";
import { systemClock } from "../../src/runtime.ts";
import { brokerMissing } from "../servers/broker.ts";
import { type MessageSummary, summarizeTopic } from "../servers/topic-reader.ts";
import { leaseRows } from "./judge.ts";
import { eventually, layRoad, type Road, stopped } from "./kit.ts";

const skip = brokerMissing() ?? false;

const KEYS = 40;
const WAYS = [{ way: "polling", useEnhancedFanOut: false }, { way: "fan-out", useEnhancedFanOut: true }];

function put({ kinesis, streamName }: Road, count: number): void {
  kinesis.putRecords(
    streamName,
    Array.from({ length: count }, (_, i) => ({ partitionKey: `key ${i % KEYS}`, data: `record ${i}` })),
  );
}

/** Every record once, each key's in the order of the stream: its sequence numbers grow from parents to children too. */
function assertOnceInOrder(
  messages: readonly MessageSummary[],
  stored: readonly { sequenceNumber: string }[],
): void {
  const numbers = messages.map(({ sequenceNumber }) => sequenceNumber!);
  assert.equal(new Set(numbers).size, numbers.length, "nothing came twice");
  assert.deepEqual([...numbers].sort(), stored.map(({ sequenceNumber }) => sequenceNumber).sort());
  const lastOf = new Map<string, bigint>();
  for (const { key, sequenceNumber } of messages) {
    const number = BigInt(sequenceNumber!);
    assert.ok(number > (lastOf.get(key!) ?? -1n), `${key}: ${sequenceNumber} after ${lastOf.get(key!)}`);
    lastOf.set(key!, number);
  }
}

/** Waits until all closed shards are at SHARD_END; returns their ids. */
async function allEnded(t: TestContext, { kinesis, streamName, dynamoUrl, config }: Road): Promise<string[]> {
  const open = new Set(kinesis.openShardIds(streamName));
  const closed = kinesis.shardIds(streamName).filter((shardId) => !open.has(shardId)).sort();
  await eventually(async () => {
    const rows = await leaseRows(t, dynamoUrl, String(config["applicationName"]));
    const ended = [...rows].filter(([, row]) => row["checkpoint"]!.S === "SHARD_END").map(([id]) => id);
    return ended.sort().join() === closed.join();
  }, "every closed shard is at SHARD_END");
  return closed;
}

for (const { way, useEnhancedFanOut } of WAYS) {
  test(
    `e2e reshard by ${way}: under load, splits, merges and UpdateShardCount lose nothing, double nothing, and keep each key's order`,
    {
      skip,
    },
    async (t) => {
      const road = await layRoad(t, { shards: 2 });
      const { kinesis, streamName } = road;
      put(road, 200);
      const cli = road.run(
        "run",
        await road.write("connector.toml", { checkpointInterval: 200, useEnhancedFanOut }),
      );
      await cli.waitFor(/reading shard/, 60_000);
      let loading = true;
      const load = (async () => {
        while (loading) {
          put(road, 100);
          await delay(25);
        }
      })();
      // Children of children included.
      for (const count of [5, 3]) {
        const open = kinesis.openShardIds(streamName);
        kinesis.splitShard(streamName, open[0]!);
        kinesis.splitShard(streamName, open.at(-1)!);
        await delay(400);
        const [, second, third] = kinesis.openShardIds(streamName) as [string, string, string];
        kinesis.mergeShards(streamName, second, third);
        await delay(400);
        kinesis.updateShardCount(streamName, count);
        await delay(400);
      }
      loading = false;
      await load;
      const stored = kinesis.records(streamName);
      await summarizeTopic(road.topic, { count: stored.length });
      const closed = await allEnded(t, road);
      await stopped(cli);
      assertOnceInOrder(await summarizeTopic(road.topic), stored);
      assert.ok(closed.length >= 12, `${closed}`);
      const rows = await leaseRows(t, road.dynamoUrl, String(road.config["applicationName"]));
      for (const [shardId, row] of rows) assert.equal(row["leaseOwner"], undefined, `${shardId} is given up`);
    },
  );

  test(`e2e reshard by ${way}: several generations that were closed before anyone reads are read in order`, {
    skip,
  }, async (t) => {
    const road = await layRoad(t, { shards: 1 });
    const { kinesis, streamName } = road;
    for (const count of [2, 4, 1, 3, 2]) {
      put(road, 120);
      kinesis.updateShardCount(streamName, count);
    }
    put(road, 120);
    const cli = road.run(
      "run",
      await road.write("connector.toml", { checkpointInterval: 200, useEnhancedFanOut }),
    );
    const stored = kinesis.records(streamName);
    assert.equal(stored.length, 720);
    await summarizeTopic(road.topic, { count: stored.length });
    await allEnded(t, road);
    await stopped(cli);
    assertOnceInOrder(await summarizeTopic(road.topic), stored);
  });
}

test(
  "e2e reshard: after a pause longer than the retention, with LATEST, what is left of every line is read",
  {
    skip,
  },
  async (t) => {
    const past = { ms: 0 };
    const clock: Clock = { ...systemClock, now: () => systemClock.now() + past.ms };
    const road = await layRoad(t, { shards: 1, clock });
    const { kinesis, streamName } = road;
    const file = await road.write("connector.toml", {
      initialPositionInStream: "LATEST",
      checkpointInterval: 100,
    });
    const first = road.run("run", file);
    await first.waitFor(/reading shard/, 60_000);
    put(road, 50);
    await summarizeTopic(road.topic, { count: 50 });
    await stopped(first);
    // While nobody reads, 0 → 1, 2 and 1 → 3, 4; then 0 and 1 expire: nothing that is listed names 0 for 3 and 4.
    const [low] = kinesis.splitShard(streamName, kinesis.openShardIds(streamName)[0]!);
    put(road, 50);
    kinesis.splitShard(streamName, low);
    past.ms += 25 * 3_600_000;
    put(road, 80);
    const stored = kinesis.openShardIds(streamName).flatMap((id) => kinesis.records(streamName, id));
    assert.equal(stored.length, 80);
    const second = road.run("run", file);
    const messages = await summarizeTopic(road.topic, { count: 130 });
    await stopped(second);
    assertOnceInOrder(messages.slice(50), stored);
  },
);
