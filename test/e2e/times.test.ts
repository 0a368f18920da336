// How long nobody reads (design: 3 s on an empty table, failover time + 2 s after a death, 5 s after a clean stop): the
// real program as processes, our Kinesis server, dynalite and our broker. What is promised exactly is tested in fake
// time (test/leases); here it is measured, printed, and on a busy machine allowed to take twice as long.

import { test, type TestContext } from "node:test";
import assert from "node:assert/strict";
import { startLocalBroker } from "../../src/local/mod.ts";
import { leaseRows, ownedShards, until } from "../proof/worker.ts";
import type { CliProcess } from "../servers/cli.ts";
import { layRoad } from "./kit.ts";

const FAILOVER_MS = 3000;
const SLACK = 2;

async function lay(t: TestContext, shards: number) {
  const broker = await startLocalBroker();
  t.after(() => broker.close());
  const road = await layRoad(t, { shards, serviceUrl: broker.url });
  const config = await road.write("worker.toml", { leases: { failoverTimeMs: FAILOVER_MS } });
  const rows = await leaseRows(t, road);
  let puts = 0;
  /** Puts a record into each of the shards; resolves with the milliseconds until all are in the topic. */
  const copied = async (shardIds: readonly string[], withinMs: number, since = performance.now()) => {
    const texts = shardIds.map((shardId) => {
      const data = `record ${puts++}`;
      road.kinesis.putRecord(road.streamName, {
        shardId,
        partitionKey: shardId,
        data: new TextEncoder().encode(data),
      });
      return data;
    });
    await until(`${shardIds.length} records are copied`, () => {
      if (!broker.topics().includes(road.topic)) return false;
      const there = new Set(broker.messages(road.topic).map(({ data }) => data.toString()));
      return texts.every((text) => there.has(text));
    }, withinMs);
    return Math.round(performance.now() - since);
  };
  /** Two workers with half of the shards each. */
  const pair = async (): Promise<[CliProcess, CliProcess]> => {
    const workers: [CliProcess, CliProcess] = [road.run("run", config), road.run("run", config)];
    await until("each has its half", async () => {
      const leases = await rows.read();
      return workers.every((worker) => ownedShards(worker, leases).length === shards / 2);
    }, 90_000);
    await copied(road.kinesis.openShardIds(road.streamName), 30_000);
    return workers;
  };
  return { road, config, rows, copied, pair };
}

/** Prints a figure beside its promise. */
function judge(t: TestContext, what: string, ms: number, promisedMs: number): void {
  t.diagnostic(`${what}: ${ms} ms (promised: ${promisedMs} ms)`);
  assert.ok(ms <= SLACK * promisedMs, `${what} took ${ms} ms, ${promisedMs} are promised`);
}

test("times: alone on an empty table the first records of all shards are in the topic within three seconds of the start", async (t) => {
  const { road, config, copied } = await lay(t, 4);
  const before = performance.now();
  const idle = road.run("--version");
  assert.equal(await idle.exitCode, 0);
  const bootMs = Math.round(performance.now() - before);
  const startedAt = performance.now();
  road.run("run", config);
  const ms = await copied(road.kinesis.openShardIds(road.streamName), 60_000, startedAt);
  t.diagnostic(`of which the program, unbuilt, needs for --version: ${bootMs} ms`);
  judge(t, "alone on an empty table", Math.max(0, ms - bootMs), 3000);
});

test("times: a killed worker's shards are copied on by the other within the failover time and two seconds", async (t) => {
  const { rows, copied, pair } = await lay(t, 4);
  const [victim, other] = await pair();
  const shards = ownedShards(victim, await rows.read());
  victim.kill("SIGKILL");
  const ms = await copied(shards, 60_000);
  judge(t, `after kill -9 at a failover time of ${FAILOVER_MS} ms`, ms, FAILOVER_MS + 2000);
  assert.equal(ownedShards(other, await rows.read()).length, 4);
});

test("times: after a clean stop the other copies on within five seconds", async (t) => {
  const { rows, copied, pair } = await lay(t, 4);
  const [leaving, other] = await pair();
  const shards = ownedShards(leaving, await rows.read());
  leaving.kill("SIGTERM");
  // It drains what it has read; what comes from here on may be the other's to read.
  const ms = await copied(shards, 60_000);
  assert.equal(await leaving.exitCode, 0);
  const rest = await copied(shards, 60_000);
  judge(t, "after a clean stop, counted from the signal", Math.max(ms, rest), 5000);
  assert.equal(ownedShards(other, await rows.read()).length, 4);
});

test("times: a worker that joins one has its half within the failover time and ten seconds, without a record lost", async (t) => {
  const { road, config, rows, copied } = await lay(t, 8);
  const first = road.run("run", config);
  const all = road.kinesis.openShardIds(road.streamName);
  await copied(all, 60_000);
  const second = road.run("run", config);
  await second.waitFor(/copying stream/, 60_000);
  const joinedAt = performance.now();
  await until("each has its half", async () => {
    const leases = await rows.read();
    return [first, second].every((worker) => ownedShards(worker, leases).length === 4);
  }, 60_000);
  judge(t, "from joining to an even share", Math.round(performance.now() - joinedAt), FAILOVER_MS + 10_000);
  await copied(all, 30_000);
  const taken = second.stderr.match(/taking the lease of shard/g)?.length ?? 0;
  const given = first.stderr.match(/giving up the lease of shard/g)?.length ?? 0;
  t.diagnostic(`of four shards ${taken} was taken, ${given} were given`);
});
