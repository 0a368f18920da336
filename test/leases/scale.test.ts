import { test } from "node:test";
import assert from "node:assert/strict";
import { sentinel } from "../../src/core/position.ts";
import { manyLeases, STEPS } from "./many.ts";
import { World } from "./world.ts";

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
