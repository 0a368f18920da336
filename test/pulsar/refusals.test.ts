// Refusals that a real broker is hard to bring to: fenced producers, and how often lasting trouble is told.

import { test } from "node:test";
import assert from "node:assert/strict";
import { FakeClock } from "../fakes.ts";
import { SERVER_ERROR } from "../../src/pulsar/wire/server-error.ts";
import { openSink, RecordingDelivery, sendTexts, until } from "./sink-harness.ts";
import { network, ScriptedBroker } from "./scripted-broker.ts";

test("pulsar refusals: a fenced producer refuses what it has, at its opening and while running", async (t) => {
  for (const command of ["PRODUCER", "SEND"] as const) {
    const broker = new ScriptedBroker();
    const error = SERVER_ERROR.ProducerFenced;
    if (command === "PRODUCER") {
      broker.script.PRODUCER = ({ requestId }, { reply }) =>
        reply("ERROR", { requestId, error, message: "fenced" });
    } else {
      broker.script.SEND = ({ producerId, sequenceId }, { reply }) =>
        reply("SEND_ERROR", { producerId, sequenceId, error, message: "fenced" });
    }
    const { sink, notes } = openSink(t, broker.url, { transport: network(broker) });
    const delivery = new RecordingDelivery();
    sendTexts(sink, delivery, ["a", "b"]);
    await until(() => sink.pending === 0, "refusals");
    assert.deepEqual(delivery.refusals.map(({ ordinal, error: { code } }) => [ordinal, code]), [
      [0, "PULSAR_REFUSED"],
      [1, "PULSAR_REFUSED"],
    ]);
    assert.match(delivery.refusals[0]!.error.message, /ProducerFenced.*exclusive access/);
    assert.deepEqual(notes.fatal, []);
  }
});

test("pulsar refusals: a quota that lasts is told at once and then once a minute, and its messages wait", async (t) => {
  const broker = new ScriptedBroker();
  const clock = new FakeClock();
  let isFull = true;
  broker.script.PRODUCER = ({ requestId }, { reply }, usual) => {
    const error = SERVER_ERROR.ProducerBlockedQuotaExceededException;
    if (isFull) reply("ERROR", { requestId, error, message: "quota" });
    else usual();
  };
  const { sink, notes } = openSink(t, broker.url, {
    transport: network(broker),
    clock,
    backoff: { firstMs: 100, maxMs: 5000 },
  });
  const delivery = new RecordingDelivery();
  sendTexts(sink, delivery, ["a"]);
  for (let step = 0; step < 1750; step++) await clock.advance(100); // almost three minutes
  assert.ok(broker.got("PRODUCER").length > 20);
  assert.equal(notes.reconnecting.length, 3);
  isFull = false;
  await clock.advanceUntil(() => sink.pending === 0, 10_000, 10);
  assert.deepEqual([delivery.acks.size, delivery.refusals.length], [1, 0]);
});

test("pulsar refusals: that the topic is terminated counts also when the broker closed the producer before it said so", async (t) => {
  const broker = new ScriptedBroker();
  broker.script.SEND = ({ producerId, sequenceId }, { reply }) => {
    broker.script.PRODUCER = ({ requestId }, { reply }) =>
      reply("ERROR", { requestId, error: SERVER_ERROR.ServiceNotReady, message: "fenced for ever" });
    reply("CLOSE_PRODUCER", { producerId, requestId: 0 });
    reply("SEND_ERROR", {
      producerId,
      sequenceId,
      error: SERVER_ERROR.TopicTerminatedError,
      message: "over",
    });
  };
  const { sink, notes } = openSink(t, broker.url, { transport: network(broker) });
  const delivery = new RecordingDelivery();
  sendTexts(sink, delivery, ["a", "b"]);
  await until(() => sink.pending === 0, "refusals");
  assert.deepEqual(delivery.refusals.map(({ error: { code } }) => code), [
    "PULSAR_TOPIC_TERMINATED",
    "PULSAR_TOPIC_TERMINATED",
  ]);
  assert.deepEqual(notes.fatal, []);
});
