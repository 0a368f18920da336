import { test } from "node:test";
import assert from "node:assert/strict";
import type { Lease } from "../../src/leases/store.ts";
import { inGenerations, shardsWithoutLease } from "../../src/pipeline/shard-sync.ts";
import { startPosition } from "../../src/pipeline/start-position.ts";
import { shard } from "./kit.ts";

const lease = (leaseKey: string, checkpoint = "TRIM_HORIZON", parentShardIds: string[] = []): Lease => ({
  leaseKey,
  leaseCounter: 1,
  ownerSwitchesSinceCheckpoint: 0,
  checkpoint: { sequenceNumber: checkpoint, subSequenceNumber: checkpoint === "50" ? 3 : 0 },
  parentShardIds,
  childShardIds: [],
});
const ids = (shards: readonly { shardId: string }[]) => shards.map(({ shardId }) => shardId);

// a → b, c;  b + c → d;  e alone
const ALL = [shard("a"), shard("b", ["a"]), shard("c", ["a"]), shard("d", ["b", "c"]), shard("e")];

test("shard sync: an empty table gets a lease for every shard of the position", () => {
  assert.deepEqual(ids(shardsWithoutLease(ALL, ALL, [])), ["a", "b", "c", "d", "e"]);
});

test("shard sync: parents come in an earlier wave than their children", () => {
  assert.deepEqual(inGenerations(ALL).map(ids), [["a", "e"], ["b", "c"], ["d"]]);
  assert.deepEqual(inGenerations([shard("b", ["expired"])]).map(ids), [["b"]]);
});

test("shard sync: a start that was killed half-way is completed, running lineages are left alone", () => {
  assert.deepEqual(
    ids(shardsWithoutLease(ALL, ALL, [lease("a")])),
    ["e"],
    "b, c and d follow at their parents' end",
  );
  assert.deepEqual(
    ids(shardsWithoutLease(ALL, ALL, [lease("d", "7"), lease("e")])),
    [],
    "a, b and c are finished",
  );
  assert.deepEqual(ids(shardsWithoutLease(ALL, ALL, [lease("e")])), ["a", "b", "c", "d"]);
  const openOnly = [shard("d", ["b", "c"])];
  assert.deepEqual(ids(shardsWithoutLease(openOnly, openOnly, [lease("b", "SHARD_END", ["a"])])), []);
});

test("shard sync: a parent that was merged away since a start was killed gets its lease, or the merged shard never would", () => {
  const all = [shard("p"), shard("q"), shard("m", ["p", "q"]), shard("n", ["m"])];
  const latest = [all[3]!];
  assert.deepEqual(ids(shardsWithoutLease(latest, all, [lease("p", "LATEST")])), ["q"]);
  assert.deepEqual(ids(shardsWithoutLease(latest, all, [lease("p", "LATEST"), lease("q", "LATEST")])), []);
  assert.deepEqual(ids(shardsWithoutLease(latest, all, [lease("m", "5", ["p", "q"])])), [], "q is finished");
});

test("start position: digits resume AT the number and drop what is done", () => {
  const start = startPosition(lease("a", "50"), { connectLatestOnce: false, startAtTime: undefined });
  assert.deepEqual(start.start, { type: "AT_SEQUENCE_NUMBER", sequenceNumber: "50" });
  assert.deepEqual(start.resumeAfter, { sequenceNumber: "50", subSequenceNumber: 3 });
});

test("start position: a row AT_TIMESTAMP needs the configured time", () => {
  const row = lease("a", "AT_TIMESTAMP");
  const start = startPosition(row, { connectLatestOnce: false, startAtTime: 77 });
  assert.deepEqual(start.start, { type: "AT_TIMESTAMP", timestamp: 77 });
  assert.throws(() => startPosition(row, { connectLatestOnce: false, startAtTime: undefined }), {
    code: "CONFIG_INVALID",
    message: /starts AT_TIMESTAMP, but no startAtTime is configured/,
  });
});
