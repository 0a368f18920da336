// Whole coordinators of ours beside a worker that decides as the KCL does, in one fake time: what fleet.test.ts proves of
// the decisions holds for the loops that carry them out.

import { test } from "node:test";
import assert from "node:assert/strict";
import { newWorkerId } from "../../src/leases/worker-id.ts";
import { KclTaker } from "./kcl-taker.ts";
import { alive, World } from "./world.ts";

const F = 10_000;

/** A Java worker's two loops. */
function startJava(world: World, id: string, signal: AbortSignal): void {
  const held = new Map<string, number>();
  const taker = new KclTaker(id, F, Math.random);
  const write = async (key: string, counter: number, owner?: string) => {
    const change = owner === undefined ? {} : { leaseOwner: owner };
    if ((await world.store.update(key, counter, change)).done) held.set(key, counter + 1);
    else held.delete(key);
  };
  void (async () => {
    while (!signal.aborted) {
      const { leases } = await world.store.scan();
      for (const row of taker.round(leases, 1e9 + world.clock.monotonic())) {
        await write(row.leaseKey, row.leaseCounter, id);
      }
      await world.clock.sleep(20_050, signal);
    }
  })();
  void (async () => {
    while (!signal.aborted) {
      await world.clock.sleep(3308, signal);
      for (const [key, counter] of held) await write(key, counter);
    }
  })();
}

async function owners(world: World): Promise<Record<string, number>> {
  const counts: Record<string, number> = {};
  for (const { leaseOwner = "nobody" } of (await world.store.scan()).leases) {
    counts[leaseOwner] = (counts[leaseOwner] ?? 0) + 1;
  }
  return counts;
}

test("sharing loops: one Java worker and two of ours settle at 2/2/2 of six, then five minutes without a change (KCL scenario 10)", async () => {
  const world = new World({ random: Math.random });
  await world.rows("a", "b", "c", "d", "e", "f");
  const stop = new AbortController();
  const one = await world.started(newWorkerId());
  await world.clock.advance(3000);
  startJava(world, "0", stop.signal);
  await world.clock.advance(4000);
  const two = await world.started(newWorkerId());
  let counts: Record<string, number> = {};
  for (let i = 0; i < 200 && Object.values(counts).join() !== "2,2,2"; i++) {
    await world.clock.advance(1000);
    counts = await owners(world);
  }
  assert.deepEqual(Object.values(counts), [2, 2, 2]);
  await world.clock.advance(2 * F);
  const before = (await world.store.scan()).leases.map(({ leaseKey, leaseOwner }) =>
    `${leaseKey} ${leaseOwner}`
  );
  const [taken, lost] = [one.acquired.length + two.acquired.length, one.lost.length + two.lost.length];
  await world.clock.advance(300_000);
  const after = (await world.store.scan()).leases.map(({ leaseKey, leaseOwner }) =>
    `${leaseKey} ${leaseOwner}`
  );
  assert.deepEqual(after, before);
  assert.deepEqual([one.acquired.length + two.acquired.length, one.lost.length + two.lost.length], [
    taken,
    lost,
  ]);
  assert.deepEqual([one.faults, two.faults], [[], []]);
  stop.abort();
  await one.coordinator.stop();
  await two.coordinator.stop();
});

test("sharing loops: a worker that joins one with a hundred shards has fifty in ten seconds; one was stolen, the rest given", async () => {
  const world = new World({ random: Math.random });
  await world.rows(...Array.from({ length: 100 }, (_, i) => `s${i}`));
  const given: string[] = [];
  const first = await world.started(newWorkerId(), {
    onGiveUp: async (held, signal) => {
      given.push(held.shardId);
      await world.clock.sleep(500, signal); // it drains
      assert.equal(held.isAlive(), true, "kept alive meanwhile");
    },
  });
  await world.clock.advance(30_000);
  const second = await world.started(newWorkerId());
  await world.clock.advance(F);
  assert.deepEqual([alive(first).length, alive(second).length], [50, 50]);
  assert.deepEqual([given.length, first.lost.length], [49, 1]);
  await world.clock.advance(120_000);
  assert.deepEqual([given.length, first.lost.length, second.lost.length], [49, 1, 0], "and then nothing");
  await first.coordinator.stop();
  await second.coordinator.stop();
  assert.equal(world.clock.sleeping, 0);
});

test("sharing loops: a lease that cannot be given up is a fault, not a shard that nobody reads", async () => {
  const world = new World();
  await world.rows("a", "b", "c", "d", "e");
  const first = await world.started(newWorkerId(), { onGiveUp: () => Promise.reject(new Error("it broke")) });
  const second = await world.started(newWorkerId());
  await world.clock.advance(F);
  assert.deepEqual(first.faults.map((fault) => fault.message), ["unexpected error: it broke"]);
  await first.coordinator.stop();
  await second.coordinator.stop();
});
