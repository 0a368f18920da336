import assert from "node:assert/strict";
import { test } from "node:test";
import { type ConnectorStatus, statusLine } from "../../src/pipeline/status.ts";
import { page, record, world } from "./kit.ts";

test("status: one line and one event a minute, with rates of that minute and totals of all", async () => {
  const { connector, clock, source, sink, log } = world();
  sink.acknowledgeAtOnce = true;
  const told: ConnectorStatus[] = [];
  connector.on("status", (status) => told.push(status));
  await connector.start();
  source.give("shard-0", page([record(10), record(11), record(12)]));
  await clock.advance(59_999);
  assert.equal(told.length, 0);
  await clock.advance(1);
  source.give("shard-0", page([record(13)], { millisBehindLatest: 90_000 }));
  await clock.advance(60_000);
  assert.deepEqual(told.map(({ records, checkpoints }) => [records, checkpoints]), [[3, 1], [4, 2]]);
  assert.equal(connector.status().records, 4);
  assert.deepEqual(log.messages("info").filter((line) => line.includes("records/s")), [
    "0.1 records/s, 0.00 MB/s, 1 shards, caught up, 0 in flight, 3 records read in all",
    "0.0 records/s, 0.00 MB/s, 1 shards, 90 s behind, 0 in flight, 4 records read in all",
  ]);
  const stopped = connector.stop();
  await clock.advance(60_000);
  await stopped;
  assert.equal(told.length, 2, "none after the end");
});

test("status: what waits, was dropped or throttled is in the line, and lag in a readable unit", () => {
  const shard = { state: "waiting-for-parents" } as ConnectorStatus["shards"][number];
  const status: ConnectorStatus = {
    state: "running",
    streamName: "orders",
    shards: [shard],
    records: 1_200_000,
    bytes: 1_200_000_000,
    dropped: 5,
    deadLettered: 3,
    duplicates: 4,
    checkpoints: 1,
    throttles: 2,
    bufferedBytes: 0,
    pendingMessages: 7,
    millisBehindLatest: 3 * 3_600_000,
    failedCheckpoints: 0,
    readerRestarts: 0,
    leases: 1,
  };
  assert.equal(
    statusLine(status, { ...status, records: 0, bytes: 0 }, 60_000),
    "20000 records/s, 20 MB/s, 1 shards (1 wait for their parents), 3.0 h behind, 7 in flight, " +
      "1200000 records read in all, 5 dropped by hooks, 3 dead-lettered, 4 duplicates left out by Pulsar, 2 throttles",
  );
  const before = statusLine({ ...status, millisBehindLatest: undefined }, undefined, 60_000);
  assert.match(before, /nothing read yet/);
});
