// A worker of the real KCL for Java beside ours when leases change hands without anybody's consent: Java steals, ours
// is frozen and wakes up, Java's JVM is killed. Nothing is lost, and who lost a lease writes nothing more.

import assert from "node:assert/strict";
import { test } from "node:test";
import process from "node:process";
import { setTimeout as delay } from "node:timers/promises";
import { kclMissing, startKclJvm } from "../servers/kcl-consumer.ts";
import { checkpointNumber, type KclRoad, layKclRoad, startsOf } from "./kcl-kit.ts";
import { eventually, stopped } from "./kit.ts";

const skip = kclMissing() ?? false;

const FAILOVER_MS = 10_000;

/** Messages by shard that our program has published. */
function publishedOf(road: KclRoad, shardId: string): number {
  return road.broker.messages(road.topic).filter(({ properties }) =>
    properties["kinesis.shard.id"] === shardId
  ).length;
}

test(
  "kcl: Java steals, ours freezes and wakes, Java is killed: no loss, no word of who lost a lease (KCL scenarios 5, 6)",
  {
    skip,
  },
  async (t) => {
    const road = await layKclRoad(t, { shards: 4 });
    const shards = road.kinesis.openShardIds(road.streamName);
    await road.prepareTable(Object.fromEntries(shards.map((shardId) => [shardId, {}])));
    const jvm = await startKclJvm();
    t.after(() => jvm.stop());
    const ours = await road.ours();
    await eventually(() => startsOf(ours).length === shards.length, "ours reads all shards");
    const load = road.load();

    // Java's first round steals one lease, between two renewals of ours.
    const java = await road.java({}, jvm);
    await java.until("its first shard", () => java.told("init").length > 0);
    const [, stolen, from] = java.told("init")[0]!;
    await ours.waitFor(new RegExp(`lost[^\\n]*${stolen}|${stolen}[^\\n]*lost`, "i"), 30_000);
    const ownMessages = publishedOf(road, stolen);
    const javaRecords = java.records(stolen).length;
    await java.until("more of that shard", () => java.records(stolen).length > javaRecords + 5);
    assert.equal(publishedOf(road, stolen), ownMessages, "ours publishes nothing more of the stolen shard");
    const row = (await java.rows()).get(stolen)!;
    assert.deepEqual([row.owner, row.ownerSwitches], ["0", 1]);
    assert.equal(row.sequenceNumber, from, "nobody but its owner stores a checkpoint");
    await java.checkpoint();

    // Ours is frozen. Java sees the leases expire and takes them; when ours wakes up, it finds out and keeps quiet.
    process.kill(ours.pid, "SIGSTOP");
    await java.until(
      "all shards",
      () => new Set(java.told("init").map(([, of]) => of)).size === shards.length,
    );
    await java.checkpoint();
    const taken = await road.rows();
    const before = shards.map((shardId) => publishedOf(road, shardId));
    const started = startsOf(ours).length;
    process.kill(ours.pid, "SIGCONT");
    await delay(2_000);
    const again = startsOf(ours).slice(started).map(({ shardId }) => shardId); // it may have stolen one back
    for (const [i, shardId] of shards.entries()) {
      if (!again.includes(shardId)) {
        assert.equal(
          publishedOf(road, shardId),
          before[i],
          `${shardId} stays quiet`,
        );
      }
    }
    for (const [shardId, { leaseOwner }] of await road.rows()) {
      if (!again.includes(shardId)) assert.equal(leaseOwner?.S, "0", shardId);
    }
    for (const [shardId, now] of await road.rows()) {
      assert.ok(checkpointNumber(now) >= checkpointNumber(taken.get(shardId)), `${shardId} does not go back`);
    }

    // Java dies without a word, two records after its last checkpoint.
    await java.checkpoint();
    await java.refresh();
    process.kill(jvm.pid, "SIGKILL");
    const killedAt = performance.now();
    await eventually(
      async () => [...(await road.rows()).values()].every(({ leaseOwner }) => leaseOwner?.S !== "0"),
      "ours has taken all of Java's leases",
    );
    const tookMs = performance.now() - killedAt;
    assert.ok(tookMs >= FAILOVER_MS / 2, `not before they expire (${tookMs} ms)`);
    t.diagnostic(`took a killed Java worker's leases within ${tookMs.toFixed(0)} ms`);
    await load.stop();
    const all = new Set(road.known.map(({ text }) => text));
    await eventually(
      () => new Set([...road.published(), ...road.read(java)]).size === all.size,
      "all records are published or were read by Java",
    );
    await stopped(ours);
    road.judge([ours], [java]);
  },
);
