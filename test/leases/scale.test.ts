import { test } from "node:test";
import assert from "node:assert/strict";
import { sentinel } from "../../src/core/position.ts";
import { Chance } from "../chance.ts";
import { manyLeases, STEPS } from "./many.ts";
import { newRow, ourId } from "./stores.ts";
import { alive, World } from "./world.ts";

/** How often rows and shards are looked at by a step, whatever the machine does at the same time. */
function reads(count: number, step: (many: ReturnType<typeof manyLeases>) => unknown): number {
  let looks = 0;
  const many = manyLeases(count, (value) =>
    new Proxy(value, {
      get(target, name) {
        looks++;
        return target[name as keyof typeof target];
      },
      ownKeys(target) {
        looks++;
        return Reflect.ownKeys(target);
      },
    }));
  looks = 0;
  step(many);
  return looks;
}

test("scale: nothing that is done with a whole table is quadratic in its leases", (t) => {
  for (const [name, step] of Object.entries(STEPS)) {
    const [small, large] = [reads(600, step), reads(6000, step)];
    t.diagnostic(
      `${name}: ${(small / 600).toFixed(1)} looks per lease at 600, ${(large / 6000).toFixed(1)} at 6000`,
    );
    assert.ok(small > 0, `${name} looks at nothing`);
    // Ten times as many: linear is 10, with a sort 13 to 14, quadratic 100.
    assert.ok(large / small < 16, `${name}: ${small} looks at 600 leases, ${large} at 6000`);
  }
});

test("scale: a thousand shards that end together cost ten scans a second, not a thousand", async () => {
  const world = new World();
  await world.rows(...Array.from({ length: 1000 }, (_, i) => `s${i}`));
  const worker = await world.started("w");
  await world.clock.advance(1000);
  worker.store.calls.length = 0;
  await Promise.all(
    worker.acquired.map(async (held, i) => {
      await world.clock.sleep(i); // over one second
      const childShardIds = [`${held.shardId}-child`];
      const child = {
        shardId: childShardIds[0]!,
        parentShardIds: [held.shardId],
        startingHashKey: "0",
        endingHashKey: "1",
      };
      assert.equal(await worker.coordinator.createChildLeases([child]), "created");
      assert.equal(await held.checkpoint(sentinel("SHARD_END"), { childShardIds }), "stored");
    }).concat(world.clock.advance(2000)),
  );
  const scans = worker.store.calls.filter(({ operation }) => operation === "Scan").length;
  assert.ok(scans <= 22, `${scans} scans in two seconds`);
  assert.equal(worker.acquired.length, 2000, "all children are taken");
  assert.deepEqual(worker.faults, []);
  await worker.coordinator.stop();
});

test("scale: ten workers that start together on an empty table share the writing and the taking", async (t) => {
  const chance = new Chance(7);
  const world = new World({ random: () => chance.fraction() });
  const workers = Array.from({ length: 10 }, (_, n) => {
    const worker = world.worker(ourId(n));
    worker.store.plan = () => ({ requestDelayMs: 5, responseDelayMs: 5 });
    return worker;
  });
  const calls = (operation: string) =>
    workers.flatMap(({ store }) => store.calls).filter((call) => call.operation === operation).length;
  const rows = Array.from({ length: 1000 }, (_, i) => newRow(`s${i}`));
  const created = Promise.all(workers.map(({ coordinator }) => coordinator.createLeases(rows)));
  await world.clock.advance(10_000);
  assert.equal((await created).reduce((sum, count) => sum + count), 1000, "each row was made once");
  // Alone one would write 1 000; each of ten finds out about the others after its first hundred.
  t.diagnostic(`${calls("PutItem")} writes of rows`);
  assert.ok(calls("PutItem") <= 3000, `${calls("PutItem")} rows were written`);

  for (const { coordinator } of workers) coordinator.start();
  await world.clock.advance(3000);
  // Renewals included; each would try for all thousand otherwise.
  t.diagnostic(`${calls("UpdateItem")} takes and renewals`);
  assert.ok(calls("UpdateItem") <= 3000, `${calls("UpdateItem")} takes were tried`);
  await world.clock.advance(17_000);
  assert.deepEqual(workers.map((worker) => alive(worker).length), workers.map(() => 100), "evenly shared");
  assert.deepEqual(workers.flatMap(({ faults }) => faults), []);
  for (const { coordinator } of workers) await coordinator.stop();
});

test("scale: what is written together is written where others are faster, and where they write only half of it", async () => {
  const chance = new Chance(3);
  const world = new World({ random: () => chance.fraction() });
  await world.rows(...Array.from({ length: 500 }, (_, i) => `s${2 * i}`));
  const worker = world.worker("w");
  const rows = Array.from({ length: 1000 }, (_, i) => newRow(`s${i}`));
  assert.equal(await worker.coordinator.createLeases(rows), 500);
  const calls = (operation: string) =>
    worker.store.calls.filter((call) => call.operation === operation).length;
  assert.equal(calls("Scan"), 1);
  assert.ok(calls("PutItem") <= 600, `${calls("PutItem")} rows were written`);
  assert.equal((await world.store.scan()).leases.length, 1000);
});
