import { test } from "node:test";
import assert from "node:assert/strict";
import { ConnectorError } from "../../src/core/errors.ts";
import type { ThrottleEvent } from "../../src/kinesis/source.ts";
import { storeCheckpoint } from "../../src/pipeline/checkpoints.ts";
import { FakeClock, RecordingLogger } from "../fakes.ts";

const POSITION = { sequenceNumber: "10", subSequenceNumber: 0 };

/** Tries to store while every write fails; tells when each try was made. */
async function attempts(
  numRetries: number,
  options: { code?: "AWS_UNAVAILABLE" | "THROTTLED" | "ACCESS_DENIED"; succeedAt?: number; delay?: number } =
    {},
) {
  const clock = new FakeClock();
  const log = new RecordingLogger();
  const times: number[] = [];
  const throttles: ThrottleEvent[] = [];
  const { code = "AWS_UNAVAILABLE" } = options;
  const result = storeCheckpoint(
    {
      shardId: "shard-0",
      checkpoint: () => {
        times.push(clock.monotonic());
        if (times.length === options.succeedAt) return Promise.resolve("stored");
        return Promise.reject(new ConnectorError("no answer", { code, retryable: code !== "ACCESS_DENIED" }));
      },
    },
    POSITION,
    {
      clock,
      log,
      numRetries,
      backoffTimeMs: 4_000,
      tableName: "leases",
      signal: new AbortController().signal,
      onThrottle: (event) => {
        throttles.push(event);
        return options.delay;
      },
    },
  );
  const settled = result.then((value) => ({ value }), (error: ConnectorError) => ({ error }));
  await clock.advance(100_000);
  return { ...await settled, times, throttles, warnings: log.messages("warn") };
}

test("checkpoints: numRetries counts re-attempts, backoffTime lies between them", async () => {
  const three = await attempts(3);
  assert.deepEqual(three.times, [0, 4_000, 8_000, 12_000]);
  assert.ok("value" in three && three.value === "failed");
  assert.match(
    three.warnings[0]!,
    /shard-0.*"leases" \(4 tries\): no answer; the next checkpoint tries again/,
  );
});

test("checkpoints: numRetries = 0 tries once", async () => {
  assert.deepEqual((await attempts(0)).times, [0]);
});

test("checkpoints: a success ends the tries", async () => {
  const result = await attempts(3, { succeedAt: 2 });
  assert.deepEqual(result.times, [0, 4_000]);
  assert.ok("value" in result && result.value === "stored");
});

test("checkpoints: a shard's end is tried until it is stored", async () => {
  const result = await attempts(Infinity, { succeedAt: 12 });
  assert.equal(result.times.length, 12);
  assert.ok("value" in result && result.value === "stored");
});

test("checkpoints: each throttle is told to onThrottle, whose answer replaces the delay", async () => {
  const { times, throttles } = await attempts(2, { code: "THROTTLED", delay: 500 });
  assert.deepEqual(times, [0, 500, 1_000]);
  const event = { service: "dynamodb", operation: "UpdateItem", shardId: "shard-0", delayMs: 4_000 };
  assert.deepEqual(throttles, [1, 2, 3].map((attempt) => ({ ...event, attempt })));
});

test("checkpoints: what no repeating cures is not repeated", async () => {
  const result = await attempts(3, { code: "ACCESS_DENIED" });
  assert.deepEqual(result.times, [0]);
  assert.ok("error" in result && result.error.code === "ACCESS_DENIED");
});
