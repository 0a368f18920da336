import { test } from "node:test";
import assert from "node:assert/strict";
import { ConnectorError } from "../../src/core/errors.ts";
import { sentinel } from "../../src/core/position.ts";
import { sightHoles } from "../../src/leases/audit.ts";
import type { InitialPosition } from "../../src/leases/new-leases.ts";
import { newRow } from "./stores.ts";
import { graphA, StreamModel } from "./stream-model.ts";
import { leaseKeys, streamRow, StreamWorld, withoutRange } from "./stream-world.ts";
import { alive } from "./world.ts";

const CASES: readonly (readonly [InitialPosition, string[]])[] = [
  ["LATEST", ["6"]],
  ["TRIM_HORIZON", ["0", "1"]],
  ["AT_TIMESTAMP", ["0", "1"]],
];
for (const [position, expected] of CASES) {
  test(`audit: a hole is filled when it was seen three times, and not before, at ${position} (KCL scenario 12)`, async () => {
    const world = new StreamWorld(graphA(), { position, time: 0.5 });
    await world.streamRows("4 5 7");
    const worker = await world.started("w");
    await world.clock.advance(299_000);
    assert.deepEqual(await leaseKeys(world), ["4", "5", "7"]);
    assert.equal(world.listings, 0, "looking costs no call");
    await world.clock.advance(2_000);
    assert.deepEqual(await leaseKeys(world), ["4", "5", "7", ...expected].sort());
    for (const id of expected) assert.equal((await world.store.get(id))?.checkpoint.sequenceNumber, position);
    assert.deepEqual(alive(worker), ["4", "5", "7", ...expected].sort(), "and taken at once");
    assert.match(worker.log.messages("info").join(), new RegExp(`missing: ${expected[0]} at ${position}`));
    assert.deepEqual(worker.faults, []);
    await worker.coordinator.stop();
  });
}

test("audit: every hole is counted by itself, and one that closes is forgotten", () => {
  const stream = new StreamModel(3);
  const rows = (ids: string) => ids.split(" ").map((id) => streamRow(stream, id));
  const of = (id: string) => `${stream.shard(id).startingHashKey}-${stream.shard(id).endingHashKey}`;
  let seen = sightHoles(new Map(), rows("0 1"));
  assert.deepEqual([...seen], [[of("2"), 1]]);
  seen = sightHoles(seen, rows("1"));
  assert.deepEqual([...seen], [[of("0"), 1], [of("2"), 2]]);
  seen = sightHoles(seen, rows("0 1"));
  assert.deepEqual([...seen], [[of("2"), 3]]);
  seen = sightHoles(seen, [...rows("0 1 2"), withoutRange(newRow("no range"))]);
  assert.equal(seen.size, 0);
  const finished = streamRow(stream, "0", { checkpoint: sentinel("SHARD_END") });
  assert.deepEqual([...sightHoles(seen, [finished, ...rows("1 2")])], [[of("0"), 1]]);
});

test("audit: a reshard that goes on is no hole, however often it is looked at", async () => {
  const world = new StreamWorld(graphA());
  await world.streamRows("4 5 6 7"); // 8, 9 and 10 come from them
  const worker = await world.started("w");
  await world.clock.advance(700_000);
  assert.deepEqual(await leaseKeys(world), ["4", "5", "6", "7"]);
  assert.equal(world.listings, 0);
  await worker.coordinator.stop();
});

test("audit: who is not elected acts only on a hole that the leader leaves for twice as long", async () => {
  const world = new StreamWorld(graphA(), { position: "LATEST" });
  await world.streamRows("4 7");
  await world.store.create(streamRow(world.stream, "5", { leaseOwner: "0", leaseCounter: 5 }));
  const worker = await world.started("w"); // of "0" and "w" the KCL elects "0"
  for (let ms = 0; ms < 658_000; ms += 7_000) {
    await world.heartbeat("5");
    await world.clock.advance(7_000);
  }
  assert.deepEqual(await leaseKeys(world), ["4", "5", "7"]);
  await world.heartbeat("5");
  await world.clock.advance(4_000);
  assert.deepEqual(await leaseKeys(world), ["4", "5", "6", "7"]);
  await worker.coordinator.stop();
});

test("audit: a table that has lost all rows is filled as an empty one, by whoever looks", async () => {
  const world = new StreamWorld(graphA(), { position: "LATEST" });
  const worker = await world.started("w");
  await world.clock.advance(59_000);
  assert.deepEqual(await leaseKeys(world), []);
  await world.clock.advance(3_000);
  assert.deepEqual(await leaseKeys(world), ["10", "4", "8", "9"]);
  assert.deepEqual(alive(worker), ["10", "4", "8", "9"]);
  await worker.coordinator.stop();
});

test("audit: hash ranges that old rows lack are filled in by the leader, counters untouched", async () => {
  const world = new StreamWorld(new StreamModel(2));
  await world.store.create(withoutRange(streamRow(world.stream, "0", { leaseOwner: "0", leaseCounter: 5 })));
  await world.store.create(withoutRange(streamRow(world.stream, "1")));
  await world.store.create(withoutRange(newRow("gone", { checkpoint: sentinel("SHARD_END") })));
  const worker = world.worker("w");
  worker.coordinator.start();
  await world.clock.advance(9_000); // "0" is still taken for alive
  await world.heartbeat("0");
  for (let ms = 0; ms < 54_000; ms += 9_000) {
    await world.clock.advance(9_000);
    await world.heartbeat("0");
  }
  assert.equal((await world.store.get("0"))?.startingHashKey, undefined, 'the leader is "0"');
  await world.clock.advance(140_000); // "0" is dead, and with its row everybody's leader is "w"
  await world.clock.advance(120_000);
  for (const id of ["0", "1"]) {
    const row = await world.store.get(id);
    assert.equal(row?.startingHashKey, world.stream.shard(id).startingHashKey);
    assert.equal(row?.endingHashKey, world.stream.shard(id).endingHashKey);
  }
  assert.equal((await world.store.get("gone"))?.startingHashKey, undefined);
  assert.deepEqual(worker.lost, [], "no renewal failed by it");
  assert.equal(worker.acquired.length, 2);
  await worker.coordinator.stop();
});

test("audit: a listing that fails is said, kills nothing, and the next audit goes on", async () => {
  const world = new StreamWorld(graphA(), { position: "LATEST" });
  await world.streamRows("4 5 7");
  const worker = await world.started("w");
  world.failure = new ConnectorError("ListShards: not now", { code: "AWS_UNAVAILABLE", retryable: true });
  await world.clock.advance(302_000);
  assert.match(worker.log.messages("warn").join(), /audit of the leases failed.*not now/);
  assert.deepEqual(await leaseKeys(world), ["4", "5", "7"]);
  world.failure = undefined;
  await world.clock.advance(120_000);
  assert.deepEqual(await leaseKeys(world), ["4", "5", "6", "7"]);
  assert.deepEqual(worker.faults, []);
  await worker.coordinator.stop();
  assert.equal(world.clock.sleeping, 0);
});

test("audit: several workers that fill a hole at once write each lease once", async () => {
  const world = new StreamWorld(graphA(), { position: "TRIM_HORIZON" });
  const workers = [await world.started("a"), await world.started("b"), await world.started("c")];
  await world.clock.advance(62_000); // an empty table: everybody leads
  assert.deepEqual(await leaseKeys(world), ["0", "1", "2", "3", "4", "5"]);
  assert.deepEqual([...new Set(workers.flatMap(alive))].sort(), ["0", "1", "2", "3", "4", "5"]);
  for (const worker of workers) {
    assert.deepEqual(worker.faults, []);
    await worker.coordinator.stop();
  }
});
