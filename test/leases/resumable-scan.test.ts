// Scans of tables with many pages, some of which fail: what was read stays read, and who judges by it knows its age.

import { text } from "node:stream/consumers";
import { test, type TestContext } from "node:test";
import assert from "node:assert/strict";
import type { Clock } from "../../src/core/clock.ts";
import { ConnectorError } from "../../src/core/errors.ts";
import { liveOwners, ownerStates } from "../../src/leases/live-owners.ts";
import { MeasuredLeaseStore } from "../../src/leases/measured-store.ts";
import { MemoryLeaseStore } from "../../src/leases/memory.ts";
import { resumableScan } from "../../src/leases/resumable-scan.ts";
import { type LeaseThrottle, Retry } from "../../src/leases/retry.ts";
import { toItem } from "../../src/leases/row.ts";
import type { LeaseScan, LeaseStore, ScanOptions } from "../../src/leases/store.ts";
import type { OperationReport } from "../../src/core/telemetry.ts";
import { systemClock } from "../../src/runtime.ts";
import { startDynalite } from "../servers/dynalite.ts";
import { FakeClock, RecordingLogger } from "../fakes.ts";
import { dynamoServer, storeAt } from "./dynamo-server.ts";
import { throttled } from "./faulty-store.ts";
import { newRow } from "./stores.ts";
import { World } from "./world.ts";

const PAGES = 4;
const ALL = ["shard-0", "shard-1", "shard-2", "shard-3"];
const { signal } = new AbortController();

/** A table of four pages with a lease each. `fail` decides about each request for a page. */
async function pagedTable(
  t: TestContext,
  fail: (page: number) => "throttle" | "break" | "refuse" | undefined,
) {
  const asked: number[] = [];
  const url = await dynamoServer(t, async (request, response) => {
    const { ExclusiveStartKey: after } = JSON.parse(await text(request));
    const page = after === undefined ? 0 : Number(after.leaseKey.S.slice("shard-".length)) + 1;
    asked.push(page);
    const fault = fail(page);
    if (fault === "break") return response.writeHead(500).end();
    const type = fault === "throttle" ? "ThrottlingException" : "AccessDeniedException";
    const key = { leaseKey: { S: `shard-${page}` } };
    const answer = fault !== undefined ? { __type: type, message: "no" } : {
      Items: [toItem(newRow(`shard-${page}`)), { leaseKey: { S: `other-${page}` } }],
      ...page < PAGES - 1 ? { LastEvaluatedKey: key } : {},
    };
    response.writeHead(fault === undefined ? 200 : 400, { "content-type": "application/x-amz-json-1.0" });
    return response.end(JSON.stringify(answer));
  });
  return { asked, url };
}

const keysOf = (scan: LeaseScan) => scan.leases.map(({ leaseKey }) => leaseKey);

/** Fails each page once. */
function onceEach(fault: "throttle" | "break"): (page: number) => "throttle" | "break" | undefined {
  const failed = new Set<number>();
  return (page) => failed.has(page) ? undefined : (failed.add(page), fault);
}

test("leases: resumed scan: a failed page is asked for again, and those before it are not", async (t) => {
  for (const fault of ["throttle", "break"] as const) {
    const { asked, url } = await pagedTable(t, onceEach(fault));
    const reports: OperationReport[] = [];
    const telemetry = { report: (one: OperationReport) => void reports.push(one) };
    const store = new MeasuredLeaseStore(await storeAt(t, url), { clock: systemClock, telemetry });
    const throttles: LeaseThrottle[] = [];
    const onThrottle = (throttle: LeaseThrottle) => {
      throttles.push(throttle);
      return 0;
    };
    const clock = {
      ...systemClock,
      sleep: (ms: number, end?: AbortSignal) => systemClock.sleep(ms / 20, end),
    };
    const retry = new Retry({ clock, log: new RecordingLogger(), onThrottle });
    const scan = await retry.run(resumableScan(store, { signal }), signal);
    assert.deepEqual(keysOf(scan!), ALL);
    assert.equal(scan!.foreignItems, PAGES);
    assert.deepEqual(asked, [0, 0, 1, 1, 2, 2, 3, 3], fault);
    // Each failure is seen from outside, as that of any call.
    assert.deepEqual(reports.map(({ step, success }) => `${step} ${success}`), [
      ...Array(PAGES).fill("ListLeases false"),
      "ListLeases true",
    ]);
    assert.deepEqual(
      throttles.map(({ operation, attempt }) => `${operation} ${attempt}`),
      fault === "break" ? [] : ["Scan 1", "Scan 2", "Scan 3", "Scan 4"],
    );
  }
});

test("leases: resumed scan: without a cursor each begins anew, and what waiting does not cure ends it", async (t) => {
  let fault: "throttle" | "refuse" | undefined = "throttle";
  const { asked, url } = await pagedTable(t, (page) => page === 2 ? fault : undefined);
  const store = await storeAt(t, url);
  const rejects = (scan: Promise<unknown>, code: string) =>
    assert.rejects(scan, (error) => error instanceof ConnectorError && error.code === code);
  await rejects(store.scan(), "THROTTLED");
  await rejects(store.scan(), "THROTTLED");
  assert.deepEqual(asked.splice(0), [0, 1, 2, 0, 1, 2]);
  const attempt = resumableScan(store);
  await rejects(attempt(), "THROTTLED");
  fault = "refuse";
  const retry = new Retry({ clock: systemClock, log: new RecordingLogger() });
  await rejects(retry.run(attempt, signal), "ACCESS_DENIED");
  assert.deepEqual(asked.splice(0), [0, 1, 2, 2]);
  await assert.rejects(resumableScan(store, { signal: AbortSignal.abort() }), { name: "AbortError" });
  assert.deepEqual(asked, [], "an aborted one asks for nothing");
});

test("leases: resumed scan: a minute after its begin it begins anew, for its first rows are too old", async (t) => {
  let failing = true;
  const { asked, url } = await pagedTable(t, (page) => page === 2 && failing ? "throttle" : undefined);
  let later = 0;
  const clock = { ...systemClock, monotonic: () => systemClock.monotonic() + later };
  const store = await storeAt(t, url, clock);
  const attempt = resumableScan(store);
  for (const passed of [0, 30_000, 25_000]) { // the minute counts from the first page, whatever happens since
    later += passed;
    await assert.rejects(attempt(), { code: "THROTTLED" });
  }
  assert.deepEqual(asked.splice(0), [0, 1, 2, 2, 2]);
  later += 6_000;
  await assert.rejects(attempt(), { code: "THROTTLED" });
  assert.deepEqual(asked.splice(0), [0, 1, 2]);
  failing = false;
  assert.deepEqual(keysOf(await attempt()), ALL);
  assert.deepEqual(asked, [2, 3]);
});

test("leases: resumed scan: after one that came to its end the next begins anew", async (t) => {
  let failing = true;
  const { asked, url } = await pagedTable(t, (page) => page === 2 && failing ? "throttle" : undefined);
  const attempt = resumableScan(await storeAt(t, url));
  await assert.rejects(attempt(), { code: "THROTTLED" });
  failing = false;
  assert.deepEqual(keysOf(await attempt()), ALL);
  assert.deepEqual(asked.splice(0), [0, 1, 2, 2, 3]);
  assert.deepEqual(keysOf(await attempt()), ALL);
  assert.deepEqual(asked, [0, 1, 2, 3], "no row is one that was read before");
});

test("leases: resumed scan: DynamoDB's own keys lead on, rows deleted meanwhile included", async (t) => {
  const dynalite = await startDynalite();
  t.after(() => dynalite.close());
  let scans = 0;
  const url = await dynamoServer(t, async (request, response) => {
    const body = await text(request);
    const target = String(request.headers["x-amz-target"]);
    if (target.endsWith(".Scan") && ++scans === 3) return response.writeHead(500).end();
    const { authorization = "", "x-amz-date": date = "" } = request.headers;
    const headers = {
      "content-type": "application/x-amz-json-1.0",
      "x-amz-target": target,
      "x-amz-date": String(date),
      authorization,
    };
    const answer = await fetch(dynalite.url, { method: "POST", headers, body });
    response.writeHead(answer.status, { "content-type": "application/x-amz-json-1.0" });
    return response.end(await answer.text());
  });
  const store = await storeAt(t, url);
  await store.open(signal);
  const { DeleteItemCommand, DynamoDBClient, PutItemCommand } = await import("@aws-sdk/client-dynamodb");
  const client = new DynamoDBClient(dynalite.clientConfig);
  t.after(() => client.destroy());
  for (let i = 0; i < 8; i++) { // a page ends at 1 MB
    await store.create(newRow(`shard-${i}`));
    const Item = { leaseKey: { S: `big-${i}` }, padding: { S: "x".repeat(300_000) } };
    await client.send(new PutItemCommand({ TableName: "leases", Item }));
  }
  const attempt = resumableScan(store, { consistent: true });
  await assert.rejects(attempt(), { code: "AWS_UNAVAILABLE" });
  for (let i = 0; i < 8; i++) { // among them the row at which the scan stands
    await client.send(new DeleteItemCommand({ TableName: "leases", Key: { leaseKey: { S: `big-${i}` } } }));
  }
  const scan = await attempt();
  assert.deepEqual(keysOf(scan).sort(), Array.from({ length: 8 }, (_, i) => `shard-${i}`));
  assert.equal(scans, 4, "two pages, the third twice");
  assert.ok(scan.foreignItems >= 4, "those of the first pages");
});

/** A table whose scans fail once after their first page, which has all rows, while `isThrottled`. */
class ThrottledPages extends MemoryLeaseStore {
  isThrottled = false;
  readonly #now: () => number;

  constructor(world: World) {
    super(world.table);
    this.#now = () => world.clock.monotonic();
  }

  override async scan({ cursor }: ScanOptions = {}): Promise<LeaseScan> {
    if (cursor?.soFar !== undefined) return cursor.soFar;
    const startedAt = this.#now();
    const scan = await super.scan();
    if (!this.isThrottled || cursor === undefined) return scan;
    cursor.soFar = { ...scan, startedAt, next: 1 };
    throw throttled("Scan");
  }
}

test("leases: resumed scan: whoever renewed while later pages were waited for does not look dead", async () => {
  const world = new World();
  await world.rows(newRow("theirs", { leaseOwner: "0", leaseCounter: 5 }));
  const store = new ThrottledPages(world);
  const delays: number[] = [];
  const writes: string[] = [];
  const update = store.update.bind(store);
  const worker = world.worker("me", {
    store: Object.assign(store, {
      update: (...[key, counter, change]: Parameters<LeaseStore["update"]>) => {
        writes.push(key);
        return update(key, counter, change);
      },
    }),
    onThrottle: () => delays.shift(),
  });
  // An outage of 12 s comes first: the next one is not excused (outage.ts), so that only the rows' age tells.
  store.isThrottled = true;
  delays.push(12_000, 12_000);
  worker.coordinator.start();
  await world.clock.advance(12_500);
  await world.clock.advanceUntil(() => delays.length === 0, 3_000);
  for (let passed = 0; passed < 12_000; passed += 3_000) {
    await world.clock.advance(3_000);
    await world.store.update("theirs", 5 + passed / 3_000, {}); // a Java connector's heartbeat
  }
  store.isThrottled = false;
  await world.clock.advance(100);
  assert.deepEqual(writes, [], "nothing was tried on it");
  await world.clock.advance(13_000);
  assert.deepEqual(worker.acquired.map(({ shardId }) => shardId), ["theirs"], "the dead are found");
  await worker.coordinator.stop();
});

/** How long a scan takes until it has read the table, and from then until its answer is there, milliseconds. */
type Slowness = readonly [before: number, after: number];

/** A table whose first scan takes as long as told, and all others alike. */
class SlowScans extends MemoryLeaseStore {
  readonly #clock: Clock;
  readonly #others: Slowness;
  #next: Slowness;

  constructor(clock: Clock, first: Slowness, others: Slowness) {
    super();
    this.#clock = clock;
    this.#next = first;
    this.#others = others;
  }

  override async scan(): Promise<LeaseScan> {
    const [before, after] = this.#next;
    this.#next = this.#others;
    await this.#clock.sleep(before);
    const scan = await super.scan();
    await this.#clock.sleep(after);
    return scan;
  }
}

test("live owners: scans that take longer than the failover time do not make the living silent", async () => {
  const late = [12_000, 0] as const;
  const stale = [0, 12_000] as const;
  const quick = [0, 0] as const;
  for (const [first, others] of [[late, quick], [quick, stale], [stale, stale]] as const) {
    for (const look of [liveOwners, ownerStates]) {
      const clock = new FakeClock();
      const store = new SlowScans(clock, first, others);
      await store.create(newRow("a", { leaseOwner: "0", leaseCounter: 3 }));
      const looked = look({ store, clock, signal, observeMs: 10_000 });
      for (let counter = 3; counter < 20; counter++) {
        await clock.advance(3_300);
        await store.update("a", counter, {});
      }
      const isAlive = [["0", look === liveOwners ? "a" : "alive"]];
      assert.deepEqual([...await looked], isAlive, `${first}, then ${others}`);
      const dead = look({ store, clock, signal, observeMs: 10_000 });
      await clock.advance(60_000);
      assert.deepEqual([...await dead], look === liveOwners ? [] : [["0", "silent"]]);
      assert.equal(clock.sleeping, 0);
    }
  }
});
