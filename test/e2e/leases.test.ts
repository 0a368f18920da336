// The commands about leases, against our Kinesis server, dynalite and the local broker: what they tell beside working
// connectors, and that after a reset exactly what was asked for is read again, in order, whatever has been resharded.

import assert from "node:assert/strict";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test, type TestContext } from "node:test";
import { parseConfig } from "../../src/config/mod.ts";
import type { ConnectorError } from "../../src/core/errors.ts";
import { sentinel } from "../../src/core/position.ts";
import { createDynamoDbLeaseStore } from "../../src/leases/dynamodb.ts";
import type { Lease, LeaseStore } from "../../src/leases/store.ts";
import { type Leases, openLeases } from "../../src/open-leases.ts";
import { systemClock } from "../../src/runtime.ts";
import { RecordingLogger } from "../fakes.ts";
import { faultWorld, merge, type World, type WorldOptions } from "../faults/kit.ts";
import { JAVA_ROWS } from "../leases/java-rows.ts";
import { runCli } from "../servers/cli.ts";
import { type Dynalite, startDynalite } from "../servers/dynalite.ts";
import { serverTime } from "./kit.ts";

interface Setup extends World {
  readonly dynalite: Dynalite;
  /** Of the configured table. */
  readonly store: LeaseStore;
  readonly leases: Leases;
  readonly log: RecordingLogger;
  readonly file: string;
  cli(...args: string[]): Promise<{ code: number; stdout: string; stderr: string }>;
  /** Copies everything that is there, and ends. */
  copy(changes?: Record<string, unknown>): Promise<void>;
  rows(): Promise<Record<string, Lease>>;
}

async function setup(t: TestContext, options: WorldOptions = {}): Promise<Setup> {
  const dynalite = await startDynalite();
  t.after(() => dynalite.close());
  const world = await faultWorld(t, { ...options, dynamoEndpoint: dynalite.url });
  const config = merge(world.config, { leases: { failoverTimeMs: 3000 } });
  const folder = await mkdtemp(join(tmpdir(), "kinesis-pulsar-leases-"));
  t.after(() => rm(folder, { recursive: true, force: true }));
  await writeFile(join(folder, "connector.json"), JSON.stringify(config));
  const store = await createDynamoDbLeaseStore({
    tableName: String(config["applicationName"]),
    clientConfig: dynalite.clientConfig,
    clock: systemClock,
  });
  t.after(() => store.close());
  const log = new RecordingLogger();
  const { signal } = new AbortController();
  const leases = await openLeases(parseConfig(config, { env: {} }), { log, clock: systemClock, signal });
  t.after(() => leases.close());
  return {
    ...world,
    config: config as World["config"],
    dynalite,
    store,
    leases,
    log,
    file: join(folder, "connector.json"),
    cli: (...args) => runCli(args, { cwd: folder }),
    async copy(changes = {}) {
      const run = world.run(merge({ leases: { failoverTimeMs: 3000 } }, changes), { until: Date.now() + 1 }); // with this ms
      const { error } = await run.connector.finished;
      assert.equal(error, undefined, error?.message);
    },
    async rows() {
      const { leases } = await store.scan({ consistent: true });
      return Object.fromEntries(leases.map((lease) => [lease.leaseKey, lease]));
    },
  };
}

const SHARD = ["shardId-000000000000", "shardId-000000000001", "shardId-000000000002"] as const;

const coded = (code: string, ...words: string[]) => (error: ConnectorError) => {
  assert.equal(error.code, code);
  for (const word of words) assert.ok(error.message.includes(word), `${word}: ${error.message}`);
  return true;
};

test("leases command: without a table, or with leases in memory, it says so", async (t) => {
  const { cli, file, config } = await setup(t);
  const missing = await cli("leases", "connector.json");
  assert.equal(missing.code, 1);
  assert.match(missing.stderr, /LEASE_TABLE_MISSING.*there is no lease table "app-[0-9a-f]+" yet/);
  for (const words of [["reset", "connector.json", "--to", "LATEST"], ["release", "connector.json"]]) {
    const { code, stderr } = await cli("leases", ...words);
    assert.equal(code, 1);
    assert.match(stderr, /LEASE_TABLE_MISSING/);
  }
  await writeFile(file, JSON.stringify(merge(config, { leases: { store: "memory" } })));
  const memory = await cli("leases", "connector.json");
  assert.equal(memory.code, 2);
  assert.match(memory.stderr, /CONFIG_INVALID.*leases\.store = "memory"/);
});

test("leases command: it warns of what bears on leases, and not of metrics, which it does not send", async (t) => {
  const s = await setup(t);
  await writeFile(s.file, JSON.stringify(merge(s.config, { applicationName: "my app" })));
  const shown = await s.cli("leases", "connector.json", "--quick");
  assert.match(shown.stderr, /^warning: applicationName "my app": .*lease table/m);
  assert.doesNotMatch(shown.stderr, /cloudwatch/i);
  const { stderr } = await s.cli("validate", "connector.json");
  assert.match(stderr, /^warning: applicationName "my app"/m);
  assert.match(stderr, /^warning: awsEndpoint is set, but cloudwatchEndpoint is not/m);
});

test("leases command: beside a working connector it tells owners, checkpoints, and what waits since when", async (t) => {
  const s = await setup(t, { shards: 2 });
  const anHourAgo = Date.now() - 3_600_000;
  s.kinesis.putRecord(s.streamName, {
    partitionKey: "k",
    shardId: SHARD[0],
    data: "a",
    arrivedAt: anHourAgo,
  });
  const run = s.run({ leases: { failoverTimeMs: 3000 } });
  await s.arrived(1);
  while ((await s.rows())[SHARD[0]]?.checkpoint.sequenceNumber === "TRIM_HORIZON") {
    await systemClock.sleep(50);
  }
  const held = (await s.rows())[SHARD[0]]!;
  // A row of a shard that is not there, as Java leaves them.
  await s.store.create({
    ...held,
    leaseKey: SHARD[2],
    leaseOwner: undefined,
    checkpoint: sentinel("LATEST"),
  });
  const { code, stdout, stderr } = await s.cli("leases", "connector.json", "--json");
  assert.equal(code, 0, stderr);
  const told = JSON.parse(stdout);
  assert.equal(told.table, s.config["applicationName"]);
  const [first, second] = told.leases;
  assert.deepEqual(first.checkpoint, held.checkpoint);
  assert.deepEqual([first.state, first.owner, first.lagMs, first.hasGeneration], [
    "held",
    held.leaseOwner,
    0,
    false,
  ]);
  assert.deepEqual([second.state, second.checkpoint.sequenceNumber, second.lagMs], [
    "held",
    "TRIM_HORIZON",
    0,
  ]);
  await run.stop();
  s.kinesis.putRecord(s.streamName, {
    partitionKey: "k",
    shardId: SHARD[0],
    data: "b",
    arrivedAt: Date.now() - 1_830_000,
  });
  const text = await s.cli("leases", "connector.json");
  assert.equal(text.code, 0, text.stderr);
  const { sequenceNumber } = (await s.rows())[SHARD[0]]!.checkpoint;
  const short = `${sequenceNumber.slice(0, 4)}…${sequenceNumber.slice(-12)}`;
  assert.match(
    text.stdout,
    new RegExp(`\n${SHARD[0]} +- +unowned +${short} +3[01] min( \\d+ s)? +23 h 2[89] min\n`),
  );
  assert.match(text.stdout, new RegExp(`; furthest behind: ${SHARD[0]} by 3[01] min.*expires in 23 h`));
  assert.equal(s.kinesis.calls("GetRecords").filter(({ input }) => input["Limit"] === 1).length <= 6, true);
});

test("leases command: owners that do not move are silent; release takes them out, and stops before a live one", async (t) => {
  const s = await setup(t, { shards: 2 });
  await s.copy();
  const row = (await s.rows())[SHARD[0]]!;
  await s.store.update(SHARD[0], row.leaseCounter, { leaseOwner: "host:1:dead" });
  const quick = JSON.parse((await s.cli("leases", "connector.json", "--json", "--quick")).stdout);
  assert.deepEqual(quick.owners, [{ owner: "host:1:dead", state: "unknown", leases: 1, finished: 0 }]);
  assert.equal(quick.leases[0].lagMs, undefined);
  const watched = await s.leases.report({ quick: false });
  assert.deepEqual(watched.owners, [{ owner: "host:1:dead", state: "silent", leases: 1, finished: 0 }]);
  const options = { shardId: undefined, force: false };
  assert.deepEqual(await s.leases.release({ ...options, dryRun: true }), [{
    shardId: SHARD[0],
    owner: "host:1:dead",
  }]);
  assert.equal((await s.rows())[SHARD[0]]!.leaseOwner, "host:1:dead");
  const released = await s.cli("leases", "release", "connector.json");
  assert.equal(released.code, 0, released.stderr);
  assert.match(released.stdout, /shardId-0+ +host:1:dead\n\nreleased 1 lease in table/);
  const after = (await s.rows())[SHARD[0]]!;
  assert.deepEqual([after.leaseOwner, after.leaseCounter], [undefined, row.leaseCounter + 2]);

  const run = s.run({ leases: { failoverTimeMs: 3000 } });
  await run.running;
  while (Object.values(await s.rows()).some(({ leaseOwner }) => leaseOwner === undefined)) {
    await systemClock.sleep(50);
  }
  for (const change of [["release"], ["reset", "--to", "TRIM_HORIZON"]]) {
    const { code, stderr } = await s.cli("leases", change[0]!, "connector.json", ...change.slice(1));
    assert.equal(code, 1);
    assert.match(stderr, /LEASE_IN_USE.*stop all workers of this table first \(--force/);
  }
  assert.equal((await s.leases.release({ ...options, force: true, dryRun: false })).length, 2);
  await run.stop();
});

const minutesAgo = (minutes: number) => Date.now() - minutes * 60_000;

test("leases command: after a reset to a time everything since then is read again, parents first, whatever was resharded", async (t) => {
  const time = serverTime();
  time.at(-180);
  const s = await setup(t, { shards: 2, clock: time.clock });
  const put = (name: string, shards: readonly number[]) => {
    for (const shard of shards) {
      const shardId = `shardId-${String(shard).padStart(12, "0")}`;
      for (const i of [0, 1]) {
        s.kinesis.putRecord(s.streamName, { partitionKey: "k", shardId, data: `${name}${shard}.${i}` });
      }
    }
  };
  put("old", [0, 1]);
  time.at(-160);
  put("p", [0, 1]);
  time.at(-120);
  const [left, right] = s.kinesis.splitShard(s.streamName, SHARD[0]);
  time.at(-60);
  put("q", [1, 2, 3]);
  time.at(-30);
  assert.deepEqual([left, right], [SHARD[2], "shardId-000000000003"]);
  s.kinesis.mergeShards(s.streamName, right, SHARD[1]);
  time.at(-10);
  put("r", [2, 4]);
  time.at(0);
  const seen = { count: 0 };
  const read = async () => {
    await s.copy();
    const all = s.published();
    const fresh = all.slice(seen.count);
    seen.count = all.length;
    return fresh;
  };
  const of = (name: string, shards: readonly number[]) =>
    shards.flatMap((shard) => [`${name}${shard}.0`, `${name}${shard}.1`]);
  const P = of("p", [0, 1]), Q = of("q", [1, 2, 3]), R = of("r", [2, 4]);
  assert.deepEqual((await read()).sort(), [...of("old", [0, 1]), ...P, ...Q, ...R].sort());
  // As the clean-up of finished leases does it after a while.
  for (const shardId of [SHARD[0], SHARD[1], right]) {
    await s.store.delete(shardId, (await s.store.get(shardId))!.leaseCounter);
  }

  const reset = (minutes: number, dryRun = false) =>
    s.leases.reset({
      position: { type: "AT_TIMESTAMP", timestamp: minutesAgo(minutes) },
      force: false,
      dryRun,
    });
  const before = await s.rows();
  const planned = await reset(170, true);
  assert.deepEqual(await s.rows(), before, "a dry run writes nothing");
  assert.deepEqual(await reset(170), planned);
  const rows = await s.rows();
  assert.deepEqual(Object.keys(rows).sort(), [SHARD[0], SHARD[1]]);
  const [, , firstP] = s.kinesis.records(s.streamName, SHARD[0]);
  assert.deepEqual(rows[SHARD[0]]!.checkpoint, {
    sequenceNumber: firstP!.sequenceNumber,
    subSequenceNumber: -1,
  });
  const again = await read();
  assert.deepEqual([...again].sort(), [...P, ...Q, ...R].sort());
  const place = (name: string) => again.indexOf(name);
  for (const [parent, child] of [["p0.1", "q2.0"], ["p0.1", "q3.0"], ["q3.1", "r4.0"], ["q1.1", "r4.0"]]) {
    assert.ok(place(parent!) < place(child!), `${parent} before ${child}: ${again}`);
  }
  for (const name of again.filter((one) => one.endsWith(".1"))) {
    assert.ok(place(name.replace(".1", ".0")) < place(name), `${again}`);
  }

  await reset(90);
  assert.deepEqual((await read()).sort(), [...Q, ...R].sort());
  await reset(20);
  assert.deepEqual((await read()).sort(), R.sort());
  // Nothing has arrived since: after the last record, not from the moment of the next start.
  await reset(5);
  const quiet = (await s.rows())[SHARD[2]]!;
  const { sequenceNumber } = s.kinesis.records(s.streamName, SHARD[2]).at(-1)!;
  assert.deepEqual(quiet.checkpoint, { sequenceNumber, subSequenceNumber: 0 });
  assert.equal(quiet.startedAt, undefined);
  time.at(-3);
  put("s", [2]);
  time.at(0);
  assert.deepEqual((await read()).sort(), of("s", [2]));
  // Longer ago than anything is kept.
  const all = await s.cli("leases", "reset", "connector.json", "--to", "-3d");
  assert.equal(all.code, 0, all.stderr);
  assert.match(all.stdout, /shardId-000000000000 +no lease +→ +TRIM_HORIZON\n/);
  assert.match(all.stdout, /shardId-000000000002 +\d{4}…\d+ +→ +removed\n/);
  assert.match(all.stdout, /wrote 2 leases, removed \d in table/);
  assert.equal((await read()).length, 2 * (2 + 2 + 3 + 2 + 1));
});

test("leases command: a reset brings Java's rows to LATEST as ours: from this moment on, without owner or numbering", async (t) => {
  const s = await setup(t, { shards: 4 });
  const { signal } = new AbortController();
  await s.store.open(signal);
  const { DynamoDBClient, PutItemCommand, GetItemCommand } = await import("@aws-sdk/client-dynamodb");
  const client = new DynamoDBClient(s.dynalite.clientConfig);
  t.after(() => client.destroy());
  const extra = { throughputKBps: { N: "1" }, pulsarGeneration: { S: "g" }, pulsarPartitions: { M: {} } };
  for (const row of JAVA_ROWS) {
    const Item = { ...row, ...extra } as never;
    await client.send(new PutItemCommand({ TableName: s.store.tableName, Item }));
  }
  const before = Date.now();
  const { code, stderr } = await s.cli("leases", "reset", "connector.json", "--to", "latest");
  assert.equal(code, 0, stderr);
  for (const { leaseKey, leaseCounter } of JAVA_ROWS) {
    const Key = { leaseKey } as never;
    const { Item = {} } = await client.send(
      new GetItemCommand({ TableName: s.store.tableName, Key, ConsistentRead: true }),
    );
    assert.deepEqual(
      Object.keys(Item).sort(),
      [
        "checkpoint",
        "checkpointSubSequenceNumber",
        "endingHashKey",
        "leaseCounter",
        "leaseKey",
        "ownerSwitchesSinceCheckpoint",
        "startedAt",
        "startingHashKey",
        "streamArn",
        "streamCreatedAt",
        "throughputKBps",
      ],
    );
    assert.equal(Item["checkpoint"]!.S, "LATEST");
    assert.equal(Item["leaseCounter"]!.N, String(Number(leaseCounter!.N) + 1));
    assert.ok(Math.abs(Number(Item["startedAt"]!.N) - before) < 60_000);
  }
  s.kinesis.putRecord(s.streamName, { partitionKey: "k", data: "while nobody runs" });
  await s.copy();
  assert.deepEqual(s.published(), ["while nobody runs"]);
});

test("leases command: one shard begins at a record; not where its children have gone on", async (t) => {
  const s = await setup(t, { shards: 2 });
  const put = (shardId: string, data: string) =>
    s.kinesis.putRecord(s.streamName, { partitionKey: "k", shardId, data });
  put(SHARD[1], "other");
  put(SHARD[0], "a");
  const { sequenceNumber } = put(SHARD[0], "b");
  put(SHARD[0], "c");
  await s.copy();
  const done = s.published().length;
  const refused = await s.cli("leases", "reset", "connector.json", "--to", sequenceNumber);
  assert.equal(refused.code, 2);
  assert.match(refused.stderr, /needs --shard/);
  const written = await s.cli(
    "leases",
    "reset",
    "connector.json",
    "--to",
    sequenceNumber,
    "--shard",
    SHARD[0],
    "--json",
  );
  assert.equal(written.code, 0, written.stderr);
  assert.deepEqual(JSON.parse(written.stdout).leases.map(({ shardId, to }: never) => [shardId, to]), [
    [SHARD[0], { sequenceNumber, subSequenceNumber: -1 }],
  ]);
  await s.copy();
  assert.deepEqual(s.published().slice(done), ["b", "c"]);

  const options = { force: false, dryRun: false };
  const at = { type: "AT_SEQUENCE_NUMBER", sequenceNumber } as const;
  await assert.rejects(
    s.leases.reset({ ...options, position: at, shardId: SHARD[1] }),
    coded("CONFIG_INVALID", sequenceNumber, SHARD[1]),
  );
  await assert.rejects(
    s.leases.reset({ ...options, position: at, shardId: "shardId-000000000009" }),
    coded("CONFIG_INVALID", "has no such shard"),
  );
  s.kinesis.splitShard(s.streamName, SHARD[0]);
  await s.copy();
  await assert.rejects(
    s.leases.reset({ ...options, position: { type: "TRIM_HORIZON" }, shardId: SHARD[0] }),
    coded("CONFIG_INVALID", SHARD[0], SHARD[2], "Reset all shards"),
  );
});

test("leases command: numbers of effectively-once begin anew after a reset, so what is read again is published again", async (t) => {
  const s = await setup(t, { shards: 1, broker: { deduplication: true } });
  const once = { pulsar: { delivery: "effectively-once" } };
  s.put(3);
  await s.copy(once);
  assert.equal((await s.leases.report({ quick: true })).leases[0]!.hasGeneration, true);
  await s.leases.reset({ position: { type: "TRIM_HORIZON" }, force: false, dryRun: false });
  assert.equal((await s.rows())[SHARD[0]]!.generation, undefined);
  await s.copy(once);
  assert.deepEqual(s.published(), [0, 1, 2, 0, 1, 2].map((i) => `record ${i}`));
});

test("leases command: a table of another stream is shown with a word, and never reset", async (t) => {
  const s = await setup(t);
  await s.copy();
  const row = (await s.rows())[SHARD[0]]!;
  await s.store.update(SHARD[0], row.leaseCounter, { streamArn: "arn:aws:kinesis:us-east-1:1:stream/other" });
  const shown = await s.cli("leases", "connector.json");
  assert.equal(shown.code, 0);
  assert.match(shown.stderr, /warning: .*belongs to stream .*stream\/other, not to /);
  await assert.rejects(
    s.leases.reset({ position: { type: "LATEST" }, force: true, dryRun: false }),
    coded("LEASE_TABLE_FOREIGN", "stream/other"),
  );
});

test("leases command: a table of a deleted stream of the same name is cured by a reset", async (t) => {
  const s = await setup(t);
  s.put(1);
  await s.copy();
  s.kinesis.deleteStream(s.streamName);
  s.kinesis.createStream(s.streamName, { shards: 1 });
  s.put(1, "anew");
  const shown = await s.cli("leases", "connector.json");
  assert.equal(shown.code, 0);
  assert.match(shown.stderr, /warning: .* the present one was created at .*leases reset FILE --to/);
  await s.leases.reset({ position: { type: "TRIM_HORIZON" }, force: false, dryRun: false });
  await s.copy();
  assert.deepEqual(s.published(), ["record 0", "anew 0"]);
});

test("leases command: what Kinesis does not tell is left out with a word, and the table is shown", async (t) => {
  const s = await setup(t);
  await s.copy();
  await s.kinesis.close();
  const { code, stdout, stderr } = await s.cli("leases", "connector.json");
  assert.equal(code, 0);
  assert.match(stderr, /warning: how far shards are behind is not known: /);
  assert.match(stdout, /shardId-000000000000 +- +unowned/);
});
