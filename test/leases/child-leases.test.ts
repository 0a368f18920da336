import { test } from "node:test";
import assert from "node:assert/strict";
import { ConnectorError } from "../../src/core/errors.ts";
import { sentinel } from "../../src/core/position.ts";
import type { OperationReport } from "../../src/core/telemetry.ts";
import { MemoryLeaseStore } from "../../src/leases/memory.ts";
import type { LeaseScan, ScanOptions } from "../../src/leases/store.ts";
import { leaseKeys, streamRow, StreamWorld } from "./stream-world.ts";
import { StreamModel } from "./stream-model.ts";

const END = sentinel("SHARD_END");

test("children: leases at TRIM_HORIZON before the parent's SHARD_END, and blocked until then (KCL scenario 13)", async () => {
  const world = new StreamWorld(new StreamModel(1), { position: "LATEST" });
  await world.streamRows("0", { checkpoint: sentinel("LATEST") });
  const worker = await world.started("w");
  world.stream.split("0");
  const parent = world.held(worker, "0");
  assert.equal(await worker.coordinator.createChildLeases(world.stream.children("0")), "created");
  await world.clock.advance(1000);
  assert.deepEqual(await leaseKeys(world), ["0", "1", "2"]);
  const waits = ["1", "2"].map((id) => worker.coordinator.waitForParents(world.held(worker, id)));
  let started = 0;
  for (const wait of waits) void wait.then(() => started++);
  for (const id of ["1", "2"]) {
    const row = await world.store.get(id);
    assert.equal(row?.checkpoint.sequenceNumber, "TRIM_HORIZON");
    assert.equal(row?.startingHashKey, world.stream.shard(id).startingHashKey);
  }
  await world.clock.advance(30_000);
  assert.equal(started, 0);
  await parent.checkpoint(END, { childShardIds: ["1", "2"] });
  assert.deepEqual(await Promise.all(waits), [true, true]);
  assert.deepEqual([...(await world.store.get("0"))!.childShardIds].sort(), ["1", "2"]);
  await worker.coordinator.stop();
});

test("children: a merge whose other parent Java still reads: one lease, blocked until both have ended (KCL scenario 14)", async () => {
  const world = new StreamWorld(new StreamModel(2));
  await world.streamRows("0");
  await world.store.create(streamRow(world.stream, "1", { leaseOwner: "0", leaseCounter: 5 }));
  const merged = world.stream.merge("0", "1");
  const worker = await world.started("w");
  assert.equal(await world.end(worker, "0"), true, "both parents have leases");
  assert.equal(world.listings, 0);
  await world.clock.advance(1000);
  let ready: boolean | undefined;
  const waiting = worker.coordinator.waitForParents(world.held(worker, merged)).then((answer) =>
    ready = answer
  );
  for (let i = 0; i < 5; i++) {
    await world.heartbeat("1");
    await world.clock.advance(5_000);
  }
  assert.equal(ready, undefined);
  const java = (await world.store.get("1"))!;
  assert.equal(
    await world.store.create(streamRow(world.stream, merged)),
    false,
    "Java finds the lease there",
  );
  await world.store.update("1", java.leaseCounter, { checkpoint: END, childShardIds: [merged] });
  await world.clock.advance(2_000);
  assert.equal(await waiting, true);
  await worker.coordinator.stop();
});

test("children: a merge's other parent that comes from a shard still read is waited for, with few calls (KCL scenario 14)", async () => {
  const world = new StreamWorld(new StreamModel(2), { position: "LATEST" });
  await world.streamRows("0 1");
  const worker = await world.started("w");
  const [, high] = world.stream.split("0");
  const merged = world.stream.merge(high, "1");
  for (let i = 0; i < 100; i++) { // 1 has ended; 0 is far behind
    assert.equal(await world.end(worker, "1"), false);
    await world.clock.advance(2_000);
  }
  assert.ok(world.listings <= 4, `${world.listings} listings in 200 s`);
  assert.deepEqual(await leaseKeys(world), ["0", "1"], "nobody else makes leases for what comes from 0");
  assert.equal(
    worker.log.messages("info").filter((line) => /parent 3 has none yet/.test(line)).length,
    1,
    "said once",
  );
  assert.equal(await world.end(worker, "0"), true);
  await world.clock.advance(1_000);
  assert.equal(await world.end(worker, "1"), true);
  await world.clock.advance(1_000);
  assert.ok((await leaseKeys(world)).includes(merged));
  await worker.coordinator.stop();
});

test("children: a merge's other parent that has expired without a lease is not waited for", async () => {
  const world = new StreamWorld(new StreamModel(2), { position: "LATEST" });
  await world.streamRows("0");
  const worker = await world.started("w");
  const merged = world.stream.merge("0", "1");
  const children = world.stream.children("0");
  world.stream.forget(world.stream.now); // both parents are listed no more
  assert.equal(await worker.coordinator.createChildLeases(children), "created");
  assert.equal((await world.store.get(merged))?.checkpoint.sequenceNumber, "TRIM_HORIZON");
  await worker.coordinator.stop();
});

for (const position of ["LATEST", "TRIM_HORIZON"] as const) {
  test(`children: a merge's other parent that nobody gave a lease gets it at once, at ${position}`, async () => {
    const world = new StreamWorld(new StreamModel(2), { position });
    await world.streamRows("0");
    const worker = await world.started("w");
    const merged = world.stream.merge("0", "1");
    assert.equal(await world.end(worker, "0"), false);
    assert.equal((await world.store.get("1"))?.checkpoint.sequenceNumber, position);
    assert.equal(await world.end(worker, "0"), true, "now both have one");
    await world.clock.advance(1_000);
    assert.deepEqual(await leaseKeys(world), ["0", "1", merged]);
    assert.equal(await world.end(worker, "1"), true);
    await worker.coordinator.stop();
  });
}

test("children: a listing that does not show the merged shard yet proves nothing", async () => {
  const world = new StreamWorld(new StreamModel(2), { position: "LATEST" });
  await world.streamRows("0");
  const before = world.stream.listed();
  const worker = await world.started("w", {
    shards: {
      position: "LATEST",
      list: () => Promise.resolve(before.slice(0, 1)),
      listInitial: () => Promise.resolve([]),
    },
  });
  world.stream.merge("0", "1");
  assert.equal(await world.end(worker, "0"), false, "1 is not listed, but neither is what it became");
  assert.deepEqual(await leaseKeys(world), ["0"]);
  await worker.coordinator.stop();
});

test("children: a merged shard with a lease further down was read: it gets none again", async () => {
  const world = new StreamWorld(new StreamModel(2), { position: "LATEST" });
  await world.streamRows("0");
  const merged = world.stream.merge("0", "1");
  const [low, high] = world.stream.split(merged);
  await world.streamRows(`${low} ${high}`);
  const worker = await world.started("w");
  assert.equal(await world.end(worker, "0"), true);
  assert.deepEqual(await leaseKeys(world), ["0", low, high].sort());
  await worker.coordinator.stop();
});

test("children: a thousand merges that wait share a listing and a scan", async () => {
  const world = new StreamWorld(new StreamModel(1_000), { position: "LATEST" });
  const ids = world.stream.open();
  const lower = ids.filter((_, i) => i % 2 === 0);
  await world.streamRows(lower.join(" "));
  const worker = await world.started("w");
  await world.clock.advance(1_000);
  for (let i = 0; i < ids.length; i += 2) world.stream.merge(ids[i]!, ids[i + 1]!);
  const children = new Map(
    world.stream.listed().flatMap((shard) => shard.parentShardIds.map((id) => [id, shard])),
  );
  const answers = await Promise.all(
    lower.map((id) => worker.coordinator.createChildLeases([children.get(id)!])),
  );
  assert.deepEqual(new Set(answers), new Set(["postponed"]));
  assert.ok(world.listings <= 3, `${world.listings} listings`);
  assert.equal((await leaseKeys(world)).length, 1_000, "each other parent has one now");
  await worker.coordinator.stop();
});

// 0 → 1, 2 and 2 → 3, 4, of which 0 and 2 have expired: one child of 0 may still be listed, or none be known.
for (const known of [["1"], []]) {
  test(`children: of a line whose middle has expired the rest is read, after what was read before it (${known.length} known)`, async () => {
    const world = new StreamWorld(new StreamModel(1), { position: "LATEST" });
    await world.streamRows("0", { checkpoint: { sequenceNumber: "77", subSequenceNumber: 0 } });
    const worker = await world.started("w");
    const [, middle] = world.stream.split("0");
    world.stream.split(middle);
    world.stream.forget(world.stream.now);
    const children = world.stream.children("0").filter(({ shardId }) => known.includes(shardId));
    assert.equal(children.length, known.length);
    assert.equal(await worker.coordinator.createChildLeases(children), "created");
    assert.deepEqual(await leaseKeys(world), ["0", "1", "3", "4"]);
    for (const id of ["1", "3", "4"]) {
      const row = (await world.store.get(id))!;
      assert.equal(row.checkpoint.sequenceNumber, "TRIM_HORIZON");
      assert.ok(row.parentShardIds.includes("0"), `${id} waits for 0`);
    }
    await world.clock.advance(1_000);
    let ready = false;
    const waiting = worker.coordinator.waitForParents(world.held(worker, "3")).then(() => ready = true);
    await world.clock.advance(30_000);
    assert.equal(ready, false);
    await world.held(worker, "0").checkpoint(END, { childShardIds: known });
    await waiting;
    await worker.coordinator.stop();
  });
}

test("children: while Kinesis does not list, a shard's end waits; what is wrong for good is told", async () => {
  const world = new StreamWorld(new StreamModel(2), { position: "LATEST" });
  await world.streamRows("0");
  const worker = await world.started("w");
  world.stream.merge("0", "1");
  world.failure = new ConnectorError("ListShards: no answer", { code: "AWS_UNAVAILABLE", retryable: true });
  assert.equal(await world.end(worker, "0"), false);
  assert.equal(await worker.coordinator.createChildLeases([]), "postponed");
  assert.match(worker.log.messages("warn").join(), /children wait: ListShards: no answer/);
  world.failure = new ConnectorError("ListShards: denied", { code: "ACCESS_DENIED" });
  await assert.rejects(world.end(worker, "0"), { code: "ACCESS_DENIED" });
  world.failure = undefined;
  assert.equal(await world.end(worker, "0"), false);
  assert.equal(await world.end(worker, "0"), true);
  await worker.coordinator.stop();
});

test("children: a shard that ends and is deleted while a scan goes by, its children missed, is not read again", async () => {
  const world = new StreamWorld(new StreamModel(3), { position: "TRIM_HORIZON" });
  await world.streamRows("1");
  await world.store.create(streamRow(world.stream, "0", { leaseOwner: "java", leaseCounter: 5 }));
  const children: readonly string[] = world.stream.split("0");
  let meanwhile: (() => Promise<void>) | undefined;
  /** Reads the children's page first; something may happen before the other one. */
  class PagedStore extends MemoryLeaseStore {
    override async scan({ consistent }: ScanOptions = {}): Promise<LeaseScan> {
      const first = (await super.scan()).leases.filter(({ leaseKey }) => children.includes(leaseKey));
      if (consistent) {
        await meanwhile?.();
        meanwhile = undefined;
      }
      const others = (await super.scan()).leases.filter(({ leaseKey }) => !children.includes(leaseKey));
      return { leases: [...first, ...others], foreignItems: 0 };
    }
  }
  const worker = await world.started("w", { store: new PagedStore(world.table) });
  const begun = { leaseOwner: "java", checkpoint: { sequenceNumber: "77", subSequenceNumber: 0 } };
  meanwhile = async () => {
    for (const id of children) await world.store.create(streamRow(world.stream, id, begun));
    await world.store.update("0", 5, { checkpoint: END, childShardIds: [...children] });
    await world.store.delete("0", 6);
  };
  assert.equal(await worker.coordinator.createChildLeases([]), "created");
  assert.deepEqual(await leaseKeys(world), ["1", "2", ...children].sort(), "shard 2 had none, and gets it");
  await worker.coordinator.stop();
});

/** A worker whose reports without a step are listened to. */
async function listening(shards: number, rows: string) {
  const world = new StreamWorld(new StreamModel(shards), { position: "TRIM_HORIZON" });
  await world.streamRows(rows);
  const reports: OperationReport[] = [];
  const telemetry = { report: (report: OperationReport) => void reports.push(report) };
  return {
    world,
    worker: await world.started("w", { telemetry }),
    /** What was reported of an operation since the last time. */
    take: (operation: string) => {
      const found = reports.filter((report) => report.operation === operation && report.step === undefined);
      reports.length = 0;
      return found;
    },
  };
}

test("children: each look at a merge whose other parent has no lease is told in the KCL's words, until it has one", async () => {
  const { world, worker, take } = await listening(2, "0");
  world.stream.merge("0", "1");
  assert.equal(await world.end(worker, "0"), false);
  assert.deepEqual(take("ShutdownTask"), [
    { operation: "ShutdownTask", data: { MissingMergeParentLease: 1 } },
  ]);
  assert.equal(await world.end(worker, "0"), true, "now both have one");
  assert.deepEqual(take("ShutdownTask"), []);
  await world.clock.advance(1_000);
  assert.equal(await world.end(worker, "1"), true, "the merged shard has its lease already");
  assert.deepEqual(take("ShutdownTask"), []);
  await worker.coordinator.stop();
});

test("children: an only child that does not name two parents is told in the KCL's words; a split's are not", async () => {
  const { world, worker, take } = await listening(2, "0 1");
  world.stream.split("0");
  const children = world.stream.children("0");
  assert.equal(await worker.coordinator.createChildLeases(children), "created");
  assert.deepEqual(take("ShutdownTask"), []);
  assert.equal(await worker.coordinator.createChildLeases(children.slice(0, 1)), "created");
  assert.deepEqual(take("ShutdownTask"), [{ operation: "ShutdownTask", data: { MissingMergeParent: 1 } }]);
  assert.equal(
    await worker.coordinator.createChildLeases([]),
    "created",
    "unknown children are another matter",
  );
  assert.deepEqual(take("ShutdownTask"), []);
  await worker.coordinator.stop();
});

test("children: bringing stream and table together is one ShardSyncTask, and a failed one is told as such", async () => {
  const { world, worker, take } = await listening(1, "0");
  const results = () => take("ShardSyncTask").map(({ success }) => success);
  const { coordinator } = worker;
  await coordinator.completeLeases(
    [streamRow(world.stream, "0")],
    world.stream.listed(),
    new AbortController().signal,
  );
  assert.deepEqual(results(), [], "nothing is missing");
  assert.equal(await coordinator.createChildLeases([]), "created");
  assert.deepEqual(results(), [true]);
  world.failure = new ConnectorError("no listing", { code: "AWS_UNAVAILABLE", retryable: true });
  assert.equal(await coordinator.createChildLeases([]), "postponed");
  assert.deepEqual(results(), [false]);
  await coordinator.stop();
});
