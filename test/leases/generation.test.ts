// Generations (effectively once) in lease rows: on both stores, and through lost answers.

import { test } from "node:test";
import assert from "node:assert/strict";
import type { PulsarGeneration } from "../../src/core/generation.ts";
import { type Checkpoint, sentinel } from "../../src/core/position.ts";
import { type HeldLease, takeLease } from "../../src/leases/held-lease.ts";
import { MemoryLeaseStore, MemoryLeaseTable } from "../../src/leases/memory.ts";
import { FakeClock } from "../fakes.ts";
import { type Call, type Fault, FaultyStore } from "./faulty-store.ts";
import { newRow, STORE_KINDS, STREAM } from "./stores.ts";

const TIMEOUT = 3333;

const at = (digits: number, sub = 0): Checkpoint => ({
  sequenceNumber: String(digits),
  subSequenceNumber: sub,
});

const GENERATION: PulsarGeneration = {
  id: "5af0c2d9e1b34a76",
  anchor: at(100, 3),
  ordinal: 0,
  ordinalAt: sentinel("TRIM_HORIZON"),
  digest: "d1",
  drained: false,
  refused: false,
  partitions: {},
};

for (const kind of STORE_KINDS) {
  test(`leases: ${kind.name} store: a generation is written with its attributes and types, and read back`, async (t) => {
    const table = await kind.table(t);
    const store = await table.store();
    await store.create(newRow("s"));
    assert.equal((await store.get("s"))?.generation, undefined);
    const partitions = { "persistent://a/b/plain": 0, "persistent://a/b/c": 12 };
    const generation = { ...GENERATION, partitions };
    const written = await store.update("s", 0, { generation });
    assert.ok(written.done);
    assert.deepEqual(written.lease.generation, generation);
    assert.deepEqual((await store.get("s"))?.generation, generation);
    const item = Object.entries(await table.item("s") ?? {}).filter(([name]) => name.startsWith("pulsar"));
    assert.deepEqual(Object.fromEntries(item), {
      pulsarGeneration: { S: "5af0c2d9e1b34a76" },
      pulsarAnchor: { S: "100/3" },
      pulsarOrdinal: { N: "0" },
      pulsarOrdinalAt: { S: "TRIM_HORIZON" },
      pulsarDigest: { S: "d1" },
      pulsarDrained: { BOOL: false },
      pulsarRefused: { BOOL: false },
      pulsarPartitions: { M: { "persistent://a/b/plain": { N: "0" }, "persistent://a/b/c": { N: "12" } } },
    });
    const after = await store.update("s", 1, {
      checkpoint: at(104, 1),
      generation: { ...generation, ordinal: 9, ordinalAt: at(104, 1), drained: true },
    });
    assert.ok(after.done);
    assert.deepEqual((await table.item("s"))?.["pulsarOrdinalAt"], { S: "104/1" });
    assert.deepEqual((await table.item("s"))?.["pulsarDrained"], { BOOL: true });
    const removed = await store.update("s", 2, { generation: null });
    assert.ok(removed.done);
    assert.equal(removed.lease.generation, undefined);
    assert.deepEqual(
      Object.keys(await table.item("s") ?? {}).filter((name) => name.startsWith("pulsar")),
      [],
    );
  });

  test(`leases: ${kind.name} store: a row whose generation cannot be read is a row all the same`, async (t) => {
    const table = await kind.table(t);
    const store = await table.store();
    await store.create({ ...newRow("s"), generation: GENERATION });
    assert.deepEqual((await store.get("s"))?.generation, GENERATION);
    await table.putItem({ ...await table.item("s"), pulsarOrdinal: { S: "nine" } });
    const [row] = (await store.scan()).leases;
    assert.equal(row?.generation, "unreadable");
    assert.deepEqual(row?.checkpoint, sentinel("TRIM_HORIZON"));
  });
}

/** One row, taken over a line that can be broken. */
async function setUp() {
  const clock = new FakeClock();
  const table = new MemoryLeaseTable();
  const direct = new MemoryLeaseStore(table);
  const store = new FaultyStore(direct, clock, TIMEOUT);
  await direct.create(newRow("s"));
  const options = {
    store,
    clock,
    failoverTimeMs: 10_000,
    stream: STREAM,
    kinesisNow: () => 0,
    events: { lost: () => {}, finished: () => {}, released: () => {}, handOverAsked: () => {} },
  };
  const take = async (workerId: string) =>
    await takeLease((await direct.get("s"))!, { ...options, workerId }) as HeldLease;
  const held = await take("me");
  /** The next write has this fault. */
  const next = (fault: Fault) => {
    store.plan = (call: Call) => {
      if (call.operation !== "UpdateItem") return undefined;
      store.plan = () => undefined;
      return fault;
    };
  };
  const writes = () => store.calls.filter(({ operation }) => operation === "UpdateItem").length;
  return { clock, store, held, take, next, writes, row: async () => (await direct.get("s"))! };
}

const begin = () => GENERATION;

test("held lease: a generation is stored once, and a repetition writes nothing", async () => {
  const { held, writes, row } = await setUp();
  const before = writes();
  assert.equal(await held.storeGeneration(begin), "stored");
  assert.equal(await held.storeGeneration(begin), "stored");
  assert.equal(writes(), before + 1);
  assert.deepEqual((await row()).generation, GENERATION);
});

test("held lease: a generation whose answer is lost is stored when repeated, without a second write", async () => {
  const { held, next, clock, writes, row } = await setUp();
  next({ lose: "response" });
  const first = held.storeGeneration(begin);
  first.catch(() => {});
  await clock.advance(TIMEOUT);
  await assert.rejects(first, { code: "AWS_UNAVAILABLE" });
  const { leaseCounter } = await row();
  const before = writes();
  assert.equal(await held.storeGeneration(begin), "stored");
  assert.equal(writes(), before + 1, "the condition failed, the row was read and held all values");
  assert.equal((await row()).leaseCounter, leaseCounter);
});

test("held lease: an unanswered renewal does not stand for a generation", async () => {
  const { held, next, clock, row } = await setUp();
  next({ lose: "response" });
  const renewal = held.renew();
  renewal.catch(() => {});
  await clock.advance(TIMEOUT);
  await assert.rejects(renewal);
  assert.equal(await held.storeGeneration(begin), "stored");
  assert.deepEqual((await row()).generation, GENERATION);
});

test("held lease: another generation's unanswered write does not stand for this one", async () => {
  const { held, next, clock, row } = await setUp();
  next({ lose: "response" });
  const first = held.storeGeneration(() => ({ ...GENERATION, id: "other" }));
  first.catch(() => {});
  await clock.advance(TIMEOUT);
  await assert.rejects(first);
  assert.equal(await held.storeGeneration(begin), "stored");
  assert.deepEqual((await row()).generation, GENERATION);
});

test("held lease: a checkpoint that arrives late keeps its ordinal when a number of partitions is stored behind it", async () => {
  const { held, next, clock, row } = await setUp();
  await held.storeGeneration(begin);
  const atCheckpoint = { ordinal: 7, ordinalAt: at(106) };
  next({ lose: "response" });
  const checkpoint = held.checkpoint(at(106), {
    generation: (stored) => ({ ...stored as PulsarGeneration, ...atCheckpoint }),
  });
  checkpoint.catch(() => {});
  await clock.advance(TIMEOUT);
  await assert.rejects(checkpoint);
  const partitions = { out: 3 };
  assert.equal(
    await held.storeGeneration((stored) => ({ ...stored as PulsarGeneration, partitions })),
    "stored",
  );
  const { generation, checkpoint: stored } = await row();
  assert.deepEqual(stored, at(106));
  assert.deepEqual(generation, { ...GENERATION, ...atCheckpoint, partitions });
});

test("held lease: a checkpoint at the stored position is written when its generation is another", async () => {
  const { held, row } = await setUp();
  await held.storeGeneration(begin);
  const atCheckpoint = { ...GENERATION, ordinal: 7, ordinalAt: at(106) };
  assert.equal(await held.checkpoint(at(106), { generation: () => atCheckpoint }), "stored");
  assert.equal(
    await held.checkpoint(at(106), { generation: () => ({ ...atCheckpoint, drained: true }) }),
    "stored",
  );
  assert.deepEqual((await row()).generation, { ...atCheckpoint, drained: true });
});

test("held lease: the one who takes a lease sees its generation, the one who lost it stores none", async () => {
  const { held, take, row } = await setUp();
  await held.storeGeneration(begin);
  const other = await take("other");
  assert.deepEqual(other.lease.generation, GENERATION);
  assert.equal(await held.storeGeneration(() => ({ ...GENERATION, id: "late" })), "lost");
  assert.deepEqual((await row()).generation, GENERATION);
});

test("held lease: a release and a shard's end leave the generation as it is", async () => {
  const { held, row } = await setUp();
  await held.storeGeneration(begin);
  await held.checkpoint(sentinel("SHARD_END"), { childShardIds: [] });
  await held.release();
  assert.deepEqual((await row()).generation, GENERATION);
});
