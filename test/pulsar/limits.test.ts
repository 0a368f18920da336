// Bounds over all topics together: room, producers; topics with partitions; what happens to the unused.

import { test } from "node:test";
import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { FakeClock, settle } from "../fakes.ts";
import { Permits } from "../../src/pulsar/permits.ts";
import { BatchTimer } from "../../src/pulsar/batch-timer.ts";
import { SERVER_ERROR } from "../../src/pulsar/wire/server-error.ts";
import { NEVER, openSink, RecordingDelivery, sendTexts, until } from "./sink-harness.ts";
import { network, ScriptedBroker } from "./scripted-broker.ts";

test("pulsar limits: room is given in the order of asking, whole records at a time", async () => {
  const permits = new Permits(10);
  assert.equal(permits.reserve(8, NEVER), true);
  const order: string[] = [];
  const big = (permits.reserve(5, NEVER) as Promise<boolean>).then(() => order.push("big"));
  const small = (permits.reserve(1, NEVER) as Promise<boolean>).then(() => order.push("small"));
  permits.release(1);
  await settle();
  assert.deepEqual(order, [], "the small one does not overtake");
  permits.release(3);
  await Promise.all([big, small]);
  assert.deepEqual(order, ["big", "small"]);
  assert.equal(permits.used, 10);
});

test("pulsar limits: a record with more messages than all room goes when nothing else is pending", async () => {
  const permits = new Permits(10);
  assert.equal(permits.reserve(1, NEVER), true);
  const all = permits.reserve(50, NEVER);
  assert.notEqual(all, true);
  permits.release(1);
  assert.equal(await all, true);
  assert.notEqual(permits.reserve(1, NEVER), true);
});

test("pulsar limits: an aborted wait gives false and lets those behind pass", async () => {
  const permits = new Permits(2);
  assert.equal(permits.reserve(1, NEVER), true);
  const abort = new AbortController();
  const first = permits.reserve(2, abort.signal);
  const second = permits.reserve(1, NEVER);
  abort.abort();
  assert.equal(await first, false);
  assert.equal(await second, true);
  assert.equal(await permits.reserve(1, AbortSignal.abort()), false);
  const last = permits.reserve(1, NEVER);
  permits.close();
  assert.equal(await last, false);
});

test("pulsar limits: batches become due one after the other, closed ones never", async () => {
  const clock = new FakeClock();
  const timer = new BatchTimer(clock, 10, NEVER, () => assert.fail("defect"));
  const due: string[] = [];
  const batching = (name: string): { batchDue(): void } => ({
    batchDue: () => due.push(`${name}@${clock.monotonic()}`),
  });
  const [a, b, c] = [batching("a"), batching("b"), batching("c")];
  timer.opened(a);
  await clock.advance(4);
  timer.opened(b);
  timer.opened(c);
  await clock.advance(3);
  timer.closed(b);
  await clock.advance(100);
  timer.opened(b);
  await clock.advance(100);
  assert.deepEqual(due, ["a@10", "c@14", "b@117"]);
  assert.equal(clock.sleeping, 0);
});

test("pulsar limits: at the bound the longest unused idle producer makes room, and comes back on demand", async (t) => {
  const broker = new ScriptedBroker();
  const clock = new FakeClock();
  const { sink } = openSink(t, broker.url, { transport: network(broker), clock, maxProducers: 2 });
  const delivery = new RecordingDelivery();
  for (const [ordinal, topic] of ["one", "two", "one", "three", "two"].entries()) {
    sendTexts(sink, delivery, [topic], ordinal, topic);
    await clock.advanceUntil(() => sink.pending === 0, 1000, 1);
    await clock.advance(1);
  }
  assert.equal(delivery.acks.size, 5);
  const opened = broker.got("PRODUCER").map(({ topic }) => topic.split("/").at(-1));
  assert.deepEqual(opened, ["one", "two", "three", "two"], "two went before one, then one before three");
  const producers = broker.got("PRODUCER").map(({ producerId }) => producerId);
  const closed = broker.got("CLOSE_PRODUCER").map(({ producerId }) => producers.indexOf(producerId));
  assert.deepEqual(closed, [1, 0]);
});

test("pulsar limits: while all producers are busy, messages wait in order for one of them", async (t) => {
  const broker = new ScriptedBroker();
  const clock = new FakeClock();
  const receipts: (() => void)[] = [];
  broker.script.SEND = (_, __, usual) => void receipts.push(usual);
  const { sink } = openSink(t, broker.url, { transport: network(broker), clock, maxProducers: 2 });
  const delivery = new RecordingDelivery();
  ["a", "b", "c", "d"].forEach((topic, ordinal) => sendTexts(sink, delivery, [`${topic}0`], ordinal, topic));
  sendTexts(sink, delivery, ["c1", "c2"], 4, "c");
  await clock.advanceUntil(() => broker.texts.length === 2, 1000, 1);
  assert.deepEqual(broker.texts, ["a0", "b0"]);
  receipts[1]!(); // b: makes room for c
  await clock.advanceUntil(() => broker.texts.length === 5, 1000, 1);
  assert.deepEqual(broker.texts.slice(2), ["c0", "c1", "c2"]);
  receipts[0]!(); // a: for d
  await clock.advanceUntil(() => broker.texts.length === 6, 1000, 1);
  assert.deepEqual(broker.texts.slice(5), ["d0"]);
  for (const receipt of receipts.slice(2)) receipt();
  await clock.advanceUntil(() => sink.pending === 0, 1000, 1);
  assert.deepEqual(delivery.refusals, []);
});

test("pulsar limits: a topic for which there is no room in thirty seconds is refused with words, others go on", async (t) => {
  const broker = new ScriptedBroker();
  const clock = new FakeClock();
  broker.script.PARTITIONED_METADATA = ({ requestId, topic }, { reply }) =>
    reply("PARTITIONED_METADATA_RESPONSE", {
      requestId,
      response: 0,
      partitions: topic.endsWith("/many") ? 100 : 0,
    });
  let isHeld = true;
  const receipts: (() => void)[] = [];
  broker.script.SEND = (_, __, usual) => isHeld ? void receipts.push(usual) : usual();
  const { sink } = openSink(t, broker.url, { transport: network(broker), clock, maxProducers: 3 });
  const delivery = new RecordingDelivery();
  sendTexts(sink, delivery, ["0"], 0, "one");
  for (const [ordinal, key] of ["key1", "key2", "key3", "key1"].entries()) {
    sink.reserve(1, NEVER);
    sink.send({ topic: "many", key, data: Buffer.from(key) }, delivery, 1 + ordinal);
  }
  await clock.advanceUntil(() => broker.texts.length === 3, 1000, 1);
  await clock.advance(28_000);
  assert.equal(delivery.refusals.length, 0);
  await clock.advance(2_100);
  assert.deepEqual(delivery.refusals.map(({ ordinal, error }) => [ordinal, error.code]), [[
    3,
    "TOO_MANY_TOPICS",
  ]]);
  assert.match(delivery.refusals[0]!.error.message, /pulsar\.maxProducers/);
  isHeld = false;
  for (const receipt of receipts) receipt();
  sendTexts(sink, delivery, ["a"], 5, "third");
  await clock.advanceUntil(() => sink.pending === 0, 10_000, 10);
  assert.deepEqual([...delivery.acks.keys()].sort(), [0, 1, 2, 4, 5]);
});

test("pulsar limits: names without end leave nothing behind but the producers that are allowed", async (t) => {
  const broker = new ScriptedBroker();
  const { sink } = openSink(t, broker.url, {
    transport: network(broker),
    maxProducers: 4,
    batchMaxDelayMs: 0,
  });
  const delivery = new RecordingDelivery();
  for (let ordinal = 0; ordinal < 200; ordinal++) sendTexts(sink, delivery, ["x"], ordinal, `t${ordinal}`);
  await until(() => sink.pending === 0, "all receipts");
  assert.equal(delivery.acks.size, 200);
  assert.deepEqual(delivery.refusals, []);
  await until(() => broker.got("CLOSE_PRODUCER").length === 196, "the others are closed");
});

test("pulsar limits: unused producers are closed after ten minutes and opened again on demand", async (t) => {
  const broker = new ScriptedBroker();
  const clock = new FakeClock();
  const { sink } = openSink(t, broker.url, { transport: network(broker), clock, maxProducers: 1 });
  const delivery = new RecordingDelivery();
  sendTexts(sink, delivery, ["a"], 0, "one");
  await clock.advanceUntil(() => sink.pending === 0, 1000, 1);
  for (let second = 0; second < 595; second++) await clock.advance(1000);
  assert.equal(broker.got("CLOSE_PRODUCER").length, 0);
  for (let second = 595; second < 661; second++) await clock.advance(1000);
  assert.equal(broker.got("CLOSE_PRODUCER").length, 1);
  sendTexts(sink, delivery, ["b"], 1, "two");
  await clock.advanceUntil(() => sink.pending === 0, 1000, 1);
  assert.deepEqual([...delivery.acks], [[0, 1], [1, 1]]);
});

test("pulsar limits: a topic that was missing is tried again a minute later, more partitions are noticed", async (t) => {
  const broker = new ScriptedBroker();
  const clock = new FakeClock();
  let partitions = -1;
  broker.script.PARTITIONED_METADATA = ({ requestId }, { reply }) => {
    const missing = { response: 1, error: SERVER_ERROR.TopicNotFound, message: "gone" };
    reply("PARTITIONED_METADATA_RESPONSE", {
      requestId,
      ...(partitions < 0 ? missing : { response: 0, partitions }),
    });
  };
  const { sink } = openSink(t, broker.url, { transport: network(broker), clock });
  const delivery = new RecordingDelivery();
  sendTexts(sink, delivery, ["a"]);
  await until(() => delivery.refusals.length === 1, "the refusal");
  partitions = 1;
  await clock.advance(60_000);
  const sendKey3 = async (ordinal: number): Promise<string | undefined> => {
    sink.reserve(1, NEVER);
    sink.send({ topic: "t", key: "key3", data: Buffer.of(1) }, delivery, ordinal);
    await clock.advanceUntil(() => sink.pending === 0, 1000, 1);
    return broker.got("PRODUCER").at(-1)?.topic;
  };
  assert.equal(await sendKey3(1), "persistent://public/default/t-partition-0");
  partitions = 5;
  for (let second = 0; second < 61; second++) await clock.advance(1000);
  assert.equal(await sendKey3(2), `persistent://public/default/t-partition-${642313048 % 5}`);
  partitions = 2; // fewer: ignored
  for (let second = 0; second < 61; second++) await clock.advance(1000);
  await sendKey3(3);
  assert.equal(broker.got("PRODUCER").length, 2);
  assert.equal(delivery.acks.size, 3);
});
