import assert from "node:assert/strict";
import { test } from "node:test";
import { justBefore, sentinel } from "../../src/core/position.ts";
import { FULL_HASH_RANGE, type Shard } from "../../src/core/shard.ts";
import { isWritten, leasedDescendants, planReset, type ResetTarget } from "../../src/leases/reset-plan.ts";
import { newRow, STREAM } from "./stores.ts";

const shard = (shardId: string, parentShardIds: string[] = []): Shard => ({
  shardId,
  parentShardIds,
  startingSequenceNumber: "1",
  ...FULL_HASH_RANGE,
});
const at = (shardId: string, sequenceNumber: string): ResetTarget => ({
  shard: shard(shardId),
  checkpoint: justBefore(sequenceNumber),
});

test("reset plan: shards of the position get it, written or made anew, and every other row goes", () => {
  const rows = [
    newRow("before", { checkpoint: sentinel("SHARD_END"), childShardIds: ["a", "b"] }),
    newRow("a", {
      checkpoint: sentinel("SHARD_END"),
      leaseCounter: 7,
      leaseOwner: "w",
      parentShardIds: ["before"],
    }),
    newRow("child of a", { parentShardIds: ["a"] }),
    newRow("unlisted"),
  ];
  const { writes, removes } = planReset([[at("a", "10"), at("b", "20")]], rows, STREAM);
  assert.deepEqual(removes.map(({ leaseKey }) => leaseKey), ["before", "child of a", "unlisted"]);
  assert.deepEqual(writes, [[
    {
      type: "update",
      before: rows[1],
      change: {
        leaseOwner: null,
        checkpointOwner: null,
        checkpoint: { sequenceNumber: "10", subSequenceNumber: -1 },
        startedAt: null,
        generation: null,
        ...STREAM,
      },
    },
    {
      type: "create",
      lease: { ...newRow("b", { checkpoint: justBefore("20") }), leaseCounter: 1, startedAt: undefined },
    },
  ]]);
});

test("reset plan: a LATEST row that is made anew is not taken for one whose first owner connects at the tip", () => {
  const target = { shard: shard("a"), checkpoint: sentinel("LATEST"), startedAt: 5000 };
  const [[write]] = planReset([[target]], [], STREAM).writes as [
    [{ type: "create"; lease: ReturnType<typeof newRow> }],
  ];
  assert.equal(write.lease.startedAt, 5000);
  assert.notEqual(write.lease.leaseCounter, 0);
});

test("reset plan: waves stay waves", () => {
  const waves = [[at("parent", "1")], [at("child", "2")]];
  const { writes } = planReset(waves, [newRow("child")], STREAM);
  assert.deepEqual(writes.map((wave) => wave.map(({ type }) => type)), [["create"], ["update"]]);
});

test("reset plan: an own write whose answer was lost is told from somebody else's", () => {
  const before = newRow("a", { leaseCounter: 3, leaseOwner: "w" });
  const [[write]] = planReset([[at("a", "10")]], [before], STREAM).writes as [[never]];
  const ours = { ...before, leaseCounter: 4, leaseOwner: undefined, checkpoint: justBefore("10") };
  assert.equal(isWritten(ours, write), true);
  assert.equal(isWritten(undefined, write), false);
  assert.equal(isWritten({ ...ours, leaseOwner: "w" }, write), false);
  assert.equal(isWritten({ ...ours, leaseCounter: 5 }, write), false);
  assert.equal(isWritten({ ...ours, checkpoint: before.checkpoint }, write), false);
});

test("reset plan: what descends from a shard and has a lease is found through rows and shards", () => {
  const rows = [
    newRow("a", { childShardIds: ["c", "gone"] }),
    newRow("b", { parentShardIds: ["a"] }),
    newRow("c"),
    newRow("d", { parentShardIds: ["b"] }),
  ];
  assert.deepEqual(leasedDescendants("a", rows, []), ["b", "c", "d"]);
  assert.deepEqual(leasedDescendants("gone", rows, []), []);
  // The rows of a and its children are deleted; the stream still lists them.
  const shards = [["x", []], ["y", ["x"]], ["b", ["y"]]] as const;
  const listed = shards.map(([shardId, parentShardIds]) => ({ shardId, parentShardIds }));
  assert.deepEqual(leasedDescendants("x", rows, listed), ["b", "d"]);
});
