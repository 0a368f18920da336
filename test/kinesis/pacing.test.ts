// When a shard may be read again.

import assert from "node:assert/strict";
import { test } from "node:test";
import { type PacingOptions, ShardPace, type StreamPace } from "../../src/kinesis/pacing.ts";

const DEFAULTS: PacingOptions = {
  idlePollMs: 1000,
  maxReadsPerSecond: 5,
  maxReadBytesPerSecond: 2 * 1024 * 1024,
};
const streamOf = (readers: number): StreamPace => ({ throttled: false, readers, lateMs: 0 });
const empty = { records: 0, bytes: 0, more: false };

test("kinesis pacing: the first read waits for nothing, an idle shard is read once a second", () => {
  const pace = new ShardPace(DEFAULTS, streamOf(1));
  assert.equal(pace.delay(5000), 0);
  pace.pageRead({ startedAt: 5000, endedAt: 5100, ...empty });
  assert.equal(pace.delay(5100), 900);
  assert.equal(pace.delay(6000), 0);
  assert.equal(pace.delay(9000), 0);
});

test("kinesis pacing: idlePollMs below a second is the pause; above it, pauses grow with the time without records", () => {
  const quick = new ShardPace({ ...DEFAULTS, idlePollMs: 100 }, streamOf(1));
  quick.pageRead({ startedAt: 0, endedAt: 0, ...empty });
  assert.equal(quick.delay(0), 100);

  const slow = new ShardPace({ ...DEFAULTS, idlePollMs: 10_000 }, {
    throttled: false,
    readers: 1,
    lateMs: 0,
  });
  const pauseAt = (at: number, records = 0) => {
    slow.pageRead({ startedAt: at, endedAt: at, records, bytes: 0, more: false });
    return slow.delay(at);
  };
  assert.equal(pauseAt(0), 1000);
  assert.equal(pauseAt(10_000), 1000);
  assert.equal(pauseAt(30_000), 3000);
  assert.equal(pauseAt(600_000), 10_000);
  assert.equal(pauseAt(600_000, 1), 1000, "a record makes it quick again");
});

test("kinesis pacing: a process with a thousand shards reads idle ones every five seconds, busy ones at once", () => {
  const stream = streamOf(1000);
  const pace = new ShardPace(DEFAULTS, stream);
  pace.pageRead({ startedAt: 0, endedAt: 100, ...empty });
  assert.equal(pace.delay(0), 5000);
  pace.pageRead({ startedAt: 5000, endedAt: 5100, records: 1, bytes: 10, more: true });
  assert.equal(pace.delay(5100), 0);
  pace.pageRead({ startedAt: 5100, endedAt: 5200, records: 99, bytes: 256 * 1024, more: false });
  assert.equal(pace.delay(5100), 1000, "a page that is worth its call is no idle shard's, also at the tip");
  pace.pageRead({ startedAt: 5100, endedAt: 5200, records: 9, bytes: 64 * 1024, more: false });
  assert.equal(pace.delay(5100), 4000);
  stream.readers = 100; // others have taken their share
  pace.pageRead({ startedAt: 5100, endedAt: 5200, ...empty });
  assert.equal(pace.delay(5100), 1000);
});

test("kinesis pacing: where a process wakes up late, many idle shards are read less often; few, and busy ones, are not", () => {
  const pauses = (readers: number, lateMs: number, read = {}) => {
    const pace = new ShardPace(DEFAULTS, streamOf(readers));
    for (let i = 0; i < 200; i++) pace.woke(lateMs);
    pace.pageRead({ startedAt: 0, endedAt: 0, ...empty, ...read });
    return Math.round(pace.delay(0) / 100) * 100;
  };
  assert.equal(pauses(100, 2), 1000, "timers are never exact");
  assert.equal(pauses(100, 50), 1500);
  assert.equal(pauses(100, 200), 4500);
  assert.equal(pauses(1000, 5), 6000);
  assert.equal(pauses(1000, 60_000), 15_000, "not for ever");
  assert.equal(pauses(2, 1000), 1000, "a few reads burden nobody");
  assert.equal(pauses(100, 200, { records: 99, bytes: 256 * 1024 }), 1000);
  assert.equal(pauses(100, 200, { records: 99, more: true }), 0);
});

test("kinesis pacing: limits hold only after the stream's first throttle, then for each of its shards", () => {
  const stream = streamOf(1);
  const one = new ShardPace(DEFAULTS, stream);
  const other = new ShardPace(DEFAULTS, stream);
  const full = { records: 10_000, bytes: 10 * 1024 * 1024, more: true };
  other.pageRead({ startedAt: 0, endedAt: 500, ...full });
  assert.equal(other.delay(500), 0);
  stream.throttled = true;
  assert.equal(other.delay(500), 4500, "10 MiB are worth five seconds");
  one.pageRead({ startedAt: 1000, endedAt: 1050, records: 1, bytes: 100, more: true });
  assert.equal(one.delay(1050), 200, "five reads per second");
});
