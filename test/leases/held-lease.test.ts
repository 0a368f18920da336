import { test } from "node:test";
import assert from "node:assert/strict";
import { ConnectorError } from "../../src/core/errors.ts";
import { type Checkpoint, sentinel } from "../../src/core/position.ts";
import { type HeldLease, type LeaseLoss, takeLease } from "../../src/leases/held-lease.ts";
import { MemoryLeaseStore, MemoryLeaseTable } from "../../src/leases/memory.ts";
import type { Lease } from "../../src/leases/store.ts";
import { FakeClock, settle } from "../fakes.ts";
import { denied, FaultyStore, throttled } from "./faulty-store.ts";
import { newRow, STREAM } from "./stores.ts";

const F = 10_000;
const WRITE_TIMEOUT = 3333;
const KINESIS_NOW = 1_760_000_000_987;

const at = (digits: number, sub = 0): Checkpoint => ({
  sequenceNumber: String(digits),
  subSequenceNumber: sub,
});

/** One row, taken by worker "me" over a line that can be broken. */
async function setUp(row: Partial<Lease> = {}) {
  const clock = new FakeClock();
  const table = new MemoryLeaseTable();
  const direct = new MemoryLeaseStore(table);
  const store = new FaultyStore(direct, clock, WRITE_TIMEOUT);
  await direct.create(newRow("s", row));
  const losses: LeaseLoss[] = [];
  const finished: string[] = [];
  const released: string[] = [];
  const asked: string[] = [];
  const take = async (workerId = "me") =>
    await takeLease((await direct.get("s"))!, {
      store,
      clock,
      workerId,
      failoverTimeMs: F,
      stream: STREAM,
      kinesisNow: () => KINESIS_NOW,
      events: {
        lost: (_held, loss) => losses.push(loss),
        finished: (held) => finished.push(held.shardId),
        released: (held) => released.push(held.shardId),
        handOverAsked: (held) => asked.push(held.shardId),
      },
    });
  const held = await take() as HeldLease;
  const stored = async () => (await direct.get("s"))!;
  return { clock, table, direct, store, held, take, stored, losses, finished, released, asked };
}

const isUnavailable = (error: unknown) => error instanceof ConnectorError && error.code === "AWS_UNAVAILABLE";

test("held lease: a take writes owner, stream and the switch, and its state is the written row", async () => {
  const { held, stored } = await setUp({
    leaseOwner: "0",
    leaseCounter: 7,
    streamArn: undefined,
    streamCreatedAt: undefined,
  });
  const row = await stored();
  assert.deepEqual(held.lease, row);
  assert.equal(row.leaseOwner, "me");
  assert.equal(row.leaseCounter, 8);
  assert.equal(row.ownerSwitchesSinceCheckpoint, 1);
  assert.equal(row.streamArn, STREAM.streamArn);
  assert.equal(row.streamCreatedAt, STREAM.streamCreatedAt);
  assert.equal(row.startedAt, undefined);
  assert.equal(held.connectLatestOnce, false);
});

test("held lease: a take of an unowned row, or of one with the same id, is no switch of owners", async () => {
  const unowned = await setUp();
  assert.equal((await unowned.stored()).ownerSwitchesSinceCheckpoint, 0);
  const own = await setUp({ leaseOwner: "me", leaseCounter: 3 });
  assert.equal((await own.stored()).ownerSwitchesSinceCheckpoint, 0);
});

test("held lease: the first take ever of a LATEST row connects at LATEST, the second goes on from startedAt", async () => {
  const first = await setUp({ checkpoint: sentinel("LATEST"), startedAt: 1_750_000_000_000 });
  assert.equal(first.held.connectLatestOnce, true);
  assert.equal(first.held.lease.startedAt, 1_750_000_000_000);
  const second = await first.take("other") as HeldLease;
  assert.equal(second.connectLatestOnce, false);
  assert.equal(second.lease.startedAt, 1_750_000_000_000);
});

test("held lease: a take of Java's LATEST row writes startedAt, rounded down to the second, and connects at LATEST", async () => {
  const { held, stored } = await setUp({ checkpoint: sentinel("LATEST"), leaseOwner: "0", leaseCounter: 9 });
  assert.equal(held.connectLatestOnce, true);
  assert.equal((await stored()).startedAt, 1_760_000_000_000);
});

test("held lease: a shard that has parents, or a checkpoint, does not connect at LATEST", async () => {
  const child = await setUp({ checkpoint: sentinel("LATEST"), parentShardIds: ["shardId-parent"] });
  assert.equal(child.held.connectLatestOnce, false, "its parents may be read by now");
  const moved = await setUp({ checkpoint: sentinel("LATEST") });
  assert.equal(await moved.held.checkpoint(at(5)), "stored");
  assert.equal(moved.held.connectLatestOnce, false);
});

test("held lease: the first checkpoint removes startedAt", async () => {
  const { held, stored } = await setUp({ checkpoint: sentinel("LATEST"), startedAt: 1_750_000_000_000 });
  await held.renew();
  assert.equal((await stored()).startedAt, 1_750_000_000_000);
  assert.equal(await held.checkpoint(at(5, 2)), "stored");
  const row = await stored();
  assert.equal(row.startedAt, undefined);
  assert.deepEqual(row.checkpoint, at(5, 2));
});

test("held lease: it is alive until the failover time after the sending of its last renewal, then never again", async () => {
  const { clock, held, losses } = await setUp();
  await clock.advance(5000);
  assert.equal(await held.renew(), "renewed");
  await clock.advance(F - 1);
  assert.equal(held.isAlive(), true);
  await clock.advance(1);
  assert.equal(held.isAlive(), false);
  assert.equal(held.lost.aborted, false, "not within the question");
  await settle();
  assert.equal(held.lost.aborted, true);
  assert.deepEqual(losses, [{ reason: "expired" }]);
  assert.equal(await held.renew(), "lost");
  assert.equal(held.isAlive(), false);
});

test("held lease: a slow answer renews from when the write was sent, not from when the answer came", async () => {
  const { clock, store, held } = await setUp();
  store.plan = () => ({ responseDelayMs: 3000 });
  const renewal = held.renew();
  await clock.advance(3000);
  assert.equal(await renewal, "renewed");
  await clock.advance(F - 3000 - 1);
  assert.equal(held.isAlive(), true);
  await clock.advance(1);
  assert.equal(held.isAlive(), false);
});

test("held lease: an expired lease writes nothing more", async () => {
  const { clock, store, held, stored } = await setUp();
  await clock.advance(F);
  const before = await stored();
  const calls = store.calls.length;
  assert.equal(await held.checkpoint(at(5)), "lost");
  assert.equal(await held.renew(), "lost");
  assert.equal(await held.release(), "lost");
  assert.equal(store.calls.length, calls);
  assert.deepEqual(await stored(), before);
});

test("held lease: a renewal whose answer is lost is found applied, and counts from the first sending", async () => {
  const { clock, store, held, losses, stored } = await setUp();
  await clock.advance(1000);
  store.plan = (call) => call.operation === "UpdateItem" ? { lose: "response" } : undefined;
  const first = assert.rejects(held.renew(), isUnavailable);
  await clock.advance(WRITE_TIMEOUT);
  await first;
  assert.equal((await stored()).leaseCounter, 2, "it was applied");
  store.plan = () => undefined;
  assert.equal(await held.renew(), "renewed");
  assert.equal((await stored()).leaseCounter, 2, "adopted, not written again");
  assert.equal(held.expiresAt, 1000 + F);
  assert.deepEqual(losses, []);
  assert.equal(await held.renew(), "renewed");
  assert.equal(held.expiresAt, 1000 + WRITE_TIMEOUT + F);
});

test("held lease: a checkpoint whose answer is lost is stored when repeated, without a second write", async () => {
  const { clock, store, held, stored } = await setUp({
    checkpoint: sentinel("LATEST"),
    startedAt: 1_750_000_000_000,
  });
  store.plan = (call) => call.operation === "UpdateItem" ? { lose: "response" } : undefined;
  const first = assert.rejects(held.checkpoint(at(7)), isUnavailable);
  await clock.advance(WRITE_TIMEOUT);
  await first;
  assert.deepEqual(held.lease.checkpoint, sentinel("LATEST"), "copied only on success");
  store.plan = () => undefined;
  assert.equal(await held.checkpoint(at(7)), "stored");
  assert.equal((await stored()).leaseCounter, 2);
  assert.deepEqual(held.lease.checkpoint, at(7));
});

test("held lease: a checkpoint after an unanswered renewal is written again with the adopted counter", async () => {
  const { clock, store, held, stored } = await setUp();
  store.plan = (call) => call.operation === "UpdateItem" ? { lose: "response" } : undefined;
  const first = assert.rejects(held.renew(), isUnavailable);
  await clock.advance(WRITE_TIMEOUT);
  await first;
  store.plan = () => undefined;
  assert.equal(await held.checkpoint(at(7)), "stored");
  assert.deepEqual((await stored()).checkpoint, at(7));
  assert.equal((await stored()).leaseCounter, 3);
});

test("held lease: an unanswered checkpoint does not stand for a later one", async () => {
  const { clock, store, held, stored } = await setUp();
  store.plan = (call) => call.operation === "UpdateItem" ? { lose: "response" } : undefined;
  const first = assert.rejects(held.checkpoint(at(7)), isUnavailable);
  await clock.advance(WRITE_TIMEOUT);
  await first;
  store.plan = () => undefined;
  assert.equal(await held.checkpoint(at(9)), "stored");
  assert.deepEqual((await stored()).checkpoint, at(9));
});

test("held lease: SHARD_END without its children in the row is not SHARD_END stored", async () => {
  const { clock, store, held, stored, finished } = await setUp();
  store.plan = (call) => call.operation === "UpdateItem" ? { lose: "response" } : undefined;
  const first = assert.rejects(held.checkpoint(sentinel("SHARD_END")), isUnavailable);
  await clock.advance(WRITE_TIMEOUT);
  await first;
  store.plan = () => undefined;
  assert.equal(await held.checkpoint(sentinel("SHARD_END"), { childShardIds: ["a", "b"] }), "stored");
  assert.deepEqual((await stored()).childShardIds, ["a", "b"]);
  assert.deepEqual(finished, ["s"], "once");
  assert.equal(held.isFinished, true);
});

test("held lease: a request that arrives after its caller gave up finds another counter and does nothing", async () => {
  const { clock, store, held, stored } = await setUp();
  store.plan = (call) => call.operation === "UpdateItem" ? { requestDelayMs: 5000 } : undefined;
  const late = assert.rejects(held.checkpoint(at(7)), isUnavailable);
  await clock.advance(WRITE_TIMEOUT);
  await late;
  store.plan = () => undefined;
  assert.equal(await held.checkpoint(at(9)), "stored");
  await clock.advance(5000);
  assert.deepEqual((await stored()).checkpoint, at(9));
  assert.equal((await stored()).leaseCounter, 2);
});

test("held lease: renew and checkpoint fired together go one after the other and lose nothing", async () => {
  const { store, clock, held, stored, losses } = await setUp();
  store.plan = () => ({ requestDelayMs: 100, responseDelayMs: 100 });
  const both = Promise.all([held.renew(), held.checkpoint(at(5)), held.renew(), held.checkpoint(at(6))]);
  await clock.advance(800);
  assert.deepEqual(await both, ["renewed", "stored", "renewed", "stored"]);
  assert.equal((await stored()).leaseCounter, 5);
  assert.deepEqual(losses, []);
  assert.equal(store.calls.filter((call) => call.operation === "GetItem").length, 0);
});

test("held lease: taken by another, the next renewal says lost, names it, and nothing is checkpointed", async () => {
  const { direct, held, stored, losses } = await setUp();
  await direct.update("s", 1, { leaseOwner: "0", ownerSwitched: true });
  assert.equal(held.isAlive(), true, "nobody knows yet");
  assert.equal(await held.renew(), "lost");
  assert.equal(held.isAlive(), false);
  await settle();
  assert.deepEqual(losses, [{ reason: "taken", owner: "0" }]);
  assert.equal(await held.checkpoint(at(5)), "lost");
  assert.deepEqual((await stored()).checkpoint, sentinel("TRIM_HORIZON"));
});

test("held lease: taken and then counted up by another while our write was unanswered is lost", async () => {
  const { clock, store, direct, held } = await setUp();
  store.plan = (call) => call.operation === "UpdateItem" ? { lose: "request" } : undefined;
  const first = assert.rejects(held.renew(), isUnavailable);
  await clock.advance(WRITE_TIMEOUT);
  await first;
  await direct.update("s", 1, { leaseOwner: "0" });
  store.plan = () => undefined;
  assert.equal(await held.checkpoint(at(5)), "lost");
});

test("held lease: a deleted row is lost and is not made again", async () => {
  const { direct, held, losses } = await setUp();
  await direct.delete("s", held.lease.leaseCounter);
  assert.equal(await held.checkpoint(at(5)), "lost");
  await settle();
  assert.deepEqual(losses, [{ reason: "gone" }]);
  assert.equal(await direct.get("s"), undefined);
});

test("held lease: a KCL 3.x hand-over is told once, goes on until released, and leaves the row to the next owner", async () => {
  const { table, held, stored, asked, losses } = await setUp();
  const item = table.items.get("s")!;
  table.items.set("s", { ...item, leaseOwner: { S: "next" }, checkpointOwner: { S: "me" } });
  assert.equal(await held.renew(), "renewed");
  assert.equal(await held.renew(), "renewed");
  assert.equal(await held.checkpoint({ sequenceNumber: "7", subSequenceNumber: 0 }), "stored");
  assert.deepEqual([asked, losses, held.isAlive()], [["s"], [], true]);
  const { leaseCounter } = await stored();
  assert.equal(await held.release(), "released");
  const row = await stored();
  assert.deepEqual([row.leaseOwner, row.checkpointOwner, row.leaseCounter], [
    "next",
    undefined,
    leaseCounter + 1,
  ]);
  assert.equal(row.checkpoint.sequenceNumber, "7");
});

test("held lease: a KCL 3.x hand-over that its leader has ended, or that is another's, is a loss", async () => {
  for (const checkpointOwner of [undefined, "other"]) {
    const { table, held, losses, stored } = await setUp();
    const item = table.items.get("s")!;
    table.items.set("s", { ...item, leaseOwner: { S: "next" }, checkpointOwner: { S: "me" } });
    assert.equal(await held.renew(), "renewed");
    const { checkpointOwner: _, ...row } = table.items.get("s")!;
    const leaseCounter = { N: String((await stored()).leaseCounter + 1) };
    const named = checkpointOwner === undefined ? {} : { checkpointOwner: { S: checkpointOwner } };
    table.items.set("s", { ...row, ...named, leaseCounter });
    assert.equal(await held.renew(), "lost");
    await settle();
    assert.equal(losses[0]?.owner, checkpointOwner ?? "next");
  }
});

test("held lease: a hand-over that begins while it is released is kept: the next owner stays in the row", async () => {
  const { table, held, stored } = await setUp();
  const item = table.items.get("s")!;
  table.items.set("s", { ...item, leaseOwner: { S: "next" }, checkpointOwner: { S: "me" } });
  assert.equal(await held.release(), "released");
  const row = await stored();
  assert.deepEqual([row.leaseOwner, row.checkpointOwner], ["next", undefined]);
});

test("held lease: a scan that shows a newer row of somebody else ends it; older rows and own writes do not", async () => {
  const { direct, held, losses, stored } = await setUp();
  const taken = await stored();
  held.seen({ ...taken, leaseCounter: taken.leaseCounter - 1, leaseOwner: "before" });
  held.seen({ ...taken, leaseCounter: taken.leaseCounter + 1 });
  held.seen({ ...taken, leaseCounter: taken.leaseCounter, leaseOwner: "stale" });
  assert.equal(held.isAlive(), true);
  await direct.update("s", taken.leaseCounter, { leaseOwner: "thief" });
  held.seen(await stored());
  assert.equal(held.isAlive(), false);
  await settle();
  assert.deepEqual(losses, [{ reason: "taken", owner: "thief" }]);
});

test("held lease: the re-read after a failed condition may fail too; the next call decides", async () => {
  const { clock, store, direct, held, losses } = await setUp();
  await direct.update("s", 1, { leaseOwner: "0" });
  store.plan = (call) => call.operation === "GetItem" ? { lose: "request" } : undefined;
  const first = assert.rejects(held.renew(), isUnavailable);
  await clock.advance(WRITE_TIMEOUT);
  await first;
  assert.equal(held.isAlive(), true);
  store.plan = () => undefined;
  assert.equal(await held.renew(), "lost");
  await settle();
  assert.equal(losses.length, 1);
});

test("held lease: a throttled or denied write is an answer: the next success counts from its own sending", async () => {
  const { clock, store, held } = await setUp();
  await clock.advance(1000);
  for (const error of [throttled(), denied()]) {
    store.plan = () => ({ error });
    await assert.rejects(held.renew(), error);
  }
  await clock.advance(1000);
  store.plan = () => undefined;
  await held.renew();
  assert.equal(held.expiresAt, 2000 + F);
});

test("held lease: a checkpoint never goes back, and the same one twice is one write", async () => {
  const { held, stored } = await setUp();
  await held.checkpoint(at(10, 3));
  const counter = (await stored()).leaseCounter;
  assert.equal(await held.checkpoint(at(10, 3)), "stored");
  assert.equal((await stored()).leaseCounter, counter);
  for (const back of [at(10, 2), at(9, 9), sentinel("LATEST")]) {
    await assert.rejects(
      held.checkpoint(back),
      (e) => e instanceof ConnectorError && e.code === "INTERNAL" && /never goes back/.test(e.message),
    );
  }
  assert.deepEqual((await stored()).checkpoint, at(10, 3));
});

test("held lease: a release waits for earlier writes, frees the row, and is no loss", async () => {
  const { clock, store, held, stored, losses, released } = await setUp();
  store.plan = () => ({ requestDelayMs: 100 });
  const checkpoint = held.checkpoint(at(5));
  const release = held.release();
  assert.equal(held.isAlive(), true);
  await clock.advance(200);
  assert.equal(await checkpoint, "stored");
  assert.equal(await release, "released");
  const row = await stored();
  assert.equal(row.leaseOwner, undefined);
  assert.equal(row.leaseCounter, 3);
  assert.equal(row.ownerSwitchesSinceCheckpoint, 0);
  assert.equal(held.isAlive(), false);
  assert.equal(await held.checkpoint(at(6)), "lost");
  await settle();
  assert.deepEqual(losses, []);
  assert.deepEqual(released, ["s"]);
});

test("held lease: a release whose answer is lost is done when repeated", async () => {
  const { clock, store, held, stored, released } = await setUp();
  store.plan = (call) => call.operation === "UpdateItem" ? { lose: "response" } : undefined;
  const first = assert.rejects(held.release(), isUnavailable);
  await clock.advance(WRITE_TIMEOUT);
  await first;
  assert.equal(held.isAlive(), false);
  assert.deepEqual(released, []);
  store.plan = () => undefined;
  assert.equal(await held.release(), "released");
  assert.equal((await stored()).leaseCounter, 2);
  assert.deepEqual(released, ["s"]);
});

test("held lease: a release after an unanswered renewal, and after its own expiry while it tries, still frees the row", async () => {
  const { clock, store, held, stored } = await setUp();
  store.plan = (call) => call.operation === "UpdateItem" ? { lose: "response" } : undefined;
  const renewal = assert.rejects(held.renew(), isUnavailable);
  await clock.advance(WRITE_TIMEOUT);
  await renewal;
  store.plan = () => ({ error: throttled() });
  await assert.rejects(held.release(), /throttled/);
  await clock.advance(F);
  store.plan = () => undefined;
  assert.equal(await held.release(), "released");
  assert.equal((await stored()).leaseOwner, undefined);
});

test("held lease: a release does not disturb a new owner, not even ourselves under a new lease", async () => {
  const { clock, store, direct, held, take, stored } = await setUp();
  store.plan = (call) => call.change?.leaseOwner === null ? { requestDelayMs: 5000 } : undefined;
  const first = assert.rejects(held.release(), isUnavailable);
  await clock.advance(WRITE_TIMEOUT);
  await first;
  store.plan = () => undefined;
  assert.equal(await held.release(), "released");
  assert.equal(await held.release(), "released");
  const again = await take() as HeldLease;
  await clock.advance(5000); // the first request arrives
  assert.equal((await stored()).leaseOwner, "me");
  assert.equal(await held.release(), "released");
  assert.equal(await again.renew(), "renewed");

  store.plan = () => ({ lose: "request" });
  const second = assert.rejects(again.release(), isUnavailable);
  await clock.advance(WRITE_TIMEOUT);
  await second;
  store.plan = () => undefined;
  await direct.update("s", (await stored()).leaseCounter, { leaseOwner: "0" });
  assert.equal(await again.release(), "lost");
  assert.equal((await stored()).leaseOwner, "0");
});
