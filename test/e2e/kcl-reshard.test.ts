// Splits and merges in a fleet of the real KCL for Java and ours: whoever has the parent, children begin when it is
// finished, and nothing is lost or comes twice. Java's clean-up of finished rows disturbs nobody.

import assert from "node:assert/strict";
import { test } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import { kclJvm, kclMissing } from "../servers/kcl-consumer.ts";
import { type KclRoad, layKclRoad, startsOf } from "./kcl-kit.ts";
import { eventually, stopped } from "./kit.ts";

const skip = kclMissing() ?? false;

/** Long enough for a child to begin that does not wait: both sides look at parents more often. */
const WOULD_HAVE_BEGUN_MS = 3_000;

const checkpointOf = async (road: KclRoad, shardId: string) =>
  (await road.rows()).get(shardId)?.["checkpoint"]?.S;

test(
  "kcl: our children of a shard that Java reads wait for its end; Java deletes its row then (KCL scenarios 13, 15)",
  {
    skip,
  },
  async (t) => {
    await kclJvm();
    const road = await layKclRoad(t, { shards: 2 });
    const [parent, other] = road.kinesis.openShardIds(road.streamName) as [string, string];
    await road.prepareTable({ [parent]: { owner: "0" }, [other]: {} });
    const ours = await road.ours();
    await ours.waitFor(new RegExp(`^start ${other} `, "m"), 30_000);
    const ofParent = road.put(20, parent);
    const java = await road.java({ holdEnds: true, maxLeases: 1, cleanupMs: 1_000 });
    const children = road.kinesis.splitShard(road.streamName, parent);
    const ofChildren = children.flatMap((child) => road.put(10, child));

    await java.until("the parent's end", () => java.told("end-held", parent).length > 0);
    await eventually(async () => {
      const rows = await road.rows();
      return children.every((child) => rows.get(child)?.["leaseOwner"] !== undefined);
    }, "ours has taken the children that Java made");
    await delay(WOULD_HAVE_BEGUN_MS);
    assert.deepEqual(startsOf(ours).map(({ shardId }) => shardId), [other]);
    assert.notEqual(await checkpointOf(road, parent), "SHARD_END");

    await java.release();
    await eventually(() => road.published().length >= ofChildren.length, "the children's records");
    assert.deepEqual(road.read(java), ofParent, "Java had all of the parent, in order, before");
    assert.deepEqual(road.published().sort(), [...ofChildren].sort());
    await eventually(
      async () => await checkpointOf(road, parent) === undefined,
      "Java deletes the parent's row",
    );
    const more = children.flatMap((child) => road.put(10, child));
    await eventually(() => road.published().length >= ofChildren.length + more.length, "ours goes on");
    await stopped(ours);
    road.judge([ours], [java]);
  },
);

test(
  "kcl: Java's children of a shard that we read wait until its last record is published (KCL scenario 13)",
  {
    skip,
  },
  async (t) => {
    await kclJvm();
    const road = await layKclRoad(t, { shards: 1 });
    const [parent] = road.kinesis.openShardIds(road.streamName) as [string];
    const ofParent = road.put(20, parent);
    const children = road.kinesis.splitShard(road.streamName, parent);
    const ofChildren = children.flatMap((child) => road.put(10, child));
    const mine = { owner: "0", parents: [parent] };
    await road.prepareTable({ [parent]: {}, [children[0]]: mine, [children[1]]: mine });
    const java = await road.java({ checkpointEvery: 1, maxLeases: 2 });
    const ours = await road.ours({}, ofParent.at(-1)!);

    await ours.waitFor(/^held /m, 60_000);
    await delay(WOULD_HAVE_BEGUN_MS);
    await java.refresh();
    assert.deepEqual(java.told("init"), []);
    assert.notEqual(await checkpointOf(road, parent), "SHARD_END");

    await road.letGo();
    await java.until("the children's records", () => road.read(java).length >= ofChildren.length);
    assert.deepEqual(road.published(), ofParent);
    assert.deepEqual(road.read(java).sort(), ofChildren.sort());
    assert.equal(await checkpointOf(road, parent), "SHARD_END");
    const row = (await java.rows()).get(parent)!;
    assert.deepEqual(row.children, [...children].sort(), "as the KCL reads it");
    await stopped(ours);
    road.judge([ours], [java]);
  },
);

test(
  "kcl: the child of one shard of Java's and one of ours is made once and waits for both (KCL scenario 14)",
  {
    skip,
  },
  async (t) => {
    await kclJvm();
    const road = await layKclRoad(t, { shards: 2 });
    const [javas, mine] = road.kinesis.openShardIds(road.streamName) as [string, string];
    await road.prepareTable({ [javas]: { owner: "0" }, [mine]: {} });
    const ours = await road.ours();
    await ours.waitFor(new RegExp(`^start ${mine} `, "m"), 30_000);
    const ofJavas = road.put(20, javas);
    const ofMine = road.put(20, mine);
    const java = await road.java({ holdEnds: true, maxLeases: 1 });
    await java.until("its shard", () => java.told("init", javas).length > 0);
    const child = road.kinesis.mergeShards(road.streamName, javas, mine);
    const ofChild = road.put(10, child);

    await java.until("the end of its parent", () => java.told("end-held", javas).length > 0);
    await eventually(async () => await checkpointOf(road, mine) === "SHARD_END", "the end of our parent");
    await eventually(
      async () => (await road.rows()).get(child)?.["leaseOwner"] !== undefined,
      "the child is taken",
    );
    await delay(WOULD_HAVE_BEGUN_MS);
    assert.deepEqual(startsOf(ours).map(({ shardId }) => shardId), [mine]);
    const row = (await java.rows()).get(child)!;
    assert.deepEqual(row.parents, [javas, mine].sort());
    assert.equal(row.sequenceNumber, "TRIM_HORIZON");

    await java.release();
    const published = [...ofMine, ...ofChild];
    await eventually(() => road.published().length >= published.length, "the child's records");
    assert.deepEqual(road.published(), published);
    assert.deepEqual(road.read(java), ofJavas);
    await stopped(ours);
    road.judge([ours], [java]);
  },
);
