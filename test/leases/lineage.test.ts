import { test } from "node:test";
import assert from "node:assert/strict";
import { sentinel } from "../../src/core/position.ts";
import { inGenerations, Lineage } from "../../src/leases/lineage.ts";
import { type InitialPosition, missingLeases } from "../../src/leases/new-leases.ts";
import type { Lease } from "../../src/leases/store.ts";
import { newRow, STREAM } from "./stores.ts";
import { graphA, graphB, graphC, StreamModel } from "./stream-model.ts";
import { withoutRange } from "./stream-world.ts";

const END = sentinel("SHARD_END");
const DIGITS = { sequenceNumber: "5000", subSequenceNumber: 0 };

function row(stream: StreamModel, id: string, change: Partial<Lease> = {}): Lease {
  const { startingHashKey, endingHashKey, parentShardIds } = stream.shard(id);
  return newRow(id, { startingHashKey, endingHashKey, parentShardIds, checkpoint: DIGITS, ...change });
}
const rows = (stream: StreamModel, ids: string, change: Partial<Lease> = {}) =>
  ids.split(" ").filter((id) => id !== "").map((id) => row(stream, id, change));

/** What is missing, as "shard position". */
function walk(
  stream: StreamModel,
  leases: readonly Lease[],
  position: InitialPosition,
  openAtTime?: number,
): string[] {
  const lineage = new Lineage({
    shards: stream.listed(),
    leases,
    position,
    openAtTime: openAtTime === undefined ? undefined : stream.openAt(openAtTime),
  });
  assert.deepEqual(lineage.inconsistent, []);
  return lineage.missing().map((one) => [one.shard.shardId, one.position, ...one.waitFor].join(" "))
    .sort();
}

// The published cases of the KCL: graph, leases in the table, what LATEST adds, what the two others add.
const KCL: readonly (readonly [() => StreamModel, string, string, string | undefined])[] = [
  [graphA, "4 5 7", "6", "0 1"],
  [graphA, "3 4 5", "2 6", "0 1 2"],
  [graphA, "2 6", "3 4 9 10", "3 4 5"],
  [graphA, "4 9 10", "8", "0 1 2 3"],
  [graphA, "4 5 6 7", "", ""],
  [graphA, "0 1 2 3 4 5 6 7", "", ""],
  [graphA, "0 1 4 7 9 10", "", ""],
  [graphA, "", "4 8 9 10", "0 1 2 3 4 5"],
  // The KCL's own test of the second is switched off: its walk reads 0 to 5 again below the lease of 6.
  [graphB, "6", "7", "7"],
  [graphB, "5", "", ""],
  [graphB, "0 1 2 3 4 5", "", ""],
  [graphB, "", "9 10", "0 1"],
  [graphC, "9 10", "1 6 7 8", undefined],
];

for (const [graph, leases, latest, others] of KCL) {
  test(`lineage: the KCL's leases for ${graph.name} with (${leases}) (KCL scenario 12)`, () => {
    const stream = graph();
    const expect = (ids: string, position: string) =>
      ids.split(" ").filter((id) => id !== "").map((id) => `${id} ${position}`).sort();
    const present = rows(stream, leases);
    assert.deepEqual(walk(stream, present, "LATEST"), expect(latest, "LATEST"));
    if (others === undefined) return;
    assert.deepEqual(walk(stream, present, "TRIM_HORIZON"), expect(others, "TRIM_HORIZON"));
    assert.deepEqual(walk(stream, present, "AT_TIMESTAMP"), expect(others, "AT_TIMESTAMP"));
  });
}

test("lineage: a shard that was finished, as a lease below it proves, is not read again; its other child is", () => {
  const stream = graphA(); // 5 → 9, 10
  const present = rows(stream, "4 8 9");
  assert.deepEqual(walk(stream, present, "TRIM_HORIZON"), ["10 TRIM_HORIZON"]);
  assert.deepEqual(walk(stream, present, "LATEST"), ["10 LATEST"]);
});

test("lineage: below a finished lease children come from nowhere else, and start at TRIM_HORIZON at any position", () => {
  const stream = graphA();
  const present = [...rows(stream, "4 8"), row(stream, "5", { checkpoint: END })];
  for (const position of ["LATEST", "TRIM_HORIZON", "AT_TIMESTAMP"] as const) {
    assert.deepEqual(walk(stream, present, position), ["10 TRIM_HORIZON", "9 TRIM_HORIZON"]);
  }
  // A merged shard whose parents are finished, one of them without a row any more.
  const merged = [...rows(stream, "4 9 10"), row(stream, "6", { checkpoint: END })];
  assert.deepEqual(walk(stream, merged, "LATEST"), ["8 TRIM_HORIZON"]);
});

test("lineage: what continues an expired shard starts at TRIM_HORIZON, after that one's lease has ended", () => {
  const stream = new StreamModel(2); // 0 → 2, 3; 3 → 4, 5
  stream.split("0");
  stream.split("3");
  stream.forget(stream.now);
  assert.deepEqual(stream.listed().map(({ shardId }) => shardId), ["1", "2", "4", "5"]);
  const present = rows(stream, "0 1 2");
  for (const position of ["LATEST", "TRIM_HORIZON", "AT_TIMESTAMP"] as const) {
    assert.deepEqual(walk(stream, present, position), ["4 TRIM_HORIZON 0", "5 TRIM_HORIZON 0"]);
  }
  const ended = [...rows(stream, "1 2"), row(stream, "0", { checkpoint: END })];
  assert.deepEqual(walk(stream, ended, "LATEST"), ["4 TRIM_HORIZON", "5 TRIM_HORIZON"]);
  // The direct parent's row tells it also without a range; no row at all, and nobody knows.
  const direct = withoutRange(row(stream, "3", { checkpoint: END }));
  assert.deepEqual(walk(stream, [...rows(stream, "1 2"), direct], "LATEST"), [
    "4 TRIM_HORIZON",
    "5 TRIM_HORIZON",
  ]);
  assert.deepEqual(walk(stream, rows(stream, "1 2"), "LATEST"), ["4 LATEST", "5 LATEST"]);
});

test("lineage: the row of what waits names the expired shards too, so that every worker waits for them", () => {
  const shard = { ...new StreamModel(1).shard("0"), parentShardIds: ["c"] };
  const [lease] = missingLeases([{ shard, position: "TRIM_HORIZON", waitFor: ["p", "c"] }], {
    stream: STREAM,
    kinesisNow: 5,
  });
  assert.deepEqual(lease!.parentShardIds, ["c", "p"]);
  assert.equal(lease!.startedAt, undefined);
});

test("lineage: a lease that is younger than the listing is no expired one", () => {
  const stream = graphA();
  const before = stream.listed();
  const [low, high] = stream.split("4");
  const [child] = stream.split(low);
  const present = rows(stream, `6 7 9 10 ${low} ${child} ${high}`);
  const lineage = new Lineage({ shards: before, leases: present, position: "LATEST" });
  assert.deepEqual(lineage.missing(), [], "4 was finished before its children had leases");
});

test("lineage: with AT_TIMESTAMP only shards that were open at the time, or later, are read", () => {
  const stream = graphA(); // 6 and 7 were made by the first two reshards
  const present = rows(stream, "4 5 7");
  assert.deepEqual(walk(stream, present, "AT_TIMESTAMP", 1), ["6 AT_TIMESTAMP"]);
  assert.deepEqual(walk(stream, present, "AT_TIMESTAMP", 0.5), ["0 AT_TIMESTAMP", "1 AT_TIMESTAMP"]);
  assert.deepEqual(walk(stream, present, "AT_TIMESTAMP", 2.5), ["6 AT_TIMESTAMP"]);
  assert.deepEqual(walk(stream, rows(stream, "4 9 10"), "AT_TIMESTAMP", 4.5), ["8 AT_TIMESTAMP"]);
  // But what continues a finished lease is read from its beginning.
  const finished = [...rows(stream, "4 9 10"), row(stream, "6", { checkpoint: END })];
  assert.deepEqual(walk(stream, finished, "AT_TIMESTAMP", 4.5), ["8 TRIM_HORIZON"]);
});

test("lineage: a start that was killed half-way is completed, running lines are left alone", () => {
  const stream = graphA();
  assert.deepEqual(walk(stream, rows(stream, "0 2"), "TRIM_HORIZON"), [
    "1 TRIM_HORIZON",
    "3 TRIM_HORIZON",
    "4 TRIM_HORIZON",
    "5 TRIM_HORIZON",
  ]);
  assert.deepEqual(walk(stream, rows(stream, "8"), "LATEST"), ["10 LATEST", "4 LATEST", "9 LATEST"]);
});

test("lineage: a parent that was merged away since gets its lease, or the merged shard never would", () => {
  const stream = new StreamModel(2);
  stream.merge("0", "1");
  assert.deepEqual(walk(stream, rows(stream, "0"), "LATEST"), ["1 LATEST"]);
  assert.deepEqual(walk(stream, rows(stream, "0 1"), "LATEST"), []);
  assert.deepEqual(walk(stream, rows(stream, "2"), "LATEST"), []);
});

test("lineage: a listing from the middle of a reshard is seen", () => {
  const stream = new StreamModel(2);
  const [low] = stream.split("0");
  const shards = stream.listed().map((shard) =>
    shard.shardId === "0" ? { ...shard, endingSequenceNumber: undefined } : shard
  );
  const lineage = new Lineage({ shards, leases: rows(stream, "1"), position: "LATEST" });
  assert.deepEqual(lineage.inconsistent, [low, "3"]);
});

test("lineage: whether a merged shard's other parent will have a lease", () => {
  const stream = new StreamModel(2); // 0 → 2, 3; 3 + 1 → 4, of which 1 has come to its end
  stream.split("0");
  const merged = stream.merge("3", "1");
  const of = (ids: string, change: Partial<Lease> = {}) => {
    const lineage = new Lineage({
      shards: stream.listed(),
      leases: rows(stream, ids, change),
      position: "LATEST",
    });
    const missing = lineage.missing([merged]).map(({ shard }) => shard.shardId);
    return { awaited: lineage.isAwaited("3"), missing, proved: lineage.isProved("3") };
  };
  assert.deepEqual(of("0 1"), { awaited: true, missing: [], proved: false }, "0's end makes it");
  assert.deepEqual(of("1"), { awaited: true, missing: ["3"], proved: false }, "nobody else makes it");
  stream.forget(3);
  assert.equal(of("1").awaited, false, "it has expired");
});

test("lineage: parents come in an earlier wave than their children", () => {
  const waves = (stream: StreamModel) =>
    inGenerations(stream.listed()).map((wave) => wave.map(({ shardId }) => shardId).sort());
  assert.deepEqual(waves(graphA()), [["0", "1", "2", "3", "4", "5"], ["10", "6", "7", "9"], ["8"]]);
  const stream = graphA();
  stream.forget(3);
  assert.deepEqual(waves(stream), [["4", "5", "6", "7"], ["10", "8", "9"]]);
});

test("lineage: 10 000 shards, wide or a chain of as many generations, cost no square", () => {
  const wide = new StreamModel(5_000);
  for (let i = 0; i < 5_000; i += 2) wide.merge(String(i), String(i + 1));
  for (let i = 5_000; i < 7_500; i++) wide.split(String(i));
  const leases = rows(wide, Array.from({ length: 2_500 }, (_, i) => String(2 * i)).join(" "));
  const started = performance.now();
  assert.equal(walk(wide, leases, "LATEST").length, 2_500, "each merge's other parent");
  assert.equal(walk(wide, leases, "TRIM_HORIZON").length, 2_500);

  const deep = new StreamModel(1);
  let [low, high] = deep.split("0");
  for (let i = 0; i < 5_000; i++) [low, high] = deep.split(deep.merge(low, high));
  assert.deepEqual(walk(deep, rows(deep, "1"), "LATEST"), ["2 LATEST"]);
  assert.deepEqual(walk(deep, [row(deep, "1", { checkpoint: END })], "LATEST").length, 1);
  assert.equal(inGenerations(deep.listed()).length, 10_002);

  // Expired ones with ranges of all sizes, over shards whose parents have expired.
  const gone = Array.from({ length: 5_000 }, (_, i) => row(wide, String(i), { leaseKey: `gone ${i}` }));
  const torn = wide.open().map((id) => ({ ...wide.shard(id), parentShardIds: ["expired"] }));
  const all = newRow("all", { checkpoint: END });
  const lineage = new Lineage({ shards: torn, leases: [...gone, all], position: "LATEST" });
  assert.equal(lineage.missing().length, 5_000);
  const ms = performance.now() - started;
  assert.ok(ms < 20_000, `${ms} ms`); // seconds under load; squares would take minutes
});
