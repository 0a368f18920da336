// Two whole coordinators against one real table, in real time: the same promises as in fake time, on both stores.

import { test, type TestContext } from "node:test";
import assert from "node:assert/strict";
import process from "node:process";
import { setTimeout as delay } from "node:timers/promises";
import { silentLogger } from "../../src/core/log.ts";
import { sentinel } from "../../src/core/position.ts";
import { LeaseCoordinator } from "../../src/leases/coordinator.ts";
import type { ConnectorError } from "../../src/core/errors.ts";
import type { HeldLease } from "../../src/leases/held-lease.ts";
import { newWorkerId } from "../../src/leases/worker-id.ts";
import { systemClock } from "../../src/runtime.ts";
import { newRow, STORE_KINDS, STREAM, type TestTable } from "./stores.ts";

const KEYS = ["a", "b", "c", "d", "e", "f"];

async function worker(t: TestContext, table: TestTable, faults: ConnectorError[]) {
  const acquired: HeldLease[] = [];
  const firsts: string[] = [];
  const coordinator = new LeaseCoordinator({
    workerId: newWorkerId(),
    failoverTimeMs: 3000, // a busy machine may stall for a second
    store: await table.store(),
    stream: STREAM,
    clock: systemClock,
    log: silentLogger,
    kinesisNow: () => Date.now(),
    onAcquired: (held) => {
      acquired.push(held);
      if (held.connectLatestOnce) firsts.push(held.shardId);
    },
    onLost: () => {},
    onFault: (error) => faults.push(error),
  });
  t.after(() => coordinator.stop());
  const alive = () => acquired.filter((held) => held.isAlive()).map((held) => held.shardId);
  return { coordinator, acquired, firsts, alive };
}

async function until(condition: () => boolean, withinMs: number): Promise<void> {
  const end = performance.now() + withinMs;
  while (!condition()) {
    assert.ok(performance.now() < end, `not within ${withinMs} ms: ${condition}`);
    await delay(5);
  }
}

for (const kind of STORE_KINDS) {
  test(`leases: ${kind.name} race: an even share within seconds, one owner per lease, and a clean stop hands all over within five`, async (t) => {
    const table = await kind.table(t);
    const faults: ConnectorError[] = [];
    const one = await worker(t, table, faults);
    const two = await worker(t, table, faults);
    const rows = KEYS.map((key) => newRow(key, { checkpoint: sentinel("LATEST"), startedAt: 1.75e12 }));
    one.coordinator.start();
    two.coordinator.start();
    const [first, second] = await Promise.all([one, two].map((it) => it.coordinator.createLeases(rows)));
    assert.equal(first! + second!, KEYS.length, "each row was made once");
    // Whoever was first has given away, or was robbed of, what is above its share.
    await until(() => one.alive().length === 3 && two.alive().length === 3, 60_000);
    assert.deepEqual([...one.alive(), ...two.alive()].sort(), KEYS);
    const ever = [...one.acquired, ...two.acquired];
    assert.deepEqual(
      [...one.firsts, ...two.firsts].sort(),
      KEYS,
      "exactly the first owner ever connects at LATEST",
    );
    const all = ever.filter((held) => held.isAlive());

    const digits = (shardId: string) => ({
      sequenceNumber: `4968047669241071335298097837649305868721369733928268595${shardId.charCodeAt(0)}`,
      subSequenceNumber: 1,
    });
    // Renewals of all leases run meanwhile.
    await Promise.all(all.map(async (held) => {
      assert.equal(await held.checkpoint(digits(held.shardId)), "stored");
    }));
    await delay(1100);
    assert.deepEqual(all.map((held) => held.isAlive()), KEYS.map(() => true), "renewed once, and left alone");

    const [leaving, staying] = [one, two];
    assert.deepEqual(await leaving.coordinator.releaseAll(), []);
    await until(() => staying.alive().length === KEYS.length, 60_000);
    for (const held of staying.coordinator.held()) {
      assert.deepEqual(held.lease.checkpoint, digits(held.shardId));
      assert.equal(held.connectLatestOnce || held.lease.startedAt !== undefined, false);
    }
    assert.deepEqual(leaving.alive(), []);
    assert.deepEqual(faults, []);
  });
}

test("leases: many shards may wait on one stop without a warning of a leak", async (t) => {
  const warnings: Error[] = [];
  const onWarning = (warning: Error) => warnings.push(warning);
  process.on("warning", onWarning);
  t.after(() => void process.off("warning", onWarning));
  const table = await STORE_KINDS[0]!.table(t);
  const one = await worker(t, table, []);
  const children = Array.from({ length: 30 }, (_, i) => newRow(`c${i}`, { parentShardIds: ["p"] }));
  one.coordinator.start();
  await one.coordinator.createLeases([newRow("p"), ...children]);
  await until(() => one.alive().length === 31, 60_000);
  const waits = one.acquired.filter((held) => held.shardId !== "p")
    .map((held) => one.coordinator.waitForParents(held));
  await delay(20);
  await one.coordinator.stop();
  assert.deepEqual(new Set(await Promise.all(waits)), new Set([false]));
  assert.deepEqual(warnings, []);
});
