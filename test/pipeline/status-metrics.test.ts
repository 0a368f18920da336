import assert from "node:assert/strict";
import { test } from "node:test";
import { UnreadAge } from "../../src/pipeline/unread-age.ts";
import { page, record, shard, world } from "./kit.ts";

test("unread age: that of the oldest record in flight; else what the last page left, growing", () => {
  const age = new UnreadAge();
  assert.equal(age.at(1_000, 0), undefined);
  age.handedOn({ arrivedAt: 400, end: 3, millisBehindLatest: 500, receivedAt: 1_000 }, 0);
  assert.equal(age.at(1_000, 0), 600, "the first page's records are in flight");
  assert.equal(age.at(1_500, 2), 1_100, "and its last one still is");
  assert.equal(
    age.at(1_500, 3),
    1_000,
    "all of it is finished: the next record is 500 ms behind, 500 ms ago",
  );
  age.handedOn({ arrivedAt: 900, end: 5, millisBehindLatest: 0, receivedAt: 2_000 }, 3);
  age.handedOn({ arrivedAt: undefined, end: 5, millisBehindLatest: 0, receivedAt: 3_000 }, 3);
  assert.equal(age.at(3_000, 4), 2_100);
  assert.equal(age.at(3_000, 5), 0);
  assert.equal(age.at(2_900, 5), 0, "never negative, whatever the service's clock says");
});

test("unread age: a first record that Pulsar does not acknowledge keeps no page beside it for ever", () => {
  const age = new UnreadAge();
  for (let second = 0; second < 100_000; second++) {
    const arrivedAt = second % 10 === 0 ? second * 1000 : undefined;
    const end = 1 + Math.floor(second / 10);
    age.handedOn({ arrivedAt, end, millisBehindLatest: 0, receivedAt: second * 1000 }, 0);
  }
  const now = 100_000_000;
  assert.equal(age.at(now, 0), now);
  assert.equal(age.at(now, 100), now - 1_000_000, "each of the first pages has its own age");
  assert.equal(
    age.at(now, 9_000),
    now - 2_550_000,
    "the others count as old as the last of these, never younger",
  );
  assert.equal(age.at(now, 10_000), 1_000, "and when all is finished, none is left");
});

const DAY = 86_400_000;

test("status metrics: lag, expiry, checkpoints and counts per shard in seconds; a finished shard leaves nothing", async () => {
  const { connector, clock, source, sink } = world({
    shards: [shard("shard-0"), shard("shard-1")],
    retentionMs: DAY,
  });
  const metric = (name: string) => connector.metrics().find((one) => one.name === name);
  const of = (name: string, labels: Record<string, string> = {}) =>
    metric(name)?.series.find((one) =>
      Object.entries(labels).every(([key, value]) => one.labels[key] === value)
    )
      ?.value;
  await connector.start();
  const arrived = clock.now() - 100_000;
  const old = (number: number) => record(number, { approximateArrivalTimestamp: arrived });
  source.give("shard-0", page([old(1), old(2)], { millisBehindLatest: 90_000 }));
  await clock.advance(10_000);
  const first = { shard: "shard-0" };
  assert.equal(of("shard_lag_seconds", first), 90);
  assert.equal(of("lag_seconds"), 90);
  assert.equal(of("shard_in_flight_records", first), 2);
  assert.equal(of("shard_seconds_until_expiry", first), 86_400 - 110, "what is in flight is not safe yet");
  assert.equal(of("shard_records_total", first), 2);
  assert.equal(of("shard_bytes_total", first), 16);
  assert.equal(of("shard_seconds_until_expiry", { shard: "shard-1" }), undefined, "nothing was read of it");
  assert.equal(of("pending_messages"), 2);
  assert.equal(of("leases"), 2);
  assert.equal(of("shards", { state: "processing" }), 2);
  assert.deepEqual([of("state", { state: "running" }), of("state", { state: "stopped" })], [1, 0]);
  assert.deepEqual([of("live"), of("ready")], [1, 1]);
  sink.acknowledge();
  await clock.advance(500);
  assert.equal(of("shard_in_flight_records", first), 0);
  assert.equal(
    of("shard_seconds_until_expiry", first),
    86_400 - 100,
    "10 s ago the next record was 90 s behind",
  );
  assert.ok(of("shard_checkpoint_age_seconds", first)! <= 1);

  source.give("shard-0", page([], { shardEnd: { childShards: [] } }));
  await clock.advance(5_000);
  const shards = metric("shard_lag_seconds")?.series.map(({ labels }) => labels["shard"]);
  assert.deepEqual(shards, []);
  assert.deepEqual(metric("shard_records_total")?.series.map(({ labels }) => labels["shard"]), ["shard-1"]);
  const stopped = connector.stop();
  await clock.advance(60_000);
  await stopped;
});

test("status metrics: a hook's metric is beside the connector's, but never in the place of one", async () => {
  const { connector, clock, source, sink } = world({
    hooks: {
      onRecord(_record, { metrics }) {
        metrics.count("seen_total");
        metrics.count("lag_seconds", 1_000_000);
      },
    },
  });
  sink.acknowledgeAtOnce = true;
  await connector.start();
  source.give("shard-0", page([record(1)]));
  await clock.advance(1_000);
  const named = (name: string) => connector.metrics().filter((one) => one.name === name);
  assert.equal(named("seen_total")[0]!.series[0]!.value, 1);
  assert.deepEqual(named("lag_seconds").map(({ kind, series }) => [kind, series[0]!.value]), [["gauge", 0]]);
  const names = connector.metrics().map(({ name }) => name);
  assert.equal(new Set(names).size, names.length);
  await connector.stop();
});

test("status metrics: calls to the lease table and what became of leases are counted", async () => {
  const { connector, clock } = world();
  await connector.start();
  await clock.advance(20_000);
  const value = (name: string, call?: string) =>
    connector.metrics().find((one) => one.name === name)
      ?.series.find(({ labels }) => call === undefined || labels["call"] === call)?.value;
  assert.equal(value("leases_taken_total"), 1);
  assert.equal(value("leases_lost_total"), 0);
  assert.equal(value("calls_total", "TakeLease"), 1);
  assert.ok(value("calls_total", "RenewLease")! >= 5);
  assert.equal(value("call_failures_total", "RenewLease"), 0);
  await connector.stop();
});
