import assert from "node:assert/strict";
import { test } from "node:test";
import { ConnectorError } from "../../src/core/errors.ts";
import { findStalls, type ShardActivity } from "../../src/pipeline/stall.ts";
import { page, record, world } from "./kit.ts";

const moving: ShardActivity = {
  shardId: "s",
  readingSince: 950,
  reopened: 0,
  waitsForRoomSince: undefined,
  publisher: undefined,
  first: 10,
  inFlight: 0,
  trouble: undefined,
};

/** Reasons of a shard's stalls at 1000, after a first look at 0, with a limit of 100. */
function reasons(changes: Partial<ShardActivity>, before: Partial<ShardActivity> = changes): string[] {
  const { seen } = findStalls([{ ...moving, ...before }], new Map(), 0, 100);
  return findStalls([{ ...moving, ...changes }], seen, 1000, 100).stalls.map(({ reason }) => reason);
}

test("stalls: a shard that comes forward, or has nothing to read and nothing in flight, has none", () => {
  assert.deepEqual(reasons({}), []);
  assert.deepEqual(reasons({ readingSince: undefined }), []);
  assert.deepEqual(reasons({ readingSince: 901 }), []);
});

test("stalls: only a reader that waits for nobody is one to be opened anew", () => {
  assert.deepEqual(reasons({ readingSince: 900 }), ["reader"]);
  assert.deepEqual(reasons({ readingSince: 0, trouble: "throttled" }), ["kinesis"]);
  assert.deepEqual(reasons({ readingSince: 0, waitsForRoomSince: 500 }), ["room"]);
  assert.deepEqual(
    reasons({ readingSince: 0, waitsForRoomSince: 950 }),
    [],
    "it waits for room only a moment yet",
  );
});

test("stalls: whom the publisher waits for is named, also beside a reader that stands still", () => {
  for (const what of ["hook", "pulsar", "leases"] as const) {
    assert.deepEqual(reasons({ publisher: { what, since: 900 } }), [what]);
    assert.deepEqual(reasons({ publisher: { what, since: 950 } }), []);
  }
  assert.deepEqual(reasons({ publisher: { what: "hook", since: 0 }, readingSince: 0 }), ["hook", "reader"]);
});

test("stalls: Pulsar is named when the first record in flight stays the same; one that moves on is progress", () => {
  assert.deepEqual(reasons({ inFlight: 3 }), ["pulsar"]);
  assert.deepEqual(reasons({ inFlight: 3, first: 11 }, { inFlight: 3 }), []);
  assert.deepEqual(reasons({ inFlight: 3 }, { inFlight: 0 }), [], "just handed on");
});

const limit = { stallTimeoutMs: 60_000 };

test("stalls: a reader that hangs is replaced; the new one goes on after the last record, and nothing comes twice", async () => {
  const { connector, clock, source, sink, log } = world(limit);
  sink.acknowledgeAtOnce = true;
  await connector.start();
  source.give("shard-0", page([record(10), record(11)], { millisBehindLatest: 5_000 }));
  await clock.advance(59_000);
  assert.equal(source.opened.length, 1);
  await clock.advance(10_000);
  assert.equal(source.opened.length, 2, "no page for a minute while it lags");
  assert.deepEqual(source.opened[1]!.start, { type: "AFTER_SEQUENCE_NUMBER", sequenceNumber: "11" });
  assert.ok(source.opened[0]!.signal.aborted, "the old one is told to end");
  assert.match(
    log.messages("warn").join(),
    /^shard shard-0 has not come forward for 6\d s, and waits for nothing: its reader is opened anew, after the last record/,
  );
  source.give("shard-0", page([record(12)]));
  await clock.advance(2_000);
  assert.deepEqual(sink.texts, ["record 10", "record 11", "record 12"]);
  assert.equal(connector.status().readerRestarts, 1);
  assert.equal(connector.status().bufferedBytes, 256 * 1024, "the hung read's room is given back");
  const stopped = connector.stop();
  await clock.advance(60_000);
  assert.deepEqual((await stopped).undrained, []);
});

test("stalls: a reader that ignores its end does not hold up a stop, and what it brings late is not published", async () => {
  const { connector, clock, source, sink } = world(limit);
  sink.acknowledgeAtOnce = true;
  let late: (() => void) | undefined;
  let opened = 0;
  const open = source.open.bind(source);
  source.open = (options) => {
    if (opened++ > 0) return open(options);
    return {
      next: async (admit) => {
        options.onConnected?.();
        const grant = await admit(options.signal);
        await new Promise<void>((resolve) => late = resolve); // deaf
        return { page: page([record(1), record(2)]), grant: grant! };
      },
    };
  };
  await connector.start();
  await clock.advance(70_000);
  assert.equal(opened, 2);
  late!();
  source.give("shard-0", page([record(1)]));
  await clock.advance(2_000);
  assert.deepEqual(sink.texts, ["record 1"]);
  const stopped = connector.stop();
  await clock.advance(30_000);
  await stopped;
  assert.equal(connector.status().bufferedBytes, 0);
});

test("stalls: before the first record a new reader begins where the first one did, or where LATEST goes on", async () => {
  const { connector, clock, source } = world({ ...limit, initialPosition: { type: "LATEST" } });
  await connector.start();
  await clock.advance(70_000);
  assert.deepEqual(source.opened.map(({ start }) => start.type), ["LATEST", "AT_TIMESTAMP"]);
  await connector.stop();
});

test("stalls: empty pages that come no nearer to the tip are no progress, those that do are", async () => {
  const { connector, clock, source } = world(limit);
  await connector.start();
  for (let lag = 100_000; lag > 90_000; lag -= 1_000) {
    source.give("shard-0", page([], { millisBehindLatest: lag }));
    await clock.advance(50_000);
  }
  assert.equal(source.opened.length, 1);
  for (let round = 0; round < 3; round++) {
    source.give("shard-0", page([], { millisBehindLatest: 91_000 }));
    await clock.advance(30_000);
  }
  assert.equal(source.opened.length, 2);
  await connector.stop();
});

test("stalls: a shard that is caught up and idle is left alone for as long as pages come", async () => {
  const { connector, clock, source, log } = world(limit);
  await connector.start();
  for (let round = 0; round < 20; round++) {
    source.give("shard-0", page([]));
    await clock.advance(30_000);
  }
  assert.equal(source.opened.length, 1);
  assert.deepEqual(log.messages("warn"), []);
  await connector.stop();
});

test("stalls: a Pulsar that does not acknowledge is named, once per limit, and nothing is opened anew", async () => {
  const { connector, clock, source, sink, log } = world({ ...limit, receiveQueueSize: 1 });
  sink.room = 1;
  await connector.start();
  source.give("shard-0", page([record(1), record(2), record(3)], { millisBehindLatest: 5_000 }));
  await clock.advance(90_000);
  assert.equal(source.opened.length, 1);
  const said = log.messages("warn");
  assert.deepEqual(said.map((line) => line.replace(/for \d+ s/, "for N s")), [
    "shard shard-0: no progress for N s, because Pulsar has not acknowledged what they were handed to",
    "shard shard-0: no progress for N s, because there is no room for what they would read " +
    "(kinesis.maxBufferedBytes, receiveQueueSize) until Pulsar has acknowledged other records",
  ]);
  await clock.advance(60_000);
  assert.equal(log.messages("warn").length, 4);
  const stopped = connector.stop();
  await clock.advance(60_000);
  await stopped;
});

test("stalls: a hook that does not answer is named", async () => {
  const { connector, clock, source, log } = world({
    ...limit,
    hooks: { onRecord: () => new Promise(() => {}) },
    hookSettings: { timeoutMs: 1_000_000 },
  });
  await connector.start();
  source.give("shard-0", page([record(1)]), page([]));
  await clock.advance(80_000);
  assert.match(
    log.messages("warn").join("\n"),
    /shard shard-0: no progress for \d+ s, because a hook has not answered/,
  );
  const stopped = connector.stop();
  await clock.advance(60_000);
  await stopped;
});

test("stalls: where reads fail the failure is named, and who retries goes on", async () => {
  const { connector, clock, source, log, made } = world(limit);
  await connector.start();
  const error = new ConnectorError("Kinesis GetRecords got no answer", {
    code: "AWS_UNAVAILABLE",
    retryable: true,
  });
  const step = {
    operation: "ProcessTask",
    step: "KinesisDataFetcher.getRecords",
    shardId: "shard-0",
  } as const;
  made.telemetry!.report({ ...step, success: false, error });
  await clock.advance(70_000);
  assert.equal(source.opened.length, 1);
  assert.match(
    log.messages("warn").join(),
    /shard shard-0: no progress for \d+ s, because reading fails: Kinesis GetRecords got no answer/,
  );
  await connector.stop();
});

test("stalls: three new readers in a row without a page are said to be no matter of waiting", async () => {
  const { connector, clock, source } = world(limit);
  await connector.start();
  await clock.advance(150_000);
  assert.ok(connector.health().live.ok);
  await clock.advance(70_000);
  assert.deepEqual(connector.health().live.reasons, ["shard shard-0 cannot be read, and nothing says why"]);
  source.give("shard-0", page([]));
  await clock.advance(10_000);
  assert.ok(connector.health().live.ok, "a page came");
  await connector.stop();
});
