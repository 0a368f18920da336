// Effectively once and ownership: nothing is handed on before the row says under which name, whoever steals the lease
// goes on under the same one, and a gap in what is read does no harm.

import { test } from "node:test";
import assert from "node:assert/strict";
import { ConnectorError } from "../../src/core/errors.ts";
import type { RawRecord } from "../../src/core/record.ts";
import type { LeaseChange, LeaseStore } from "../../src/leases/store.ts";
import { firstPosition, pageRecords } from "../../src/pipeline/page-records.ts";
import { newAggregate } from "../core/aggregate-record.ts";
import { page, record } from "./kit.ts";
import { edit, onceWorld, range, row, SHARD, start, texts } from "./once-kit.ts";

/** A store of which one kind of write does something else first. */
function wrapped(
  matches: (change: LeaseChange) => boolean,
  instead: (write: () => ReturnType<LeaseStore["update"]>) => ReturnType<LeaseStore["update"]>,
): (store: LeaseStore) => LeaseStore {
  return (store) =>
    new Proxy(store, {
      get(target, name) {
        const value: unknown = Reflect.get(target, name);
        if (typeof value !== "function") return value;
        if (name !== "update") return value.bind(target);
        return (leaseKey: string, counter: number, change: LeaseChange) => {
          const write = () => store.update(leaseKey, counter, change);
          return matches(change) ? instead(write) : write();
        };
      },
    });
}

const isBegin = ({ generation, checkpoint }: LeaseChange): boolean =>
  generation !== undefined && checkpoint === undefined && Object.keys(generation!.partitions).length === 0;
const noAnswer = () => new ConnectorError("no answer", { code: "AWS_UNAVAILABLE", retryable: true });

test("once: nothing is handed on before the generation is stored, while pages are read on", async () => {
  const world = onceWorld();
  world.stream.pageSize = 2;
  world.stream.put(...range(1, 10));
  let letThrough = () => {};
  const gate = new Promise<void>((resolve) => letThrough = resolve);
  const run = await start(world, { wrapStore: wrapped(isBegin, (write) => gate.then(write)) });
  assert.equal(run.sink.pending, 0);
  assert.deepEqual(world.broker.texts(), []);
  letThrough();
  await run.clock.advance(100);
  assert.deepEqual(world.broker.texts(), texts(...range(1, 10)));
  await run.stop();
});

test("once: a generation whose answer is lost is the one in force", async () => {
  const world = onceWorld();
  world.stream.put(1, 2, 3);
  let times = 0;
  const wrapStore = wrapped(isBegin, async (write) => {
    const result = await write();
    if (++times === 1) throw noAnswer();
    return result;
  });
  const run = await start(world, { wrapStore });
  await run.clock.advance(2_000);
  assert.equal(times, 2, "repeated, and found");
  assert.deepEqual(world.broker.texts(), texts(1, 2, 3));
  assert.deepEqual([...run.sink.producers], [`app/orders/${SHARD}/${row(world)["pulsarGeneration"]!.S}`]);
  assert.match(
    run.log.messages("warn").join(),
    /the generation of sequence ids of shard shard-0 .* trying again/,
  );
  await run.stop();
});

test("once: a table that takes no generation holds the shard up, and the connector says why", async () => {
  const world = onceWorld();
  world.stream.put(1, 2, 3);
  let isDown = true;
  const wrapStore = wrapped(isBegin, (write) => isDown ? Promise.reject(noAnswer()) : write());
  const run = await start(world, { wrapStore });
  await run.clock.advance(5_000);
  assert.deepEqual(world.broker.texts(), []);
  assert.ok(run.log.messages("warn").length > 5);
  isDown = false;
  await run.clock.advance(1_000);
  assert.deepEqual(world.broker.texts(), texts(1, 2, 3));
  await run.stop();
});

test("once: a right that is missing for the generation ends the connector", async () => {
  const world = onceWorld();
  world.stream.put(1);
  const denied = new ConnectorError("not allowed", { code: "ACCESS_DENIED" });
  const run = await start(world, { wrapStore: wrapped(isBegin, () => Promise.reject(denied)) });
  await run.clock.advance(30_000);
  assert.equal((await run.connector.finished).error?.code, "ACCESS_DENIED");
  assert.deepEqual(world.broker.texts(), []);
});

test("once: a lease that is stolen between the generation's write and the first message is gone on with by the thief", async () => {
  const world = onceWorld();
  world.stream.put(1, 2, 3);
  // The write is done, its answer comes when the lease is long lost.
  const wrapStore = wrapped(isBegin, async (write) => {
    const result = await write();
    edit(world, { leaseCounter: { N: "77" } }, ["leaseOwner"]);
    return result;
  });
  const first = await start(world, { wrapStore, reach: 0 });
  const thief = await start(world);
  assert.deepEqual(world.broker.texts(), texts(1, 2, 3));
  await first.clock.advance(20_000);
  assert.deepEqual(world.broker.texts(), texts(1, 2, 3));
  assert.deepEqual([...thief.sink.producers], [`app/orders/${SHARD}/${row(world)["pulsarGeneration"]!.S}`]);
  assert.equal(thief.log.messages("warn").length, 0);
  await thief.stop();
});

test("G5 one owner: after a generation's write that took longer than the lease lasts nothing is handed on", async () => {
  const world = onceWorld();
  world.stream.put(1, 2, 3);
  const run: { clock?: { freeze(ms: number): void } } = {};
  const wrapStore = wrapped(isBegin, async (write) => {
    const result = await write();
    run.clock!.freeze(20_000); // as if the process had stood still
    edit(world, { leaseOwner: { S: "other" } });
    return result;
  });
  const stream = world.stream.records.splice(0);
  const started = await start(world, { wrapStore });
  run.clock = started.clock;
  world.stream.put(...stream);
  await started.clock.advance(1_000);
  assert.equal(started.sink.pending, 0);
  assert.deepEqual(world.broker.texts(), []);
});

test("once: a lease that is lost in the middle hands on nothing more, and the next owner loses nothing", async () => {
  const world = onceWorld();
  world.stream.pageSize = 2;
  world.stream.put(...range(1, 10));
  const first = await start(world, { reach: 5, receipts: 2 });
  await first.clock.advance(1_000);
  edit(world, { leaseOwner: { S: "other" }, leaseCounter: { N: "99" } });
  await first.clock.advance(5_000); // until the next renewal
  first.sink.allow(100);
  await first.clock.advance(100);
  assert.equal(world.broker.texts().length, 5);
  assert.ok(first.sink.dropped.length > 0);
  first.kill();
  const thief = await start(world);
  assert.deepEqual(world.broker.texts(), texts(...range(1, 10)));
  assert.deepEqual([...thief.sink.producers], [...first.sink.producers]);
  await thief.stop();
});

test("once: a number of partitions is stored before anything is routed by it", async () => {
  const world = onceWorld();
  world.broker.partitions.set("out", 3);
  world.stream.put(1, 2, 3);
  let isDown = true;
  const isPartitions = ({ generation }: LeaseChange) => Object.keys(generation?.partitions ?? {}).length > 0;
  const wrapStore = wrapped(isPartitions, (write) => isDown ? Promise.reject(noAnswer()) : write());
  const run = await start(world, { wrapStore });
  await run.clock.advance(3_000);
  assert.deepEqual(world.broker.texts(), []);
  isDown = false;
  await run.clock.advance(1_000);
  assert.equal(world.broker.texts().length, 3);
  assert.deepEqual(row(world)["pulsarPartitions"], { M: { out: { N: "3" } } });
  await run.stop();
});

// Kinesis goes on behind a record that it has forgotten with the oldest that it has, without a word. The ordinals then
// go on without a gap where the records have one. That does no harm: ids only rise in this run; and a later run that
// begins before the gap finds its first record forgotten, too (retention only moves on: records that have expired stay
// so when it is made longer), one that begins behind it counts from the same place as this run did.
for (const [receipts, stored, again] of [[4, "4", [9, 10]], [7, "9", []]] as const) {
  test(`once: a gap in what a run reads does no harm to one that begins at ${stored}`, async () => {
    const world = onceWorld();
    world.stream.put(...range(1, 6));
    const first = await start(world, { receipts });
    world.stream.put(...range(7, 10));
    world.stream.trim(9);
    await first.clock.advance(1_000);
    const read = texts(...range(1, 6), 9, 10);
    assert.deepEqual(world.broker.texts(), read);
    assert.equal(row(world)["checkpoint"]?.S, stored);
    first.kill();
    const second = await start(world);
    assert.deepEqual(world.broker.texts(), [...read, ...texts(...again)]);
    await second.stop();
  });
}

test("once: aggregates outside of the shard's range are counted as they are encoded, whether the range is known or not", async () => {
  const world = onceWorld();
  world.stream.put(1, newAggregate("2", ["a", "b", "c"]), 3, 4);
  const first = await start(world, { receipts: 4, reach: 4 }); // up to 2/2
  await first.clock.advance(1_000);
  assert.deepEqual(row(world)["pulsarOrdinal"], { N: "4" });
  first.kill();
  // The same shard, its range known as so small that no aggregate belongs to it.
  edit(world, { startingHashKey: { S: "0" }, endingHashKey: { S: "0" } });
  const second = await start(world, { receipts: 1 });
  await second.clock.advance(1_000);
  assert.deepEqual([row(world)["checkpoint"]?.S, row(world)["pulsarOrdinal"]], ["3", { N: "5" }]);
  second.kill();
  const third = await start(world);
  await third.clock.advance(1_000);
  assert.deepEqual(row(world)["pulsarOrdinal"], { N: "6" });
  assert.deepEqual(world.broker.texts(), ["record 1", "a", "b", "c", ...texts(3, 4)]);
  assert.equal(row(world)["pulsarDrained"]?.BOOL, false);
  await third.stop();
});

const NOTHING_BELONGS = { startingHashKey: "0", endingHashKey: "0" };
const FILTER = { range: NOTHING_BELONGS, resumeAfter: undefined, until: undefined };
const skippedPage = (...records: RawRecord[]) => page(records);

test("page records: the first position is that of a skipped aggregate's first record, too", () => {
  const part = pageRecords(skippedPage(newAggregate("5", ["a", "b"]), record(6)), FILTER);
  assert.deepEqual(firstPosition(part), { sequenceNumber: "5", subSequenceNumber: 0 });
  const behind = pageRecords(skippedPage(record(4), newAggregate("5", ["a", "b"])), FILTER);
  assert.deepEqual(firstPosition(behind), { sequenceNumber: "4", subSequenceNumber: 0 });
  assert.equal(firstPosition(pageRecords(page([]), FILTER)), undefined);
});

test("page records: of an aggregate that is skipped in its middle only the rest is counted", () => {
  const resumeAfter = { sequenceNumber: "5", subSequenceNumber: 1 };
  const part = pageRecords(skippedPage(newAggregate("5", ["a", "b", "c", "d", "e"])), {
    ...FILTER,
    resumeAfter,
  });
  assert.equal(part.skipped[0]?.encoded, 3);
  assert.deepEqual(firstPosition(part), { sequenceNumber: "5", subSequenceNumber: 2 });
  // At an anchor in front of its first record nothing of it is done.
  const anchor = { sequenceNumber: "5", subSequenceNumber: -1 };
  const whole = pageRecords(skippedPage(newAggregate("5", ["a", "b", "c"])), {
    ...FILTER,
    resumeAfter: anchor,
  });
  assert.equal(whole.skipped[0]?.encoded, 3);
  assert.deepEqual(firstPosition(whole), { sequenceNumber: "5", subSequenceNumber: 0 });
});
