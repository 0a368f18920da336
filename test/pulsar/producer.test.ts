// The producer against a scripted broker in memory: batches, receipts, errors, reconnects.

import { test } from "node:test";
import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { FakeClock, settle } from "../fakes.ts";
import { SERVER_ERROR } from "../../src/pulsar/wire/server-error.ts";
import { NEVER, openSink, RecordingDelivery, sendTexts, texts, until } from "./sink-harness.ts";
import { network, ScriptedBroker } from "./scripted-broker.ts";

test("pulsar producer: messages of one moment go in one batch, a receipt reports their run", async (t) => {
  const broker = new ScriptedBroker();
  const { sink } = openSink(t, broker.url, { transport: network(broker) });
  const delivery = new RecordingDelivery();
  sendTexts(sink, delivery, texts("a", 10), 5);
  await until(() => sink.pending === 0, "the receipt");
  assert.equal(broker.sends.length, 1);
  assert.deepEqual(broker.texts, texts("a", 10));
  assert.deepEqual(delivery.runs, [[5, 14]]);
});

test("pulsar producer: runs of several parties in one batch, and several messages of one record, are kept apart", async (t) => {
  const broker = new ScriptedBroker();
  const { sink } = openSink(t, broker.url, { transport: network(broker) });
  const [a, b] = [new RecordingDelivery(), new RecordingDelivery()];
  sendTexts(sink, a, ["0", "1"], 0);
  sendTexts(sink, b, ["2"], 7);
  sendTexts(sink, a, ["3", "4"], 2);
  sendTexts(sink, a, ["5"], 3); // the same record's second message
  sendTexts(sink, a, ["6"], 9);
  await until(() => sink.pending === 0, "the receipt");
  assert.deepEqual(a.runs, [[0, 1], [2, 3], [3, 3], [9, 9]]);
  assert.deepEqual(b.runs, [[7, 7]]);
});

test("pulsar producer: a batch ends at its number of messages, its bytes, and before a message with a delivery time", async (t) => {
  const broker = new ScriptedBroker();
  const { sink } = openSink(t, broker.url, {
    transport: network(broker),
    batchMaxMessages: 3,
    batchMaxBytes: 1000,
  });
  const delivery = new RecordingDelivery();
  sendTexts(sink, delivery, texts("a", 4));
  sendTexts(sink, delivery, ["x".repeat(600), "y".repeat(600), "z".repeat(3000), "b"], 4);
  sink.reserve(1, NEVER);
  sink.send({ topic: "t", data: Buffer.from("later"), deliverAt: 99 }, delivery, 8);
  sendTexts(sink, delivery, ["c"], 9);
  await until(() => sink.pending === 0, "the receipts");
  assert.deepEqual(
    broker.sends.map(({ messages }) => messages.map(({ data }) => data.toString().slice(0, 5))),
    [["a0", "a1", "a2"], ["a3", "xxxxx"], ["yyyyy"], ["zzzzz"], ["b"], ["later"], ["c"]],
  );
  for (const [index, { frame }] of broker.sends.entries()) assert.ok(frame.length < 1300 || index === 3);
});

test("pulsar producer: a batch waits for its delay, or for flush()", async (t) => {
  const broker = new ScriptedBroker();
  const clock = new FakeClock();
  const { sink } = openSink(t, broker.url, { transport: network(broker), clock, batchMaxDelayMs: 10 });
  const delivery = new RecordingDelivery();
  sendTexts(sink, delivery, ["first"]);
  await clock.advanceUntil(() => sink.pending === 0, 1000, 1);
  sendTexts(sink, delivery, ["a"], 1);
  await clock.advance(6);
  sendTexts(sink, delivery, ["b"], 2);
  await clock.advance(3);
  assert.equal(broker.sends.length, 1, "9 ms after the first message of the batch");
  await clock.advance(2);
  assert.deepEqual(broker.sends[1]!.messages.map(({ data }) => data.toString()), ["a", "b"]);
  sendTexts(sink, delivery, ["c"], 3);
  sink.flush();
  await settle();
  await settle();
  assert.equal(broker.sends.length, 3);
});

test("pulsar producer: the bytes are the sink's own once send() returned", async (t) => {
  const broker = new ScriptedBroker();
  const { sink } = openSink(t, broker.url, { transport: network(broker) });
  const delivery = new RecordingDelivery();
  const data = Buffer.from("mine");
  for (const round of [0, 1]) { // while partitions are asked for, and later
    sink.reserve(1, NEVER);
    data.write("mine");
    sink.send({ topic: "t", data }, delivery, round);
    data.write("yours");
    await until(() => sink.pending === 0, "the receipt");
  }
  assert.deepEqual(broker.texts, ["mine", "mine"]);
});

test("pulsar producer: a lost connection: the same frames again, in order, before anything new", async (t) => {
  const broker = new ScriptedBroker();
  let isDeaf = true;
  broker.script.SEND = (_, __, usual) => isDeaf || usual();
  const { sink, notes } = openSink(t, broker.url, { transport: network(broker), batchMaxMessages: 2 });
  const delivery = new RecordingDelivery();
  sendTexts(sink, delivery, texts("a", 6));
  await until(() => broker.sends.length === 3, "three frames without receipt");
  sendTexts(sink, delivery, ["new"], 6);
  isDeaf = false;
  broker.connections[0]!.cut();
  await until(() => sink.pending === 0, "the receipts");
  const [first, second] = [0, 1].map((index) =>
    broker.sends.filter(({ connection }) => connection === index)
  );
  assert.deepEqual(
    second!.slice(0, 3).map(({ frame }) => frame),
    first!.slice(0, 3).map(({ frame }) => frame),
  );
  assert.deepEqual(second!.flatMap(({ messages }) => messages.map(({ data }) => data.toString())), [
    ...texts("a", 6),
    "new",
  ]);
  assert.deepEqual(
    broker.got("PRODUCER").map((
      { epoch, producerName, userProvidedProducerName },
    ) => [epoch, producerName, userProvidedProducerName]),
    [[0, undefined, false], [1, "scripted-0", false]],
  );
  assert.equal(new Set(broker.got("PRODUCER").map(({ producerId }) => producerId)).size, 1);
  assert.deepEqual(notes.connected.length, 2);
  assert.equal(notes.reconnecting[0]?.error.code, "PULSAR_UNREACHABLE");
});

test("pulsar producer: receipts: stale ones are ignored, one out of order makes it start anew", async (t) => {
  const broker = new ScriptedBroker();
  const { sink, notes } = openSink(t, broker.url, { transport: network(broker), batchMaxMessages: 1 });
  const delivery = new RecordingDelivery();
  let isFirst = true;
  broker.script.SEND = ({ producerId, sequenceId }, { reply }, usual) => {
    if (sequenceId === 1 && isFirst) {
      isFirst = false; // the receipt of 1 gets lost
      return;
    }
    usual();
    reply("SEND_RECEIPT", { producerId, sequenceId: 0 });
  };
  sendTexts(sink, delivery, texts("a", 4));
  await until(() => sink.pending === 0, "the receipts");
  assert.deepEqual([...delivery.acks], [[0, 1], [1, 1], [2, 1], [3, 1]], "each exactly once");
  assert.equal(broker.connections.length, 2);
  assert.match(notes.reconnecting[0]!.error.message, /a receipt for message 2 .* came before the one for 1/);
  assert.deepEqual(
    broker.sends.filter(({ connection }) => connection === 1).map(({ command }) => command.sequenceId),
    [
      1,
      2,
      3,
    ],
  );
});

test("pulsar producer: ids start after what the broker knows of the name, also for messages queued before", async (t) => {
  const broker = new ScriptedBroker();
  broker.script.PRODUCER = ({ requestId }, { reply }) =>
    reply("PRODUCER_SUCCESS", { requestId, producerName: "known", lastSequenceId: 41 });
  const { sink } = openSink(t, broker.url, { transport: network(broker), batchMaxMessages: 2 });
  sendTexts(sink, new RecordingDelivery(), texts("a", 3));
  await until(() => sink.pending === 0, "the receipts");
  assert.deepEqual(broker.sends.flatMap(({ messages }) => messages.map(({ sequenceId }) => sequenceId)), [
    42,
    43,
    44,
  ]);
});

test("pulsar producer: closed by its broker: opened again where the broker says, the rest sent again", async (t) => {
  const [one, two] = [new ScriptedBroker(), new ScriptedBroker("pulsar://two:6650")];
  const { sink } = openSink(t, one.url, { transport: network(one, two), batchMaxMessages: 1 });
  one.script.SEND = ({ producerId, sequenceId }, { reply }, usual) => {
    if (sequenceId < 2) return usual();
    if (sequenceId === 2) {
      reply("CLOSE_PRODUCER", { producerId, requestId: -1, assignedBrokerServiceUrl: two.url });
    }
  };
  const delivery = new RecordingDelivery();
  sendTexts(sink, delivery, texts("a", 5));
  await until(() => sink.pending === 0, "the receipts");
  assert.deepEqual(two.texts, ["a2", "a3", "a4"]);
  assert.equal(one.got("LOOKUP").length + two.got("LOOKUP").length, 1, "no lookup for the second");
  assert.equal(two.got("PRODUCER")[0]?.producerName, "scripted-0");
});

test("pulsar producer: a producer busy, a quota, an internal error at creation: tried again and told", async (t) => {
  const broker = new ScriptedBroker();
  const errors: number[] = [
    SERVER_ERROR.ProducerBusy,
    SERVER_ERROR.ProducerBlockedQuotaExceededException,
    SERVER_ERROR.ServiceNotReady,
    99,
  ];
  broker.script.PRODUCER = ({ requestId }, { reply }, usual) => {
    const error = errors.shift();
    if (error === undefined) usual();
    else reply("ERROR", { requestId, error, message: "because\n\tat java.lang.Thread" });
  };
  const { sink, notes } = openSink(t, broker.url, { transport: network(broker) });
  sendTexts(sink, new RecordingDelivery(), ["a"]);
  await until(() => sink.pending === 0, "the receipt");
  const unavailable = "PULSAR_UNAVAILABLE";
  assert.deepEqual(notes.reconnecting.map(({ error }) => error.code), [
    unavailable,
    "PULSAR_QUOTA_EXCEEDED",
    unavailable,
    unavailable,
  ]);
  assert.deepEqual(notes.reconnecting.map(({ delayMs }) => delayMs), [5, 10, 20, 40]);
  assert.match(
    notes.reconnecting[0]!.error.message,
    /ProducerBusy to PRODUCER for topic .*: because\. The broker may/,
  );
  assert.equal(broker.connections.length, 1, "the connection is not to blame");
});

test("pulsar producer: a missing permission or topic refuses the messages, with words that say what to do", async (t) => {
  const broker = new ScriptedBroker();
  broker.script.PRODUCER = ({ requestId, topic }, { reply }, usual) => {
    if (topic.endsWith("/forbidden")) {
      reply("ERROR", {
        requestId,
        error: SERVER_ERROR.AuthorizationError,
        message: "Client is not authorized",
      });
    } else usual();
  };
  broker.script.PARTITIONED_METADATA = ({ requestId, topic }, { reply }, usual) => {
    const error = SERVER_ERROR.TopicNotFound;
    if (!topic.endsWith("/missing")) usual();
    else reply("PARTITIONED_METADATA_RESPONSE", { requestId, response: 1, error, message: "no such topic" });
  };
  const { sink, notes } = openSink(t, broker.url, { transport: network(broker) });
  const delivery = new RecordingDelivery();
  sendTexts(sink, delivery, ["a", "b"], 0, "forbidden");
  sendTexts(sink, delivery, ["c"], 2, "missing");
  sendTexts(sink, delivery, ["d"], 3, "fine");
  await until(() => sink.pending === 0, "receipts and refusals");
  sendTexts(sink, delivery, ["e"], 4, "forbidden");
  assert.equal(delivery.refusals.length, 3, "not while it is being sent");
  await until(() => sink.pending === 0, "the late refusal");
  const codes = Object.fromEntries(delivery.refusals.map(({ ordinal, error }) => [ordinal, error.code]));
  const notAuthorized = "PULSAR_NOT_AUTHORIZED";
  assert.deepEqual(codes, {
    0: notAuthorized,
    1: notAuthorized,
    2: "PULSAR_TOPIC_NOT_FOUND",
    4: notAuthorized,
  });
  assert.match(delivery.refusals.find(({ ordinal }) => ordinal === 0)!.error.message, /grant-permission/);
  assert.deepEqual([...delivery.acks], [[3, 1]]);
  assert.equal(notes.fatal.length, 0);
});

test("pulsar producer: SEND_ERROR: what is refused for good ends alone, what passes is sent again", async (t) => {
  const broker = new ScriptedBroker();
  const script: Record<number, number[]> = {
    1: [SERVER_ERROR.NotAllowedError],
    2: [SERVER_ERROR.PersistenceError, SERVER_ERROR.UnknownError],
    3: [SERVER_ERROR.ChecksumError],
  };
  let next = 0;
  broker.script.SEND = ({ producerId, sequenceId }, { reply }, usual) => {
    if (sequenceId !== next) return; // behind an error
    const error = script[sequenceId]?.shift();
    if (error === undefined || error === SERVER_ERROR.NotAllowedError) next++;
    if (error === undefined) usual();
    else reply("SEND_ERROR", { producerId, sequenceId, error, message: "Exceed maximum message size" });
  };
  const { sink, notes } = openSink(t, broker.url, { transport: network(broker), batchMaxMessages: 1 });
  const delivery = new RecordingDelivery();
  sendTexts(sink, delivery, texts("a", 6));
  await until(() => sink.pending === 0, "receipts and a refusal");
  assert.deepEqual(delivery.refusals.map(({ ordinal, error }) => [ordinal, error.code]), [[
    1,
    "MESSAGE_TOO_LARGE",
  ]]);
  assert.match(delivery.refusals[0]!.error.message, /smaller messages than its broker/);
  assert.deepEqual([...delivery.acks], [[0, 1], [2, 1], [3, 1], [4, 1], [5, 1]]);
  assert.equal(notes.reconnecting.length, 3);
  assert.equal(broker.connections.length, 1);
  assert.equal(broker.got("CLOSE_PRODUCER").length, 3, "closed before it is opened again");
  const firsts = [...new Set(broker.texts)];
  assert.deepEqual(firsts, texts("a", 6));
});

test("pulsar producer: a terminated topic refuses all that waits and all that comes", async (t) => {
  const broker = new ScriptedBroker();
  broker.script.SEND = ({ producerId, sequenceId }, { reply }) =>
    reply("SEND_ERROR", {
      producerId,
      sequenceId,
      error: SERVER_ERROR.TopicTerminatedError,
      message: "ended",
    });
  const { sink } = openSink(t, broker.url, { transport: network(broker), batchMaxMessages: 2 });
  const delivery = new RecordingDelivery();
  sendTexts(sink, delivery, texts("a", 5));
  await until(() => sink.pending === 0, "the refusals");
  sendTexts(sink, delivery, ["b"], 5);
  await until(() => sink.pending === 0, "one more");
  assert.deepEqual(delivery.refusals.map(({ ordinal }) => ordinal), [0, 1, 2, 3, 4, 5]);
  assert.ok(delivery.refusals.every(({ error }) => error.code === "PULSAR_TOPIC_TERMINATED"));
});

test("pulsar producer: a broker with a smaller limit gets smaller batches; what alone is too large is refused", async (t) => {
  const broker = new ScriptedBroker();
  broker.maxMessageSize = 4000;
  const { sink } = openSink(t, broker.url, { transport: network(broker), chunking: false });
  const delivery = new RecordingDelivery();
  const sizes = [1000, 1000, 1000, 1000, 5000, 1000, 10, 3500, 10];
  sendTexts(sink, delivery, sizes.map((size, index) => String(index).repeat(size)));
  await until(() => sink.pending === 0, "receipts and a refusal");
  assert.deepEqual(delivery.refusals.map(({ ordinal, error }) => [ordinal, error.code]), [[
    4,
    "MESSAGE_TOO_LARGE",
  ]]);
  assert.match(delivery.refusals[0]!.error.message, /a message of 50\d\d bytes .* limit of 4000/);
  assert.equal(delivery.acks.size, 8);
  assert.deepEqual(broker.texts.map((text) => text[0]), ["0", "1", "2", "3", "5", "6", "7", "8"]);
  for (const { frame } of broker.sends) assert.ok(frame.length <= 4000 + 60);
  assert.ok(broker.sends.length < 8, "still batches");
});

test("pulsar producer: an unanswered PRODUCER is closed before the next attempt", async (t) => {
  const broker = new ScriptedBroker();
  const clock = new FakeClock();
  let isDeaf = true;
  broker.script.PRODUCER = (_, __, usual) => isDeaf || usual();
  const { sink, notes } = openSink(t, broker.url, { transport: network(broker), clock });
  sendTexts(sink, new RecordingDelivery(), ["a"]);
  await until(() => broker.got("PRODUCER").length === 1, "the request");
  await clock.advance(29_900);
  assert.equal(notes.reconnecting.length, 0);
  isDeaf = false;
  await clock.advanceUntil(() => sink.pending === 0, 10_000);
  const names = broker.commands.map(({ command }) => command.name);
  assert.deepEqual(names.filter((name) => name.includes("PRODUCER")), [
    "PRODUCER",
    "CLOSE_PRODUCER",
    "PRODUCER",
  ]);
  assert.match(notes.reconnecting[0]!.error.message, /did not answer PRODUCER within 30000 ms/);
});

test("pulsar producer: access that is granted late is waited for without limit", async (t) => {
  const broker = new ScriptedBroker();
  const clock = new FakeClock();
  let grant: (() => void) | undefined;
  broker.script.PRODUCER = ({ requestId }, { reply }) => {
    reply("PRODUCER_SUCCESS", { requestId, producerName: "n", producerReady: false });
    grant = () => reply("PRODUCER_SUCCESS", { requestId, producerName: "n" });
  };
  const { sink, notes } = openSink(t, broker.url, { transport: network(broker), clock });
  sendTexts(sink, new RecordingDelivery(), ["a"]);
  await until(() => grant !== undefined, "the request");
  for (let second = 0; second < 100; second++) await clock.advance(1000); // PINGs are answered meanwhile
  assert.equal(broker.sends.length, 0);
  grant!();
  await clock.advanceUntil(() => sink.pending === 0, 1000);
  assert.equal(notes.reconnecting.length, 0);
});

test("pulsar producer: a topic that migrates is looked up at its new cluster", async (t) => {
  const [one, two] = [new ScriptedBroker(), new ScriptedBroker("pulsar://two:6650")];
  one.script.SEND = ({ producerId }, { reply }) => {
    reply("TOPIC_MIGRATED", { resourceId: producerId, resourceType: 0, brokerServiceUrl: two.url });
    reply("CLOSE_PRODUCER", { producerId, requestId: -1 });
  };
  const { sink } = openSink(t, one.url, { transport: network(one, two) });
  sendTexts(sink, new RecordingDelivery(), ["a"]);
  await until(() => sink.pending === 0, "the receipt");
  assert.deepEqual(two.texts, ["a"]);
});
