// From the Java connector to ours and back, judged by the real KCL for Java: each goes on from the other's checkpoint,
// in the middle of an aggregate too, and reads the other's rows.

import assert from "node:assert/strict";
import { test } from "node:test";
import { kclMissing } from "../servers/kcl-consumer.ts";
import { layKclRoad, ownerAndCheckpoint } from "./kcl-kit.ts";
import { eventually, stopped } from "./kit.ts";
import { typesOf } from "./judge.ts";

const skip = kclMissing() ?? false;

test(
  "kcl: Java stops and ours goes on, ours stops and Java goes on, inside aggregates too (KCL scenarios 1-4)",
  {
    skip,
  },
  async (t) => {
    const road = await layKclRoad(t, { shards: 2 });
    const [first, second] = road.kinesis.openShardIds(road.streamName) as [string, string];
    const before = [road.put(3, first), road.put(4, second)].flat();
    const inJava = await road.putAggregate(first, 5);

    // Java, first on an empty table: its own rows, its own checkpoints.
    const java = await road.java({ mark: inJava[2]!.text });
    const all = [...before, ...inJava.slice(0, 3).map(({ text }) => text)].sort();
    await java.until(
      "its records of both shards",
      () => road.read(java).length >= all.length && java.told("checkpoint", first).length > 0,
      120_000,
    );
    await java.checkpoint();
    await java.until("a checkpoint of the other shard", () => java.told("checkpoint", second).length > 0);
    await java.stop();
    assert.deepEqual(road.read(java).sort(), all);
    const javaRows = await road.rows();
    const done = road.known.findLast(({ shardId }) => shardId === second)!;
    assert.equal(ownerAndCheckpoint(javaRows.get(first)), `0 ${inJava[2]!.sequenceNumber}/2`);
    assert.equal(ownerAndCheckpoint(javaRows.get(second)), `0 ${done.sequenceNumber}/0`);

    // Ours waits for Java's leases to expire, and goes on strictly after its checkpoints.
    const after = road.put(2, second);
    const inOurs = await road.putAggregate(first, 5);
    const ours = await road.ours({}, inOurs[3]!.text);
    await ours.waitFor(/^held /m, 60_000);
    const published = [...inJava.slice(3), ...inOurs.slice(0, 3)].map(({ text }) => text);
    const wanted = [...published, ...after].sort();
    await eventually(() => road.published().length >= wanted.length, "what Java left and what came after");
    assert.deepEqual(road.published().sort(), wanted);
    // It stops while a hook holds the fourth record of its aggregate: the checkpoint stays inside the aggregate.
    await stopped(ours);
    const ourRows = await road.rows();
    assert.equal(ownerAndCheckpoint(ourRows.get(first)), `- ${inOurs[2]!.sequenceNumber}/2`);
    const counter = (rows: typeof ourRows) => Number(rows.get(second)!["leaseCounter"]!.N);
    assert.ok(counter(ourRows) > counter(javaRows));
    // Ours kept what Java wrote, type for type.
    for (const [name, type] of Object.entries(typesOf(javaRows.get(first)!))) {
      if (name !== "leaseOwner") assert.equal(typesOf(ourRows.get(first)!)[name], type, name);
    }

    // Java again: it reads our rows, takes what nobody owns, and goes on inside the aggregate.
    const last = road.put(3, second);
    const again = await road.java();
    const rest = [...inOurs.slice(3).map(({ text }) => text), ...last].sort();
    await again.until("what ours left and what came after", () => road.read(again).length >= rest.length);
    assert.deepEqual(road.read(again).sort(), rest);
    const taken = (await again.rows()).get(first)!;
    assert.equal(taken.owner, "0");
    assert.equal(taken.ownerSwitches, 0, "nobody was taken from");
    road.judge([ours], [java, again]);
  },
);
