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
    const road = await layKclRoad(t, { shards: 2, clock: time.clock });
    const [parent, other] = road.kinesis.openShardIds(road.streamName) as [string, string];
    // On both sides of the time: whole aggregates, of which neither side's may be cut, and plain records.
    road.put(2, parent);
    await road.putAggregate(parent, 3);
    await road.putAggregate(other, 3);
    road.put(2, other);
    const before = road.known.length;
    time.at(-160);
    const [firstOfParent] = await road.putAggregate(parent, 3);
    road.put(2, parent);
    road.put(2, other);
    await road.putAggregate(other, 3);
    const firstOfOther = road.known.slice(before).find(({ shardId }) => shardId === other)!;
    time.at(-120);
    const children = road.kinesis.splitShard(road.streamName, parent);
    time.at(-60);
    for (const child of children) road.put(2, child);
    time.at(0);
    const all = road.known.map(({ text }) => text);

    await road.prepareTable({ [parent]: {}, [other]: {} });
    const java = await road.java({ roundMs: 250 });
    await java.until("all records", () => road.read(java).length >= all.length);
    await java.checkpoint();
    await java.stop();
    const done = await road.rows();
    assert.deepEqual([...done.keys()].sort(), [parent, other, ...children].sort());
    assert.equal(ownerAndCheckpoint(done.get(parent)), "0 SHARD_END/0");

    const resetAndRead = async (to: string, table: string, expectedRows: unknown, expected: string[]) => {
      const topic = `${road.topic}-${table}`;
      const file = (applicationName: string) =>
        road.write(`${applicationName}.toml`, {
          applicationName,
          leases: { failoverTimeMs: 2_000 }, // so long it looks whether Java is alive
          pulsar: { topic },
        });
      await ended(road.run("leases", "reset", await file(table), "--to", to));
      const rows = await road.rows(table);
      assert.deepEqual(
        Object.fromEntries([...rows].map(([shardId, row]) => [shardId, ownerAndCheckpoint(row)])),
        expectedRows,
      );
      const ourTable = await road.copyTable(table);
      const [again] = await Promise.all([
        road.java({ table, roundMs: 250 }),
        file(ourTable).then((path) => ended(road.run("run", path, "--until", "now"))),
      ]);
      assert.deepEqual(road.broker.messages(topic).map(({ data }) => String(data)).sort(), expected);
      await again.until(`all since ${to}`, () => road.read(again).length >= expected.length);
      assert.deepEqual(road.read(again).sort(), expected);
      assert.deepEqual(
        again.told("init").filter(([, shardId]) => !children.includes(shardId)).map((
          [, shardId, ...from],
        ) => [
          shardId,
          `- ${from.join("/")}`,
        ]).sort(),
        Object.entries(expectedRows as object).sort(),
      );
      again.abandon();
    };
    const copy = await road.copyTable();
    await Promise.all([
      resetAndRead("-170m", road.table, {
        [parent]: `- ${firstOfParent!.sequenceNumber}/-1`,
        [other]: `- ${firstOfOther.sequenceNumber}/-1`,
      }, all.slice(before).sort()),
      resetAndRead("TRIM_HORIZON", copy, {
        [parent]: "- TRIM_HORIZON/0",
        [other]: "- TRIM_HORIZON/0",
      }, [...all].sort()),
    ]);
  },
);
