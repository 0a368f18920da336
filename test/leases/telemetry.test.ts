// What the lease room reports of its work, in the KCL's words.

import assert from "node:assert/strict";
import { test } from "node:test";
import type { OperationReport } from "../../src/core/telemetry.ts";
import { ConnectorError } from "../../src/core/errors.ts";
import { sentinel } from "../../src/core/position.ts";
import { MeasuredLeaseStore } from "../../src/leases/measured-store.ts";
import { MemoryLeaseStore } from "../../src/leases/memory.ts";
import type { Lease } from "../../src/leases/store.ts";
import { takeReport } from "../../src/leases/take-report.ts";
import { decideTakes } from "../../src/leases/take.ts";
import { FakeClock } from "../fakes.ts";

function row(leaseKey: string, changes: Partial<Lease> = {}): Lease {
  return {
    leaseKey,
    leaseCounter: 0,
    ownerSwitchesSinceCheckpoint: 0,
    checkpoint: sentinel("TRIM_HORIZON"),
    parentShardIds: [],
    childShardIds: [],
    ...changes,
  };
}

test("lease telemetry: each call is reported under the operation that the KCL counts it under, failures too", async () => {
  const reports: OperationReport[] = [];
  const clock = new FakeClock();
  const memory = new MemoryLeaseStore();
  const store = new MeasuredLeaseStore(memory, { clock, telemetry: { report: (one) => reports.push(one) } });
  await store.create(row("s"));
  await store.create(row("s"));
  await store.scan();
  await store.update("s", 0, { leaseOwner: "me" });
  await store.update("s", 1, {});
  await store.update("s", 2, { checkpoint: { sequenceNumber: "7", subSequenceNumber: 0 } });
  await store.update("s", 3, { checkpoint: sentinel("SHARD_END") });
  await store.update("s", 4, { leaseOwner: null });
  assert.deepEqual(
    reports.map(({ operation, step, shardId, success }) =>
      `${operation} ${step}${shardId === undefined ? "" : ` of ${shardId}`}: ${success}`
    ),
    [
      "ShardSyncTask CreateLease: true",
      "ShardSyncTask CreateLease_TRIM_HORIZON: true",
      "ShardSyncTask CreateLease: true",
      "ShardSyncTask CreateLease_TRIM_HORIZON: false",
      "TakeLeases ListLeases: true",
      "TakeLeases TakeLease: true",
      "RenewAllLeases RenewLease: true",
      "ProcessTask UpdateLease of s: true",
      "ShutdownTask UpdateLease of s: true",
      "ShutdownTask EvictLease of s: true",
    ],
  );
  const error = new ConnectorError("no answer", { code: "AWS_UNAVAILABLE", retryable: true });
  memory.update = async () => {
    await clock.sleep(40);
    throw error;
  };
  const failing = assert.rejects(store.update("s", 5, {}), error);
  await clock.advance(40);
  await failing;
  assert.deepEqual(reports.at(-1), {
    operation: "RenewAllLeases",
    step: "RenewLease",
    durationMs: 40,
    success: false,
    error,
  });
});

test("lease telemetry: a round of taking counts live workers, free rows and what was taken", () => {
  const leases = [
    row("mine", { leaseOwner: "me" }),
    row("theirs", { leaseOwner: "other" }),
    row("dead", { leaseOwner: "gone" }),
    row("free"),
    row("finished", { checkpoint: sentinel("SHARD_END") }),
  ];
  const observations = new Map(
    leases.map(({ leaseKey, leaseOwner }) => [
      leaseKey,
      { counter: 0, owner: leaseOwner, since: leaseKey === "dead" ? 0 : 95_000 },
    ]),
  );
  const view = {
    leases,
    observations,
    now: 100_000,
    failoverTimeMs: 10_000,
    workerId: "me",
    held: new Set(["mine"]),
  };
  const decision = decideTakes(view, { maySteal: false, random: () => 0 });
  const { data } = takeReport({ view, decision, taken: 2, durationMs: 5, success: true });
  assert.deepEqual(data, {
    TotalLeases: 5,
    NumWorkers: 2,
    ExpiredLeases: 2,
    VeryOldLeases: 2,
    LeaseSpillover: 0,
    NeededLeases: 2,
    LeasesToTake: 3,
    TakenLeases: 2,
    UntakenLeases: 1,
  });
});

test("lease telemetry: very old is what is taken after three failover times without a renewal, or was never held", () => {
  const now = 100_000;
  const veryOld = (lease: Lease, since: number, held: readonly string[] = []): number | undefined => {
    const observation = { counter: lease.leaseCounter, owner: lease.leaseOwner, since };
    const view = {
      leases: [lease],
      observations: new Map([[lease.leaseKey, observation]]),
      now,
      failoverTimeMs: 10_000,
      workerId: "me",
      held: new Set(held),
    };
    const decision = decideTakes(view, { maySteal: true, random: () => 0 });
    return takeReport({ view, decision, taken: 0, durationMs: 0, success: true }).data!["VeryOldLeases"];
  };
  const dead = row("s", { leaseOwner: "gone", leaseCounter: 7 });
  assert.equal(veryOld(dead, now - 10_001), 0, "dead, and taken in time");
  assert.equal(veryOld(dead, now - 30_000), 0);
  assert.equal(veryOld(dead, now - 30_001), 1);
  const mine = row("s", { leaseOwner: "me", leaseCounter: 7 });
  assert.equal(veryOld(mine, now - 30_001), 1, "an own row that is not held is taken again");
  assert.equal(veryOld(mine, now - 30_001, ["s"]), 0, "what it holds is not to be taken");
  const released = row("s", { leaseCounter: 7 });
  assert.equal(veryOld(released, now), 0);
  assert.equal(veryOld(released, now - 30_001), 1);
  assert.equal(veryOld(row("s"), now), 1, "a new lease, as the KCL counts it");
  assert.equal(
    veryOld(row("s", { checkpoint: sentinel("SHARD_END") }), now - 30_001),
    0,
    "nobody waits for it",
  );
});
