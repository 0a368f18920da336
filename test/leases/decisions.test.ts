import { test } from "node:test";
import assert from "node:assert/strict";
import fc from "fast-check";
import { sentinel } from "../../src/core/position.ts";
import type { Shard } from "../../src/core/shard.ts";
import { childrenByParent, ownerOf, reasonToKeep, unfinishedParents } from "../../src/leases/lease.ts";
import { childLeases, hashRangeHole, initialLeases } from "../../src/leases/new-leases.ts";
import { isAvailable, type Observations, observe } from "../../src/leases/observation.ts";
import type { Lease } from "../../src/leases/store.ts";
import { decideTakes } from "../../src/leases/take.ts";
import { leaseTimes } from "../../src/leases/times.ts";
import { isJavaWorkerId, newWorkerId } from "../../src/leases/worker-id.ts";
import { newRow, STREAM } from "./stores.ts";

const F = 10_000;
const LAST = "340282366920938463463374607431768211455";
const END = sentinel("SHARD_END");

const byKey = (rows: readonly Lease[]) => new Map(rows.map((row) => [row.leaseKey, row]));
const rowsOf = (...rows: readonly Lease[]) => (id: string) => byKey(rows).get(id);

const shard = (shardId: string, start: string, change: Partial<Shard> = {}): Shard => ({
  shardId,
  parentShardIds: [],
  startingHashKey: "0",
  endingHashKey: LAST,
  startingSequenceNumber: start,
  ...change,
});

function take(leases: readonly Lease[], seen: Observations, now: number, held: string[] = []): string[] {
  const view = { leases, observations: seen, now, failoverTimeMs: F, workerId: "me", held: new Set(held) };
  return decideTakes(view, { maySteal: false, random: () => 0.999 }).take.map((lease) => lease.leaseKey);
}

test("lease decisions: the rhythm is the KCL's for its failover time, and keeps its floor for short ones", () => {
  const kcl = leaseTimes(10_000);
  assert.equal(kcl.renewEveryMs, 3308);
  assert.equal(kcl.scanEveryMs, 20_050);
  assert.equal(kcl.writeTimeoutMs, 3333);
  assert.equal(leaseTimes(1000).writeTimeoutMs, 500);
  assert.equal(leaseTimes(1000).renewEveryMs, 308);
});

test("lease decisions: a worker id is never used twice and is never Java's", () => {
  const [a, b] = [newWorkerId(), newWorkerId()];
  assert.notEqual(a, b);
  assert.equal(a.split(":").length, 3);
  assert.equal(isJavaWorkerId(a), false);
  assert.equal(isJavaWorkerId("0"), true);
  assert.equal(isJavaWorkerId("12"), true);
});

test("lease decisions: an owner is dead when its counter stood still for longer than the failover time, as seen here", () => {
  const row = newRow("s", { leaseOwner: "0", leaseCounter: 5 });
  let { observations } = observe(new Map(), [row], 1000);
  assert.deepEqual(take([row], observations, 1000 + F), []);
  assert.deepEqual(take([row], observations, 1000 + F + 1), ["s"]);
  ({ observations } = observe(observations, [row], 9000));
  assert.deepEqual(take([row], observations, 1000 + F + 1), ["s"], "seeing it again is no sign of life");
  const renewed = { ...row, leaseCounter: 6 };
  const again = observe(observations, [renewed], 11_000);
  assert.deepEqual(again.renewed, [renewed]);
  assert.deepEqual(take([renewed], again.observations, 11_001), []);
});

test("lease decisions: first sight of an owned row is no sign that its owner lives", () => {
  const rows = [newRow("a", { leaseOwner: "0", leaseCounter: 5 }), newRow("b")];
  assert.deepEqual(observe(new Map(), rows, 0).renewed, []);
});

test("lease decisions: unowned rows and rows under our own id are taken at once, held ones never", () => {
  const rows = [
    newRow("unowned"),
    newRow("mine", { leaseOwner: "me", leaseCounter: 4 }),
    newRow("held", { leaseOwner: "me", leaseCounter: 4 }),
    newRow("other", { leaseOwner: "0", leaseCounter: 4 }),
  ];
  const { observations } = observe(new Map(), rows, 0);
  assert.deepEqual(take(rows, observations, 0, ["held"]).sort(), ["mine", "unowned"]);
});

test("lease decisions: whatever is available is taken, children of unfinished parents and finished shards too", () => {
  const rows = [
    newRow("p"),
    newRow("c", { parentShardIds: ["p"] }),
    newRow("e", { checkpoint: END }),
  ];
  const { observations } = observe(new Map(), rows, 0);
  assert.equal(take(rows, observations, 0).length, 3);
});

test("lease decisions: during a KCL 3.x hand-over the old worker is the owner", () => {
  const row = newRow("s", { leaseOwner: "me", checkpointOwner: "0", leaseCounter: 2 });
  assert.equal(ownerOf(row), "0");
  const { observations } = observe(new Map(), [row], 0);
  assert.deepEqual(take([row], observations, 0), []);
  assert.deepEqual(take([row], observations, F + 1), ["s"]);
});

test("lease decisions: candidates come in a random order, all of them once", () => {
  fc.assert(fc.property(
    fc.uniqueArray(fc.string({ minLength: 1 }), { maxLength: 30 }),
    fc.infiniteStream(fc.double({ min: 0, max: 0.999999, noNaN: true })),
    (keys, randoms) => {
      const rows = keys.map((key) => newRow(key));
      const { observations } = observe(new Map(), rows, 0);
      const view = {
        leases: rows,
        observations,
        now: 0,
        failoverTimeMs: F,
        workerId: "me",
        held: new Set<string>(),
      };
      const random = () => randoms.next().value;
      const taken = decideTakes(view, { maySteal: true, random }).take.map((lease) => lease.leaseKey);
      assert.deepEqual([...taken].sort(), [...keys].sort());
    },
  ));
});

test("lease decisions: a row is available only after its owner was silent for the failover time, in any history of scans", () => {
  fc.assert(fc.property(
    fc.array(fc.record({ after: fc.nat(6000), counter: fc.nat(3) }), { minLength: 1, maxLength: 20 }),
    (scans) => {
      let seen: Observations = new Map();
      let now = 0;
      let since = 0;
      let last: number | undefined;
      for (const { after, counter } of scans) {
        now += after;
        seen = observe(seen, [newRow("s", { leaseOwner: "0", leaseCounter: counter })], now).observations;
        if (counter !== last) since = now;
        last = counter;
        assert.equal(isAvailable(seen.get("s")!, now, F), now - since > F);
      }
    },
  ));
});

for (const position of ["LATEST", "TRIM_HORIZON", "AT_TIMESTAMP"] as const) {
  test(`lease decisions: an empty table gets a row per listed shard at ${position}, in order of their starts (KCL scenario 11)`, () => {
    const shards = [
      shard("shardId-3", "30", { parentShardIds: ["shardId-1"], startingHashKey: "8" }),
      shard("shardId-2", "30", { parentShardIds: ["shardId-1"], endingHashKey: "7" }),
      shard("shardId-1", "9", { endingSequenceNumber: "29" }),
    ];
    const leases = initialLeases(shards, { position, stream: STREAM, kinesisNow: 1_760_000_000_999 });
    assert.deepEqual(leases.map((lease) => lease.leaseKey), ["shardId-1", "shardId-2", "shardId-3"]);
    for (const lease of leases) {
      assert.deepEqual(lease.checkpoint, sentinel(position));
      assert.equal(lease.leaseOwner, undefined);
      assert.equal(lease.leaseCounter, 0);
      assert.equal(lease.startedAt, position === "LATEST" ? 1_760_000_000_000 : undefined);
      assert.equal(lease.streamArn, STREAM.streamArn);
    }
    assert.deepEqual(leases[2]!.parentShardIds, ["shardId-1"]);
    assert.equal(leases[2]!.startingHashKey, "8");
  });
}

test("lease decisions: a listing with a hole in its hash keys is seen, overlaps and order do not matter", () => {
  const range = (startingHashKey: string, endingHashKey: string) => ({ startingHashKey, endingHashKey });
  assert.equal(hashRangeHole([range("0", LAST)]), undefined);
  assert.equal(hashRangeHole([range("100", LAST), range("0", "99")]), undefined);
  assert.equal(hashRangeHole([range("0", LAST), range("5", "9")]), undefined);
  assert.equal(hashRangeHole([]), "0");
  assert.equal(hashRangeHole([range("1", LAST)]), "0");
  assert.equal(hashRangeHole([range("0", "99"), range("101", LAST)]), "100");
  assert.equal(hashRangeHole([range("0", LAST.slice(0, -1) + "4")]), LAST);
});

test("lease decisions: children start at TRIM_HORIZON, know all parents, and existing ones are left alone", () => {
  const children = [
    { shardId: "c1", parentShardIds: ["p"], startingHashKey: "0", endingHashKey: "7" },
    { shardId: "c2", parentShardIds: ["p"], startingHashKey: "8", endingHashKey: LAST },
  ];
  const decision = childLeases(children, (id) => id === "p" || id === "c1", STREAM);
  assert.ok(decision.type === "create");
  assert.deepEqual(decision.leases, [
    newRow("c2", { parentShardIds: ["p"], startingHashKey: "8", startedAt: undefined }),
  ]);
});

test("lease decisions: a merge's child waits while exactly one parent has a lease, not with both or none", () => {
  const child = { shardId: "m", parentShardIds: ["a", "b"], startingHashKey: "0", endingHashKey: LAST };
  const decide = (...leases: string[]) => childLeases([child], (id) => leases.includes(id), STREAM);
  assert.deepEqual(decide("a"), { type: "postpone", child, missingParent: "b" });
  assert.deepEqual(decide("b"), { type: "postpone", child, missingParent: "a" });
  for (const leases of [["a", "b"], []]) assert.equal(decide(...leases).type, "create");
  assert.deepEqual(decide("a", "m"), { type: "create", leases: [] }, "the child has its lease already");
});

test("lease decisions: a child waits for parents with an unfinished lease, not for missing ones", () => {
  const child = newRow("m", { parentShardIds: ["a", "b"] });
  const finished = newRow("b", { checkpoint: END });
  assert.deepEqual(unfinishedParents(child, rowsOf(newRow("a"), finished, child)), ["a"]);
  assert.deepEqual(unfinishedParents(child, rowsOf(finished, child)), []);
  assert.deepEqual(unfinishedParents(child, rowsOf(child)), []);
});

test("lease decisions: a finished lease goes when its children have begun and its own parents' leases are gone", () => {
  const digits = { sequenceNumber: "5", subSequenceNumber: 0 };
  const parent = newRow("p", { checkpoint: END, childShardIds: ["c1", "c2"], parentShardIds: ["g"] });
  const child = (key: string, checkpoint: Lease["checkpoint"]) =>
    newRow(key, { checkpoint, parentShardIds: ["p"] });
  const keep = (...rows: Lease[]) => reasonToKeep(parent, byKey([parent, ...rows]));
  for (const begun of [digits, sentinel("LATEST"), END]) {
    assert.equal(keep(child("c1", begun), child("c2", digits)), undefined);
  }
  assert.match(
    keep(child("c1", sentinel("TRIM_HORIZON")), child("c2", digits))!,
    /c1 is still at TRIM_HORIZON/,
  );
  assert.match(keep(child("c1", digits), child("c2", sentinel("AT_TIMESTAMP")))!, /c2 is still/);
  assert.match(keep(child("c1", digits))!, /c2 has no lease/);
  assert.match(
    keep(child("c1", digits), child("c2", digits), newRow("g", { checkpoint: END }))!,
    /parent g still/,
  );
  assert.match(reasonToKeep(newRow("p"), new Map())!, /not at SHARD_END/);
});

test("lease decisions: children that a finished row does not name are found by their naming it", () => {
  const parent = newRow("p", { checkpoint: END });
  assert.match(reasonToKeep(parent, byKey([parent]))!, /not known/);
  const child = newRow("c", { parentShardIds: ["p"] });
  assert.match(reasonToKeep(parent, byKey([parent, child]))!, /still at TRIM_HORIZON/);
  const begun = { ...child, checkpoint: sentinel("LATEST") };
  assert.equal(reasonToKeep(parent, byKey([parent, begun])), undefined);
  const rows = byKey([parent, child]);
  assert.match(reasonToKeep(parent, rows, childrenByParent(rows.values()))!, /still at TRIM_HORIZON/);
});
