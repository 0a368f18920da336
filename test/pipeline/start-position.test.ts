import { test } from "node:test";
import assert from "node:assert/strict";
import type { Lease } from "../../src/leases/store.ts";
import { startPosition } from "../../src/pipeline/start-position.ts";

const lease = (leaseKey: string, checkpoint = "TRIM_HORIZON", parentShardIds: string[] = []): Lease => ({
  leaseKey,
  leaseCounter: 1,
  ownerSwitchesSinceCheckpoint: 0,
  checkpoint: { sequenceNumber: checkpoint, subSequenceNumber: checkpoint === "50" ? 3 : 0 },
  parentShardIds,
  childShardIds: [],
});

test("start position: digits resume AT the number and drop what is done", () => {
  const start = startPosition(lease("a", "50"), { connectLatestOnce: false, startAtTime: undefined });
  assert.deepEqual(start.start, { type: "AT_SEQUENCE_NUMBER", sequenceNumber: "50" });
  assert.deepEqual(start.resumeAfter, { sequenceNumber: "50", subSequenceNumber: 3 });
});

test("start position: a row AT_TIMESTAMP needs the configured time", () => {
  const row = lease("a", "AT_TIMESTAMP");
  const start = startPosition(row, { connectLatestOnce: false, startAtTime: 77 });
  assert.deepEqual(start.start, { type: "AT_TIMESTAMP", timestamp: 77 });
  assert.throws(() => startPosition(row, { connectLatestOnce: false, startAtTime: undefined }), {
    code: "CONFIG_INVALID",
    message: /starts AT_TIMESTAMP, but no startAtTime is configured/,
  });
});
