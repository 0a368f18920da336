// What a fan-out reader does after each thing that can happen to a subscription, on a clock that stands still.

import assert from "node:assert/strict";
import { test } from "node:test";
import type { ErrorCode } from "../../src/core/errors.ts";
import type { ReadGrant, ReadShardOptions, ThrottleEvent } from "../../src/kinesis/source.ts";
import { settle } from "../fakes.ts";
import { eventFrame } from "./frames.ts";
import { Grants, readFrom } from "./kit.ts";
import { ReaderRun } from "./reader-run.ts";
import { failure, shard, summary } from "./scripted-api.ts";
import { refused, scriptedFanOut } from "./scripted-fan-out.ts";

const START = { type: "TRIM_HORIZON" } as const;
const AT_7 = { type: "AT_SEQUENCE_NUMBER", sequenceNumber: "7" } as const;

function after(number: number) {
  return { type: "AFTER_SEQUENCE_NUMBER", sequenceNumber: String(number) } as const;
}

function shardFrom(start: ReadShardOptions["start"], more: Partial<ReadShardOptions> = {}): ReadShardOptions {
  return readFrom("shard-0", start, more);
}

test("fan-out reader: a subscription that ends after its five minutes is renewed at once, without a gap", async () => {
  const { api, clock, source, log } = scriptedFanOut();
  let connected = 0;
  const run = new ReaderRun(source.open(shardFrom(START, { onConnected: () => connected++ })));
  await clock.advance(0);
  api.stream.event([1, 2]).event([3]).event([], { continuation: 8 });
  for (let at = 0; at < 300_000; at += 10_000) {
    await clock.advance(10_000);
    api.stream.event([], { continuation: 9 });
  }
  api.stream.end();
  await clock.advance(0);
  assert.deepEqual(api.asked.map(({ at, position }) => [at, position]), [[0, START], [300_000, after(9)]]);
  api.stream.event([10]).end();
  await clock.advance(5_000);
  assert.deepEqual(run.received, ["1", "2", "3", "10"]);
  assert.deepEqual(api.asked.at(-1)!.position, after(10));
  assert.equal(connected, 1);
  assert.equal(run.grants.held, run.pages.length);
  assert.deepEqual(log.entries, [], "nothing of this is worth a line");
});

test("fan-out reader: before a record came a checkpoint is read AT again, unless the service went past it", async () => {
  const cases = [
    { events: [], then: AT_7 },
    { events: [{ records: [], continuation: 7 }], then: AT_7 },
    { events: [{ records: [], continuation: 6 }], then: AT_7 },
    { events: [{ records: [], continuation: 8 }], then: after(8) },
    { events: [{ records: [7], continuation: 7 }], then: after(7) },
    { events: [{ records: [7], continuation: 7 }, { records: [], continuation: 9 }], then: after(9) },
    { events: [{ records: [7], continuation: 9 }, { records: [10], continuation: 9 }], then: after(10) },
    { events: [{ records: [], continuation: 70 }], then: after(70) },
  ];
  for (const { events, then } of cases) {
    const { api, clock, source } = scriptedFanOut();
    new ReaderRun(source.open(shardFrom(AT_7)));
    await clock.advance(0);
    for (const { records, continuation } of events) api.stream.event(records, { continuation });
    await clock.advance(6_000);
    api.stream.cut();
    await clock.advance(6_000);
    assert.deepEqual(api.asked.map(({ position }) => position), [AT_7, then], JSON.stringify(events));
  }
});

test("fan-out reader: LATEST is connected once; until something came it goes on from the restart position", async () => {
  const restart = { type: "AT_TIMESTAMP", timestamp: 5000 } as const;
  const { api, clock, source } = scriptedFanOut();
  api.refusals.push(failure("AWS_UNAVAILABLE", "SubscribeToShard"));
  let connected = 0;
  new ReaderRun(source.open(shardFrom({ type: "LATEST" }, { restart, onConnected: () => connected++ })));
  await settle();
  assert.equal(connected, 0, "there is no subscription yet");
  await clock.advance(1_000);
  assert.equal(connected, 1);
  api.stream.cut();
  await clock.advance(10_000);
  api.stream.cut();
  await clock.advance(10_000);
  api.stream.event([], { continuation: 3 }).end();
  await clock.advance(10_000);
  const types = api.asked.map(({ position }) => position);
  assert.deepEqual(types, [{ type: "LATEST" }, { type: "LATEST" }, restart, restart, after(3)]);
});

test("fan-out reader: a shard that is held by another subscription is tried five seconds apart, quietly at first", async () => {
  const { api, clock, source, log } = scriptedFanOut();
  const inUse = () => refused("ResourceInUseException");
  api.refusals.push(undefined, inUse(), inUse(), inUse(), inUse());
  const run = new ReaderRun(source.open(shardFrom(START)));
  await clock.advance(0);
  await clock.advance(2_000);
  api.stream.event([1]).exception("ResourceInUseException"); // another one took our place
  await clock.advance(16_000);
  assert.deepEqual(log.messages("warn"), []);
  await clock.advance(30_000);
  const times = api.asked.map(({ at }) => at);
  for (const [index, at] of times.slice(1).entries()) {
    assert.ok(at - Math.max(times[index]!, index === 0 ? 2_000 : 0) >= 5_000, `${times}`);
  }
  assert.equal(times.length, 6, `${times}`);
  assert.equal(log.messages("warn").length, 1);
  assert.match(log.messages("warn")[0]!, /another subscription .* holds the shard/);
  api.stream.event([2]);
  await clock.advance(0);
  assert.deepEqual(run.received, ["1", "2"]);
});

test("fan-out reader: a broken connection is made again within the five-second rule; only what lasts is told", async () => {
  const { api, clock, source, log } = scriptedFanOut();
  const run = new ReaderRun(source.open(shardFrom(START)));
  await clock.advance(0);
  api.stream.event([1]);
  await clock.advance(1_000);
  api.stream.cut();
  await clock.advance(20_000);
  assert.deepEqual(api.asked.map(({ at }) => at), [0, 5_000]);
  assert.deepEqual(log.messages("warn"), []);
  for (let count = 0; count < 3; count++) api.refusals.push(failure("AWS_UNAVAILABLE", "SubscribeToShard"));
  api.stream.event([2]).cut();
  await clock.advance(20_000);
  assert.equal(api.asked.length, 6);
  assert.equal(log.messages("warn").length, 1, "once a minute");
  api.stream.event([3]);
  await clock.advance(0);
  assert.deepEqual(run.received.at(-1), "3");
  assert.equal(log.messages("info").filter((line) => line.startsWith("Kinesis answers again")).length, 1);
});

test("fan-out reader: connections that break again and again, a moment after they stood, are told", async () => {
  const { api, clock, source, log } = scriptedFanOut();
  new ReaderRun(source.open(shardFrom(START)));
  await clock.advance(0);
  for (let count = 1; count <= 4; count++) {
    api.stream.event([], { continuation: count }).cut();
    await clock.advance(10_000);
    assert.equal(log.messages("warn").length > 0, count > 2, `${count}`);
  }
});

test("fan-out reader: an event that was cut or damaged on its way is not given out, and comes again whole", async () => {
  const breaks: ((stream: ReturnType<typeof scriptedFanOut>["api"]["stream"]) => void)[] = [
    (stream) => {
      stream.body.write(new Uint8Array([0, 0, 1]));
      stream.end();
    },
    (stream) => {
      stream.body.write(new Uint8Array(40).fill(7));
    },
    (stream) => {
      stream.event([2]);
      stream.body.destroy();
    },
    (stream) => {
      stream.exception("InternalFailureException");
    },
  ];
  for (const [index, breakIt] of breaks.entries()) {
    const { api, clock, source } = scriptedFanOut();
    const run = new ReaderRun(source.open(shardFrom(START)));
    await clock.advance(0);
    api.stream.event([1]);
    await clock.advance(6_000);
    breakIt(api.stream);
    await clock.advance(1_000);
    assert.equal(api.asked.length, 2, `${index}: subscribed again`);
    assert.equal(api.streams[0]!.isOpen, false, `${index}`);
    const last = Number(run.received.at(-1));
    assert.deepEqual(api.asked[1]!.position, after(last), `${index}`);
    assert.equal(run.grants.held, run.pages.length, `${index}: a half-read event's grant is given back`);
  }
});

test("fan-out reader: subscriptions that end without an event are an outage, not renewals", async () => {
  const { api, clock, source, log } = scriptedFanOut();
  new ReaderRun(source.open(shardFrom(START)));
  await clock.advance(0);
  for (let count = 0; count < 4; count++) {
    api.stream.end();
    await clock.advance(6_000);
  }
  assert.match(log.messages("warn")[0]!, /ended a subscription .* without an event/);
  const times = api.asked.map(({ at }) => at);
  assert.ok(times.slice(1).every((at, index) => at - times[index]! >= 5_000), `${times}`);
});

test("fan-out reader: throttles are told to onThrottle, and waited for", async () => {
  const throttles: ThrottleEvent[] = [];
  const { api, clock, source } = scriptedFanOut({ onThrottle: (event) => void throttles.push(event) });
  api.refusals.push(refused("LimitExceededException"), refused("LimitExceededException"));
  const run = new ReaderRun(source.open(shardFrom(START)));
  await clock.advance(20_000);
  api.stream.event([1]);
  await clock.advance(0);
  assert.deepEqual(run.received, ["1"]);
  assert.deepEqual(
    throttles.map(({ operation, shardId, attempt, delayMs }) => [operation, shardId, attempt, delayMs]),
    [
      ["SubscribeToShard", "shard-0", 1, 3375],
      ["SubscribeToShard", "shard-0", 2, 6750],
    ],
  );
  assert.deepEqual(api.asked.map(({ at }) => at), [0, 3375, 10_125]);
});

test("fan-out reader: no grant is held while it waits, and nothing of an event is read before its grant", async () => {
  const { api, clock, source } = scriptedFanOut();
  const reader = source.open(shardFrom(START));
  const asked: (number | undefined)[] = [];
  let give: (grant: ReadGrant) => void = () => {};
  const admit = (_: AbortSignal, bytes?: number) => {
    asked.push(bytes);
    return new Promise<ReadGrant>((resolve) => give = resolve);
  };
  const next = reader.next(admit);
  await clock.advance(20_000);
  assert.deepEqual(asked, [], "idle shards ask for nothing");
  const numbers = Array.from({ length: 50 }, (_, index) => index + 1);
  const { body } = api.stream.event(numbers, { bytes: 3_000 });
  await clock.advance(0);
  assert.equal(asked.length, 1);
  assert.ok(asked[0]! >= 150_000 && asked[0]! < 170_000, `${asked}`);
  await clock.advance(120_000);
  assert.ok(
    body.isPaused() && body.readableLength + body.writableLength > 150_000,
    "the rest stays where it is",
  );
  assert.equal(api.asked.length, 1, "who waits for its grant is not silent");
  give({ maxRecords: 1, release() {}, settle() {} });
  const { page } = (await next)!;
  assert.equal(page.records.length, 50);
  assert.equal(page.bytes, 150_000);
});

test("fan-out reader: a stream that is silent for thirty seconds is cut and renewed", async () => {
  const { api, clock, source } = scriptedFanOut();
  const run = new ReaderRun(source.open(shardFrom(START)));
  await clock.advance(0);
  api.stream.event([1]);
  await clock.advance(25_000);
  api.stream.event([], { continuation: 2 });
  await clock.advance(29_000);
  assert.equal(api.asked.length, 1);
  await clock.advance(1_500);
  assert.equal(api.streams[0]!.isOpen, false);
  assert.deepEqual(api.asked.map(({ position }) => position), [START, after(2)]);
  assert.deepEqual(run.received, ["1"]);
});

test("fan-out reader: an abort cuts the stream at once, whether or not somebody waits, and nothing is subscribed after it", async () => {
  const states: ((given: ReturnType<typeof scriptedFanOut>) => Promise<void>)[] = [
    () => Promise.resolve(), // waits for an event
    async ({ api, clock }) => {
      api.stream.cut();
      await clock.advance(100);
    },
    async ({ api, clock }) => {
      api.refusals.push(refused("ResourceInUseException"));
      api.stream.event([1]).end();
      await clock.advance(5_000);
    },
  ];
  for (const [index, prepare] of states.entries()) {
    const given = scriptedFanOut();
    const stop = new AbortController();
    const run = new ReaderRun(given.source.open(shardFrom(START, { signal: stop.signal })));
    await given.clock.advance(0);
    await prepare(given);
    const asked = given.api.asked.length;
    stop.abort();
    await settle();
    assert.equal(run.ended, "stopped", `${index}`);
    assert.ok(given.api.streams.every((stream) => !stream.isOpen), `${index}`);
    await given.clock.advance(60_000);
    assert.equal(given.api.asked.length, asked, `${index}: a zombie must not cut off the new owner`);
    assert.equal(run.grants.held, run.pages.length, `${index}`);
    assert.equal(given.clock.sleeping, 0, `${index}`);
  }

  const { api, clock, source } = scriptedFanOut();
  const stop = new AbortController();
  const reader = source.open(shardFrom(START, { signal: stop.signal }));
  const grants = new Grants();
  const first = reader.next(grants.admit);
  await clock.advance(0);
  api.stream.event([1]);
  await first;
  stop.abort(); // nobody waits for the next event now
  assert.equal(api.stream.isOpen, false);
  assert.equal(await reader.next(grants.admit), undefined);
  assert.equal(api.asked.length, 1);
});

test("fan-out reader: who finds by the clock that the lease is lost subscribes no more, whatever wakes first", async () => {
  const { api, clock, source } = scriptedFanOut();
  let isHeld = true;
  const run = new ReaderRun(source.open(shardFrom(START, { isHeld: () => isHeld })));
  await clock.advance(0);
  api.stream.event([1]).end();
  await clock.advance(1_000);
  isHeld = false; // frozen while it waited for its five seconds; nobody has aborted anything yet
  await clock.advance(60_000);
  assert.equal(api.asked.length, 1);
  assert.equal(run.ended, "stopped");
  assert.equal(clock.sleeping, 0);
});

test("fan-out reader: who is cut off by the same consumer again and again says so, once for a while", async () => {
  const { api, clock, source, log } = scriptedFanOut();
  const run = new ReaderRun(source.open(shardFrom(START)));
  for (let number = 1; number <= 12; number++) {
    await clock.advance(12_000);
    assert.equal(log.messages("warn").length, number > 5 ? 1 : 0, `${number}`);
    api.stream.event([number]).exception("ResourceInUseException");
  }
  await clock.advance(0);
  assert.match(
    log.messages("warn").join(),
    /somebody else reads it as the same consumer arn:me.*kinesis.consumerName/,
  );
  assert.equal(run.received.length, 12);
});

test("fan-out reader: an abort while an event waits for its grant, or is half read, gives the grant back", async () => {
  for (const half of [false, true]) {
    const { api, clock, source } = scriptedFanOut();
    const stop = new AbortController();
    const grants = new Grants();
    let wait: Promise<void> | undefined;
    const next = source.open(shardFrom(START, { signal: stop.signal })).next(async (signal) => {
      await (wait = half
        ? Promise.resolve()
        : new Promise<void>((resolve) => signal.addEventListener("abort", () => resolve())));
      return await grants.admit(signal);
    });
    await clock.advance(0);
    const record = {
      Data: "A".repeat(4_000),
      PartitionKey: "k",
      SequenceNumber: "1",
      ApproximateArrivalTimestamp: 1,
    };
    const event = eventFrame({ Records: [record], ContinuationSequenceNumber: "1", MillisBehindLatest: 0 });
    api.stream.body.write(half ? event.subarray(0, 2_000) : event);
    await settle();
    assert.ok(wait !== undefined);
    stop.abort();
    assert.equal(await next, undefined);
    await settle();
    assert.equal(grants.held, 0);
  }
});

test("fan-out reader: the shard's end comes with the children that Kinesis names, or that are listed", async () => {
  const child = { shardId: "c", parentShardIds: ["shard-0"], startingHashKey: "0", endingHashKey: "9" };
  const wire = {
    ShardId: "c",
    ParentShards: ["shard-0"],
    HashKeyRange: { StartingHashKey: "0", EndingHashKey: "9" },
  };
  for (const named of [true, false]) {
    const { api, clock, source } = scriptedFanOut();
    api.listings.push({ shards: [shard("shard-0")], nextToken: undefined }, {
      shards: [shard("shard-0"), shard("c", ["shard-0"])],
      nextToken: undefined,
    });
    const run = new ReaderRun(source.open(shardFrom(START)));
    await clock.advance(0);
    api.stream.event([1], { continuation: null, ...named ? { children: [wire] } : {} });
    await clock.advance(10_000);
    assert.equal(run.ended, "shard-end");
    assert.deepEqual(run.received, ["1"]);
    assert.deepEqual(run.pages.at(-1)!.page.shardEnd, { childShards: [child] });
    assert.equal(api.stream.isOpen, false);
    assert.equal(clock.sleeping, 0);
  }
});

test("fan-out reader: an open shard does not end, whatever an event lacks; it is read on, nothing missed or twice", async () => {
  const { api, clock, source, log } = scriptedFanOut();
  for (let i = 0; i < 30; i++) api.listings.push({ shards: [shard("shard-0")], nextToken: undefined });
  const run = new ReaderRun(source.open(shardFrom(START)));
  await clock.advance(0);
  api.stream.event([1]).event([2], { continuation: null });
  await clock.advance(70_000);
  assert.equal(run.ended, undefined);
  assert.deepEqual(run.received, ["1"]);
  assert.equal(run.grants.held, run.pages.length);
  assert.match(log.messages("warn").join(), /lists it as open and without children: it is read on/);
  assert.deepEqual(api.stream.position, { type: "AFTER_SEQUENCE_NUMBER", sequenceNumber: "1" });
  api.stream.event([2]).event([3]);
  await clock.advance(0);
  assert.deepEqual(run.received, ["1", "2", "3"]);
});

test("fan-out reader: a shard that is not found ends only when the same stream twice does not list it", async () => {
  const { api, clock, source, checks } = scriptedFanOut();
  api.refusals.push(undefined, refused("ResourceNotFoundException"), refused("ResourceNotFoundException"));
  api.listings.push({ shards: [shard("shard-1", ["shard-0"])], nextToken: undefined });
  api.listings.push({ shards: [shard("shard-1", ["shard-0"])], nextToken: undefined });
  api.listings.push({ shards: [shard("shard-1", ["shard-0"])], nextToken: undefined });
  const run = new ReaderRun(source.open(shardFrom(START)));
  await clock.advance(0);
  api.stream.event([1]).end();
  await clock.advance(5_500);
  assert.equal(run.ended, undefined, "one listing is no proof");
  await clock.advance(5_000);
  assert.equal(run.ended, "shard-end");
  assert.deepEqual(run.pages.at(-1)!.page.shardEnd!.childShards.map(({ shardId }) => shardId), ["shard-1"]);
  assert.equal(run.grants.held, run.pages.length);
  assert.deepEqual(checks, []);
});

test("fan-out reader: where the shard is listed it is the consumer that is missing: it is looked for", async () => {
  const { api, clock, source, checks } = scriptedFanOut();
  api.listings.push({ shards: [shard("shard-0")], nextToken: undefined });
  const run = new ReaderRun(source.open(shardFrom(START)));
  await clock.advance(0);
  api.stream.event([1]).exception("ResourceNotFoundException");
  await clock.advance(10_000);
  assert.equal(checks.length, 1);
  api.stream.event([2]);
  await clock.advance(0);
  assert.deepEqual(run.received, ["1", "2"]);
});

test("fan-out reader: a stream that is gone, going, or made again stops it and finishes nothing", async () => {
  const answers = [
    failure("STREAM_NOT_FOUND", "DescribeStreamSummary"),
    summary({ status: "DELETING" }),
    summary({ streamCreatedAt: 2000 }),
  ];
  for (const answer of answers) {
    const { api, clock, source } = scriptedFanOut();
    api.summaries.push(answer);
    const run = new ReaderRun(source.open(shardFrom(START)));
    await clock.advance(0);
    api.stream.event([1]).exception("ResourceNotFoundException");
    await clock.advance(10_000);
    assert.equal(run.failed.code, "STREAM_GONE");
    assert.equal(run.pages.length, 1);
  }
  const { api, clock, source } = scriptedFanOut();
  api.summaries.push(summary({ streamCreatedAt: 2000 }));
  const run = new ReaderRun(source.open(shardFrom(START)));
  await clock.advance(0);
  api.stream.cut();
  await clock.advance(10_000);
  assert.equal(run.failed.code, "STREAM_GONE", "TRIM_HORIZON is a position in any stream");
  assert.equal(api.stream.isOpen, false);
});

test("fan-out reader: errors that waiting does not cure end it, with the stream closed", async () => {
  const names: [string, ErrorCode][] = [
    ["AccessDeniedException", "ACCESS_DENIED"],
    ["KMSDisabledException", "AWS_REFUSED"],
    ["InvalidArgumentException", "AWS_REFUSED"],
  ];
  for (const [name, code] of names) {
    const { api, clock, source } = scriptedFanOut();
    api.refusals.push(undefined, refused(name), refused(name));
    const run = new ReaderRun(source.open(shardFrom(START)));
    await clock.advance(0);
    api.stream.event([1]).end();
    await clock.advance(20_000);
    assert.equal(run.failed.code, code);
    assert.equal(clock.sleeping, 0);
    assert.equal(run.grants.held, 1);
  }
  const { api, clock, source } = scriptedFanOut();
  const run = new ReaderRun(source.open(shardFrom(START)));
  await clock.advance(0);
  api.stream.exception("KMSAccessDeniedException");
  await clock.advance(20_000);
  assert.equal(run.failed.code, "ACCESS_DENIED");
  assert.match(run.failed.message, /kms:Decrypt/);
});

test("fan-out reader: a continuation number that is refused is not the end: the last record's is tried", async () => {
  const { api, clock, source } = scriptedFanOut();
  api.refusals.push(undefined, refused("InvalidArgumentException"));
  const run = new ReaderRun(source.open(shardFrom(START)));
  await clock.advance(0);
  api.stream.event([1]).event([], { continuation: 5 }).end();
  await clock.advance(10_000);
  assert.deepEqual(api.asked.map(({ position }) => position), [START, after(5), after(1)]);
  api.stream.event([6]);
  await clock.advance(0);
  assert.deepEqual(run.received, ["1", "6"]);
});

test("fan-out reader: a bounded run hears of the tip by a subscription that is younger than its end", async () => {
  const { api, clock, source } = scriptedFanOut();
  const until = clock.now() + 60_000;
  const run = new ReaderRun(source.open(shardFrom(START, { until })));
  const asOf = () => run.pages.at(-1)!.page.asOf!;
  await clock.advance(0);
  const startedAt = clock.now();
  for (let seconds = 0; seconds < 58; seconds += 2) {
    api.stream.event([], { continuation: 1 });
    await clock.advance(2_000);
  }
  assert.equal(asOf(), startedAt, "an event may have waited on its way since then");
  assert.equal(api.asked.length, 1);
  await clock.advance(3_000);
  api.stream.event([], { continuation: 1 });
  await clock.advance(0);
  assert.deepEqual(api.asked.map(({ position }) => position), [START, after(1)]);
  api.stream.event([], { continuation: 1 });
  await clock.advance(0);
  assert.ok(asOf() >= until);
  assert.equal(api.asked.length, 2);
});

test("fan-out reader: closing the source ends its readers; a budget that admits nothing ends it too", async () => {
  const { api, clock, source } = scriptedFanOut();
  const run = new ReaderRun(source.open(shardFrom(START)));
  await clock.advance(100);
  await source.close();
  await settle();
  assert.equal(run.ended, "stopped");
  assert.equal(api.stream.isOpen, false);
});
