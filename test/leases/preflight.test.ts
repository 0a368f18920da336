import { test } from "node:test";
import assert from "node:assert/strict";
import { ConnectorError, type ErrorCode } from "../../src/core/errors.ts";
import { silentLogger } from "../../src/core/log.ts";
import { liveOwners, ownerStates, refuseLiveOwners } from "../../src/leases/live-owners.ts";
import { MemoryLeaseStore, MemoryLeaseTable } from "../../src/leases/memory.ts";
import {
  checkCheckpoints,
  checkClientVersion,
  checkStream,
  checkTableChoice,
  openLeaseTable,
} from "../../src/leases/preflight.ts";
import type { ClientVersion } from "../../src/leases/store.ts";
import { FakeClock, RecordingLogger } from "../fakes.ts";
import { denied, throttled } from "./faulty-store.ts";
import { newRow, STREAM } from "./stores.ts";

const signal = new AbortController().signal;

function coded(code: ErrorCode, ...words: string[]): (error: unknown) => boolean {
  return (error) => {
    assert.ok(error instanceof ConnectorError);
    assert.equal(error.code, code);
    for (const word of words) assert.ok(error.message.includes(word), `${word} in: ${error.message}`);
    return true;
  };
}

/** A store among other tables. */
class Account extends MemoryLeaseStore {
  tables: Record<string, "missing" | "empty" | "used" | ConnectorError> = {};
  version: ClientVersion = { known: true, version: undefined };

  // deno-lint-ignore require-await
  override async tableState(tableName: string): Promise<"missing" | "empty" | "used"> {
    const state = this.tables[tableName] ?? "missing";
    if (state instanceof ConnectorError) throw state;
    return state;
  }

  // deno-lint-ignore require-await
  override async clientVersion(): Promise<ClientVersion> {
    return this.version;
  }
}

const OURS = "Pulsar-IO-connector";
const account = (tables: Account["tables"], table = OURS) =>
  Object.assign(new Account(new MemoryLeaseTable(), table), { tables });

test("preflight: a fresh table beside Java's default table is a choice that only the user can make", async () => {
  for (const ours of ["missing", "empty"] as const) {
    for (const java of ["empty", "used"] as const) {
      const store = account({ [OURS]: ours, "pulsar-kinesis": java });
      await assert.rejects(
        checkTableChoice(store, silentLogger),
        coded(
          "LEASE_TABLE_CHOICE",
          'applicationName = "pulsar-kinesis"',
          'applicationName = "Pulsar IO connector"',
        ),
      );
    }
  }
});

test("preflight: there is no choice to make when our table is used, or Java's is missing, or is the one meant", async () => {
  await checkTableChoice(account({ [OURS]: "used", "pulsar-kinesis": "used" }), silentLogger);
  await checkTableChoice(account({ [OURS]: "empty" }), silentLogger);
  await checkTableChoice(account({ "pulsar-kinesis": "empty" }, "pulsar-kinesis"), silentLogger);
});

test("preflight: not being allowed to look at Java's table is said and goes on, being throttled is not", async () => {
  const log = new RecordingLogger();
  await checkTableChoice(account({ "pulsar-kinesis": denied("DescribeTable") }), log);
  assert.equal(log.messages("warn").length, 1);
  const busy = account({ "pulsar-kinesis": throttled("DescribeTable") });
  await assert.rejects(checkTableChoice(busy, log), coded("THROTTLED"));
});

test("preflight: native KCL 3.x fleets are refused, compatible ones and unknown are not", async () => {
  const store = account({});
  const log = new RecordingLogger();
  for (const version of ["CLIENT_VERSION_3X", "CLIENT_VERSION_3X_WITH_ROLLBACK"]) {
    store.version = { known: true, version };
    await assert.rejects(checkClientVersion(store, log), coded("LEASE_TABLE_FOREIGN", version, OURS));
  }
  for (
    const version of ["CLIENT_VERSION_UPGRADE_FROM_2X", "CLIENT_VERSION_2X", "CLIENT_VERSION_INIT", undefined]
  ) {
    store.version = { known: true, version };
    await checkClientVersion(store, log);
  }
  assert.deepEqual(log.entries, []);
  store.version = { known: false, error: denied("GetItem") };
  await checkClientVersion(store, log);
  assert.match(log.messages("warn").join(), /not known: GetItem: denied/);
});

test("preflight: rows of another stream or another creation are refused, Java's rows prove nothing", () => {
  const java = newRow("s", { streamArn: undefined, streamCreatedAt: undefined });
  checkStream([java, newRow("t")], STREAM, "t");
  assert.throws(
    () => checkStream([java, newRow("t", { streamArn: "arn:other" })], STREAM, "table-1"),
    coded("LEASE_TABLE_FOREIGN", "arn:other", STREAM.streamArn, "table-1", "applicationName"),
  );
  assert.throws(
    () => checkStream([newRow("t", { streamCreatedAt: 1.6e12 })], STREAM, "table-1"),
    coded("LEASE_TABLE_FOREIGN", "2020-09-13T12:26:40.000Z", "2023-11-14T22:13:20.000Z"),
  );
});

test("preflight: a checkpoint before its shard's first record is another stream's; sentinels and old shards prove nothing", () => {
  const shards = [{
    shardId: "s",
    parentShardIds: [],
    startingHashKey: "0",
    endingHashKey: "1",
    startingSequenceNumber: "1000",
  }];
  const row = (key: string, sequenceNumber: string) =>
    newRow(key, { checkpoint: { sequenceNumber, subSequenceNumber: 0 } });
  for (const digits of ["1000", "1001", "20000", "TRIM_HORIZON", "LATEST", "SHARD_END"]) {
    checkCheckpoints([row("s", digits), row("expired", "5")], shards, "t");
  }
  for (const digits of ["999", "9"]) {
    assert.throws(
      () => checkCheckpoints([row("s", digits)], shards, "table-1"),
      coded("LEASE_TABLE_FOREIGN", digits, "table-1", "shard s", "1000"),
    );
  }
});

test("preflight: opening checks the choice before it makes the table, then fleet and stream, and gives the rows", async () => {
  const table = new MemoryLeaseTable();
  const fresh = Object.assign(new Account(table, OURS), { tables: { "pulsar-kinesis": "used" as const } });
  const options = { store: fresh, stream: STREAM, log: silentLogger, signal, tableWasChosen: false };
  await assert.rejects(openLeaseTable(options), coded("LEASE_TABLE_CHOICE"));
  assert.equal(table.exists, false, "no table was made");
  assert.deepEqual((await openLeaseTable({ ...options, tableWasChosen: true })).leases, []);
  assert.equal(table.exists, true);
  await fresh.create(newRow("s"));
  assert.equal((await openLeaseTable({ ...options, tableWasChosen: true })).leases.length, 1);
  await fresh.create(newRow("t", { streamArn: "arn:other" }));
  await assert.rejects(openLeaseTable({ ...options, tableWasChosen: true }), coded("LEASE_TABLE_FOREIGN"));
});

test("live owners: an owner whose counter moves within the failover time is alive, and is named in the refusal", async () => {
  const clock = new FakeClock();
  const store = new MemoryLeaseStore();
  await store.create(newRow("a", { leaseOwner: "0", leaseCounter: 3 }));
  await store.create(newRow("b", { leaseOwner: "dead", leaseCounter: 3 }));
  void clock.sleep(3300).then(() => store.update("a", 3, {}));
  const look = liveOwners({ store, clock, signal, observeMs: 10_000 });
  await clock.advance(3500);
  assert.deepEqual([...await look], [["0", "a"]]);
  void clock.sleep(9800).then(() => store.update("a", 4, {}));
  const refusal = assert.rejects(
    refuseLiveOwners({ store, clock, signal, observeMs: 10_000 }),
    coded("LEASE_IN_USE", 'worker "0"', "memory", "lease of a"),
  );
  await clock.advance(10_000);
  await refusal;
});

test("live owners: dead owners are nobody after one failover time, unowned rows at once", async () => {
  const clock = new FakeClock();
  const store = new MemoryLeaseStore();
  await store.create(newRow("a"));
  await refuseLiveOwners({ store, clock, signal, observeMs: 10_000 });
  assert.equal(clock.monotonic(), 0);
  await store.create(newRow("b", { leaseOwner: "dead", leaseCounter: 3 }));
  const look = liveOwners({ store, clock, signal, observeMs: 10_000 });
  await clock.advance(10_000);
  assert.equal((await look).size, 0);
  assert.equal(clock.sleeping, 0);
});

test("live owners: the state of each owner is known as soon as all have moved, else after one failover time", async () => {
  const clock = new FakeClock();
  const store = new MemoryLeaseStore();
  await store.create(newRow("a", { leaseOwner: "0", leaseCounter: 3 }));
  await store.create(newRow("b", { leaseOwner: "1", leaseCounter: 3 }));
  await store.create(newRow("c", { leaseOwner: "1", leaseCounter: 9 }));
  void clock.sleep(3300).then(() => store.update("a", 3, {}));
  void clock.sleep(3400).then(() => store.update("b", 3, {}));
  const both = ownerStates({ store, clock, signal, observeMs: 10_000 });
  await clock.advance(5100);
  assert.deepEqual([...await both], [["0", "alive"], ["1", "alive"]]);
  void clock.sleep(3300).then(() => store.update("a", 4, {}));
  const one = ownerStates({ store, clock, signal, observeMs: 10_000 });
  await clock.advance(10_000);
  assert.deepEqual([...await one], [["0", "alive"], ["1", "silent"]]);
  assert.equal(clock.sleeping, 0);
});
