// Finding and registering the fan-out consumer: what is asked in which order, and what a person is told.

import assert from "node:assert/strict";
import { test } from "node:test";
import { ConnectorError } from "../../src/core/errors.ts";
import { type ConsumerOptions, type FanOutConsumer, openConsumer } from "../../src/kinesis/consumer.ts";
import { systemClock } from "../../src/runtime.ts";
import { FakeClock, RecordingLogger } from "../fakes.ts";
import { startKinesisStream } from "../servers/kinesis.ts";
import { QUICK } from "./kit.ts";
import { refused, ScriptedFanOut } from "./scripted-fan-out.ts";
import { openFanOut } from "./fan-out-kit.ts";

const STREAM_ARN = "arn:aws:kinesis:us-east-1:000000000000:stream/orders";
const ARN = `${STREAM_ARN}/consumer/me:1`;

class Opening {
  readonly clock = new FakeClock();
  readonly api = new ScriptedFanOut(this.clock);
  readonly log = new RecordingLogger();
  readonly stop = new AbortController();
  consumer: FanOutConsumer | undefined;
  error: unknown;

  start(options: Partial<ConsumerOptions> = {}): this {
    const { api, clock, log } = this;
    openConsumer({
      api,
      clock,
      log,
      streamName: "orders",
      streamArn: STREAM_ARN,
      consumerName: "me",
      backoffTimeMs: 3000,
      ...options,
    }, this.stop.signal).then((consumer) => this.consumer = consumer, (error) => this.error = error);
    return this;
  }

  get failed(): ConnectorError {
    assert.ok(this.error instanceof ConnectorError, String(this.error));
    return this.error;
  }

  get calls(): string[] {
    return this.api.consumerCalls.map((call) => call.split(" ")[0]!);
  }
}

test("fan-out consumer: one that is active is used, and nothing is registered", async () => {
  const opening = new Opening();
  opening.api.consumers.push({ consumerArn: ARN, status: "ACTIVE" });
  await opening.start().clock.advance(0);
  assert.equal(opening.consumer?.arn, ARN);
  assert.deepEqual(opening.calls, ["describe"]);
  assert.deepEqual(opening.log.entries, []);
});

test("fan-out consumer: one that is missing is registered, and waited for until it is active", async () => {
  const opening = new Opening();
  const missing = () => refused("ResourceNotFoundException", "DescribeStreamConsumer");
  opening.api.consumers.push(missing(), { consumerArn: ARN, status: "CREATING" }, {
    consumerArn: ARN,
    status: "ACTIVE",
  });
  await opening.start().clock.advance(5_000);
  assert.equal(opening.consumer?.arn, ARN);
  assert.deepEqual(opening.calls, ["describe", "register", "describe", "describe"]);
  assert.match(
    opening.log.messages("info")[0]!,
    /^registered fan-out consumer "me" of stream "orders"; AWS charges/,
  );
});

test("fan-out consumer: whoever registers a moment later finds that of the other one", async () => {
  const opening = new Opening();
  const missing = () => refused("ResourceNotFoundException", "DescribeStreamConsumer");
  opening.api.consumers.push(missing(), missing(), { consumerArn: ARN, status: "ACTIVE" });
  const inUse = () => refused("ResourceInUseException", "RegisterStreamConsumer");
  opening.api.registrations.push(inUse(), inUse());
  await opening.start().clock.advance(5_000);
  assert.equal(opening.consumer?.arn, ARN);
});

test("fan-out consumer: one that is being deleted is waited for, then registered anew", async () => {
  const opening = new Opening();
  const deleting = { consumerArn: `${ARN}0`, status: "DELETING" } as const;
  opening.api.consumers.push(
    deleting,
    deleting,
    refused("ResourceNotFoundException", "DescribeStreamConsumer"),
  );
  opening.api.registrations.push({ consumerArn: ARN, status: "ACTIVE" });
  await opening.start().clock.advance(10_000);
  assert.equal(opening.consumer?.arn, ARN);
  assert.deepEqual(opening.calls, ["describe", "describe", "describe", "register"]);
});

test("fan-out consumer: one that does not become active, and a stream that takes no more, end the start in a minute", async () => {
  const slow = new Opening();
  slow.api.consumers.push(
    ...Array.from({ length: 100 }, () => ({ consumerArn: ARN, status: "CREATING" } as const)),
  );
  await slow.start().clock.advance(48_000);
  assert.equal(slow.error, undefined);
  await slow.clock.advance(5_000);
  assert.equal(slow.failed.code, "AWS_UNAVAILABLE");
  assert.match(slow.failed.message, /"me" of stream "orders" is CREATING after 50 s/);

  const full = new Opening();
  full.api.consumers.push(
    ...Array.from({ length: 100 }, () => refused("ResourceNotFoundException", "DescribeStreamConsumer")),
  );
  full.api.registrations.push(
    ...Array.from({ length: 100 }, () => refused("LimitExceededException", "RegisterStreamConsumer")),
  );
  await full.start().clock.advance(55_000); // before the minute of a start's step cuts it off
  assert.equal(full.failed.code, "AWS_REFUSED");
  assert.match(full.failed.message, /at most 20 of them: deregister one .* useEnhancedFanOut = false/);
  assert.ok(full.calls.length < 80 && full.calls.length > 20, `${full.calls.length} calls`);
});

test("fan-out consumer: too many calls at once are waited out", async () => {
  const opening = new Opening();
  const missing = () => refused("ResourceNotFoundException", "DescribeStreamConsumer");
  opening.api.consumers.push(
    refused("LimitExceededException", "DescribeStreamConsumer"),
    missing(),
    missing(),
  );
  opening.api.registrations.push(refused("LimitExceededException", "RegisterStreamConsumer"), {
    consumerArn: ARN,
    status: "ACTIVE",
  });
  const throttles: string[] = [];
  opening.start({ onThrottle: ({ operation }) => void throttles.push(operation) });
  await opening.clock.advance(20_000);
  assert.equal(opening.consumer?.arn, ARN);
  assert.deepEqual(throttles, ["DescribeStreamConsumer"]);
});

test("fan-out consumer: a missing right names the IAM action, and how to do without", async () => {
  for (const operation of ["DescribeStreamConsumer", "RegisterStreamConsumer"] as const) {
    const opening = new Opening();
    if (operation === "RegisterStreamConsumer") {
      opening.api.consumers.push(refused("ResourceNotFoundException", "DescribeStreamConsumer"));
      opening.api.registrations.push(refused("AccessDeniedException", operation));
    } else opening.api.consumers.push(refused("AccessDeniedException", operation));
    await opening.start().clock.advance(0);
    assert.equal(opening.failed.code, "ACCESS_DENIED");
    assert.match(
      opening.failed.message,
      new RegExp(`lack the permission kinesis:${operation} on .*; .*useEnhancedFanOut = false`),
    );
  }
});

test("fan-out consumer: one that is given by its ARN is used as it is, if it is one of the stream", async () => {
  const given = new Opening();
  given.api.consumers.push({ consumerArn: ARN, status: "ACTIVE" });
  await given.start({ consumerArn: ARN }).clock.advance(0);
  assert.equal(given.consumer?.arn, ARN);

  const closed = new Opening();
  closed.api.consumers.push(refused("AccessDeniedException", "DescribeStreamConsumer"));
  await closed.start({ consumerArn: ARN }).clock.advance(0);
  assert.equal(closed.consumer?.arn, ARN, "another account may allow no more than subscriptions");

  const missing = new Opening();
  missing.api.consumers.push(refused("ResourceNotFoundException", "DescribeStreamConsumer"));
  await missing.start({ consumerArn: ARN }).clock.advance(0);
  assert.equal(missing.failed.code, "CONSUMER_NOT_FOUND");
  assert.deepEqual(missing.calls, ["describe"], "it is never registered");

  const other = new Opening();
  await other.start({ consumerArn: ARN.replace("orders", "clicks") }).clock.advance(0);
  assert.equal(other.failed.code, "AWS_REFUSED");
  assert.match(other.failed.message, /is no consumer of stream "orders"/);
  assert.deepEqual(other.calls, []);
});

test("fan-out consumer: one that was deregistered while it is used is registered again, once for all shards", async () => {
  const opening = new Opening();
  opening.api.consumers.push({ consumerArn: ARN, status: "ACTIVE" });
  await opening.start().clock.advance(0);
  opening.api.consumers.push(refused("ResourceNotFoundException", "DescribeStreamConsumer"));
  opening.api.registrations.push({ consumerArn: `${ARN}2`, status: "ACTIVE" });
  const { signal } = opening.stop;
  await Promise.all([opening.consumer!.check(signal), opening.consumer!.check(signal)]);
  assert.equal(opening.consumer!.arn, `${ARN}2`);
  assert.deepEqual(opening.calls, ["describe", "describe", "register"]);
  assert.match(opening.log.messages("warn")[0]!, /had been deregistered and was registered again/);
});

test("fan-out consumer: ten workers that start at the same time share one", async (t) => {
  const { kinesis, streamName } = await startKinesisStream(t, { consumerTransitionMs: 300 });
  const { api } = await openFanOut(t, { url: kinesis.url, streamName }, {
    consumer: { arn: "", check: async () => {} },
  });
  const { signal } = new AbortController();
  const { streamArn } = await api.describeStreamSummary(signal);
  const log = new RecordingLogger();
  const options = { api, streamName, streamArn, consumerName: "app", clock: systemClock, log, ...QUICK };
  const consumers = await Promise.all(Array.from({ length: 10 }, () => openConsumer(options, signal)));
  assert.equal(new Set(consumers.map(({ arn }) => arn)).size, 1);
  assert.equal(kinesis.calls("RegisterStreamConsumer").filter((call) => !call.error).length, 1);
});
