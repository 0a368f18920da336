import { test } from "node:test";
import assert from "node:assert/strict";
import { ConnectorError } from "../../src/core/errors.ts";
import { sentinel } from "../../src/core/position.ts";
import type { Lease } from "../../src/leases/store.ts";
import { throttled } from "./faulty-store.ts";
import { StreamModel } from "./stream-model.ts";
import { leaseKeys, streamRow, StreamWorld } from "./stream-world.ts";
import { alive } from "./world.ts";

const END = { checkpoint: sentinel("SHARD_END") };
const BEGUN = { checkpoint: { sequenceNumber: "99", subSequenceNumber: 0 } };
const MINUTE = 60_000;

/** 0 → 1, 2; 1 → 3, 4 */
function family(): StreamModel {
  const stream = new StreamModel(1);
  const [low] = stream.split("0");
  stream.split(low);
  return stream;
}

test("cleanup: a finished lease stays while a child is at TRIM_HORIZON or AT_TIMESTAMP, or its own parent has one (KCL scenario 15)", async () => {
  for (const waiting of ["TRIM_HORIZON", "AT_TIMESTAMP"] as const) {
    const world = new StreamWorld(family());
    await world.streamRows("0", { ...END, childShardIds: ["1", "2"] });
    await world.streamRows("1", { ...END, childShardIds: ["3", "4"] });
    await world.streamRows("2", { checkpoint: sentinel(waiting) });
    await world.streamRows("3 4", BEGUN);
    const worker = await world.started("w");
    await world.clock.advance(20 * MINUTE);
    assert.deepEqual(await leaseKeys(world), ["0", "1", "2", "3", "4"], "1 waits for its parent's row to go");
    await world.held(worker, "2").checkpoint(BEGUN.checkpoint);
    await world.clock.advance(MINUTE + 1_000);
    assert.deepEqual(await leaseKeys(world), ["1", "2", "3", "4"]);
    await world.clock.advance(MINUTE);
    assert.deepEqual(await leaseKeys(world), ["2", "3", "4"]);
    assert.deepEqual(alive(worker), ["2", "3", "4"]);
    await worker.coordinator.stop();
  }
});

test("cleanup: a child at LATEST counts as begun (KCL scenario 15)", async () => {
  const world = new StreamWorld(new StreamModel(2));
  const merged = world.stream.merge("0", "1");
  await world.streamRows("0 1", { ...END, childShardIds: [merged] });
  await world.streamRows(merged, { checkpoint: sentinel("LATEST") });
  const worker = await world.started("w");
  await world.clock.advance(6 * MINUTE);
  assert.deepEqual(await leaseKeys(world), [merged]);
  await worker.coordinator.stop();
});

test("cleanup: a finished lease that was stolen is only cleaned up, by the thief (KCL scenario 16)", async () => {
  const world = new StreamWorld(new StreamModel(1));
  world.stream.split("0");
  await world.streamRows("0", { ...END, childShardIds: ["1", "2"], leaseOwner: "0", leaseCounter: 9 });
  await world.streamRows("1 2", { ...BEGUN, leaseOwner: "0", leaseCounter: 9 });
  const worker = await world.started("w"); // "0" is dead: its leases are taken
  const [row] = await world.store.scan().then(({ leases }) =>
    leases.filter(({ leaseKey }) => leaseKey === "0")
  );
  await world.clock.advance(12_000);
  assert.deepEqual(alive(worker), ["0", "1", "2"]);
  assert.deepEqual(worker.acquired.map(({ shardId }) => shardId).sort(), ["1", "2"], "0 is not processed");
  assert.deepEqual((await world.store.get("0"))!.childShardIds.length, row!.childShardIds.length);
  await world.clock.advance(4 * MINUTE);
  assert.ok((await leaseKeys(world)).includes("0"), "five minutes after it was taken over");
  await world.clock.advance(2 * MINUTE);
  assert.deepEqual(await leaseKeys(world), ["1", "2"]);
  assert.equal(world.listings, 0);
  await worker.coordinator.stop();
});

test("cleanup: in a fleet with Java a row is deleted only by who holds it", async () => {
  const world = new StreamWorld(new StreamModel(2));
  const merged = world.stream.merge("0", "1");
  await world.streamRows("0", { ...END, childShardIds: [merged], leaseOwner: "0", leaseCounter: 9 });
  await world.streamRows("1", { ...END, childShardIds: [merged] });
  await world.streamRows(merged, BEGUN);
  const worker = await world.started("w");
  for (let i = 0; i < 80; i++) {
    await world.clock.advance(5_000);
    await world.heartbeat("0");
  }
  assert.deepEqual(await leaseKeys(world), ["0", merged]);
  await worker.coordinator.stop();
});

test("cleanup: children that nobody has written down are looked up after five minutes and stored", async () => {
  const world = new StreamWorld(new StreamModel(1));
  const [low, high] = world.stream.split("0");
  await world.streamRows("0", END);
  // Rows that do not name their parent, as a person may have made them.
  for (const id of [low, high]) {
    await world.store.create(streamRow(world.stream, id, { ...BEGUN, parentShardIds: [] }));
  }
  const worker = await world.started("w");
  await world.clock.advance(5 * MINUTE + 5_000);
  assert.equal(world.listings, 1);
  assert.deepEqual([...(await world.store.get("0"))!.childShardIds].sort(), [low, high]);
  await world.clock.advance(MINUTE);
  assert.deepEqual(await leaseKeys(world), [low, high]);
  await worker.coordinator.stop();
});

test("cleanup: a finished lease of whose children one is not known yet stays, so that this one misses nothing at LATEST", async () => {
  const world = new StreamWorld(new StreamModel(1), { position: "LATEST" });
  const [low, high] = world.stream.split("0");
  await world.streamRows("0", { ...END, childShardIds: [low] }); // a listing showed no more, and no answer named them
  await world.streamRows(low, BEGUN);
  const worker = await world.started("w");
  world.failure = new ConnectorError("not now", { code: "AWS_UNAVAILABLE", retryable: true });
  await world.clock.advance(20 * MINUTE);
  world.failure = undefined;
  await world.clock.advance(3 * MINUTE);
  assert.deepEqual(await leaseKeys(world), ["0", low, high]);
  assert.equal((await world.store.get(high))!.checkpoint.sequenceNumber, "TRIM_HORIZON");
  await world.held(worker, high).checkpoint(BEGUN.checkpoint);
  await world.clock.advance(MINUTE + 1_000);
  assert.deepEqual(await leaseKeys(world), [low, high]);
  await worker.coordinator.stop();
});

test("cleanup: garbage goes after half an hour, after what descends from it has leases", async () => {
  const world = new StreamWorld(family(), { position: "LATEST" });
  world.stream.forget(world.stream.now); // only 2, 3 and 4 are listed
  await world.streamRows("0", { ...END, childShardIds: ["1", "2"] }); // Java has deleted 1, and nobody made 3 and 4
  await world.streamRows("2", BEGUN);
  const worker = await world.started("w");
  let atDeletion: string[] | undefined;
  worker.store.plan = (call) => {
    if (call.operation === "DeleteItem") atDeletion = [...world.table.items.keys()].sort();
    return undefined;
  };
  await world.clock.advance(29 * MINUTE);
  assert.deepEqual(await leaseKeys(world), ["0", "2", "3", "4"], "the auditor has seen the hole");
  for (const id of ["3", "4"]) {
    assert.equal((await world.store.get(id))?.checkpoint.sequenceNumber, "TRIM_HORIZON");
  }
  await world.clock.advance(2 * MINUTE);
  assert.deepEqual(await leaseKeys(world), ["2", "3", "4"]);
  assert.deepEqual(atDeletion, ["0", "2", "3", "4"]);
  assert.match(
    worker.log.messages("info").join(),
    /shard 0 is not listed any more.*although its child 1 has no lease/,
  );
  await worker.coordinator.stop();
});

test("cleanup: what descends from garbage gets its leases before the garbage goes, though no audit came", async () => {
  const world = new StreamWorld(family(), { position: "LATEST" });
  world.stream.forget(world.stream.now);
  await world.streamRows("0", END); // nothing else is known of it
  await world.streamRows("2", { ...BEGUN, parentShardIds: [] });
  const audits = new ConnectorError("not now", { code: "AWS_UNAVAILABLE", retryable: true });
  const worker = await world.started("w");
  world.failure = audits; // every listing fails …
  await world.clock.advance(10 * MINUTE + 30_000);
  assert.deepEqual(await leaseKeys(world), ["0", "2"]);
  assert.match(worker.log.messages("warn").join(), /leases of finished shards stay: not now/);
  world.failure = undefined; // … until a cleanup's succeeds, before the next audit
  await world.clock.advance(6 * MINUTE);
  assert.deepEqual(await leaseKeys(world), ["2", "3", "4"]);
  assert.deepEqual(worker.faults, []);
  await worker.coordinator.stop();
});

test("cleanup: a shard that is listed is no garbage, whatever is missing", async () => {
  const world = new StreamWorld(family(), { position: "LATEST" });
  const rows: readonly [string, Partial<Lease>][] = [["0", { ...END, childShardIds: ["1", "2"] }], [
    "2",
    BEGUN,
  ]];
  for (const [id, change] of rows) await world.streamRows(id, change);
  const worker = await world.started("w");
  world.stream.forget(0);
  await world.clock.advance(40 * MINUTE);
  assert.deepEqual(
    await leaseKeys(world),
    ["0", "1", "2"],
    "the auditor gave 1 its lease, and 1 is to begin",
  );
  await worker.coordinator.stop();
});

test("cleanup: a deletion that is late deletes nothing that was made of the row since, and is tried again after a lost answer", async () => {
  for (const lose of ["request", "response"] as const) {
    const world = new StreamWorld(new StreamModel(1));
    world.stream.split("0");
    await world.streamRows("0", { ...END, childShardIds: ["1", "2"] });
    await world.streamRows("1 2", BEGUN);
    const worker = await world.started("w");
    let deletions = 0;
    worker.store.plan = ({ operation }) =>
      operation !== "DeleteItem" ? undefined : deletions++ === 0 ? { lose } : { requestDelayMs: 3_000 };
    await world.clock.advance(5 * MINUTE + 1_000);
    if (lose === "response") {
      assert.deepEqual(await leaseKeys(world), ["1", "2"]);
      await world.clock.advance(10_000);
      assert.deepEqual(alive(worker), ["1", "2"]);
      assert.equal(worker.faults.length, 0);
    } else {
      await world.clock.advance(3_500);
      assert.equal(deletions, 2, "the second is on its way");
      const { leaseCounter } = (await world.store.get("0"))!;
      // `leases reset --force` under the worker's hands
      await world.store.update("0", leaseCounter, { leaseOwner: null, checkpoint: sentinel("TRIM_HORIZON") });
      await world.clock.advance(20_000);
      assert.deepEqual(await leaseKeys(world), ["0", "1", "2"]);
      assert.ok(worker.acquired.some(({ shardId }) => shardId === "0"), "it is read again");
    }
    await worker.coordinator.stop();
  }
});

test("cleanup: a finished lease is kept alive until its row is gone, so that nobody takes it meanwhile", async () => {
  const world = new StreamWorld(new StreamModel(1));
  world.stream.split("0");
  await world.streamRows("0", { ...END, childShardIds: ["1", "2"] });
  await world.streamRows("1 2", BEGUN);
  const worker = await world.started("w");
  worker.store.plan = ({ operation }) => operation === "DeleteItem" ? { error: throttled() } : undefined;
  await world.clock.advance(6 * MINUTE);
  const other = await world.started("v");
  await world.clock.advance(MINUTE);
  assert.ok(alive(worker).includes("0") || alive(other).includes("0"));
  assert.ok(worker.log.messages("warn").some((line) => /throttled; it is tried again/.test(line)));
  worker.store.plan = () => undefined;
  await world.clock.advance(6 * MINUTE);
  assert.deepEqual(await leaseKeys(world), ["1", "2"]);
  assert.deepEqual([worker.faults, other.faults], [[], []]);
  await worker.coordinator.stop();
  await other.coordinator.stop();
});
