// A whole fleet on one table that nobody can reach, or write to, for longer than the failover time.

import { test } from "node:test";
import assert from "node:assert/strict";
import { newWorkerId } from "../../src/leases/worker-id.ts";
import { Chance } from "../chance.ts";
import { type Fault, throttled, unavailable } from "./faulty-store.ts";
import { alive, type TestWorker, World } from "./world.ts";

const F = 10_000;

const OUTAGES: Readonly<Record<string, (operation: string) => Fault | undefined>> = {
  "is out of reach": (operation) => ({ error: unavailable(operation) }),
  "takes no writes": (operation) =>
    operation === "Scan" || operation === "GetItem" ? undefined : { error: throttled(operation) },
};

async function evenFleet(workers: number, leases: number) {
  const chance = new Chance(5);
  const world = new World({ random: () => chance.fraction() });
  await world.rows(...Array.from({ length: leases }, (_, i) => `s${i}`));
  const fleet: TestWorker[] = [];
  for (let i = 0; i < workers; i++) fleet.push(await world.started(newWorkerId()));
  await world.clock.advance(60_000);
  const counts = () => fleet.map((worker) => alive(worker).length);
  assert.deepEqual(counts(), Array(workers).fill(leases / workers));
  return { world, fleet, counts };
}

for (const [what, fault] of Object.entries(OUTAGES)) {
  test(`outage: when the table ${what} for long, every worker goes on with its own leases, and nobody takes all`, async () => {
    for (const outageMs of [1.2 * F, 2.5 * F, 6 * F]) {
      const { world, fleet, counts } = await evenFleet(5, 50);
      const before = fleet.map(alive);
      for (const worker of fleet) worker.store.plan = ({ operation }) => fault(operation);
      await world.clock.advance(outageMs);
      assert.deepEqual(counts(), [0, 0, 0, 0, 0], "all have expired");
      const acquired = fleet.map((worker) => worker.acquired.length);
      for (const worker of fleet) worker.store.plan = () => undefined;
      await world.clock.advance(F);
      const takes = fleet.map((worker, i) => worker.acquired.length - acquired[i]!);
      // Where the table could be seen all the time, a few may change hands at the very end.
      assert.ok(Math.max(...takes) <= 15, `after ${outageMs} ms: ${takes}`);
      const kept = fleet.flatMap((worker, i) => alive(worker).filter((id) => before[i]!.includes(id)));
      assert.ok(kept.length >= 45, `after ${outageMs} ms: ${kept.length}`);
      await world.clock.advance(60_000);
      assert.deepEqual(counts(), [10, 10, 10, 10, 10]);
      for (const worker of fleet) await worker.coordinator.stop();
    }
  });
}

test("outage: who dies in it is found a failover time after its end", async () => {
  const { world, fleet, counts } = await evenFleet(2, 10);
  const [survivor, dead] = fleet;
  for (const { store } of fleet) store.plan = ({ operation }) => ({ error: unavailable(operation) });
  await world.clock.advance(2 * F);
  dead!.clock.frozen = true;
  survivor!.store.plan = () => undefined;
  await world.clock.advance(7_000);
  assert.equal(counts()[0], 5);
  await world.clock.advance(F);
  assert.equal(counts()[0], 10);
  await survivor!.coordinator.stop();
});

test("outage: where every scan has to be repeated for long, a dead worker's leases are taken all the same", async () => {
  const { world, fleet, counts } = await evenFleet(2, 10);
  const [survivor, dead] = fleet;
  dead!.clock.frozen = true;
  let scans = 0;
  survivor!.store.plan = ({ operation }) =>
    operation === "Scan" && scans++ % 8 !== 7 ? { error: throttled(operation) } : undefined;
  await world.clock.advance(6 * F);
  assert.equal(counts()[0], 10);
  await survivor!.coordinator.stop();
});
