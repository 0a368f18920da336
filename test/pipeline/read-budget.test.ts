import { test } from "node:test";
import assert from "node:assert/strict";
import { LARGEST_PAGE_BYTES, ReadBudget } from "../../src/pipeline/read-budget.ts";
import { page, shard, world } from "./kit.ts";

const MiB = 1024 * 1024;
const known = { bytes: MiB / 2, recordBytes: 1024 };
const signal = new AbortController().signal;
const budgetOf = (maxBytes: number, maxWaitingRecords = 1000) =>
  new ReadBudget({ maxBytes, maxWaitingRecords });

/** Whether a promise is settled once all pending microtasks ran. */
async function isSettled(promise: Promise<unknown>): Promise<boolean> {
  const open = Symbol();
  for (let i = 0; i < 10; i++) await Promise.resolve();
  return await Promise.race([promise, Promise.resolve(open)]) !== open;
}

test("read budget: an unknown shard reserves the service's largest page and asks for few records", async () => {
  const budget = budgetOf(64 * MiB);
  for (let i = 0; i < 6; i++) assert.equal((await budget.admit({}, signal))?.maxRecords, 4);
  assert.equal(budget.bytes, 6 * LARGEST_PAGE_BYTES);
  assert.equal(await isSettled(budget.admit({}, signal)), false);
});

test("read budget: an unknown shard reserves less once others have shown how large the stream's records are", async () => {
  const first = async (recordBytes: number) => {
    const budget = budgetOf(64 * MiB);
    (await budget.admit({ bytes: recordBytes, recordBytes }, signal))!.release();
    assert.equal((await budget.admit({}, signal))!.maxRecords, 4);
    return budget.bytes;
  };
  assert.equal(await first(1000), MiB);
  assert.equal(await first(MiB / 8), 2 * MiB);
  assert.equal(await first(MiB), 10 * MiB);
});

test("read budget: an unknown shard reserves no more than the stream's largest records, which the stream tells", async () => {
  const budget = new ReadBudget({ maxBytes: 64 * MiB, maxWaitingRecords: 9, maxRecordBytes: () => MiB });
  assert.equal((await budget.admit({}, signal))?.maxRecords, 4);
  assert.equal(budget.bytes, 4 * MiB);
});

test("read budget: an idle shard at its tip reserves what a second can bring, so that many are polled at once", async () => {
  const budget = budgetOf(64 * MiB);
  for (let i = 0; i < 64; i++) {
    assert.equal((await budget.admit({ caughtUp: true }, signal))?.maxRecords, 1_000);
  }
  assert.equal(budget.bytes, 64 * MiB);
});

test("read budget: a known shard may ask for the records that fit twice its last page", async () => {
  const grant = await budgetOf(64 * MiB).admit(known, signal);
  assert.equal(grant?.maxRecords, 1024);
  const large = await budgetOf(64 * MiB).admit({ bytes: 9 * MiB, recordBytes: 3 * MiB }, signal);
  assert.equal(large?.maxRecords, 1, "records larger than a page come one by one");
  const small = await budgetOf(64 * MiB).admit({ bytes: MiB, recordBytes: 10 }, signal);
  assert.equal(small?.maxRecords, 10_000, "the service takes no larger Limit");
});

test("read budget: one page is always admitted, even when it is larger than the budget", async () => {
  const budget = budgetOf(1);
  const grant = await budget.admit({}, signal);
  assert.ok(grant);
  const second = budget.admit(known, signal);
  assert.equal(await isSettled(second), false);
  grant.release();
  assert.ok(await second);
});

test("read budget: a page larger than its reservation makes debt that is paid before the next read", async () => {
  const budget = budgetOf(4 * MiB);
  const grant = await budget.admit(known, signal);
  grant?.settle(6 * MiB, 0);
  const second = budget.admit(known, signal);
  budget.release(2 * MiB);
  assert.equal(await isSettled(second), false, "4 MiB held and 2 MiB wanted do not fit 4 MiB");
  budget.release(2 * MiB);
  assert.equal(await isSettled(second), true);
});

test("read budget: no read starts while receiveQueueSize records wait for a producer", async () => {
  const budget = budgetOf(64 * MiB, 10);
  const grant = await budget.admit(known, signal);
  grant?.settle(1000, 10);
  const second = budget.admit(known, signal);
  assert.equal(await isSettled(second), false);
  budget.handedOn(1);
  assert.ok(await second);
});

test("read budget: whoever asks first is served first, also behind a large request", async () => {
  const budget = budgetOf(12 * MiB);
  const first = await budget.admit({}, signal);
  const large = budget.admit({}, signal);
  const small = budget.admit(known, signal);
  assert.equal(await isSettled(small), false, "a small request does not overtake");
  first?.release();
  assert.ok(await large);
  assert.ok(await small);
});

test("read budget: an aborted request frees its place in the queue", async () => {
  const budget = budgetOf(12 * MiB);
  await budget.admit({}, signal);
  const stop = new AbortController();
  const large = budget.admit({}, stop.signal);
  const small = budget.admit(known, signal);
  stop.abort();
  assert.equal(await large, undefined);
  assert.ok(await small);
  assert.equal(await budget.admit({}, stop.signal), undefined);
});

test("read budget: releasing a grant twice counts once", async () => {
  const budget = budgetOf(64 * MiB);
  const grant = await budget.admit(known, signal);
  grant?.release();
  grant?.release();
  assert.equal(budget.bytes, 0);
});

test("G6 bounded memory: an empty page does not make a shard's next one small", async (t) => {
  const { connector, clock, source } = world({ shards: [shard("a"), shard("b")] });
  await connector.start();
  t.after(() => connector.stop());
  await clock.advance(1_000);
  for (const shardId of ["a", "b"]) source.give(shardId, page([], { millisBehindLatest: 60_000 }));
  await clock.advance(1_000);
  assert.equal(
    connector.status().bufferedBytes,
    2 * LARGEST_PAGE_BYTES,
    "they are behind: anything may come",
  );
  for (const shardId of ["a", "b"]) source.give(shardId, page([]));
  await clock.advance(1_000);
  assert.equal(connector.status().bufferedBytes, 2 * MiB, "they are at their tips");
});

test("read budget: what a page holds is reserved where it is known, so that idle shards cost next to nothing", async () => {
  const budget = budgetOf(MiB);
  for (let i = 0; i < 1000; i++) assert.ok(await budget.admit({}, signal, 150));
  assert.equal(budget.bytes, 150_000);
  assert.equal(await isSettled(budget.admit({}, signal, MiB)), false);
});
