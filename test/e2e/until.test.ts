// Bounded runs (`run --until`) end to end: they end by themselves, over a reshard; they go on where they stopped; they
// do not run beside another worker; a signal leaves them unfinished, and says so by the exit code.

import assert from "node:assert/strict";
import { test } from "node:test";
import { brokerMissing } from "../servers/broker.ts";
import { readTopic } from "../servers/topic-reader.ts";
import { assertCopied, leaseRows } from "./judge.ts";
import { ended, layRoad, received, type Road, stopped } from "./kit.ts";
import { lineRecords } from "./tables.ts";

const skip = brokerMissing() ?? false;

const HOUR = 3_600_000;

function put(road: Road, from: number, count: number, arrivedAt: number): void {
  const records = lineRecords("airports", 3).slice(from, from + count);
  road.kinesis.putRecords(road.streamName, records.map((record) => ({ ...record, arrivedAt })));
}

for (const [way, useEnhancedFanOut] of [["polling", false], ["fan-out", true]] as const) {
  test(
    `e2e until: a bounded run by ${way} ends by itself over a split, and another goes on from there`,
    { skip },
    async (t) => {
      const road = await layRoad(t, { shards: 1, resubscribeAfterMs: 0, heartbeatMs: 500 });
      const now = Date.now();
      const until = now - HOUR;
      put(road, 0, 300, now - 3 * HOUR);
      const [parent] = road.kinesis.shardIds(road.streamName) as [string];
      const [left, right] = road.kinesis.splitShard(road.streamName, parent);
      put(road, 300, 300, until - 1);
      const first = road.kinesis.records(road.streamName);
      put(road, 600, 300, until);
      put(road, 900, 50, until - 1); // behind the time, whatever it says of itself
      const all = road.kinesis.records(road.streamName);
      const file = await road.write("connector.toml", {
        useEnhancedFanOut,
        leases: { failoverTimeMs: 2000 },
      });
      const bounded = (time: string) => road.run("run", file, "--until", time);

      await ended(bounded(new Date(until).toISOString()));
      assertCopied(await readTopic(road.topic), first);
      const rows = () => leaseRows(t, road.dynamoUrl, String(road.config["applicationName"]));
      const checkpoints = async () =>
        Object.fromEntries([...await rows()].map(([key, row]) => [key, row["checkpoint"]!.S]));
      const last = (shardId: string) =>
        first.findLast((record) => record.shardId === shardId)!.sequenceNumber;
      assert.deepEqual(await checkpoints(), {
        [parent]: "SHARD_END",
        [left]: last(left),
        [right]: last(right),
      });
      for (const row of (await rows()).values()) assert.equal(row["leaseOwner"], undefined);

      // The same again has nothing to do; a later time goes on, nothing comes twice.
      await ended(bounded(new Date(until).toISOString()));
      assert.equal((await readTopic(road.topic)).length, first.length);
      await ended(bounded("now"));
      assertCopied(await readTopic(road.topic), all);
    },
  );
}

test(
  "e2e until: a signal leaves a bounded run unfinished, exit 75; beside a live worker it refuses, exit 1",
  {
    skip,
  },
  async (t) => {
    const road = await layRoad(t, { shards: 2 });
    put(road, 0, 200, Date.now());
    const stored = road.kinesis.records(road.streamName);
    const file = await road.write("connector.toml", { leases: { failoverTimeMs: 2000 } });
    const tomorrow = new Date(Date.now() + 24 * HOUR).toISOString();
    const unfinished = road.run("run", file, "--until", tomorrow);
    await received(unfinished, road.topic, stored.length);
    await stopped(unfinished, 75);

    const worker = road.run("run", file);
    await worker.waitFor(/reading shard/, 60_000);
    const refused = road.run("run", file, "--until", "now");
    await ended(refused, 1);
    const table = String(road.config["applicationName"]);
    for (
      const words of [
        "LEASE_IN_USE",
        "is reading with the lease table",
        table,
        "stop it first, or choose another applicationName for this run",
      ]
    ) assert.ok(refused.stderr.includes(words), refused.stderr);
    await stopped(worker);
    assertCopied(await readTopic(road.topic), stored);

    // A worker that was killed holds nothing up for longer than the failover time.
    put(road, 200, 100, Date.now());
    const killed = road.run("run", file);
    await killed.waitFor(/reading shard/, 60_000);
    killed.kill("SIGKILL");
    await killed.exitCode;
    await ended(road.run("run", file, "--until", "now"));
    const messages = await readTopic(road.topic);
    const numbers = new Set(messages.map(({ properties }) => properties["kinesis.sequence.number"]));
    assert.equal(numbers.size, road.kinesis.records(road.streamName).length);
  },
);
