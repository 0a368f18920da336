// Effectively once: when a shard keeps its producer name and when it begins a new one, each said with its reason.

import { test } from "node:test";
import assert from "node:assert/strict";
import type { LeaseItem } from "../../src/leases/row.ts";
import { newAggregate } from "../core/aggregate-record.ts";
import type { KinesisRecord } from "../../src/hooks/types.ts";
import { partitionOf } from "../../src/pulsar/routing.ts";
import { child } from "./kit.ts";
import { edit, type OnceWorld, onceWorld, range, row, type Run, SHARD, start, texts } from "./once-kit.ts";

/** A run that published 1 … 10, stored them up to the fourth receipt and was killed. */
async function killed(world: OnceWorld, options = {}, stored = "4"): Promise<Run> {
  world.stream.put(...range(1, 10));
  const run = await start(world, { receipts: 4, ...options });
  await run.clock.advance(1_000);
  assert.equal(row(world)["checkpoint"]?.S, stored);
  run.kill();
  return run;
}

/** A run that published and stored 1 … 10 and ended cleanly. */
async function stopped(world: OnceWorld, options = {}): Promise<Run> {
  world.stream.put(...range(1, 10));
  const run = await start(world, options);
  await run.stop();
  assert.equal(row(world)["checkpoint"]?.S, "10");
  return run;
}

/** Why a run began a new producer name, by its metric and its log. */
function reasons(run: Run): string[] {
  const metric = run.metrics.snapshot().find(({ name }) => name === "generations_total");
  const found = metric?.series.flatMap(({ labels, value }) => value > 0 ? [labels["reason"]!] : []) ?? [];
  const said = run.log.entries.filter(({ message }) => message.includes("new producer name"));
  assert.deepEqual(said.map(({ fields }) => fields["reason"]), found);
  return found;
}

test("once: what a run writes before it hands on the first record", async () => {
  const world = onceWorld();
  world.stream.put(7, 8);
  const writes: LeaseItem[] = [];
  const run = await start(world, {
    receipts: 0,
    hooks: { onRecord: () => void writes.push(row(world)) },
  });
  assert.equal(writes.length, 2);
  const { pulsarGeneration, ...rest } = writes[0]!;
  assert.match(pulsarGeneration!.S!, /^[0-9a-f]{16}$/);
  assert.deepEqual(
    Object.fromEntries(Object.entries(rest).filter(([name]) => name.startsWith("pulsar"))),
    {
      pulsarAnchor: { S: "7/0" },
      pulsarOrdinal: { N: "0" },
      pulsarOrdinalAt: { S: "TRIM_HORIZON" },
      pulsarDigest: { S: "digest" },
      pulsarDrained: { BOOL: false },
      pulsarRefused: { BOOL: false },
      pulsarPartitions: { M: {} },
    },
  );
  assert.deepEqual(reasons(run), ["first"]);
  assert.deepEqual(run.log.messages("info").filter((line) => line.includes("producer name")), [
    "shard shard-0: new producer name and sequence ids from 7/0 on: the shard has none yet",
  ]);
  assert.deepEqual(run.log.messages("warn"), []);
  await run.stop();
});

test("once: a checkpoint writes position, ordinal and its place in one write", async () => {
  const world = onceWorld();
  world.stream.put(1, newAggregate("2", ["a", "b", "c"]), 3);
  const run = await start(world, { receipts: 3 });
  await run.clock.advance(1_000);
  const { checkpoint, checkpointSubSequenceNumber, pulsarOrdinal, pulsarOrdinalAt } = row(world);
  assert.deepEqual([checkpoint, checkpointSubSequenceNumber], [{ S: "2" }, { N: "1" }]);
  assert.deepEqual([pulsarOrdinal, pulsarOrdinalAt], [{ N: "3" }, { S: "2/1" }]);
  run.kill();
});

test("once: a clean stop says that the shard is drained, the next record that it is not", async () => {
  const world = onceWorld();
  const first = await stopped(world);
  assert.deepEqual(row(world)["pulsarDrained"], { BOOL: true });
  world.stream.put(11);
  const second = await start(world, { receipts: 0 });
  assert.deepEqual(row(world)["pulsarDrained"], { BOOL: false });
  assert.deepEqual(reasons(second), []);
  assert.deepEqual(world.broker.texts(), texts(...range(1, 11)));
  assert.deepEqual([...second.sink.producers], [...first.sink.producers]);
  second.kill();
});

test("once: a clean stop whose position an interval has stored already says so, too", async () => {
  const world = onceWorld();
  world.stream.put(1, 2);
  const run = await start(world);
  await run.clock.advance(2_000);
  assert.deepEqual([row(world)["checkpoint"]?.S, row(world)["pulsarDrained"]?.BOOL], ["2", false]);
  await run.stop();
  assert.deepEqual([row(world)["checkpoint"]?.S, row(world)["pulsarDrained"]?.BOOL], ["2", true]);
});

test("once: a stop that leaves messages on their way says nothing of drained", async () => {
  const world = onceWorld();
  world.stream.put(...range(1, 10));
  const run = await start(world, { receipts: 4 });
  await run.stop();
  assert.deepEqual([row(world)["checkpoint"]?.S, row(world)["pulsarDrained"]?.BOOL], ["4", false]);
});

test("once: a checkpoint older than the retention begins a new producer name", async () => {
  const world = onceWorld();
  const first = await killed(world);
  world.stream.trim(6);
  const second = await start(world);
  assert.deepEqual(reasons(second), ["record-missing"]);
  assert.match(
    second.log.messages("warn").join(),
    /from 6\/0 on: the record to go on from is not in the stream any more\. Records .* are in the topic twice/,
  );
  assert.deepEqual(world.broker.texts(), texts(...range(1, 10), ...range(6, 10)));
  assert.notDeepEqual([...second.sink.producers], [...first.sink.producers]);
  await second.stop();
});

test("once: an anchor older than the retention begins a new producer name", async () => {
  const world = onceWorld();
  world.stream.put(...range(1, 5));
  const first = await start(world, { receipts: 0 });
  first.kill();
  world.stream.trim(3);
  const second = await start(world);
  assert.deepEqual(reasons(second), ["record-missing"]);
  assert.deepEqual(row(world)["pulsarAnchor"], { S: "3/0" });
  await second.stop();
  assert.deepEqual(world.broker.texts(), texts(...range(1, 5), ...range(3, 5)));
});

test("once: a checkpoint that was moved back by hand publishes again, under a new name", async () => {
  const world = onceWorld();
  await stopped(world);
  edit(world, { checkpoint: { S: "7" } });
  const second = await start(world);
  assert.deepEqual(reasons(second), ["checkpoint-moved"]);
  assert.deepEqual(world.broker.texts(), texts(...range(1, 10), 8, 9, 10));
  await second.stop();
});

test("once: a checkpoint that a KCL worker moved begins a new producer name, and nothing is lost", async () => {
  const world = onceWorld();
  await killed(world);
  // As the KCL writes: its own attributes, ours untouched.
  edit(world, { checkpoint: { S: "6" }, checkpointSubSequenceNumber: { N: "0" } });
  const second = await start(world);
  assert.deepEqual(reasons(second), ["checkpoint-moved"]);
  assert.deepEqual(world.broker.texts(), texts(...range(1, 10), ...range(7, 10)));
  await second.stop();
});

test("once: a subsequence number that a KCL worker moved counts as moved", async () => {
  const world = onceWorld();
  world.stream.put(newAggregate("1", ["a", "b", "c", "d"]));
  const first = await start(world, { receipts: 2 });
  await first.clock.advance(1_000);
  first.kill();
  edit(world, { checkpointSubSequenceNumber: { N: "2" } });
  const second = await start(world);
  assert.deepEqual(reasons(second), ["checkpoint-moved"]);
  assert.deepEqual(row(world)["pulsarAnchor"], { S: "1/3" });
  assert.deepEqual(world.broker.texts(), ["a", "b", "c", "d", "d"]);
  await second.stop();
});

test("once: a row that is deleted begins a new producer name each time, never an old one again", async () => {
  const world = onceWorld();
  const names = new Set((await stopped(world)).sink.producers);
  for (const times of [2, 3]) {
    world.table.items.delete(SHARD);
    const run = await start(world);
    assert.deepEqual(reasons(run), ["first"]);
    for (const name of run.sink.producers) names.add(name);
    assert.equal(names.size, times);
    await run.stop();
  }
  assert.equal(world.broker.texts().length, 30);
  assert.equal(world.broker.duplicates, 0);
});

test("once: hooks that changed while the shard was drained go on under the same name", async () => {
  const world = onceWorld();
  const first = await stopped(world);
  world.stream.put(11, 12);
  const second = await start(world, {
    digest: "changed",
    hooks: { onRecord: ({ sequenceNumber }) => sequenceNumber === "11" ? null : undefined },
    receipts: 0,
  });
  assert.deepEqual(reasons(second), []);
  assert.deepEqual(row(world)["pulsarDigest"], { S: "changed" });
  assert.deepEqual([...second.sink.producers], [...first.sink.producers]);
  assert.deepEqual(world.broker.texts(), texts(...range(1, 10), 12));
  second.kill();
});

test("once: hooks that changed while messages were on their way begin a new producer name", async () => {
  const world = onceWorld();
  // The old hook leaves out what the new one publishes: under the old name these would be taken for old messages.
  const old = {
    onRecord: ({ sequenceNumber }: { sequenceNumber: string }) => +sequenceNumber % 2 ? null : undefined,
  };
  await killed(world, { hooks: old, receipts: 2 }, "5");
  assert.deepEqual(world.broker.texts(), texts(2, 4, 6, 8, 10));
  const second = await start(world, { digest: "changed" });
  assert.deepEqual(reasons(second), ["hooks-changed"]);
  assert.deepEqual(world.broker.texts(), texts(2, 4, 6, 8, 10, ...range(6, 10)));
  await second.stop();
});

test("once: a shard is not drained before what a killed run may have published is passed", async () => {
  const world = onceWorld();
  const old = {
    onRecord: ({ sequenceNumber }: { sequenceNumber: string }) => +sequenceNumber % 2 ? null : undefined,
  };
  await killed(world, { hooks: old, receipts: 2 }, "5"); // published up to 10, stored 5
  world.stream.pageSize = 2;
  // A clean stop at 6, with nothing of its own on the way: 8 and 10 are in the topic all the same.
  const second = await start(world, {
    hooks: {
      onRecord: (record) => record.sequenceNumber === "7" ? new Promise(() => {}) : old.onRecord(record),
    },
    shutdownTimeoutMs: 1_000,
  });
  await second.stop();
  assert.deepEqual([row(world)["checkpoint"]?.S, row(world)["pulsarDrained"]?.BOOL], ["6", false]);
  const third = await start(world, { digest: "changed" });
  assert.deepEqual(reasons(third), ["hooks-changed"]);
  for (const text of texts(7, 9)) assert.ok(world.broker.texts().includes(text), `${text} is lost`);
  await third.stop();
});

test("once: a run that has been at the shard's tip after a kill leaves it drained", async () => {
  const world = onceWorld();
  await killed(world);
  const second = await start(world);
  await second.stop();
  assert.deepEqual([row(world)["checkpoint"]?.S, row(world)["pulsarDrained"]?.BOOL], ["10", true]);
});

test("once: a hook that adds messages while drained goes on, while not drained it does not", async () => {
  const twice = { onRecord: ({ message }: { message: unknown }) => [message, message] as never };
  for (const drained of [true, false]) {
    const world = onceWorld();
    if (drained) await stopped(world);
    else await killed(world);
    const run = await start(world, { digest: "twice", hooks: twice });
    assert.deepEqual(reasons(run), drained ? [] : ["hooks-changed"]);
    world.stream.put(11);
    await run.clock.advance(1_000);
    assert.equal(world.broker.texts().filter((text) => text === "record 11").length, 2);
    await run.stop();
  }
});

test("once: a partition count that grows is adopted only when the shard is drained", async () => {
  const world = onceWorld();
  world.broker.partitions.set("out", 2);
  await killed(world);
  assert.deepEqual(row(world)["pulsarPartitions"], { M: { out: { N: "2" } } });
  world.broker.partitions.set("out", 5);
  const second = await start(world);
  assert.deepEqual(row(world)["pulsarPartitions"], { M: { out: { N: "2" } } });
  assert.equal(world.broker.duplicates, 6);
  assert.deepEqual([...world.broker.texts()].sort(), texts(...range(1, 10)).sort());
  await second.stop();
  world.stream.put(...range(11, 30));
  const third = await start(world);
  assert.deepEqual(reasons(third), []);
  assert.deepEqual(row(world)["pulsarPartitions"], { M: { out: { N: "5" } } });
  assert.equal(world.broker.topics.size, 5);
  assert.deepEqual([...world.broker.texts()].sort(), texts(...range(1, 30)).sort());
  await third.stop();
});

test("once: messages without a key go where their records' keys say, also when they are sent again", async () => {
  const world = onceWorld();
  world.broker.partitions.set("out", 3);
  const options = { hooks: { onRecord: ({ message }: KinesisRecord) => ({ ...message, key: undefined }) } };
  await killed(world, options);
  const second = await start(world, options);
  await second.stop();
  assert.ok(world.broker.duplicates > 0);
  for (const number of range(1, 10)) {
    const topic = `out-partition-${partitionOf(`key ${number}`, 3, "Murmur3_32Hash")}`;
    assert.ok(world.broker.topics.get(topic)!.includes(texts(number)[0]!), `${number}`);
  }
  assert.deepEqual(world.broker.texts().sort(), texts(...range(1, 10)).sort());
});

test("once: every record of a page is left out by a hook, and the ids go on behind them", async () => {
  const world = onceWorld();
  world.stream.pageSize = 5;
  const hooks = {
    onRecord: ({ sequenceNumber }: { sequenceNumber: string }) => +sequenceNumber <= 5 ? null : undefined,
  };
  await killed(world, { hooks, receipts: 0, reach: 3 }, "5");
  assert.deepEqual(row(world)["pulsarOrdinal"], { N: "5" });
  const run = await start(world, { hooks, receipts: 2 });
  await run.clock.advance(1_000);
  assert.deepEqual([row(world)["checkpoint"]?.S, row(world)["pulsarOrdinal"]?.N], ["7", "7"]);
  run.kill();
  const last = await start(world, { hooks });
  assert.deepEqual(world.broker.texts(), texts(...range(6, 10)));
  await last.stop();
});

test("once: an at-least-once run in between that moved the checkpoint begins a new producer name", async () => {
  const world = onceWorld();
  await stopped(world);
  world.stream.put(11);
  await (await start(world, { once: false })).stop();
  assert.equal(row(world)["checkpoint"]?.S, "11");
  world.stream.put(12);
  const third = await start(world);
  assert.deepEqual(reasons(third), ["checkpoint-moved"]);
  assert.deepEqual(world.broker.texts(), texts(...range(1, 12)));
  await third.stop();
});

test("once: a LATEST row with an anchor goes on there, also at least once and years later", async () => {
  const world = onceWorld();
  world.stream.put(1);
  const first = await start(world, { initialPosition: { type: "LATEST" }, receipts: 0 });
  world.stream.put(2, 3);
  await first.clock.advance(100);
  first.kill();
  assert.equal(row(world)["checkpoint"]?.S, "LATEST");
  const second = await start(world, { once: false });
  assert.deepEqual(second.opened[0]!.start, { type: "AT_SEQUENCE_NUMBER", sequenceNumber: "2" });
  await second.stop();
  assert.deepEqual(world.broker.texts(), texts(2, 3, 2, 3));
});

const DAMAGE: readonly [what: string, change: LeaseItem, remove?: readonly string[]][] = [
  ["an ordinal that is no number", { pulsarOrdinal: { S: "four" } }],
  ["an ordinal beyond all", { pulsarOrdinal: { N: "9007199254740992" } }],
  ["an anchor without subsequence number", { pulsarAnchor: { S: "1" } }],
  ["an anchor at a sentinel", { pulsarAnchor: { S: "LATEST" } }],
  ["a place that is no position", { pulsarOrdinalAt: { S: "somewhere" } }],
  ["no partitions", {}, ["pulsarPartitions"]],
  ["partitions that are no counts", { pulsarPartitions: { M: { out: { N: "-1" } } } }],
  ["another flag of another type", { pulsarRefused: { N: "0" } }],
  ["a flag of another type", { pulsarDrained: { S: "false" } }],
  ["no generation", {}, ["pulsarGeneration"]],
  ["an empty digest", { pulsarDigest: { S: "" } }],
];

for (const [what, change, remove] of DAMAGE) {
  test(`once: a row with ${what} begins a new producer name and says so`, async () => {
    const world = onceWorld();
    await killed(world);
    edit(world, change, remove);
    const second = await start(world);
    assert.deepEqual(reasons(second), ["unreadable"]);
    assert.match(second.log.messages("warn").join(), /the lease row's Pulsar attributes cannot be read/);
    assert.deepEqual(world.broker.texts(), texts(...range(1, 10), ...range(5, 10)));
    await second.stop();
    assert.equal(row(world)["checkpoint"]?.S, "10");
  });
}

test("once: all attributes gone is a shard's first generation", async () => {
  const world = onceWorld();
  await killed(world);
  edit(world, {}, Object.keys(row(world)).filter((name) => name.startsWith("pulsar")));
  const second = await start(world);
  assert.deepEqual(reasons(second), ["first"]);
  await second.stop();
});

test("once: a shard's end closes its producers, and its children begin their own", async () => {
  const world = onceWorld();
  world.stream.put(1, 2);
  const run = await start(world);
  world.stream.end([child("c", [SHARD])]);
  await run.clock.advance(1_000);
  assert.equal(row(world)["checkpoint"]?.S, "SHARD_END");
  assert.equal(run.sink.dropped.length >= 1, true);
  // The model's child has the same records: what counts is under which name.
  const ids = [SHARD, "c"].map((shardId) => world.table.items.get(shardId)!["pulsarGeneration"]!.S!);
  assert.notEqual(ids[0], ids[1]);
  assert.deepEqual([...run.sink.producers], [`app/orders/${SHARD}/${ids[0]}`, `app/orders/c/${ids[1]}`]);
  assert.deepEqual(world.table.items.get("c")!["pulsarOrdinalAt"], { S: "TRIM_HORIZON" });
  await run.stop();
});

test("once: a bounded run stops at its time, and the next one goes on with the same name", async () => {
  const world = onceWorld();
  world.stream.put(...range(1, 10));
  const first = await start(world, { until: 6 });
  await first.clock.advance(60_000);
  assert.equal((await first.connector.finished).reason, "until");
  assert.deepEqual([row(world)["checkpoint"]?.S, row(world)["pulsarDrained"]?.BOOL], ["5", true]);
  const second = await start(world);
  assert.deepEqual(reasons(second), []);
  assert.deepEqual(world.broker.texts(), texts(...range(1, 10)));
  assert.equal(world.broker.duplicates, 0);
  await second.stop();
});

test("once: duplicates that the broker dropped are counted", async () => {
  const world = onceWorld();
  await killed(world);
  const second = await start(world);
  const metric = second.metrics.snapshot().find(({ name }) => name === "duplicates_dropped_total");
  assert.equal(metric?.series[0]?.value, 6);
  await second.stop();
});
