// What a polling reader does after each kind of answer, on a clock that stands still.

import assert from "node:assert/strict";
import { test } from "node:test";
import { ConnectorError, type ErrorCode } from "../../src/core/errors.ts";
import type { ReadShardOptions, ThrottleEvent } from "../../src/kinesis/source.ts";
import { settle } from "../fakes.ts";
import { readFrom } from "./kit.ts";
import { ReaderRun } from "./reader-run.ts";
import { failure, page, scripted, shard, summary } from "./scripted-api.ts";

const START = { type: "TRIM_HORIZON" } as const;

function shardFrom(start: ReadShardOptions["start"], more: Partial<ReadShardOptions> = {}): ReadShardOptions {
  return readFrom("shard-0", start, more);
}

test("polling reader: a page with more behind it is followed at once, a caught-up shard is read once a second", async () => {
  const { api, clock, source } = scripted();
  api.pages.push(
    page([1], { millisBehindLatest: 9 }),
    page([2], { millisBehindLatest: 1 }),
    page([3]),
    page([4]),
  );
  const run = new ReaderRun(source.open(shardFrom(START)));
  await clock.advance(2500);
  assert.deepEqual(run.received, ["1", "2", "3", "4"]);
  assert.deepEqual(api.reads.map((read) => read.at), [0, 0, 0, 1000, 2000]);
  assert.deepEqual(api.reads.map((read) => read.iterator), ["iterator-1", "next", "next", "next", "next"]);
  assert.ok(api.reads.every((read) => read.limit === 100));
});

test("polling reader: a page as large as was asked for is followed at once, whatever the server says", async () => {
  const { api, clock, source } = scripted();
  api.pages.push(page(Array.from({ length: 100 }, (_, index) => index)));
  new ReaderRun(source.open(shardFrom(START)));
  await clock.advance(500);
  assert.deepEqual(api.reads.map((read) => read.at), [0, 0]);
});

test("polling reader: throttles wait backoffTime doubling to ten times, and each is told once", async () => {
  const throttles: ThrottleEvent[] = [];
  const { api, clock, source, log } = scripted({ onThrottle: (event) => void throttles.push(event) });
  for (let count = 0; count < 5; count++) api.pages.push(failure("THROTTLED"));
  const run = new ReaderRun(source.open(shardFrom(START)));
  await clock.advance(200_000);
  assert.deepEqual(throttles.map((event) => event.attempt), [1, 2, 3, 4, 5]);
  assert.deepEqual(throttles[0], {
    service: "kinesis",
    operation: "GetRecords",
    shardId: "shard-0",
    attempt: 1,
    delayMs: 3375,
  });
  const waits = api.reads.slice(1, 6).map((read, index) => read.at - api.reads[index]!.at);
  assert.deepEqual(waits, throttles.map((event) => event.delayMs));
  for (const [index, least] of [3000, 6000, 12_000, 24_000, 24_000].entries()) {
    assert.ok(waits[index]! >= least && waits[index]! <= 30_000, `${waits}`);
  }
  assert.equal(run.grants.held, run.pages.length, "grants of throttled reads are given back");
  assert.equal(log.messages("warn").filter((line) => line.includes("at most 5 times")).length, 1);
});

test("polling reader: after a success the next throttle is the first again", async () => {
  const attempts: number[] = [];
  const { api, clock, source } = scripted({ onThrottle: ({ attempt }) => void attempts.push(attempt) });
  api.pages.push(failure("THROTTLED"), failure("THROTTLED"), page([1]), failure("THROTTLED"));
  new ReaderRun(source.open(shardFrom(START)));
  await clock.advance(60_000);
  assert.deepEqual(attempts, [1, 2, 1]);
});

test("polling reader: a number from onThrottle is the delay; a failing hook changes nothing", async () => {
  const answers = [() => 77, () => Promise.resolve(1234), () => -5, () => {
    throw new Error("hook broke");
  }];
  const { api, clock, source, log } = scripted({ onThrottle: () => answers.shift()!() });
  for (let count = 0; count < 4; count++) api.pages.push(failure("THROTTLED"));
  new ReaderRun(source.open(shardFrom(START)));
  await clock.advance(100_000);
  const waits = api.reads.slice(1, 5).map((read, index) => read.at - api.reads[index]!.at);
  // never closer together than maxReadsPerSecond
  assert.deepEqual(waits, [200, 1234, 13_500, 27_000]);
  assert.ok(log.messages("warn").some((line) => line.includes("hook broke")));
});

test("polling reader: after one shard's first throttle every shard of the stream keeps to the limits", async () => {
  const { api, clock, source } = scripted({ backoffTimeMs: 60_000, maxReadBytesPerSecond: 1000 });
  const behind = { millisBehindLatest: 1 };
  api.pages.push(failure("THROTTLED"));
  new ReaderRun(source.open(shardFrom(START)));
  await clock.advance(1000);
  api.pages.push(page([1], behind), page([2], behind), page([3, 4, 5, 6, 7], behind), page([8], behind));
  new ReaderRun(source.open({ ...shardFrom(START), shardId: "shard-1" }));
  await clock.advance(1000);
  // 200 ms between two reads; 500 bytes at 1000 bytes/s take half a second
  assert.deepEqual(api.reads.map((read) => read.at), [0, 1000, 1200, 1400, 1900]);
});

test("polling reader: an expired iterator is replaced under the same grant, AFTER the last record", async () => {
  const { api, clock, source } = scripted();
  api.pages.push(page([1, 2]), failure("ITERATOR_EXPIRED"), page([3]));
  const run = new ReaderRun(source.open(shardFrom(START)));
  await clock.advance(1500);
  assert.deepEqual(run.received, ["1", "2", "3"]);
  assert.deepEqual(api.positions, [START, { type: "AFTER_SEQUENCE_NUMBER", sequenceNumber: "2" }]);
  assert.equal(run.grants.released, 0);
});

test("polling reader: before a record came, a checkpoint is read AT again, never AFTER", async () => {
  const { api, clock, source } = scripted();
  const start = { type: "AT_SEQUENCE_NUMBER", sequenceNumber: "7" } as const;
  api.pages.push(failure("ITERATOR_EXPIRED"), page(), failure("ITERATOR_EXPIRED"), page([7]));
  api.pages.push(failure("ITERATOR_EXPIRED"));
  new ReaderRun(source.open(shardFrom(start)));
  await clock.advance(3500);
  assert.deepEqual(api.positions, [start, start, start, {
    type: "AFTER_SEQUENCE_NUMBER",
    sequenceNumber: "7",
  }]);
});

test("polling reader: LATEST is connected once; before a record came it goes on from the restart position", async () => {
  const { api, clock, source } = scripted();
  const restart = { type: "AT_TIMESTAMP", timestamp: 5000 } as const;
  let connected = 0;
  api.iterators.push(failure("AWS_UNAVAILABLE", "GetShardIterator"));
  api.pages.push(page(), failure("ITERATOR_EXPIRED"), page([1]));
  new ReaderRun(source.open(shardFrom({ type: "LATEST" }, { restart, onConnected: () => connected++ })));
  await settle();
  assert.equal(connected, 0, "no iterator yet");
  await clock.advance(3000);
  assert.deepEqual(api.positions, [{ type: "LATEST" }, { type: "LATEST" }, restart]);
  assert.equal(connected, 1);
});

test("polling reader: while Kinesis does not answer it tries on, says so once a minute, and says when it is over", async () => {
  const { api, clock, source, log } = scripted();
  for (let count = 0; count < 20; count++) api.pages.push(failure("AWS_UNAVAILABLE"));
  api.pages.push(page([1]));
  const run = new ReaderRun(source.open(shardFrom(START)));
  await clock.advance(90_000);
  assert.equal(log.messages("warn").length, 2);
  assert.equal(run.grants.held, 0, "no grant is held while waiting");
  await clock.advance(120_000);
  assert.deepEqual(run.received, ["1"]);
  assert.deepEqual(log.messages("info").filter((line) => line.startsWith("Kinesis answers again")).length, 1);
  assert.ok(api.positions.length > 1, "an iterator that the server may not understand is replaced");
});

test("polling reader: errors that waiting does not cure end it, and its grant is given back", async () => {
  for (const code of ["ACCESS_DENIED", "CREDENTIALS_INVALID", "AWS_REFUSED"] satisfies ErrorCode[]) {
    const { api, clock, source } = scripted();
    api.pages.push(page([1]), failure(code));
    const run = new ReaderRun(source.open(shardFrom(START)));
    await clock.advance(1500);
    assert.equal(run.failed.code, code);
    assert.equal(run.grants.held, 1);
    assert.equal(clock.sleeping, 0);
  }
});

test("polling reader: iterators that are refused again and again end it as a foreign checkpoint", async () => {
  const { api, clock, source } = scripted();
  for (let count = 0; count < 10; count++) api.pages.push(failure("ITERATOR_EXPIRED"));
  const run = new ReaderRun(source.open(shardFrom({ type: "AT_SEQUENCE_NUMBER", sequenceNumber: "7" })));
  await clock.advance(10_000);
  assert.equal(run.failed.code, "FOREIGN_CHECKPOINT");
  assert.match(run.failed.message, /checkpoint 7 is not one of shard shard-0/);

  const second = scripted();
  second.api.pages.push(page([1]));
  for (let count = 0; count < 10; count++) second.api.pages.push(failure("ITERATOR_EXPIRED"));
  const after = new ReaderRun(
    second.source.open(shardFrom({ type: "AT_SEQUENCE_NUMBER", sequenceNumber: "1" })),
  );
  await second.clock.advance(20_000);
  assert.equal(after.failed.code, "AWS_REFUSED");
});

test("polling reader: the shard's end comes with its page and the children that Kinesis names", async () => {
  const { api, clock, source } = scripted();
  const childShards = [{
    shardId: "c",
    parentShardIds: ["shard-0"],
    startingHashKey: "0",
    endingHashKey: "9",
  }];
  api.pages.push(page([1], { nextShardIterator: undefined, childShards }));
  const run = new ReaderRun(source.open(shardFrom(START)));
  await clock.advance(0);
  assert.equal(run.ended, "shard-end");
  assert.deepEqual(run.received, ["1"]);
  assert.deepEqual(run.pages[0]!.page.shardEnd, { childShards });
});

test("polling reader: children that are not named are looked up, however long that takes", async () => {
  const { api, clock, source } = scripted();
  api.pages.push(page([1], { nextShardIterator: undefined }));
  api.listings.push(
    failure("AWS_UNAVAILABLE", "ListShards"),
    failure("THROTTLED", "ListShards"),
    { shards: [shard("shard-0"), shard("a", ["shard-0"])], nextToken: "more" },
    { shards: [shard("b", ["shard-0", "other"]), shard("c", ["a"])], nextToken: undefined },
  );
  const run = new ReaderRun(source.open(shardFrom(START)));
  await clock.advance(10_000);
  const children = run.pages[0]!.page.shardEnd!.childShards;
  assert.deepEqual(children.map((child) => [child.shardId, child.parentShardIds]), [
    ["a", ["shard-0"]],
    ["b", ["shard-0", "other"]],
  ]);
});

test("polling reader: a closed shard does not end without children because a listing lags behind", async () => {
  const { api, clock, source } = scripted();
  api.pages.push(page([1], { nextShardIterator: undefined }));
  api.listings.push({ shards: [shard("shard-0")], nextToken: undefined }, {
    shards: [shard("shard-0"), shard("shard-1", ["shard-0"])],
    nextToken: undefined,
  });
  const run = new ReaderRun(source.open(shardFrom(START)));
  await clock.advance(5_000);
  assert.equal(run.ended, "shard-end");
  const { childShards } = run.pages.at(-1)!.page.shardEnd!;
  assert.deepEqual(childShards.map(({ shardId }) => shardId), ["shard-1"]);
});

test("polling reader: an open shard does not end because an answer names no next iterator", async () => {
  const { api, clock, source, log } = scripted();
  api.pages.push(page([1]), page([2], { nextShardIterator: undefined }), page([2]), page([3]));
  for (let i = 0; i < 30; i++) api.listings.push({ shards: [shard("shard-0")], nextToken: undefined });
  const run = new ReaderRun(source.open(shardFrom(START)));
  await clock.advance(70_000);
  assert.equal(run.ended, undefined);
  assert.deepEqual(run.received, ["1", "2", "3"]);
  assert.match(log.messages("warn").join(), /lists it as open and without children: it is read on/);
});

test("polling reader: a shard that is not found ends only when the same stream twice does not list it", async () => {
  const { api, clock, source } = scripted();
  api.pages.push(page([1]), failure("SHARD_NOT_FOUND"));
  api.iterators.push("first", failure("SHARD_NOT_FOUND"), failure("SHARD_NOT_FOUND"));
  api.listings.push({ shards: [shard("shard-1")], nextToken: undefined });
  const run = new ReaderRun(source.open(shardFrom(START)));
  await clock.advance(1500);
  assert.equal(run.ended, undefined, "one listing is no proof");
  await clock.advance(5000);
  assert.equal(run.ended, "shard-end");
  assert.deepEqual(run.pages.at(-1)!.page, {
    records: [],
    bytes: 0,
    millisBehindLatest: 0,
    shardEnd: { childShards: [] },
  });
  assert.equal(run.grants.held, run.pages.length);
});

test("polling reader: a shard that has expired ends with its children that are still listed", async () => {
  const { api, clock, source } = scripted();
  api.iterators.push(failure("SHARD_NOT_FOUND"), failure("SHARD_NOT_FOUND"));
  const child = { ...shard("shard-1"), parentShardIds: ["shard-0"] };
  const listing = { shards: [child, shard("shard-2")], nextToken: undefined };
  api.listings.push(listing, listing, listing);
  const run = new ReaderRun(source.open(shardFrom({ type: "AT_SEQUENCE_NUMBER", sequenceNumber: "7" })));
  await clock.advance(5000);
  assert.equal(run.ended, "shard-end");
  const ended = run.pages.at(-1)!.page.shardEnd!.childShards;
  assert.deepEqual(ended.map(({ shardId, parentShardIds }) => [shardId, ...parentShardIds]), [[
    "shard-1",
    "shard-0",
  ]]);
});

test("polling reader: a shard that is listed after all is read on", async () => {
  const { api, clock, source } = scripted();
  api.pages.push(failure("SHARD_NOT_FOUND"), page([1]));
  api.listings.push({ shards: [shard("shard-0")], nextToken: undefined });
  const run = new ReaderRun(source.open(shardFrom(START)));
  await clock.advance(2000);
  assert.deepEqual(run.received, ["1"]);
});

test("polling reader: a stream that is gone, going, or made again stops it and finishes nothing", async () => {
  const answers = [
    failure("STREAM_NOT_FOUND", "DescribeStreamSummary"),
    summary({ status: "DELETING" }),
    summary({ streamCreatedAt: 2000 }),
  ];
  for (const answer of answers) {
    const { api, clock, source } = scripted();
    api.pages.push(failure("SHARD_NOT_FOUND"));
    api.summaries.push(failure("AWS_UNAVAILABLE", "DescribeStreamSummary"), failure("THROTTLED"), answer);
    api.iterators.push("first", failure("SHARD_NOT_FOUND"));
    const run = new ReaderRun(source.open(shardFrom(START)));
    await clock.advance(10_000);
    assert.equal(run.failed.code, "STREAM_GONE");
    assert.match(run.failed.message, /stream "orders" was deleted/);
    assert.deepEqual(run.pages, []);
  }
});

test("polling reader: fresh iterators that expire at once, as the service's own trouble makes them, are no end", async () => {
  const { api, clock, source } = scripted();
  const cause = Object.assign(new Error("scripted"), { name: "ExpiredIteratorException" });
  const expired = new ConnectorError("scripted", { code: "ITERATOR_EXPIRED", retryable: true, cause });
  for (let count = 0; count < 20; count++) api.pages.push(expired);
  api.pages.push(page([1]));
  const run = new ReaderRun(source.open(shardFrom(START)));
  await clock.advance(120_000);
  assert.equal(run.ended, undefined);
  assert.deepEqual(run.received, ["1"]);
});

test("polling reader: a number that was received and is refused now belongs to a stream that was made again", async () => {
  for (const answer of [summary({ streamCreatedAt: 2000 }), summary()]) {
    const { api, clock, source } = scripted();
    api.pages.push(page([1]), failure("ITERATOR_EXPIRED"));
    api.iterators.push("first", failure("AWS_REFUSED", "GetShardIterator"));
    api.summaries.push(answer);
    const run = new ReaderRun(source.open(shardFrom(START)));
    await clock.advance(2000);
    assert.equal(run.failed.code, answer.streamCreatedAt === 2000 ? "STREAM_GONE" : "AWS_REFUSED");
  }
});

test("polling reader: before a record came, a new iterator is used only in the same stream", async () => {
  const { api, clock, source } = scripted();
  api.pages.push(page(), failure("ITERATOR_EXPIRED"), page([1]));
  api.summaries.push(summary({ streamCreatedAt: 2000 }));
  const run = new ReaderRun(source.open(shardFrom(START)));
  await clock.advance(2000);
  assert.equal(run.failed.code, "STREAM_GONE");
  assert.deepEqual(run.received, []);
  assert.equal(run.grants.held, 1);
});

test("polling reader: an abort ends it wherever it waits, with all grants given back", async () => {
  const never = () => new Promise<never>(() => {});
  const states: ((api: ReturnType<typeof scripted>["api"]) => void)[] = [
    (api) => api.pages.push(page([1])), // idle
    (api) => api.pages.push(failure("THROTTLED")),
    (api) => api.pages.push(failure("AWS_UNAVAILABLE")),
  ];
  for (const prepare of states) {
    const { api, clock, source, log } = scripted();
    prepare(api);
    const stop = new AbortController();
    const run = new ReaderRun(source.open(shardFrom(START, { signal: stop.signal })));
    await clock.advance(100);
    stop.abort();
    await settle();
    assert.equal(run.ended, "stopped");
    assert.equal(run.grants.held, run.pages.length);
    assert.equal(clock.sleeping, 0);
    assert.deepEqual(log.messages("info"), [], "stopping is no recovery");
  }
  const { api, clock, source } = scripted();
  const stop = new AbortController();
  api.pages.push(() =>
    Promise.race([
      never(),
      new Promise<never>((_, reject) =>
        stop.signal.addEventListener("abort", () => reject(new Error("aborted")))
      ),
    ])
  );
  const run = new ReaderRun(source.open(shardFrom(START, { signal: stop.signal })));
  await clock.advance(100);
  assert.equal(run.grants.held, 1);
  stop.abort();
  await settle();
  assert.equal(run.ended, "stopped");
  assert.equal(run.grants.held, 0);
});

test("polling reader: closing the source ends its readers; a budget that admits nothing ends it too", async () => {
  const { clock, source } = scripted();
  const run = new ReaderRun(source.open(shardFrom(START)));
  await clock.advance(100);
  await source.close();
  await settle();
  assert.equal(run.ended, "stopped");
  const other = scripted().source.open(shardFrom(START));
  assert.equal(await other.next(() => Promise.resolve(undefined)), undefined);
});
