import { test } from "node:test";
import assert from "node:assert/strict";
import { ConnectorError } from "../../src/core/errors.ts";
import { sentinel } from "../../src/core/position.ts";
import { MemoryLeaseStore } from "../../src/leases/memory.ts";
import type { Lease, LeaseScan } from "../../src/leases/store.ts";
import { allPastUntil, unfinishedUntil } from "../../src/pipeline/until.ts";
import { FakeClock, RecordingLogger } from "../fakes.ts";
import { FaultyStore, throttled } from "../leases/faulty-store.ts";
import { child, page, record, shard, world } from "./kit.ts";

const UNTIL = Date.UTC(2026, 0, 1) + 60_000;
const before = (number: number) => record(number, { approximateArrivalTimestamp: UNTIL - 1 });
const after = (number: number) => record(number, { approximateArrivalTimestamp: UNTIL });

const lease = (leaseKey: string, checkpoint: string, parentShardIds: string[] = []): Lease => ({
  leaseKey,
  leaseCounter: 1,
  ownerSwitchesSinceCheckpoint: 0,
  checkpoint: { sequenceNumber: checkpoint, subSequenceNumber: 0 },
  parentShardIds,
  childShardIds: [],
});

test("until: finished shards, shards past the time and their descendants do not keep a run going", () => {
  const leases = [
    lease("a", "SHARD_END"),
    lease("b", "123", ["a"]),
    lease("c", "TRIM_HORIZON", ["b"]),
    lease("d", "TRIM_HORIZON", ["c", "e"]),
    lease("e", "5"),
  ];
  const names = (past: string[]) => unfinishedUntil(leases, new Set(past)).map(({ leaseKey }) => leaseKey);
  assert.deepEqual(names([]), ["b", "c", "d", "e"]);
  assert.deepEqual(names(["b"]), ["e"]);
  assert.deepEqual(names(["b", "e"]), []);
});

test("until: a lease that is written while a scan goes by keeps a run going", async () => {
  const clock = new FakeClock();
  const steps: (() => Promise<unknown>)[] = [];
  /** Tables of two pages, read ten seconds apart; the children's is the first. */
  class PagedStore extends MemoryLeaseStore {
    override async scan(): Promise<LeaseScan> {
      const page = async (from: string, to: string) =>
        (await super.scan()).leases.filter(({ leaseKey: key }) => key >= from && key < to);
      const first = await page("a", "p");
      await steps.shift()?.();
      await clock.sleep(10_000);
      return { leases: [...first, ...await page("p", "z")], foreignItems: 0 };
    }
  }
  const store = new PagedStore();
  const finish = (key: string) => store.update(key, 1, { checkpoint: sentinel("SHARD_END") });
  await store.create(lease("parent", "5"));
  await store.create(lease("past", "5"));
  steps.push(
    async () => {
      await store.create(lease("child", "TRIM_HORIZON", ["parent"]));
      await finish("parent");
    },
    // What the first scan missed is at its end, too, and what comes after it is missed by the second.
    async () => {
      await store.create(lease("grandchild", "TRIM_HORIZON", ["child"]));
      await finish("child");
    },
  );
  const { signal } = new AbortController();
  const past = new Set(["past"]);
  const log = new RecordingLogger();
  let isDone = false;
  const watched = allPastUntil({ store, clock, log, signal, past, isReading: () => false });
  void watched.then(() => isDone = true);
  await clock.advance(100_000);
  assert.equal(isDone, false, "the grandchild is not read");
  await finish("grandchild");
  await clock.advance(40_000);
  assert.equal(await watched, true);
  assert.equal(clock.sleeping, 0);
});

/** A run that has copied everything, and whose table answers no scan while there is a fault. */
async function copied(fault: ConnectorError | undefined) {
  const clock = new FakeClock();
  const log = new RecordingLogger();
  const stop = new AbortController();
  const table = new MemoryLeaseStore();
  await table.create(lease("a", "SHARD_END"));
  const store = new FaultyStore(table, clock, 3333);
  const refusing = { fault };
  store.plan = () => refusing.fault && { error: refusing.fault };
  const throttles: string[] = [];
  const watched = allPastUntil({
    store,
    clock,
    log,
    signal: stop.signal,
    onThrottle: ({ operation, attempt }) => {
      throttles.push(`${operation} ${attempt}`);
      return undefined;
    },
    past: new Set(),
    isReading: () => false,
  });
  return { clock, log, stop, refusing, throttles, watched };
}

test("until: a run that has copied everything outlasts throttled scans, and says now and then what it waits for", async () => {
  const { clock, log, refusing, throttles, watched } = await copied(throttled("Scan"));
  let ended = false;
  void watched.then(() => ended = true);
  await clock.advance(600_000);
  assert.equal(ended, false);
  assert.deepEqual(throttles.slice(0, 2), ["Scan 1", "Scan 2"]);
  assert.ok(throttles.length > 100, "it is asked every few seconds");
  const warnings = log.messages("warn");
  assert.ok(warnings.length > 5 && warnings.length < 15, `${warnings.length} in ten minutes`);
  for (const warning of warnings) {
    assert.match(warning, /^Scan: throttled.* tried again until it succeeds: the run ends when .*--until/);
  }
  refusing.fault = undefined;
  await clock.advance(10_000);
  assert.equal(await watched, true);
  assert.equal(clock.sleeping, 0);
});

test("until: a stop ends a run that waits for throttled scans", async () => {
  const { clock, stop, watched } = await copied(throttled("Scan"));
  await clock.advance(100_000);
  stop.abort();
  assert.equal(await watched, false);
  assert.equal(clock.sleeping, 0);
});

test("until: what waiting does not cure ends a run that has copied everything", async () => {
  const { clock, watched } = await copied(new ConnectorError("Scan: denied", { code: "ACCESS_DENIED" }));
  const refused = assert.rejects(watched, { code: "ACCESS_DENIED" });
  await clock.advance(1_000);
  await refused;
  assert.equal(clock.sleeping, 0);
});

test("until: the first record at or after the time and all behind it are neither published nor checkpointed", async () => {
  const { connector, clock, source, sink, row } = world({ until: UNTIL });
  sink.acknowledgeAtOnce = true;
  await connector.start();
  await clock.advance(0);
  source.give("shard-0", page([before(10), after(11), before(12)], { millisBehindLatest: 5 }));
  await clock.advance(5_000);
  const { reason, error, undrained } = await connector.finished;
  assert.deepEqual({ reason, error, undrained }, { reason: "until", error: undefined, undrained: [] });
  assert.deepEqual(sink.texts, ["record 10"]);
  assert.deepEqual((await row("shard-0"))?.checkpoint, { sequenceNumber: "10", subSequenceNumber: 0 });
  assert.equal((await row("shard-0"))?.leaseOwner, undefined);
});

test("until: a shard that is caught up is done only when the service's clock was after the time before the read", async () => {
  const { connector, clock, source } = world({ until: UNTIL });
  let ended = false;
  void connector.finished.then(() => ended = true);
  await connector.start();
  await clock.advance(0);
  source.give("shard-0", page([]));
  await clock.advance(59_000);
  source.give("shard-0", page([]));
  await clock.advance(1_900);
  source.give("shard-0", page([]));
  await clock.advance(3_000);
  assert.equal(ended, false, "this page was asked for before the time");
  source.give("shard-0", page([], { millisBehindLatest: 7 }));
  await clock.advance(3_000);
  assert.equal(ended, false, "this page is behind");
  source.give("shard-0", page([]));
  await clock.advance(3_000);
  assert.equal(ended, true);
});

test("until: a run goes on through closed shards to their children, and ends when those are past the time", async () => {
  const { connector, clock, source, sink, row } = world({ until: UNTIL });
  sink.acknowledgeAtOnce = true;
  await connector.start();
  await clock.advance(0);
  source.give(
    "shard-0",
    page([before(10)], { shardEnd: { childShards: [child("c1", ["shard-0"]), child("c2", ["shard-0"])] } }),
  );
  source.give("c1", page([before(20)]), page([after(21)]));
  await clock.advance(10_000);
  assert.equal(connector.status().state, "running", "c2 has not been read");
  source.give("c2", page([after(30)]));
  await clock.advance(10_000);
  assert.equal((await connector.finished).reason, "until");
  assert.deepEqual(sink.texts, ["record 10", "record 20"]);
  assert.deepEqual((await row("shard-0"))?.checkpoint, sentinel("SHARD_END"));
  assert.deepEqual((await row("c2"))?.checkpoint, sentinel("TRIM_HORIZON"));
});

test("until: what a shard past the time has finished is checkpointed while other shards go on", async () => {
  const shards = [shard("shard-0"), shard("shard-1")];
  const { connector, clock, source, sink, row } = world({ until: UNTIL, shards });
  await connector.start();
  await clock.advance(0);
  source.give("shard-0", page([before(10), after(11)]));
  await clock.advance(1_500);
  assert.deepEqual((await row("shard-0"))?.checkpoint, sentinel("TRIM_HORIZON"));
  sink.acknowledge();
  await clock.advance(1_500);
  assert.deepEqual((await row("shard-0"))?.checkpoint, { sequenceNumber: "10", subSequenceNumber: 0 });
  assert.equal(connector.status().state, "running");
  source.give("shard-1", page([after(12)]));
  await clock.advance(5_000);
  assert.equal((await connector.finished).reason, "until");
});

test("until: a live owner of any lease is a refusal that says who, a dead one's rows are taken", async () => {
  const live = world({ shards: [shard("shard-0")] });
  await live.connector.start();
  await live.clock.advance(0);
  const second = world({ until: UNTIL, table: live.table, failoverTimeMs: 10_000 });
  const refused = assert.rejects(second.connector.start(), {
    code: "LEASE_IN_USE",
    message: /stop it first/,
  });
  for (let i = 0; i < 30; i++) {
    await live.clock.advance(500);
    await second.clock.advance(500);
  }
  await refused;
  assert.equal((await second.connector.finished).error?.code, "LEASE_IN_USE");

  // From here on the first one is dead: its clock stands still.
  const third = world({ until: UNTIL, table: live.table, failoverTimeMs: 10_000 });
  third.sink.acknowledgeAtOnce = true;
  third.source.give("shard-0", page([before(10), after(11)]));
  const started = third.connector.start();
  await third.clock.advance(12_000);
  await started;
  assert.deepEqual(third.sink.texts, ["record 10"], "one failover time and two seconds, not two of them");
  await third.clock.advance(20_000);
  assert.equal((await third.connector.finished).reason, "until");
});

test("until: a child that waits for a parent which stopped at the time does not keep the run going", async () => {
  const shards = [shard("parent"), shard("child", ["parent"])];
  const { connector, clock, source, sink } = world({ until: UNTIL, shards });
  sink.acknowledgeAtOnce = true;
  await connector.start();
  await clock.advance(1_000);
  source.give("parent", page([before(10)]));
  await clock.advance(5_000);
  assert.equal(connector.status().state, "running", "the parent is being read");
  source.give("parent", page([after(11)]));
  await clock.advance(30_000);
  assert.equal(connector.status().state, "stopped");
  assert.equal((await connector.finished).reason, "until");
  assert.deepEqual(sink.texts, ["record 10"]);
});
