// One shard is given up for an even share while the others go on: drained, checkpointed, released, in this order.

import { test, type TestContext } from "node:test";
import assert from "node:assert/strict";
import { sentinel } from "../../src/core/position.ts";
import type { LeaseStore } from "../../src/leases/store.ts";
import { FakeClock } from "../fakes.ts";
import { FaultyStore, unavailable } from "../leases/faulty-store.ts";
import { page, record, shard, world, type WorldOptions } from "./kit.ts";

const OTHER = "host:1:00000000-0000-4000-8000-000000000001";
const SHARDS = ["s0", "s1", "s2", "s3"];

/** A connector that holds three of four shards; the fourth is held by another one of ours, whose rows we keep alive. */
async function beside(t: TestContext, options: WorldOptions = {}) {
  const made = world({ shards: SHARDS.map((id) => shard(id)), ...options });
  const { connector, clock, sink, store, row } = made;
  await connector.start();
  t.after(async () => {
    const stopped = connector.stop();
    sink.acknowledge();
    await clock.advance(60_000);
    await stopped;
  });
  await clock.advance(0);
  for (const id of SHARDS) made.source.give(id, page([record(10), record(11)]));
  await clock.advance(100);
  assert.equal(sink.sent.length, 8);
  const mine = (await row("s0"))!.leaseOwner!;
  /** The other one takes a shard, or renews those that it has. */
  const other = async (take: string) => {
    const { leaseCounter } = (await row(take))!;
    await store.update(take, leaseCounter, { leaseOwner: OTHER });
  };
  const owners = async () => await Promise.all(SHARDS.map(async (id) => (await row(id))!.leaseOwner));
  const freed = () => SHARDS.filter((_, i) => all[i] === undefined);
  let all = await owners();
  const until = async (condition: () => boolean, withinMs: number) => {
    for (let waited = 0; !condition(); waited += 50) {
      assert.ok(waited < withinMs, `not within ${withinMs} ms: ${condition}`);
      await clock.advance(50);
      all = await owners();
    }
  };
  return { ...made, mine, other, until, freed, owners: () => all };
}

test("giving up: what is in flight is acknowledged and checkpointed before the lease is released, nothing is sent after", async (t) => {
  const { clock, sink, source, row, other, until, freed, owners, connector, log } = await beside(t);
  await other("s3");
  // The loss of s3 is noticed, and that the other one has one of four.
  await until(() => connector.status().shards.length === 3, 4000);
  await until(() => log.messages("info").some((line) => line.startsWith("giving up")), 2000);
  await clock.advance(3000);
  assert.deepEqual(owners().filter((owner) => owner === undefined), [], "records are in flight");
  const [id] = log.messages("info").flatMap((line) =>
    /giving up the lease of shard (\w+)/.exec(line)?.[1] ?? []
  );
  source.give(id!, page([record(12)]));
  sink.acknowledge();
  await until(() => owners().includes(undefined), 200);
  assert.deepEqual(freed(), [id]);
  const stored = (await row(id!))!;
  assert.deepEqual(stored.checkpoint, { sequenceNumber: "11", subSequenceNumber: 0 });
  assert.equal(sink.sent.length, 8, "the page after was not begun");
  assert.equal(connector.status().shards.length, 2);
  assert.equal(connector.status().state, "running");
});

test("giving up: when nobody takes what was given up, its giver goes on from the checkpoint after three seconds", async (t) => {
  const { clock, sink, source, other, until, owners, mine, log } = await beside(t);
  sink.acknowledgeAtOnce = true;
  sink.acknowledge();
  await other("s3");
  await until(() => owners().includes(undefined), 6000);
  const [id] = log.messages("info").flatMap((line) =>
    /giving up the lease of shard (\w+)/.exec(line)?.[1] ?? []
  );
  await other("s3"); // it is alive, but takes nothing
  await until(() => owners().filter((owner) => owner === mine).length === 3, 5000);
  const again = source.opened.filter(({ shardId }) => shardId === id);
  assert.equal(again.length, 2);
  assert.deepEqual(again[1]!.start, { type: "AT_SEQUENCE_NUMBER", sequenceNumber: "11" });
  source.give(id!, page([record(11), record(12)]));
  await clock.advance(500);
  assert.deepEqual(sink.texts.slice(8), ["record 12"], "nothing twice");
});

test("giving up: a Pulsar that does not answer delays it for the time of a stop, then the finished prefix is stored", async (t) => {
  const { clock, sink, row, other, until, freed, owners, log } = await beside(t, {
    shutdownTimeoutMs: 10_000,
  });
  await other("s3");
  await until(() => log.messages("info").some((line) => line.startsWith("giving up")), 6000);
  const [id] = log.messages("info").flatMap((line) =>
    /giving up the lease of shard (\w+)/.exec(line)?.[1] ?? []
  );
  await clock.advance(4000);
  await other("s3");
  await clock.advance(3900);
  assert.deepEqual(owners().filter((owner) => owner === undefined), []);
  await until(() => owners().includes(undefined), 500);
  assert.deepEqual(freed(), [id]);
  assert.deepEqual((await row(id!))!.checkpoint, sentinel("TRIM_HORIZON"));
  assert.equal(
    sink.unacknowledged.length,
    4,
    "two shards' two records: the others were dropped with their leases",
  );
});

test("giving up: a stop in the middle drains and releases it with the rest", async (t) => {
  const { clock, sink, row, other, until, log, connector } = await beside(t);
  await other("s3");
  await until(() => log.messages("info").some((line) => line.startsWith("giving up")), 6000);
  const stopped = connector.stop();
  await clock.advance(1000);
  sink.acknowledge();
  await clock.advance(5000);
  assert.deepEqual((await stopped).undrained, []);
  for (const id of SHARDS.slice(0, 3)) {
    const { leaseOwner, checkpoint } = (await row(id))!;
    assert.deepEqual([leaseOwner, checkpoint.sequenceNumber], [undefined, "11"], id);
  }
  assert.equal(clock.sleeping, 0);
});

test("giving up: a lease that is lost on the way and taken again is read on, seen, and drained by a stop", async (t) => {
  let lines!: FaultyStore;
  const wrapStore = (store: LeaseStore) => lines = new FaultyStore(store, new FakeClock(), 1);
  const { clock, sink, source, row, other, until, log, connector, mine } = await beside(t, { wrapStore });
  await other("s3");
  await until(() => log.messages("info").some((line) => line.startsWith("giving up")), 6000);
  const [id] = log.messages("info").flatMap((line) =>
    /giving up the lease of shard (\w+)/.exec(line)?.[1] ?? []
  );
  // A write hangs until the lease has expired, and longer; only a take gets through.
  let hanging = 0;
  let answers!: () => void;
  const hangs = new Promise<void>((resolve) => answers = resolve);
  const update = lines.update.bind(lines);
  lines.update = async (key, counter, change) => {
    if (key !== id || change.leaseOwner !== undefined) return await update(key, counter, change);
    hanging++;
    await hangs;
    throw unavailable();
  };
  await until(() => hanging === 1, 4_000);
  sink.acknowledge(); // all is drained, and the last checkpoint waits for that write
  await until(
    () => log.messages("warn").some((line) => line.startsWith(`lost the lease of shard ${id}`)),
    12_000,
  );
  await clock.advance(1_500);
  assert.equal((await row(id!))!.leaseOwner, mine, "nobody else wants it");
  lines.update = update;
  answers();
  await clock.advance(100);
  assert.ok(connector.status().shards.some(({ shardId }) => shardId === id));
  source.give(id!, page([record(10), record(11)]));
  await clock.advance(100);
  const stopped = connector.stop();
  await clock.advance(1_000);
  sink.acknowledge();
  await clock.advance(5_000);
  assert.deepEqual((await stopped).undrained, []);
  assert.equal((await row(id!))!.checkpoint.sequenceNumber, "11");
});
