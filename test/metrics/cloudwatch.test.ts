import assert from "node:assert/strict";
import { test, type TestContext } from "node:test";
import { ConnectorError, type ErrorCode } from "../../src/core/errors.ts";
import { CloudWatchPublisher, type MetricsThrottle } from "../../src/metrics/cloudwatch.ts";
import type { StatisticSet } from "../../src/metrics/statistics.ts";
import { FakeClock, RecordingLogger } from "../fakes.ts";

function publisher(t: TestContext, options: { readonly wanted?: number } = {}) {
  const clock = new FakeClock();
  const log = new RecordingLogger();
  const calls: (readonly StatisticSet[])[] = [];
  const throttles: MetricsThrottle[] = [];
  let answer: () => Promise<void> = () => Promise.resolve();
  let ended = 0;
  const metrics = new CloudWatchPublisher(
    {
      namespace: "app",
      level: "summary",
      workerId: "w",
      onThrottle(throttle) {
        throttles.push(throttle);
        return options.wanted;
      },
      clock,
      log,
    },
    (sets) => {
      calls.push(sets);
      return answer();
    },
    () => ended++,
  );
  const close = async () => {
    const closing = metrics.close();
    await clock.advance(10_000);
    await closing;
  };
  t.after(close);
  return {
    clock,
    log,
    calls,
    throttles,
    metrics,
    close,
    ended: () => ended,
    count: (value: number) => metrics.report({ operation: "TakeLeases", data: { TakenLeases: value } }),
    answers: (how: () => Promise<void>) => answer = how,
  };
}

function failure(code: ErrorCode, retryable: boolean): () => Promise<void> {
  return () => Promise.reject(new ConnectorError(`no: ${code}`, { code, retryable }));
}

const short = (sets: readonly StatisticSet[] | undefined) =>
  sets?.map(({ name, count, sum, min, max }) => ({ name, count, sum, min, max }));

test("cloudwatch: values of ten seconds go out as one statistic set each, and nothing when there is none", async (t) => {
  const { clock, calls, count } = publisher(t);
  for (const value of [4, 1, 7]) count(value);
  await clock.advance(9_999);
  assert.equal(calls.length, 0);
  await clock.advance(1);
  assert.deepEqual(calls.map(short), [[{ name: "TakenLeases", count: 3, sum: 12, min: 1, max: 7 }]]);
  await clock.advance(60_000);
  assert.equal(calls.length, 1);
});

test("cloudwatch: many series go out in calls of at most 500", async (t) => {
  const { clock, calls, metrics } = publisher(t);
  for (let shard = 0; shard < 250; shard++) {
    metrics.report({
      operation: "ProcessTask",
      shardId: `s-${shard}`,
      data: { RecordsProcessed: 1, DataBytesProcessed: 1 },
    });
    metrics.report({ operation: "ProcessTask", shardId: `s-${shard}`, data: { MillisBehindLatest: 1 } });
  }
  await clock.advance(10_000);
  assert.deepEqual(calls.map((sets) => sets.length), [500, 251]);
});

test("cloudwatch: what could not be sent is sent with the next values, for five minutes, and counts in its own minute", async (t) => {
  const { clock, calls, count, answers } = publisher(t);
  answers(failure("AWS_UNAVAILABLE", true));
  count(1);
  const minute = clock.now() - clock.now() % 60_000;
  await clock.advance(10_000);
  count(2);
  await clock.advance(60_000);
  count(5);
  answers(() => Promise.resolve());
  await clock.advance(10_000);
  const last = calls.at(-1)!;
  assert.deepEqual(short(last), [
    { name: "TakenLeases", count: 2, sum: 3, min: 1, max: 2 },
    { name: "TakenLeases", count: 1, sum: 5, min: 5, max: 5 },
  ]);
  assert.deepEqual(last.map((set) => set.minute), [minute, minute + 60_000]);
  answers(failure("AWS_UNAVAILABLE", true));
  count(9);
  await clock.advance(420_000);
  answers(() => Promise.resolve());
  const before = calls.length;
  await clock.advance(20_000);
  assert.equal(calls.length, before, "nothing is kept for longer");
});

test("cloudwatch: a missing permission is said once, an hour's silence, then again; tried every five minutes", async (t) => {
  const { clock, calls, count, log, answers } = publisher(t);
  answers(failure("ACCESS_DENIED", false));
  for (let minute = 0; minute < 59; minute++) {
    count(1);
    await clock.advance(60_000);
  }
  assert.deepEqual(log.messages("warn"), ["no: ACCESS_DENIED; records flow on without these metrics"]);
  assert.equal(calls.length, 12);
  for (let minute = 0; minute < 10; minute++) {
    count(1);
    await clock.advance(60_000);
  }
  assert.equal(log.messages("warn").length, 2);
  answers(() => Promise.resolve());
  await clock.advance(300_000);
  assert.deepEqual(log.messages("info"), ["CloudWatch takes metrics again"]);
});

test("cloudwatch: each throttle is told, counted in a row, and the hook's delay is kept", async (t) => {
  const { clock, calls, count, throttles, answers } = publisher(t, { wanted: 30_000 });
  answers(failure("THROTTLED", true));
  count(1);
  await clock.advance(40_000);
  assert.equal(calls.length, 2);
  assert.deepEqual(throttles.map(({ service, operation, attempt }) => [service, operation, attempt]), [
    ["cloudwatch", "PutMetricData", 1],
    ["cloudwatch", "PutMetricData", 2],
  ]);
});

test("cloudwatch: a call that hangs ends after five seconds; reports go on meanwhile", async (t) => {
  const { clock, count, calls, log, answers } = publisher(t);
  answers(() => new Promise(() => {}));
  count(1);
  await clock.advance(14_999);
  assert.deepEqual(log.messages("warn"), []);
  count(2);
  await clock.advance(1);
  assert.match(log.messages("warn").join(), /got no answer \(TimeoutError: no answer within 5000 ms\)/);
  answers(() => Promise.resolve());
  await clock.advance(10_000);
  assert.deepEqual(short(calls.at(-1)), [{ name: "TakenLeases", count: 2, sum: 3, min: 1, max: 2 }]);
});

test("cloudwatch: the end sends what is left, within two seconds, whatever the service does", async (t) => {
  const first = publisher(t);
  first.count(1);
  await first.close();
  assert.deepEqual(first.calls.map(short), [[{ name: "TakenLeases", count: 1, sum: 1, min: 1, max: 1 }]]);
  assert.equal(first.ended(), 1);
  assert.equal(first.clock.sleeping, 0);

  const second = publisher(t);
  second.answers(() => new Promise(() => {}));
  second.count(1);
  const closing = second.metrics.close();
  await second.clock.advance(1_999);
  assert.equal(second.ended(), 0);
  await second.clock.advance(1);
  await closing;
  assert.deepEqual(second.log.messages("warn"), [
    "the last metrics were not sent to CloudWatch: no answer within 2000 ms",
  ]);
  assert.equal(second.clock.sleeping, 0, "nothing keeps the process up");

  const third = publisher(t); // a call is under way, and hangs
  third.answers(() => new Promise(() => {}));
  third.count(1);
  await third.clock.advance(12_000);
  third.count(2);
  const ending = third.metrics.close();
  await third.clock.advance(2_000);
  await ending;
  assert.equal(third.clock.sleeping, 0);
  await third.clock.advance(20_000);
  assert.equal(third.calls.length, 1, "nothing is sent after the end");
});
