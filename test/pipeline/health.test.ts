import assert from "node:assert/strict";
import { test } from "node:test";
import { ConnectorError, type ErrorCode } from "../../src/core/errors.ts";
import type { OperationReport } from "../../src/core/telemetry.ts";
import { Health } from "../../src/pipeline/health.ts";
import { FakeClock } from "../fakes.ts";
import { page, record, world } from "./kit.ts";

function failure(message: string, code: ErrorCode = "AWS_UNAVAILABLE"): ConnectorError {
  return new ConnectorError(message, { code, retryable: true });
}

function kit() {
  const clock = new FakeClock();
  const health = new Health(clock, 10_000);
  const read = (shardId: string, error?: ConnectorError): void =>
    health.report({
      operation: "ProcessTask",
      step: "KinesisDataFetcher.getRecords",
      shardId,
      success: error === undefined,
      error,
    });
  return { clock, health, read, ready: () => health.at("running", undefined).ready.reasons };
}

test("health: trouble counts when it has lasted for half a minute, and no longer when it is over", async () => {
  const { clock, health, read, ready } = kit();
  read("s-0", failure("Kinesis does not answer"));
  await clock.advance(29_000);
  read("s-0", failure("Kinesis still does not answer"));
  assert.deepEqual(ready(), []);
  await clock.advance(1_000);
  assert.deepEqual(ready(), ["Kinesis fails for 30 s: Kinesis still does not answer"]);
  assert.deepEqual(health.at("running", undefined).live.reasons, [], "a new start would not help");
  read("s-0");
  assert.deepEqual(ready(), []);
});

test("health: an outage of many shards is one reason, and a shard that is given up is none", async () => {
  const { clock, health, read, ready } = kit();
  for (const shard of ["s-0", "s-1", "s-2"]) read(shard, failure(`${shard} fails`));
  await clock.advance(45_000);
  assert.deepEqual(ready(), ["Kinesis fails for 45 s: s-0 fails (and 2 more like it)"]);
  for (const shard of ["s-0", "s-1", "s-2"]) health.forget(shard);
  assert.deepEqual(ready(), []);
});

test("health: throttles are no reason, but the stall watch hears of them", async () => {
  const { clock, health, read, ready } = kit();
  read("s-0", failure("slow down", "THROTTLED"));
  await clock.advance(60_000);
  assert.deepEqual(ready(), []);
  assert.equal(health.troubleOf("s-0")?.message, "slow down");
  await clock.advance(121_000);
  assert.equal(
    health.troubleOf("s-0"),
    undefined,
    "a reader that hangs after a failure is not one that fails",
  );
});

test("health: DynamoDB and Pulsar count too, each until it answers; topics by name", async () => {
  const { clock, health, ready } = kit();
  const write: OperationReport = { operation: "RenewAllLeases", step: "RenewLease" };
  health.report({ ...write, success: false, error: failure("no table") });
  health.topicFailed("a", failure("quota", "PULSAR_QUOTA_EXCEEDED"));
  health.topicFailed("b", failure("no broker", "PULSAR_UNREACHABLE"));
  await clock.advance(40_000);
  assert.deepEqual(ready(), [
    "DynamoDB fails for 40 s: no table",
    "Pulsar fails for 40 s: quota (and 1 more like it)",
  ]);
  health.report({ ...write, success: true });
  health.topicConnected("a");
  assert.deepEqual(ready(), ["Pulsar fails for 40 s: no broker"]);
});

test("health: trouble of which nothing is heard any more is over, whoever had it", async () => {
  const { clock, health, ready } = kit();
  health.topicFailed("left", failure("x"));
  await clock.advance(180_000);
  assert.equal(ready().length, 1);
  await clock.advance(1_000);
  assert.deepEqual(ready(), []);
});

test("health: it is ready only while it runs, and alive until it has failed", () => {
  const { health } = kit();
  for (const state of ["starting", "stopping", "stopped"] as const) {
    assert.deepEqual(health.at(state, undefined), {
      live: { ok: true, reasons: [] },
      ready: { ok: false, reasons: [state] },
    });
  }
  const { live, ready } = health.at("stopped", failure("the stream is gone"));
  assert.deepEqual(live.reasons, ["failed: the stream is gone"]);
  assert.deepEqual(ready.reasons, ["stopped", "failed: the stream is gone"]);
  assert.ok(health.at("stopping", failure("x")).live.ok, "it still drains");
});

test("health: a loop of the leases that does not run any more is a matter of life", async () => {
  const { clock, health } = kit();
  const live = () => health.at("running", undefined).live.reasons;
  health.report({ operation: "TakeLeases", success: true });
  health.report({ operation: "RenewAllLeases", success: true });
  await clock.advance(120_000);
  health.report({ operation: "RenewAllLeases", success: true });
  health.report({ operation: "TakeLeases", step: "GetLease", success: true });
  assert.deepEqual(live(), []);
  await clock.advance(1_000);
  assert.deepEqual(live(), ["the loop TakeLeases has not run for 121 s"]);
  health.report({ operation: "TakeLeases", step: "ListLeases", success: false });
  assert.deepEqual(live(), [], "a scan that fails shows that the loop lives");
});

test("health: a process that stood still says so once its timers run late", async () => {
  const { clock, health } = kit();
  const stop = new AbortController();
  const beating = health.beat(stop.signal);
  await clock.advance(60_000);
  assert.ok(health.at("running", undefined).live.ok);
  clock.freeze(40_000);
  assert.deepEqual(health.at("running", undefined).live.reasons, ["the process stood still for 40 s"]);
  await clock.advance(5_000);
  assert.ok(health.at("running", undefined).live.ok);
  stop.abort();
  await beating;
  assert.equal(clock.sleeping, 0);
});

test("health: a connector's way from start to end, and Pulsar's trouble in between", async () => {
  const { connector, clock, source, sink, made } = world();
  sink.acknowledgeAtOnce = true;
  const reasons = () => connector.health().ready.reasons;
  assert.deepEqual(reasons(), ["starting"]);
  await connector.start();
  source.give("shard-0", page([record(1)]));
  await clock.advance(1_000);
  assert.deepEqual(reasons(), []);
  made.events!.reconnecting!("out", failure("no broker at h:6650", "PULSAR_UNREACHABLE"), 100);
  await clock.advance(31_000);
  assert.deepEqual(reasons(), ["Pulsar fails for 31 s: no broker at h:6650"]);
  made.events!.connected!("out", "h:6650");
  assert.deepEqual(reasons(), []);
  const stopped = connector.stop();
  assert.deepEqual(reasons(), ["stopping"]);
  await clock.advance(60_000);
  await stopped;
  assert.deepEqual(connector.health(), {
    live: { ok: true, reasons: [] },
    ready: { ok: false, reasons: ["stopped"] },
  });
});
