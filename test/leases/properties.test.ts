// Safety under any weather: workers whose lines to the table delay and lose requests and answers, and whose processes
// are stopped and woken, never hold one lease at the same moment, and no checkpoint in the table ever goes back.

import { test } from "node:test";
import assert from "node:assert/strict";
import fc from "fast-check";
import { comparePositions, sentinel } from "../../src/core/position.ts";
import { fromItem } from "../../src/leases/row.ts";
import type { Lease } from "../../src/leases/store.ts";
import type { Fault } from "./faulty-store.ts";
import { newRow } from "./stores.ts";
import { alive, type TestWorker, World } from "./world.ts";

const F = 1000;
const STEP_MS = 50;
const STEPS = 160;
const SHARDS = ["a", "b"];

// Writes time out after 500 ms: answers in time, requests that arrive after that, and what is lost for good.
const fault: fc.Arbitrary<Fault | undefined> = fc.oneof(
  { weight: 4, arbitrary: fc.constant(undefined) },
  { weight: 4, arbitrary: fc.record({ requestDelayMs: fc.nat(50), responseDelayMs: fc.nat(449) }) },
  { weight: 1, arbitrary: fc.record({ requestDelayMs: fc.nat(1500) }) },
  { weight: 2, arbitrary: fc.constantFrom<Fault>({ lose: "request" }, { lose: "response" }) },
);

/** What a worker's day looks like; the last element is repeated. */
const day = fc.record({
  faults: fc.array(fault, { minLength: 1, maxLength: 40 }),
  /** For each step: 0 = go on, otherwise stopped for so many steps. */
  freezes: fc.array(fc.oneof({ weight: 20, arbitrary: fc.constant(0) }, fc.integer({ min: 1, max: 40 })), {
    minLength: 1,
    maxLength: STEPS,
  }),
  /** For each step: whether each held shard is checkpointed, or given up. */
  acts: fc.array(fc.constantFrom("none", "none", "checkpoint", "checkpoint", "release"), { minLength: 1 }),
});

const every = <T>(list: readonly T[], i: number): T => list[i % list.length]!;

/**
 * The counters at which leases were stolen for an even share: holders find out within a third of the failover time
 * (kcl-compat §3.3), and until then believe themselves alive. A take from a live holder that nobody announced is not
 * among them.
 */
function recordSteals(world: World, workers: readonly TestWorker[]): ReadonlyMap<string, number> {
  const stolen = new Map<string, number>();
  const update = world.store.update.bind(world.store);
  world.store.update = async (leaseKey, counter, change) => {
    const owner = (await world.store.get(leaseKey))?.leaseOwner;
    const result = await update(leaseKey, counter, change);
    const announced = workers.find(({ id }) => id === change.leaseOwner)?.log.messages("info").includes(
      `taking the lease of shard ${leaseKey} from ${owner}, which has more than its share`,
    );
    if (result.done && announced) stolen.set(leaseKey, counter);
    return result;
  };
  return stolen;
}

test("leases: property: never two alive holders but by an announced steal, and a checkpoint never goes back", async () => {
  let changes = 0;
  await fc.assert(
    fc.asyncProperty(fc.array(day, { minLength: 2, maxLength: 3 }), async (days) => {
      const world = new World({ failoverTimeMs: F });
      await world.rows(...SHARDS.map((key) => newRow(key)));
      const workers: TestWorker[] = [];
      const asleep = days.map(() => 0);
      days.forEach((day, i) => {
        const worker = world.worker(`w${i}`);
        let call = 0;
        worker.store.plan = () => every(day.faults, call++);
        workers.push(worker);
        worker.coordinator.start();
      });
      const stolen = recordSteals(world, workers);
      const highest = new Map<string, Lease["checkpoint"]>();
      const owners = new Map<string, string>();
      for (let step = 0; step < STEPS; step++) {
        workers.forEach((worker, i) => {
          if (asleep[i]! > 0) {
            if (--asleep[i]! === 0) worker.clock.thaw();
            return;
          }
          asleep[i] = every(days[i]!.freezes, step);
          if (asleep[i]! > 0) {
            worker.clock.frozen = true;
            return;
          }
          // Scans are as frequent as can be, so that nobody is late by mere luck in seeing that a row is free.
          worker.coordinator.wake();
          const act = every(days[i]!.acts, step);
          for (const held of worker.coordinator.held()) {
            // A holder's position is its own count of steps: an old holder's would be lower.
            const checkpoint = { sequenceNumber: String(1000 + step), subSequenceNumber: 0 };
            if (act === "checkpoint") held.checkpoint(checkpoint).catch(() => {});
            if (act === "release") held.release().catch(() => {});
          }
        });
        await world.clock.advance(STEP_MS);
        for (const shard of SHARDS) {
          const holders = workers.filter((worker) => {
            const held = worker.coordinator.held().find((one) => one.shardId === shard);
            return held?.isAlive() && held.lease.leaseCounter > (stolen.get(shard) ?? -1);
          }).map((worker) => worker.id);
          assert.ok(holders.length <= 1, `step ${step}: ${shard} is held by ${holders}`);
          if (holders.length === 1 && owners.get(shard) !== holders[0]) {
            owners.set(shard, holders[0]!);
            changes++;
          }
          const { checkpoint } = fromItem(world.table.items.get(shard)!, "t")!;
          const before = highest.get(shard) ?? sentinel("TRIM_HORIZON");
          assert.ok(comparePositions(checkpoint, before) >= 0, `step ${step}: ${shard} went back`);
          highest.set(shard, checkpoint);
        }
      }
      for (const worker of workers) {
        assert.deepEqual(worker.faults, []);
        worker.clock.thaw();
        worker.store.plan = () => undefined;
      }
      const stops = workers.map((worker) => worker.coordinator.stop());
      await world.clock.advance(F);
      await Promise.all(stops);
    }),
    { numRuns: 60 },
  );
  assert.ok(changes > 200, `the workers passed leases on only ${changes} times: the weather was too good`);
});

test("leases: property: in good weather after bad, every lease has exactly one alive holder again", async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(day, { minLength: 2, maxLength: 3 }), async (days) => {
      const world = new World({ failoverTimeMs: F });
      await world.rows(...SHARDS.map((key) => newRow(key)));
      const workers = days.map((day, i) => {
        const worker = world.worker(`w${i}`);
        let call = 0;
        worker.store.plan = () => every(day.faults, call++);
        worker.coordinator.start();
        return worker;
      });
      await world.clock.advance(4 * F);
      for (const worker of workers) worker.store.plan = () => undefined;
      // Longest: a scan that still waits (twice 10 s is the limit of a call), the failover time and two seconds.
      await world.clock.advance(F + 2000 + 5000);
      for (const shard of SHARDS) {
        assert.equal(workers.filter((worker) => alive(worker).includes(shard)).length, 1, shard);
      }
      await Promise.all(workers.map((worker) => worker.coordinator.stop()));
      assert.equal(world.clock.sleeping, 0);
    }),
    { numRuns: 30 },
  );
});
