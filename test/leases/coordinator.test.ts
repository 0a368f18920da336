import { test } from "node:test";
import assert from "node:assert/strict";
import { sentinel } from "../../src/core/position.ts";
import { FULL_HASH_RANGE } from "../../src/core/shard.ts";
import type { LeaseThrottle } from "../../src/leases/retry.ts";
import { settle } from "../fakes.ts";
import { denied, throttled, unavailable } from "./faulty-store.ts";
import { newRow, STREAM } from "./stores.ts";
import { alive, World } from "./world.ts";

const F = 10_000;
const END = sentinel("SHARD_END");
const at = (digits: number) => ({ sequenceNumber: String(digits), subSequenceNumber: 0 });

const scans = (calls: readonly { operation: string }[]) =>
  calls.filter((it) => it.operation === "Scan").length;

test("coordinator: unowned rows are taken by the first scan, at once", async () => {
  const world = new World();
  await world.rows("a", "b", "c");
  const worker = await world.started("w");
  assert.deepEqual(alive(worker), ["a", "b", "c"]);
  assert.equal(worker.acquired.length, 3);
  assert.equal(world.clock.monotonic(), 0);
  await worker.coordinator.stop();
});

test("coordinator: rows created later are taken at once where they were created", async () => {
  const world = new World();
  const worker = await world.started("w");
  const consistent: (boolean | undefined)[] = [];
  const scan = world.store.scan.bind(world.store);
  world.store.scan = (options) => {
    consistent.push(options?.consistent);
    return scan(options);
  };
  assert.equal(await worker.coordinator.createLeases([newRow("a"), newRow("b")]), 2);
  assert.equal(await worker.coordinator.createLeases([newRow("a")]), 0);
  await world.clock.advance(100);
  assert.deepEqual(alive(worker), ["a", "b"]);
  assert.equal(consistent[0], true, "a scan that cannot miss them");
  await worker.coordinator.stop();
});

test("coordinator: a dead worker's leases are taken within the failover time and two seconds, never before it", async () => {
  for (const diesAfter of [20_000, 20_700, 21_400, 22_500, 23_307]) {
    const world = new World();
    await world.rows("a", "b", "c");
    const dead = await world.started("dead");
    const heir = await world.started("heir");
    await world.clock.advance(diesAfter);
    await dead.coordinator.stop();
    const taken = await world.clock.advanceUntil(() => heir.acquired.length === 3, F + 2000, 5);
    const renewedAt = Math.min(...dead.acquired.map((held) => held.renewedAt));
    assert.ok(diesAfter + taken > renewedAt + F, `taken ${taken} ms after death`);
    assert.deepEqual(dead.acquired.filter((held) => held.isAlive()), []);
    await heir.coordinator.stop();
  }
});

test("coordinator: a connector that starts on a dead one's table takes all after one failover time (KCL scenario 1)", async () => {
  const world = new World();
  await world.rows(newRow("a", { leaseOwner: "0", leaseCounter: 5 }));
  const worker = await world.started("w");
  await world.clock.advance(F);
  assert.deepEqual(alive(worker), []);
  assert.ok(await world.clock.advanceUntil(() => worker.acquired.length === 1, 200) <= 200);
  assert.equal((await world.store.get("a"))?.ownerSwitchesSinceCheckpoint, 1);
  await worker.coordinator.stop();
});

test("coordinator: a clean stop drains first, then frees every lease, and another has them within a second", async () => {
  const world = new World();
  await world.rows("a", "b", newRow("done", { checkpoint: END }));
  const leaving = await world.started("leaving");
  await leaving.coordinator.stopTaking();
  const staying = await world.started("staying");
  await world.clock.advance(3 * F);
  const [stolen] = alive(staying);
  assert.deepEqual([...alive(leaving), stolen].sort(), ["a", "b", "done"], "kept alive while draining");
  assert.equal(alive(staying).length, 1, "an even share of three");
  assert.deepEqual(await leaving.coordinator.releaseAll(), []);
  await world.clock.advanceUntil(() => alive(staying).length === 3, 1000);
  const given = await world.store.get(stolen === "a" ? "b" : "a");
  assert.equal(given?.ownerSwitchesSinceCheckpoint, 0, "the row had no owner");
  await staying.coordinator.stop();
});

test("coordinator: after a stop nothing waits and nothing is written", async () => {
  const world = new World();
  await world.rows("a", "b");
  const worker = await world.started("w");
  await world.clock.advance(5000);
  await worker.coordinator.stop();
  assert.equal(world.clock.sleeping, 0);
  const calls = worker.store.calls.length;
  await world.clock.advance(100_000);
  assert.equal(worker.store.calls.length, calls);
  assert.deepEqual(worker.faults, []);
});

test("coordinator: a release that nobody answers ends after the failover time and names the shards", async () => {
  const world = new World();
  await world.rows("a", "b");
  const worker = await world.started("w");
  worker.store.plan = (call) => call.change?.leaseOwner === null ? { error: unavailable() } : undefined;
  const release = worker.coordinator.releaseAll();
  await world.clock.advance(F);
  assert.deepEqual((await release).sort(), ["a", "b"]);
  assert.equal(world.clock.sleeping, 0);
});

test("coordinator: a lease is renewed every third of the failover time less 25 ms", async () => {
  const world = new World();
  await world.rows("a");
  const worker = await world.started("w");
  await world.clock.advance(60_000);
  assert.equal((await world.store.get("a"))?.leaseCounter, 1 + Math.floor(60_000 / 3308));
  assert.deepEqual(alive(worker), ["a"]);
  await worker.coordinator.stop();
});

test("coordinator: a thousand leases are renewed, twenty at a time", async () => {
  const world = new World();
  await world.rows(...Array.from({ length: 1000 }, (_, i) => `s${i}`));
  const worker = await world.started("w");
  let inFlight = 0;
  let most = 0;
  worker.store.plan = (call) => {
    if (call.operation !== "UpdateItem") return undefined;
    most = Math.max(most, ++inFlight);
    void world.clock.sleep(10).then(() => inFlight--);
    return { responseDelayMs: 10 };
  };
  await world.clock.advance(5000);
  assert.equal(most, 20);
  assert.equal(alive(worker).length, 1000);
  assert.equal(worker.store.calls.filter((call) => call.operation === "UpdateItem").length, 2000);
  await worker.coordinator.stop();
});

test("coordinator: it scans every second while others hold leases, and at the KCL's rhythm when it holds all", async () => {
  const world = new World();
  await world.rows("a");
  const first = await world.started("first");
  await world.clock.advance(1);
  const second = await world.started("second");
  first.store.calls.length = second.store.calls.length = 0;
  await world.clock.advance(20_500);
  assert.equal(scans(first.store.calls), 1);
  assert.equal(scans(second.store.calls), 20);
  first.coordinator.wake();
  await settle();
  assert.equal(scans(first.store.calls), 2, "woken at once");
  await first.coordinator.stop();
  await second.coordinator.stop();
});

test("coordinator: of workers that start together on a new table exactly one gets each lease", async () => {
  const world = new World();
  await world.rows("a", "b", "c", "d");
  const workers = ["u", "v", "w"].map((id) => world.worker(id));
  for (const worker of workers) {
    worker.store.plan = () => ({ requestDelayMs: 20, responseDelayMs: 20 });
    worker.coordinator.start();
  }
  await world.clock.advance(F);
  assert.deepEqual(workers.flatMap(alive).sort(), ["a", "b", "c", "d"]);
  for (const worker of workers) assert.deepEqual(worker.faults, []);
  const stops = workers.map((worker) => worker.coordinator.stop());
  await world.clock.advance(100);
  await Promise.all(stops);
});

test("coordinator: a take whose answer is lost is repaired by the next scan, long before the failover time", async () => {
  const world = new World();
  await world.rows("a");
  const worker = world.worker("w");
  let first = true;
  worker.store.plan = (call) => {
    if (call.operation !== "UpdateItem" || !first) return undefined;
    first = false;
    return { lose: "response" };
  };
  worker.coordinator.start();
  await world.clock.advanceUntil(() => worker.acquired.length === 1, 4500);
  assert.equal((await world.store.get("a"))?.leaseCounter, 2);
  assert.equal((await world.store.get("a"))?.ownerSwitchesSinceCheckpoint, 0);
  await worker.coordinator.stop();
});

test("coordinator: the LATEST row of a take whose answer was lost goes on from startedAt instead of the tip", async () => {
  const world = new World();
  await world.rows(newRow("a", { checkpoint: sentinel("LATEST"), startedAt: 1_759_000_000_000 }));
  const worker = world.worker("w");
  let first = true;
  worker.store.plan = (call) => {
    if (call.operation !== "UpdateItem" || !first) return undefined;
    first = false;
    return { lose: "response" };
  };
  worker.coordinator.start();
  await world.clock.advanceUntil(() => worker.acquired.length === 1, 4500);
  assert.equal(worker.acquired[0]!.connectLatestOnce, false);
  assert.equal(worker.acquired[0]!.lease.startedAt, 1_759_000_000_000);
  await worker.coordinator.stop();
});

test("coordinator: a renewal whose answer is lost costs no lease", async () => {
  const world = new World();
  await world.rows("a");
  const worker = await world.started("w");
  let lostAnswers = 0;
  let answered = true;
  worker.store.plan = (call) => { // every second answer to a renewal
    if (call.operation !== "UpdateItem") return undefined;
    answered = !answered;
    if (!answered) lostAnswers++;
    return answered ? undefined : { lose: "response" };
  };
  await world.clock.advance(60_000);
  assert.ok(lostAnswers > 10);
  assert.deepEqual(worker.lost, []);
  assert.deepEqual(alive(worker), ["a"]);
  const stop = worker.coordinator.stop();
  await world.clock.advance(3333); // a renewal on its way is awaited
  await stop;
});

test("coordinator: stolen by another worker, the loss is told, the scan follows at once, nothing is checkpointed", async () => {
  const world = new World();
  await world.rows("a");
  const worker = await world.started("w");
  const [held] = worker.acquired;
  await world.clock.advance(1000);
  const { leaseCounter } = (await world.store.get("a"))!;
  await world.store.update("a", leaseCounter, { leaseOwner: "0", ownerSwitched: true });
  worker.store.calls.length = 0;
  await world.clock.advance(3400);
  assert.deepEqual(worker.lost, [{ held, loss: { reason: "taken", owner: "0" } }]);
  assert.ok(scans(worker.store.calls) >= 1);
  assert.equal(await held!.checkpoint(at(5)), "lost");
  assert.deepEqual((await world.store.get("a"))?.checkpoint, sentinel("TRIM_HORIZON"));
  assert.match(worker.log.messages("warn").join(), /lost the lease of shard a: taken by 0/);
  await worker.coordinator.stop();
});

test("coordinator: a frozen worker wakes as a zombie: not alive, no checkpoint, no write to the new owner's row (KCL scenario 5)", async () => {
  const world = new World();
  await world.rows("a");
  const zombie = await world.started("zombie");
  const heir = await world.started("heir");
  await world.clock.advance(4000);
  const before = [...zombie.acquired];
  zombie.clock.frozen = true;
  await world.clock.advance(3 * F);
  assert.deepEqual(alive(heir), ["a"]);
  const checkpoint = await heir.acquired[0]!.checkpoint(at(50));
  assert.equal(checkpoint, "stored");
  const rows = [...world.table.items.entries()];
  zombie.store.calls.length = 0;
  assert.deepEqual(before.map((held) => held.isAlive()), [false], "known before any answer");
  zombie.clock.thaw();
  for (const held of before) assert.equal(await held.checkpoint(at(40)), "lost");
  await settle();
  assert.deepEqual([...world.table.items.entries()], rows);
  assert.equal(zombie.lost.length, 1);
  assert.deepEqual(zombie.store.calls.filter((call) => call.operation === "UpdateItem"), []);
  await world.clock.advance(2 * F);
  assert.deepEqual(alive(heir), ["a"]);
  assert.deepEqual(alive(zombie), []);
  await zombie.coordinator.stop();
  await heir.coordinator.stop();
});

test("coordinator: while DynamoDB is away leases are lost in time, and taken again when it is back", async () => {
  const world = new World();
  await world.rows("a");
  const worker = await world.started("w");
  await world.clock.advance(3400);
  const [held] = worker.acquired;
  const { renewedAt } = held!;
  worker.store.plan = () => ({ error: unavailable() });
  await world.clock.advance(renewedAt + F - world.clock.monotonic() - 1);
  assert.equal(held!.lost.aborted, false);
  await world.clock.advance(1);
  assert.equal(held!.lost.aborted, true);
  assert.deepEqual(worker.lost.map(({ loss }) => loss), [{ reason: "expired" }]);
  await world.clock.advance(30_000);
  assert.deepEqual(alive(worker), []);
  assert.deepEqual(worker.faults, [], "waiting may cure it");
  worker.store.plan = () => undefined;
  await world.clock.advanceUntil(() => worker.acquired.length === 2, 6000);
  assert.equal(held!.isAlive(), false, "the old incarnation stays dead");
  assert.deepEqual(alive(worker), ["a"]);
  await worker.coordinator.stop();
});

test("coordinator: after an outage of a minute the table is looked at as often as before", async () => {
  const world = new World();
  await world.rows("a", newRow("b", { leaseOwner: "0" }));
  const worker = await world.started("w");
  worker.store.plan = () => ({ error: unavailable("Scan") });
  await world.clock.advance(60_000);
  await world.heartbeat("b"); // its owner is alive
  worker.store.plan = () => undefined;
  await world.clock.advance(5_000); // the longest pause between tries
  worker.store.calls.length = 0;
  await world.clock.advance(3_000);
  assert.ok(scans(worker.store.calls) >= 2, `${scans(worker.store.calls)} scans in three seconds`);
  await worker.coordinator.stop();
});

test("coordinator: throttling is reported with its attempts, and a number from the hook is the delay", async () => {
  const world = new World();
  const throttles: LeaseThrottle[] = [];
  const worker = world.worker("w", {
    onThrottle: (throttle) => {
      throttles.push(throttle);
      return throttle.attempt === 2 ? 7000 : undefined;
    },
  });
  let left = 3;
  worker.store.plan = (call) =>
    call.operation === "Scan" && left-- > 0 ? { error: throttled("Scan") } : undefined;
  await world.rows("a");
  worker.coordinator.start();
  await world.clock.advance(7000);
  assert.deepEqual(throttles.map((it) => [it.service, it.operation, it.attempt]), [
    ["dynamodb", "Scan", 1],
    ["dynamodb", "Scan", 2],
  ]);
  assert.ok(throttles[0]!.delayMs > 0);
  await world.clock.advance(1000);
  assert.deepEqual(alive(worker), ["a"]);
  assert.equal(throttles.length, 3);
  await worker.coordinator.stop();
});

test("coordinator: a missing permission is a fault, for the scan and for renewals", async () => {
  const world = new World();
  await world.rows("a");
  const blind = world.worker("blind");
  blind.store.plan = (call) => call.operation === "Scan" ? { error: denied("Scan") } : undefined;
  blind.coordinator.start();
  await world.clock.advance(0);
  assert.deepEqual(blind.faults.map((error) => error.code), ["ACCESS_DENIED"]);
  await blind.coordinator.stop();

  const worker = await world.started("w");
  worker.store.plan = (call) => call.operation === "UpdateItem" ? { error: denied() } : undefined;
  await world.clock.advance(3400);
  assert.deepEqual(worker.faults.map((error) => error.code), ["ACCESS_DENIED"]);
  worker.store.plan = () => undefined;
  await world.clock.advance(3400);
  assert.deepEqual(alive(worker), ["a"], "other leases, or a cured one, can still be drained");
  await worker.coordinator.stop();
});

test("coordinator: throttled takes back off and are reported with their attempts", async () => {
  const world = new World();
  await world.rows("a");
  const throttles: LeaseThrottle[] = [];
  const worker = world.worker("w", { onThrottle: (throttle) => void throttles.push(throttle) });
  let left = 4;
  worker.store.plan = (call) =>
    call.operation === "UpdateItem" && left-- > 0 ? { error: throttled() } : undefined;
  worker.coordinator.start();
  await world.clock.advance(3000);
  assert.deepEqual(throttles.map((it) => it.attempt), [1, 2, 3, 4]);
  assert.deepEqual(throttles.map((it) => it.delayMs), [75, 150, 300, 600]);
  assert.deepEqual(alive(worker), ["a"]);
  await worker.coordinator.stop();
});

test("coordinator: an exception in a callback is a fault, not a silence", async () => {
  const world = new World();
  await world.rows("a");
  const worker = await world.started("w", {
    onAcquired: () => {
      throw new Error("oh");
    },
  });
  assert.deepEqual(worker.faults.map((error) => error.code), ["INTERNAL"]);
  await worker.coordinator.stop();

  const other = await world.started("other", {
    onLost: () => {
      throw new Error("oh");
    },
  });
  await world.rows("b");
  await world.clock.advance(1000);
  await world.store.delete("b", (await world.store.get("b"))!.leaseCounter);
  await world.clock.advance(3400);
  assert.deepEqual(other.faults.map((error) => error.code), ["INTERNAL"]);
  await other.coordinator.stop();
});

test("coordinator: a finished shard's row is kept alive but never given out", async () => {
  const world = new World();
  await world.rows(newRow("done", { checkpoint: END, leaseCounter: 9 }));
  const worker = await world.started("w");
  assert.deepEqual(worker.acquired, []);
  assert.deepEqual(alive(worker), ["done"]);
  worker.store.calls.length = 0;
  await world.clock.advance(20_000);
  assert.equal(scans(worker.store.calls), 0, "nothing left to watch");
  await worker.coordinator.stop();
});

test("coordinator: a finished lease is deleted five minutes after SHARD_END, once its children have begun", async () => {
  const world = new World();
  await world.rows("p");
  const worker = await world.started("w");
  const [parent] = worker.acquired;
  const children = ["c1", "c2"].map((shardId) => ({ shardId, parentShardIds: ["p"], ...FULL_HASH_RANGE }));
  assert.equal(await worker.coordinator.createChildLeases(children), "created");
  assert.equal(await parent!.checkpoint(END, { childShardIds: ["c1", "c2"] }), "stored");
  await world.clock.advance(100);
  assert.deepEqual(worker.acquired.map((held) => held.shardId).sort(), ["c1", "c2", "p"]);
  await worker.acquired[1]!.checkpoint(at(5));
  await world.clock.advance(400_000);
  assert.notEqual(await world.store.get("p"), undefined, "one child is still at TRIM_HORIZON");
  await worker.acquired[2]!.checkpoint(at(6));
  await world.clock.advance(61_000);
  assert.equal(await world.store.get("p"), undefined);
  assert.deepEqual(alive(worker), ["c1", "c2"]);
  assert.deepEqual(worker.lost, []);
  await world.clock.advance(60_000);
  assert.equal(await world.store.get("p"), undefined, "and stays deleted");
  await worker.coordinator.stop();
});

test("coordinator: no finished lease is deleted before five minutes", async () => {
  const world = new World();
  await world.rows("p", newRow("c", { parentShardIds: ["p"], checkpoint: at(3) }));
  const worker = await world.started("w");
  await world.clock.advance(30_000);
  await worker.acquired.find((held) => held.shardId === "p")!.checkpoint(END, { childShardIds: ["c"] });
  await world.clock.advance(299_000);
  assert.notEqual(await world.store.get("p"), undefined);
  await world.clock.advance(61_000);
  assert.equal(await world.store.get("p"), undefined);
  await worker.coordinator.stop();
});

test("coordinator: a lack of the right to delete is said and kills nothing", async () => {
  const world = new World();
  await world.rows(
    newRow("p", { checkpoint: END }),
    newRow("c", { parentShardIds: ["p"], checkpoint: at(3) }),
  );
  const worker = await world.started("w");
  worker.store.plan = (call) => call.operation === "DeleteItem" ? { error: denied("DeleteItem") } : undefined;
  await world.clock.advance(400_000);
  assert.match(worker.log.messages("warn").join(), /finished shard p stays: DeleteItem: denied/);
  assert.deepEqual(worker.faults, []);
  assert.deepEqual(alive(worker), ["c", "p"]);
  await worker.coordinator.stop();
});

test("coordinator: a child waits for its parents, own and others', and starts at once after its own", async () => {
  const world = new World();
  await world.rows("a", newRow("b", { leaseOwner: "0", leaseCounter: 5 }));
  const worker = await world.started("w");
  await world.rows(newRow("m", { parentShardIds: ["a", "b"] }));
  await world.clock.advance(1100);
  const child = worker.acquired.find((held) => held.shardId === "m")!;
  let ready: boolean | undefined;
  void worker.coordinator.waitForParents(child).then((it) => ready = it);
  for (let i = 0; i < 10; i++) {
    await world.heartbeat("b");
    await world.clock.advance(2000);
  }
  await world.store.update("b", (await world.store.get("b"))!.leaseCounter, { checkpoint: END });
  await world.clock.advance(1100);
  assert.equal(ready, undefined, "the other parent is not finished");
  await worker.acquired.find((held) => held.shardId === "a")!.checkpoint(END, { childShardIds: ["m"] });
  await settle();
  assert.equal(ready, true, "no scan was needed");
  await worker.coordinator.stop();
});

test("coordinator: a scan that shows too little starts no child: the last word is a consistent read", async () => {
  const world = new World();
  await world.rows("p", newRow("c", { parentShardIds: ["p"] }));
  const worker = world.worker("w");
  const scan = world.store.scan.bind(world.store);
  world.store.scan = async (options) => {
    const { leases } = await scan(options);
    return { leases: leases.filter((lease) => lease.leaseKey !== "p"), foreignItems: 0 };
  };
  worker.coordinator.start();
  await world.clock.advance(0);
  let ready: boolean | undefined;
  void worker.coordinator.waitForParents(worker.acquired[0]!).then((it) => ready = it);
  await world.clock.advance(60_000);
  assert.equal(ready, undefined);
  await worker.coordinator.stop();
  await settle();
  assert.equal(ready, false, "a stop ends the wait");
  assert.equal(world.clock.sleeping, 0);
});

test("coordinator: the wait for parents ends with the lease, and one without parents needs none", async () => {
  const world = new World();
  await world.rows("p", newRow("c", { parentShardIds: ["p", "gone"] }));
  const worker = await world.started("w");
  const [parent, child] = ["p", "c"].map((id) => worker.acquired.find((held) => held.shardId === id)!);
  assert.equal(await worker.coordinator.waitForParents(parent!), true);
  const wait = worker.coordinator.waitForParents(child!);
  await world.store.update("c", 1, { leaseOwner: "0" });
  await world.clock.advance(3400);
  assert.equal(await wait, false);
  await worker.coordinator.stop();
});

test("coordinator: a LATEST child of a shard with a lease does not skip to the tip, before or after its wait", async () => {
  const world = new World();
  await world.rows(
    newRow("p", { checkpoint: END }),
    newRow("c", { parentShardIds: ["p"], checkpoint: sentinel("LATEST"), startedAt: 1_759_000_000_000 }),
  );
  const worker = await world.started("w");
  const [child] = worker.acquired;
  assert.equal(child!.connectLatestOnce, false);
  assert.equal(await worker.coordinator.waitForParents(child!), true);
  assert.equal(child!.connectLatestOnce, false);
  await worker.coordinator.stop();
});

test("coordinator: a merge's child is postponed until both parents have leases", async () => {
  const world = new World();
  await world.rows("a");
  const worker = await world.started("w");
  const children = [{ shardId: "m", parentShardIds: ["a", "b"], startingHashKey: "0", endingHashKey: "1" }];
  assert.equal(await worker.coordinator.createChildLeases(children), "postponed");
  assert.equal(await world.store.get("m"), undefined);
  await world.rows(newRow("b", { leaseOwner: "0", leaseCounter: 3 }));
  assert.equal(await worker.coordinator.createChildLeases(children), "created");
  assert.equal(await worker.coordinator.createChildLeases(children), "created");
  const row = await world.store.get("m");
  assert.deepEqual(row?.parentShardIds, ["a", "b"]);
  assert.deepEqual(row?.checkpoint, sentinel("TRIM_HORIZON"));
  await worker.coordinator.stop();
});

test("coordinator: rows of another stream, and of one created at another time, stop it before it takes them", async () => {
  for (const other of [{ streamArn: STREAM.streamArn + "2" }, { streamCreatedAt: 5 }]) {
    const world = new World();
    await world.rows(newRow("a", other));
    const worker = await world.started("w");
    assert.deepEqual(worker.faults.map((error) => error.code), ["LEASE_TABLE_FOREIGN"]);
    assert.deepEqual(worker.acquired, []);
    assert.equal((await world.store.get("a"))?.leaseOwner, undefined);
    await worker.coordinator.stop();
  }
});

test("coordinator: a fleet that turns to native KCL 3.x is noticed within a minute", async () => {
  const world = new World();
  await world.rows("a");
  const worker = await world.started("w");
  world.table.items.set("Migration3.0", {
    leaseKey: { S: "Migration3.0" },
    cv: { S: "CLIENT_VERSION_3X_WITH_ROLLBACK" },
    entityType: { S: "CLIENT_VERSION_MIGRATION" },
  });
  await world.clock.advance(60_000);
  assert.deepEqual(worker.faults.map((error) => error.code), ["LEASE_TABLE_FOREIGN"]);
  assert.match(worker.faults[0]!.message, /KCL 3\.x/);
  await worker.coordinator.stop();
});

test("coordinator: a live Java worker with another failover time is refused, a dead one or the same time is not", async () => {
  const java = newRow("a", { leaseOwner: "0", leaseCounter: 5 });
  const short = new World({ failoverTimeMs: 5000 });
  await short.rows(java);
  const worker = await short.started("w");
  await short.clock.advance(900);
  await short.heartbeat("a");
  await short.clock.advance(200);
  assert.deepEqual(worker.faults.map((error) => error.code), ["CONFIG_INVALID"]);
  assert.match(worker.faults[0]!.message, /leases\.failoverTimeMs is 5000/);
  await worker.coordinator.stop();

  const dead = new World({ failoverTimeMs: 5000 });
  await dead.rows(java);
  const heir = await dead.started("w");
  await dead.clock.advance(7000);
  assert.deepEqual(alive(heir), ["a"]);
  await heir.coordinator.stop();

  const same = new World();
  await same.rows(java);
  const peer = await same.started("w");
  await same.clock.advance(900);
  await same.heartbeat("a");
  await same.clock.advance(200);
  assert.deepEqual(peer.faults, []);
  await peer.coordinator.stop();
});
