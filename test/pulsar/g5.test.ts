// One owner (G5): what the producer does about parties that lost their lease.

import { test } from "node:test";
import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { NEVER, openSink, RecordingDelivery, sendTexts, texts, until } from "./sink-harness.ts";
import { network, ScriptedBroker } from "./scripted-broker.ts";
import { settle } from "../fakes.ts";

test("pulsar G5: nothing is given to a socket with unsent bytes, and each party is asked right before", async (t) => {
  const broker = new ScriptedBroker();
  const { sink } = openSink(t, broker.url, { transport: network(broker), batchMaxMessages: 1 });
  const [lost, kept] = [new RecordingDelivery(), new RecordingDelivery()];
  sendTexts(sink, kept, ["first"]);
  await until(() => sink.pending === 0, "the producer is open");
  broker.holdWrites = true;
  sendTexts(sink, lost, ["given to the socket"]);
  sendTexts(sink, lost, ["waits"], 1);
  sendTexts(sink, kept, ["waits too"], 1);
  const asked = lost.asked;
  assert.ok(asked > 0);
  await settle();
  assert.equal(lost.asked, asked, "not asked while bytes are unsent");
  lost.alive = false;
  broker.releaseWrites();
  await until(() => sink.pending === 0, "the receipts");
  assert.deepEqual(broker.texts, ["first", "given to the socket", "waits too"]);
  assert.deepEqual([...lost.acks.keys()], [0], "the socket had it already");
  assert.deepEqual([...kept.acks.keys()], [0, 1]);
});

test("pulsar G5: a batch of several parties is rebuilt without the one that lost its lease", async (t) => {
  const broker = new ScriptedBroker();
  const { sink } = openSink(t, broker.url, { transport: network(broker), batchMaxDelayMs: 1 });
  const [lost, kept] = [new RecordingDelivery(), new RecordingDelivery()];
  for (let round = 0; round < 3; round++) {
    sendTexts(sink, lost, [`lost${round}`], round);
    sendTexts(sink, kept, [`kept${round}`], round);
  }
  lost.alive = false;
  await until(() => sink.pending === 0, "the receipt; permits are back");
  assert.deepEqual(broker.texts, ["kept0", "kept1", "kept2"]);
  assert.deepEqual(broker.sends[0]!.messages.map(({ sequenceId }) => sequenceId), [1, 3, 5]);
  assert.deepEqual(broker.sends[0]!.command.sequenceId, 1);
  assert.deepEqual([...kept.acks.keys()], [0, 1, 2]);
  assert.equal(lost.acks.size, 0);
});

test("pulsar G5: after a reconnect frames of lost leases are not sent again, shared ones rebuilt, others identical", async (t) => {
  const broker = new ScriptedBroker();
  broker.script.SEND = ({ producerId }, { index }, usual) => {
    if (index > 0) usual();
    assert.equal(producerId, 0);
  };
  const { sink } = openSink(t, broker.url, { transport: network(broker), batchMaxMessages: 2 });
  const [lost, kept] = [new RecordingDelivery(), new RecordingDelivery()];
  sendTexts(sink, kept, ["k0", "k1"], 0);
  sendTexts(sink, lost, ["l0"], 0);
  sendTexts(sink, kept, ["k2"], 2);
  sendTexts(sink, lost, ["l1", "l2"], 1);
  await until(() => broker.sends.length === 3, "three frames without receipt");
  lost.alive = false;
  broker.connections[0]!.cut();
  await until(() => sink.pending === 0, "the receipts");
  const again = broker.sends.filter(({ connection }) => connection === 1);
  assert.deepEqual(again[0]!.frame, broker.sends[0]!.frame);
  assert.deepEqual(again.slice(1).map(({ messages }) => messages.map(({ data }) => data.toString())), [[
    "k2",
  ]]);
  assert.deepEqual(again[1]!.command.sequenceId, 3);
  assert.deepEqual([...kept.acks], [[0, 1], [1, 1], [2, 1]]);
  assert.equal(lost.acks.size, 0);
});

test("pulsar G5: drop() takes messages out of open batches, waiting frames and unresolved topics, and gives room back", async (t) => {
  const broker = new ScriptedBroker();
  broker.down = true;
  const { sink } = openSink(t, broker.url, {
    transport: network(broker),
    batchMaxMessages: 4,
    maxPendingMessages: 9,
  });
  const [lost, kept] = [new RecordingDelivery(), new RecordingDelivery()];
  sendTexts(sink, lost, texts("l", 2));
  sendTexts(sink, kept, texts("k", 1));
  sink.drop(lost); // the topic is not resolved
  assert.equal(sink.pending, 1);
  broker.down = false;
  broker.script.PRODUCER = () => {}; // resolved, but no producer yet
  await until(() => broker.got("PRODUCER").length === 1, "the topic is resolved");
  sendTexts(sink, lost, texts("m", 3), 2);
  sendTexts(sink, kept, texts("n", 2), 1);
  sendTexts(sink, lost, texts("o", 3), 5);
  const room = sink.reserve(1, NEVER);
  assert.notEqual(room, true, "no room");
  sink.drop(lost);
  assert.equal(sink.pending, 3);
  assert.equal(await room, true);
  sink.unreserve(1);
  delete broker.script.PRODUCER;
  broker.connections.at(-1)!.cut();
  await until(() => sink.pending === 0, "the receipts");
  assert.deepEqual(broker.texts, ["k0", "n0", "n1"]);
  assert.deepEqual([lost.acks.size, lost.refusals.length], [0, 0]);
});

test("pulsar G5: what a socket already has ends silently after drop()", async (t) => {
  const broker = new ScriptedBroker();
  let isDeaf = true;
  const held: (() => void)[] = [];
  broker.script.SEND = (_, __, usual) => void (isDeaf ? held.push(usual) : usual());
  const { sink } = openSink(t, broker.url, { transport: network(broker), batchMaxMessages: 2 });
  const [lost, kept] = [new RecordingDelivery(), new RecordingDelivery()];
  sendTexts(sink, lost, ["l0"]);
  sendTexts(sink, kept, ["k0"]);
  await until(() => held.length === 1, "the frame is out");
  sink.drop(lost);
  assert.equal(sink.pending, 2, "room comes back with the receipt");
  isDeaf = false;
  for (const reply of held) reply();
  await until(() => sink.pending === 0, "the receipt");
  assert.deepEqual([lost.acks.size, kept.acks.size], [0, 1]);
  // … and is not sent again when the connection is lost instead
  isDeaf = true;
  sendTexts(sink, lost, ["l1"], 1);
  sendTexts(sink, kept, ["k1"], 1);
  await until(() => held.length === 2, "the frame is out");
  sink.drop(lost);
  isDeaf = false;
  broker.connections[0]!.cut();
  await until(() => sink.pending === 0, "the receipt");
  assert.deepEqual(broker.sends.at(-1)!.messages.map(({ data }) => data.toString()), ["k1"]);
});

test("pulsar G5: an empty frame is no frame", async (t) => {
  const broker = new ScriptedBroker();
  const { sink } = openSink(t, broker.url, { transport: network(broker), batchMaxMessages: 2 });
  const [lost, kept] = [new RecordingDelivery(), new RecordingDelivery()];
  lost.alive = false;
  sendTexts(sink, lost, texts("l", 3));
  sink.reserve(1, NEVER);
  sink.send({ topic: "t", data: Buffer.from("later"), deliverAt: 5 }, lost, 3);
  sendTexts(sink, kept, ["k"]);
  await until(() => sink.pending === 0, "all ended");
  assert.deepEqual(broker.texts, ["k"]);
});

test("pulsar G5: parties may send and drop while they are asked and told, and order holds", async (t) => {
  const broker = new ScriptedBroker();
  const { sink } = openSink(t, broker.url, { transport: network(broker), batchMaxMessages: 2 });
  const [lost, kept] = [new RecordingDelivery(), new RecordingDelivery()];
  lost.isAlive = () => {
    sink.drop(lost);
    return false;
  };
  let more = 3;
  kept.isAlive = () => {
    if (more > 0) sendTexts(sink, kept, [`m${more}`, `n${more}`], 100 + 2 * more--);
    return true;
  };
  sendTexts(sink, kept, ["a"]);
  sendTexts(sink, lost, ["l0", "l1", "l2"]);
  sendTexts(sink, kept, ["b", "c"], 1);
  await until(() => sink.pending === 0, "the receipts");
  assert.deepEqual(broker.texts, ["a", "b", "c", "m3", "n3", "m2", "n2", "m1", "n1"]);
  assert.equal(kept.acks.size, 9);
  assert.equal(lost.acks.size, 0);
});

test("pulsar G5: a party that throws when asked ends the connector, nothing hangs unsaid", async (t) => {
  const broker = new ScriptedBroker();
  const { sink, notes } = openSink(t, broker.url, { transport: network(broker) });
  const broken = new RecordingDelivery();
  broken.isAlive = () => {
    throw new TypeError("a bug");
  };
  sendTexts(sink, broken, ["a"]);
  await until(() => notes.fatal.length > 0, "the end");
  assert.deepEqual(notes.fatal.map(({ code, message }) => [code, message]), [[
    "INTERNAL",
    "unexpected error: a bug",
  ]]);
  assert.deepEqual(broker.texts, []);
});
