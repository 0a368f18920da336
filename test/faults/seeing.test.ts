// What a connector shows of itself while something goes wrong, between our servers: over HTTP, and in its log.

import assert from "node:assert/strict";
import { test } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import { assertNoSecret, fastClock, faultWorld, type Run, soon, until } from "./kit.ts";

async function page(run: Run, path: string): Promise<{ readonly status: number; readonly body: string }> {
  const response = await fetch(`${run.connector.httpUrl}${path}`);
  return { status: response.status, body: await response.text() };
}

/** The value of a series of /metrics. */
async function metric(run: Run, series: string): Promise<number | undefined> {
  const { body } = await page(run, "/metrics");
  const line = body.split("\n").find((one) => one.startsWith(`kinesis_pulsar_${series} `));
  return line === undefined ? undefined : Number(line.split(" ").at(-1));
}

/** Waits until a page answers with this status; gives its body. */
async function answers(run: Run, path: string, status: number): Promise<string> {
  const end = performance.now() + 30_000;
  for (;;) {
    const answer = await page(run, path);
    if (answer.status === status) return answer.body;
    assert.ok(performance.now() < end, `${path} answers ${answer.status}, not ${status}: ${answer.body}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

const http = { port: 0 };

test("seeing: a running connector is alive and ready, and its metrics and status say what it did, without secrets", async (t) => {
  const world = await faultWorld(t);
  world.put(3);
  const run = world.run({ http });
  await world.arrived(3);
  const { streamName } = world;
  const [shard] = world.kinesis.openShardIds(streamName);
  await until(() => run.checkpoints.length > 0, "a checkpoint");
  assert.equal((await page(run, "/livez")).status, 200);
  assert.equal((await page(run, "/readyz")).status, 200);
  const of = `{stream="${streamName}",shard="${shard}"}`;
  assert.equal(await metric(run, `records_total{stream="${streamName}"}`), 3);
  assert.equal(await metric(run, `shard_records_total${of}`), 3);
  assert.equal(await metric(run, `shard_lag_seconds${of}`), 0);
  const expiry = await metric(run, `shard_seconds_until_expiry${of}`);
  assert.ok(expiry! > 23.9 * 3600 && expiry! <= 24 * 3600, `${expiry} s of a day`);
  assert.equal(await metric(run, `state{stream="${streamName}",state="running"}`), 1);
  assert.ok((await metric(run, `calls_total{stream="${streamName}",call="getRecords"}`))! > 0);
  const status = await page(run, "/status");
  assert.equal(JSON.parse(status.body).records, 3);
  const metrics = await page(run, "/metrics");
  assert.match(metrics.body, /^process_resident_memory_bytes \d+$/m);
  assertNoSecret(status.body, metrics.body, (await page(run, "/readyz")).body);
  assert.ok(run.log.messages("info").includes(`metrics, health and status are at ${run.connector.httpUrl}`));
  const url = run.connector.httpUrl!;
  await run.stop();
  await assert.rejects(fetch(`${url}/livez`), "nothing answers after the end");
});

test("seeing: it answers while it starts and while it drains, and is ready in neither", async (t) => {
  const world = await faultWorld(t);
  const refusal = { operation: "ListShards", error: "InternalFailure", times: Infinity } as const;
  const refused = world.kinesis.inject(refusal); // it asks again and again until it is allowed to start
  world.put(1);
  let asked: (() => void) | undefined;
  const stopping = new Promise<void>((resolve) => asked = resolve);
  let during: { readonly status: number; readonly body: string } | undefined;
  const run = world.run({ http }, {
    hooks: {
      onStop: async () => {
        during = await page(run, "/readyz");
        asked!();
      },
    },
  });
  await until(() => run.connector.httpUrl !== undefined, "it listens");
  assert.deepEqual(JSON.parse((await page(run, "/readyz")).body), { ok: false, reasons: ["starting"] });
  assert.equal((await page(run, "/livez")).status, 200);
  refused.remove();
  await run.running;
  await run.stop();
  await soon(stopping, "onStop");
  assert.deepEqual([during!.status, JSON.parse(during!.body).reasons], [503, ["stopping"]]);
});

test("seeing: a port that is taken prevents the start, as a fault of the configuration", async (t) => {
  const world = await faultWorld(t);
  const first = world.run({ http });
  await first.running;
  const port = Number(new URL(first.connector.httpUrl!).port);
  const second = world.run({ http: { port } });
  const error = await second.failure();
  assert.equal(error.code, "CONFIG_INVALID");
  assert.match(error.message, /another program listens there; give http\.port another number/);
  await first.stop();
});

test("seeing: a read that hangs for ever is found, and the shard goes on in a new reader, each record once", async (t) => {
  const world = await faultWorld(t);
  const run = world.run({ http, kinesis: { stallTimeoutMs: 45_000 } }, { clock: fastClock(20) });
  world.put(2);
  await world.arrived(2);
  const hangs = world.kinesis.inject({ operation: "GetRecords", hang: true });
  await until(() => hangs.hits > 0, "a read that hangs");
  world.put(3, "later");
  await world.arrived(5);
  assert.deepEqual(world.published().sort(), ["later 0", "later 1", "later 2", "record 0", "record 1"]);
  assert.equal(await metric(run, `reader_restarts_total{stream="${world.streamName}"}`), 1);
  assert.match(
    run.log.messages("warn").join("\n"),
    /its reader is opened anew, after the last record that it gave/,
  );
  await run.stop();
});

test("seeing: a subscription without records is no stall, with the shortest kinesis.stallTimeoutMs", async (t) => {
  const world = await faultWorld(t, { heartbeatMs: 330 }); // five seconds by the connector's clock
  const changes = { http, useEnhancedFanOut: true, kinesis: { stallTimeoutMs: 45_000 } };
  // Three real seconds are a stall: with less, a busy machine that stands still for a moment would be one.
  const run = world.run(changes, { clock: fastClock(15) });
  world.put(1);
  await world.arrived(1);
  await delay(5000);
  assert.equal(await metric(run, `reader_restarts_total{stream="${world.streamName}"}`), 0);
  assert.equal(world.kinesis.requests.filter(({ operation }) => operation === "SubscribeToShard").length, 1);
  await run.stop();
});

test("seeing: a Kinesis that does not answer makes it not ready, with the reason, until it answers; it stays alive", async (t) => {
  const world = await faultWorld(t);
  const run = world.run({ http }, { clock: fastClock(60) });
  world.put(1);
  await world.arrived(1);
  const outage = world.kinesis.inject({ operation: "GetRecords", times: Infinity, error: "InternalFailure" });
  const body = await answers(run, "/readyz", 503);
  assert.match(JSON.parse(body).reasons[0], /^Kinesis fails for \d+ s: .*GetRecords/);
  assertNoSecret(body);
  assert.equal((await page(run, "/livez")).status, 200);
  outage.remove();
  await answers(run, "/readyz", 200);
  await run.stop();
});

test("seeing: a Pulsar that is gone makes it not ready, with the reason", async (t) => {
  const world = await faultWorld(t);
  const run = world.run({ http }, { clock: fastClock(60) });
  world.put(1);
  await world.arrived(1);
  await until(() => run.checkpoints.length > 0, "a checkpoint");
  await world.broker.close();
  const body = await answers(run, "/readyz", 503);
  assert.match(JSON.parse(body).reasons[0], /^Pulsar fails for \d+ s: /);
  assert.equal((await page(run, "/livez")).status, 200);
  await run.stop();
});
