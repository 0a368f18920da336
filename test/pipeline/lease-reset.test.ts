// Workers that write while a reset does: noticed, told, and never overwritten unseen.

import assert from "node:assert/strict";
import { test, type TestContext } from "node:test";
import type { ConnectorError } from "../../src/core/errors.ts";
import { openStreamPeek } from "../../src/kinesis/peek.ts";
import { MemoryLeaseStore, MemoryLeaseTable } from "../../src/leases/memory.ts";
import type { LeaseChange, WriteResult } from "../../src/leases/store.ts";
import { releaseLeases, resetLeases } from "../../src/pipeline/lease-reset.ts";
import { RecordingLogger } from "../fakes.ts";
import { newRow } from "../leases/stores.ts";
import { systemClock } from "../../src/runtime.ts";
import { kinesisClientConfig, startKinesisStream } from "../servers/kinesis.ts";

/** A table on which somebody is faster, or whose answers get lost. */
class BusyStore extends MemoryLeaseStore {
  /** Whose next write a worker comes before. */
  readonly faster = new Set<string>();
  /** Whose next write is done and not answered. */
  readonly unanswered = new Set<string>();

  override async update(key: string, counter: number, change: LeaseChange): Promise<WriteResult> {
    if (this.faster.delete(key)) await super.update(key, counter, { leaseOwner: "quick" });
    const result = await super.update(key, counter, change);
    return this.unanswered.delete(key) ? { done: false } : result;
  }

  override async delete(key: string, counter: number): Promise<boolean> {
    if (this.faster.delete(key)) await super.update(key, counter, { leaseOwner: "quick" });
    const done = await super.delete(key, counter);
    return !this.unanswered.delete(key) && done;
  }
}

async function parts(t: TestContext, shards: number) {
  const { kinesis, streamName, shardIds } = await startKinesisStream(t, { shards });
  const store = new BusyStore(new MemoryLeaseTable());
  await store.open();
  const stream = await openStreamPeek({
    clientConfig: kinesisClientConfig(kinesis.url),
    streamName,
    backoffTimeMs: 50,
    clock: systemClock,
    log: new RecordingLogger(),
  });
  t.after(() => stream.close());
  const { signal } = new AbortController();
  const log = new RecordingLogger();
  const common = {
    clock: systemClock,
    log,
    signal,
    streamName,
    failoverTimeMs: 1000,
    startAtTime: undefined,
  };
  return { parts: { store, stream, ...common }, store, kinesis, shardIds, streamName };
}

const ours = { streamArn: undefined, streamCreatedAt: undefined };
const options = { force: true, dryRun: false };
const inUse = (...words: string[]) => (error: ConnectorError) =>
  error.code === "LEASE_IN_USE" && words.every((word) => error.message.includes(word));

test("lease reset: a row that a worker wrote meanwhile is left to it, and the reset says so", async (t) => {
  const { parts: p, store, shardIds } = await parts(t, 2);
  for (const id of [...shardIds, "old"]) await store.create(newRow(id, { ...ours, leaseOwner: "w" }));
  store.faster.add(shardIds[0]!);
  await assert.rejects(
    resetLeases(p, { ...options, position: { type: "LATEST" } }),
    inUse(shardIds[0]!, '"quick"', "not reset", "run the command again"),
  );
  const lost = await store.get(shardIds[0]!);
  assert.deepEqual([lost?.leaseOwner, lost?.checkpoint.sequenceNumber], ["quick", "TRIM_HORIZON"]);
  assert.equal((await store.get(shardIds[1]!))?.checkpoint.sequenceNumber, "LATEST");
  assert.ok(await store.get("old"), "nothing is removed before all is written");

  store.faster.add("old");
  await assert.rejects(
    resetLeases(p, { ...options, position: { type: "LATEST" } }),
    inUse("old", "not removed"),
  );
  assert.equal((await store.get("old"))?.leaseOwner, "quick");
  await resetLeases(p, { ...options, position: { type: "LATEST" } });
  assert.equal(await store.get("old"), undefined);
});

test("lease reset: writes whose answers were lost are found to be done", async (t) => {
  const { parts: p, store, shardIds } = await parts(t, 2);
  for (const id of [...shardIds, "old"]) {
    await store.create(newRow(id, { ...ours, leaseOwner: "w" }));
    store.unanswered.add(id);
  }
  await resetLeases(p, { ...options, position: { type: "LATEST" } });
  const { leases } = await store.scan();
  assert.deepEqual(
    leases.map((one) => [one.leaseKey, one.checkpoint.sequenceNumber]),
    shardIds.map((id) => [id, "LATEST"]),
  );
});

test("lease reset: a release that comes too late leaves the row to its new owner", async (t) => {
  const { parts: p, store } = await parts(t, 1);
  await store.create(newRow("a", { ...ours, leaseOwner: "w" }));
  await store.create(newRow("b", { ...ours, leaseOwner: "w" }));
  store.faster.add("a");
  store.unanswered.add("b");
  await assert.rejects(releaseLeases(p, options), inUse("lease of a ", '"quick"', "not released"));
  assert.deepEqual([(await store.get("a"))?.leaseOwner, (await store.get("b"))?.leaseOwner], [
    "quick",
    undefined,
  ]);
  await assert.rejects(releaseLeases(p, { ...options, shardId: "nothing" }), { code: "CONFIG_INVALID" });
});

test("lease reset: a throttle is waited for", async (t) => {
  const { parts: p, store, kinesis, streamName, shardIds } = await parts(t, 1);
  await store.create(newRow(shardIds[0]!, ours));
  const since = Date.now() - 3_600_000;
  kinesis.putRecord(streamName, { partitionKey: "k", data: "before", arrivedAt: since - 1 });
  const { sequenceNumber } = kinesis.putRecord(streamName, {
    partitionKey: "k",
    data: "x",
    arrivedAt: since,
  });
  for (
    const operation of ["GetRecords", "GetShardIterator", "ListShards", "DescribeStreamSummary"] as const
  ) {
    kinesis.inject({ operation, error: "LimitExceededException", times: 2 });
  }
  await resetLeases(p, { ...options, position: { type: "AT_TIMESTAMP", timestamp: since } });
  assert.deepEqual((await store.get(shardIds[0]!))?.checkpoint, { sequenceNumber, subSequenceNumber: -1 });
});

test("lease reset: a shard quiet since the time begins after its last record if that is done, or at its oldest if it has none", async (t) => {
  const { parts: p, store, kinesis, streamName, shardIds } = await parts(t, 6);
  const [done, behind, notEven, empty, foreign, renewed] = shardIds as [string, ...string[]];
  const since = Date.now() - 3_600_000;
  const last = new Map<string, string>();
  const put = (shardId: string, arrivedAt: number) => {
    const { sequenceNumber } = kinesis.putRecord(streamName, {
      partitionKey: "k",
      data: "x",
      shardId,
      arrivedAt,
    });
    last.set(shardId, sequenceNumber);
  };
  for (const shardId of shardIds) if (shardId !== empty) put(shardId, since - 2);
  const at = (sequenceNumber: string, subSequenceNumber: number) => ({
    checkpoint: { sequenceNumber, subSequenceNumber },
  });
  await store.create(newRow(done!, { ...ours, ...at(last.get(done!)!, 3) }));
  await store.create(newRow(behind!, { ...ours, ...at(last.get(behind!)!, 0) }));
  put(behind!, since - 1);
  await store.create(newRow(notEven!, { ...ours, ...at(last.get(notEven!)!, -1) })); // an earlier reset's
  await store.create(newRow(foreign!, { ...ours, ...at("1", 0) })); // a number of no stream
  await store.create(newRow(renewed!, { ...ours, streamCreatedAt: 1, ...at(last.get(renewed!)!, 0) }));
  await resetLeases(p, { ...options, position: { type: "AT_TIMESTAMP", timestamp: since } });
  const { leases } = await store.scan();
  const written = leases.map((
    { leaseKey, checkpoint, startedAt },
  ) => [leaseKey, { ...checkpoint }, startedAt]);
  const latest = [{ sequenceNumber: "LATEST", subSequenceNumber: 0 }, since] as const;
  assert.deepEqual(written.sort(), [
    [done, at(last.get(done!)!, 3).checkpoint, undefined],
    [behind, ...latest],
    [notEven, ...latest],
    [empty, { sequenceNumber: "TRIM_HORIZON", subSequenceNumber: 0 }, undefined],
    [foreign, ...latest],
    [renewed, ...latest],
  ]);
});
