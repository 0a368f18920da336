// What `leases reset` writes is read by the real KCL for Java as by our program: both go on from the same rows with
// exactly the records from the position on.

import assert from "node:assert/strict";
import { test } from "node:test";
import { kclMissing } from "../servers/kcl-consumer.ts";
import { layKclRoad, ownerAndCheckpoint } from "./kcl-kit.ts";
import { ended, serverTime } from "./kit.ts";

const skip = kclMissing() ?? false;

test(
  "kcl: after leases reset to a time or TRIM_HORIZON Java and ours read exactly what comes from there on, aggregates whole",
  { skip },
  async (t) => {
    const time = serverTime();
    time.at(-180);
    const road = await layKclRoad(t, { shards: 4, clock: time.clock });
    const shards = road.kinesis.openShardIds(road.streamName) as [string, string, string, string];
    const [one, other, quiet, empty] = shards;
    // On both sides of the time: whole aggregates, of which neither side's may be cut, and plain records.
    road.put(2, one);
    await road.putAggregate(one, 3);
    await road.putAggregate(other, 3);
    road.put(2, other);
    road.put(1, quiet);
    const [, lastOfQuiet] = await road.putAggregate(quiet, 2);
    const before = road.known.length;
    time.at(-160);
    const [firstOfOne] = await road.putAggregate(one, 3);
    road.put(2, one);
    road.put(2, other);
    await road.putAggregate(other, 3);
    const firstOfOther = road.known.slice(before).find(({ shardId }) => shardId === other)!;
    time.at(0);
    const all = () => road.known.map(({ text }) => text);

    await road.prepareTable(Object.fromEntries(shards.map((shardId) => [shardId, {}])));
    const java = await road.java({ roundMs: 250 });
    await java.until("all records", () => road.read(java).length >= all().length);
    await java.checkpoint();
    await java.stop();
    const done = await road.rows();
    assert.deepEqual([...done.keys()].sort(), [...shards].sort());
    assert.equal(ownerAndCheckpoint(done.get(empty)), "0 TRIM_HORIZON/0");

    const file = (applicationName: string, settings: Record<string, unknown> = {}) =>
      road.write(`${applicationName}.toml`, {
        applicationName,
        ...settings,
        pulsar: { topic: `${road.topic}-${applicationName}` },
      });
    const reset = async (table: string, to: string, expected: Record<string, string>) => {
      // the failover time is how long it looks whether Java is alive
      const path = await file(table, { leases: { failoverTimeMs: 2_000 } });
      await ended(road.run("leases", "reset", path, "--to", to));
      const rows = await road.rows(table);
      const written = [...rows].map(([shardId, row]) => [shardId, ownerAndCheckpoint(row)]);
      assert.deepEqual(Object.fromEntries(written), expected, to);
    };
    /** Java from the table, ours from a copy of it. */
    const read = async (table: string, expected: readonly string[]) => {
      const copy = await road.copyTable(table);
      const [again] = await Promise.all([
        road.java({ table, roundMs: 250 }),
        file(copy).then((path) => ended(road.run("run", path, "--until", "now"))),
      ]);
      const published = road.broker.messages(`${road.topic}-${copy}`).map(({ data }) => String(data));
      assert.deepEqual(published.sort(), [...expected].sort());
      await again.until("what is expected", () => road.read(again).length >= expected.length);
      assert.deepEqual(road.read(again).sort(), [...expected].sort());
    };

    const second = await road.copyTable();
    await Promise.all([
      reset(road.table, "-170m", {
        [one]: `- ${firstOfOne!.sequenceNumber}/-1`,
        [other]: `- ${firstOfOther.sequenceNumber}/-1`,
        [quiet]: `- ${lastOfQuiet!.sequenceNumber}/1`,
        [empty]: "- TRIM_HORIZON/0",
      }),
      reset(
        second,
        "TRIM_HORIZON",
        Object.fromEntries(shards.map((shardId) => [shardId, "- TRIM_HORIZON/0"])),
      ),
    ]);
    // Before anybody connects: whoever begins only where the shard then ends has lost them.
    for (const shardId of [quiet, empty]) road.put(2, shardId);
    await Promise.all([read(road.table, all().slice(before)), read(second, all())]);
  },
);
