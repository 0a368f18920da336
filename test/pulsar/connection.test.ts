// Connections: handshake, keepalive, several hosts, redirects, proxies, garbage, sockets that do not read.

import { test } from "node:test";
import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { FakeClock, settle } from "../fakes.ts";
import { encodeCommand } from "../../src/pulsar/wire/frames.ts";
import { SERVER_ERROR } from "../../src/pulsar/wire/server-error.ts";
import { createServer } from "node:net";
import { NEVER, openSink, RecordingDelivery, sendTexts, texts, until } from "./sink-harness.ts";
import { listeningBroker, network, ScriptedBroker } from "./scripted-broker.ts";

test("pulsar connection: says who we are and what we can", async (t) => {
  const broker = new ScriptedBroker();
  const { sink } = openSink(t, broker.url, { transport: network(broker) });
  sendTexts(sink, new RecordingDelivery(), ["a"]);
  await until(() => sink.pending === 0, "the receipt");
  const [connect] = broker.got("CONNECT");
  assert.equal(connect?.clientVersion, "kinesis-pulsar/test");
  assert.deepEqual([connect?.protocolVersion, connect?.authMethodName, connect?.authData], [
    20,
    "none",
    undefined,
  ]);
  assert.equal(connect?.featureFlags?.supportsAuthRefresh, true);
});

test("pulsar connection: credentials that a broker does not accept are fatal, said once", async (t) => {
  const broker = new ScriptedBroker();
  broker.script.CONNECT = (_, { reply }) =>
    reply("ERROR", {
      requestId: -1,
      error: SERVER_ERROR.AuthenticationError,
      message: "Failed to authenticate",
    });
  const auth = {
    method: "token",
    source: "pulsar.auth.token",
    authData: () => Promise.resolve(Buffer.from("secret")),
  };
  const { sink, notes } = openSink(t, broker.url, { transport: network(broker), auth });
  const delivery = new RecordingDelivery();
  sendTexts(sink, delivery, ["a"], 0, "one");
  sendTexts(sink, delivery, ["b"], 1, "two");
  await until(() => notes.fatal.length > 0, "the end");
  await settle();
  assert.deepEqual(notes.fatal.map(({ code, retryable }) => [code, retryable]), [[
    "PULSAR_NOT_AUTHORIZED",
    false,
  ]]);
  assert.match(
    notes.fatal[0]!.message,
    /AuthenticationError to CONNECT: Failed to authenticate\. Check \[pulsar\]\.auth/,
  );
  assert.doesNotMatch(JSON.stringify(notes.fatal), /secret/);
  assert.deepEqual([delivery.refusals.length, notes.reconnecting.length], [0, 0]);
  assert.equal(broker.got("CONNECT")[0]?.authData?.toString(), "secret");
});

test("pulsar connection: a challenge is answered with fresh credentials, also behind unsent frames", async (t) => {
  const broker = new ScriptedBroker();
  let asked = 0;
  const auth = {
    method: "token",
    source: "pulsar.auth.token",
    authData: () => Promise.resolve(Buffer.from(`token ${++asked}`)),
  };
  const { sink } = openSink(t, broker.url, { transport: network(broker), auth });
  sendTexts(sink, new RecordingDelivery(), ["a"]);
  await until(() => sink.pending === 0, "the receipt");
  broker.connections[0]!.reply("AUTH_CHALLENGE", {
    challenge: { authMethodName: "token", authData: Buffer.of() },
  });
  await until(() => broker.got("AUTH_RESPONSE").length === 1, "the answer");
  const { response } = broker.got("AUTH_RESPONSE")[0]!;
  assert.equal(Buffer.from(response!.authData!).toString(), "token 2");
});

test("pulsar connection: a challenge makes a cache let go of what the broker calls ended", async (t) => {
  const broker = new ScriptedBroker();
  let fetched = 1;
  const auth = {
    method: "token",
    source: "an issuer",
    authData: () => Promise.resolve(Buffer.from(`token ${fetched}`)),
    refused: () => void fetched++,
  };
  const { sink } = openSink(t, broker.url, { transport: network(broker), auth });
  sendTexts(sink, new RecordingDelivery(), ["a"]);
  await until(() => sink.pending === 0, "the receipt");
  const challenge = { authMethodName: "token", authData: Buffer.of() };
  for (const count of [1, 2]) {
    broker.connections[0]!.reply("AUTH_CHALLENGE", { challenge });
    await until(() => broker.got("AUTH_RESPONSE").length === count, "the answer");
  }
  const answers = broker.got("AUTH_RESPONSE").map(({ response }) =>
    Buffer.from(response!.authData!).toString()
  );
  assert.deepEqual(answers, ["token 2", "token 3"]);
});

test("pulsar connection: nobody listens at start: tried again with growing delays and told, then all goes", async (t) => {
  const broker = new ScriptedBroker();
  broker.down = true;
  const { sink, notes } = openSink(t, broker.url, { transport: network(broker) });
  const delivery = new RecordingDelivery();
  sendTexts(sink, delivery, texts("a", 3));
  await until(() => notes.reconnecting.length === 4, "four attempts");
  assert.deepEqual(notes.reconnecting.map(({ delayMs }) => delayMs), [5, 10, 20, 40]);
  const { error, topic } = notes.reconnecting[0]!;
  assert.deepEqual([error.code, topic], ["PULSAR_UNREACHABLE", "persistent://public/default/t"]);
  assert.match(error.message, /cannot connect to the broker one:6650: connect ECONNREFUSED/);
  broker.down = false;
  await until(() => sink.pending === 0, "the receipts");
  assert.equal(delivery.acks.size, 3);
});

test("pulsar connection: of several hosts the one that answers is used; if none does, all are named", async (t) => {
  const [one, two] = [new ScriptedBroker(), new ScriptedBroker("pulsar://two:7000")];
  one.down = two.down = true;
  const clock = new FakeClock({ random: () => 0 });
  const url = "pulsar://one,two:7000";
  const { sink, notes } = openSink(t, url, { transport: network(one, two), clock, batchMaxDelayMs: 1 });
  sendTexts(sink, new RecordingDelivery(), ["a"]);
  await until(() => notes.reconnecting.length === 1, "the first round");
  assert.match(
    notes.reconnecting[0]!.error.message,
    /no host of pulsar:\/\/one,two:7000 answers: .*one:6650.*two:7000/,
  );
  two.down = false;
  await clock.advanceUntil(() => sink.pending === 0, 1000, 1);
  assert.deepEqual(two.texts, ["a"]);
});

test("pulsar connection: lookups follow redirects, through a proxy too", async (t) => {
  const [one, two] = [new ScriptedBroker(), new ScriptedBroker("pulsar://two:6650")];
  one.script.LOOKUP = ({ requestId }, { reply }) =>
    reply("LOOKUP_RESPONSE", { requestId, response: 0, brokerServiceUrl: two.url, authoritative: true });
  two.script.LOOKUP = ({ requestId, authoritative }, { reply }) => {
    assert.equal(authoritative, true);
    const proxyThroughServiceUrl = true;
    reply("LOOKUP_RESPONSE", {
      requestId,
      response: 1,
      brokerServiceUrl: "pulsar://hidden:1",
      proxyThroughServiceUrl,
    });
  };
  const { sink } = openSink(t, one.url, { transport: network(one, two) });
  sendTexts(sink, new RecordingDelivery(), ["a"]);
  await until(() => sink.pending === 0, "the receipt");
  assert.deepEqual(two.got("CONNECT").map(({ proxyToBrokerUrl }) => proxyToBrokerUrl), [
    undefined,
    "hidden:1",
  ]);
  assert.equal(two.sends[0]?.connection, 1);
});

test("pulsar connection: redirects in a circle end after 20, and are tried again", async (t) => {
  const broker = new ScriptedBroker();
  let isCircle = true;
  broker.script.LOOKUP = ({ requestId }, { reply }, usual) => {
    if (isCircle) reply("LOOKUP_RESPONSE", { requestId, response: 0, brokerServiceUrl: broker.url });
    else usual();
  };
  const { sink, notes } = openSink(t, broker.url, { transport: network(broker) });
  sendTexts(sink, new RecordingDelivery(), ["a"]);
  await until(() => notes.reconnecting.length === 1, "the complaint");
  assert.equal(broker.got("LOOKUP").length, 21);
  assert.match(notes.reconnecting[0]!.error.message, /20 redirects/);
  isCircle = false;
  await until(() => sink.pending === 0, "the receipt");
});

test("pulsar connection: two silent keepalive intervals are a lost connection; any command is a sign of life", async (t) => {
  const broker = new ScriptedBroker();
  const clock = new FakeClock();
  const { sink, notes } = openSink(t, broker.url, { transport: network(broker), clock });
  const delivery = new RecordingDelivery();
  sendTexts(sink, delivery, ["a"]);
  await clock.advanceUntil(() => sink.pending === 0, 1000, 1);
  for (let second = 0; second < 100; second++) await clock.advance(1000);
  assert.equal(broker.got("PING").length, 3);
  assert.equal(notes.reconnecting.length, 0);
  broker.script.PING = () => {}; // the peer is gone without a word
  broker.script.SEND = () => {};
  sendTexts(sink, delivery, ["b"], 1);
  for (let second = 0; second < 19; second++) await clock.advance(1000);
  assert.equal(notes.reconnecting.length, 0);
  broker.connections[0]!.reply("SUCCESS", { requestId: 12345 }); // for nobody, but alive
  await settle();
  for (let second = 0; second < 30; second++) await clock.advance(1000);
  assert.equal(notes.reconnecting.length, 0, "149 s: one ping open");
  delete broker.script.SEND;
  await clock.advanceUntil(() => sink.pending === 0, 60_000, 1000);
  assert.match(
    notes.reconnecting[0]!.error.message,
    /lost the broker one:6650: it did not answer for 30000 ms/,
  );
  assert.equal(delivery.acks.get(1), 1);
});

test("pulsar connection: PING is answered while the socket takes no more frames", async (t) => {
  const broker = new ScriptedBroker();
  const { sink } = openSink(t, broker.url, { transport: network(broker), batchMaxMessages: 1 });
  const delivery = new RecordingDelivery();
  sendTexts(sink, delivery, ["a"]);
  await until(() => sink.pending === 0, "the producer is open");
  broker.holdWrites = true;
  sendTexts(sink, delivery, texts("b", 5), 1);
  broker.connections[0]!.reply("PING", {});
  await settle();
  await settle();
  broker.releaseWrites();
  await until(() => sink.pending === 0, "the receipts");
  const order = broker.commands.map(({ command }) => command.name).slice(-6);
  assert.deepEqual(order, ["SEND", "PONG", "SEND", "SEND", "SEND", "SEND"]);
});

test("pulsar connection: what is no Pulsar broker at all ends the connector with words", async (t) => {
  const server = createServer((socket) => {
    socket.on("error", () => {});
    socket.end("HTTP/1.1 400 Bad Request\r\n\r\n");
  });
  t.after(() => server.close());
  const port = await new Promise<number>((resolve) =>
    server.listen(0, "127.0.0.1", () => resolve((server.address() as { port: number }).port))
  );
  const { sink, notes } = openSink(t, `pulsar://127.0.0.1:${port}`);
  sendTexts(sink, new RecordingDelivery(), ["a"]);
  await until(() => notes.fatal.length > 0, "the end");
  assert.equal(notes.fatal[0]!.code, "PULSAR_PROTOCOL");
  assert.match(notes.fatal[0]!.message, /is no Pulsar broker \(is this the port of its binary protocol/);
});

test("pulsar connection: garbage in the middle of a connection makes it start anew", async (t) => {
  const broker = await listeningBroker(t);
  const { sink, notes } = openSink(t, broker.url);
  const delivery = new RecordingDelivery();
  let isBroken = true;
  broker.script.SEND = (_, { raw }, usual) => {
    if (!isBroken) return usual();
    isBroken = false;
    raw(Buffer.from("00000003ffff", "hex"));
  };
  sendTexts(sink, delivery, texts("a", 3));
  await until(() => sink.pending === 0, "the receipts");
  assert.equal(notes.reconnecting[0]?.error.code, "PULSAR_PROTOCOL");
  assert.equal(notes.fatal.length, 0);
  assert.equal(delivery.acks.size, 3);
});

test("pulsar connection: receipts that come in pieces, unknown commands between them", async (t) => {
  const broker = await listeningBroker(t);
  const { sink, notes } = openSink(t, broker.url, { batchMaxMessages: 1 });
  const delivery = new RecordingDelivery();
  broker.script.SEND = ({ producerId, sequenceId }, { raw }) => {
    const unknown = Buffer.from("000000090000000508649a0100", "hex");
    const receipt = encodeCommand("SEND_RECEIPT", { producerId, sequenceId });
    for (const byte of Buffer.concat([unknown, receipt])) raw(Buffer.of(byte));
  };
  sendTexts(sink, delivery, texts("a", 4));
  await until(() => sink.pending === 0, "the receipts");
  assert.deepEqual([delivery.acks.size, notes.reconnecting.length], [4, 0]);
});

test("pulsar connection: a broker that does not read stops reserve(), not the process; then all arrives", async (t) => {
  const broker = await listeningBroker(t);
  const { sink } = openSink(t, broker.url, { maxPendingMessages: 50, batchMaxMessages: 5 });
  const delivery = new RecordingDelivery();
  const data = Buffer.alloc(100_000);
  sink.reserve(1, NEVER);
  sink.send({ topic: "t", data }, delivery, 0);
  await until(() => sink.pending === 0, "the producer is open");
  broker.connections[0]!.reading(false);
  let sent = 1;
  const sending = (async () => {
    for (; sent < 200; sent++) {
      const room = sink.reserve(1, NEVER);
      if (room !== true) await room;
      sink.send({ topic: "t", data }, delivery, sent);
    }
  })();
  await until(() => sink.pending === 50, "no more room");
  await settle();
  assert.equal(sent, 51);
  broker.connections[0]!.reading(true);
  await sending;
  await until(() => sink.pending === 0, "the receipts");
  assert.equal(delivery.acks.size, 200);
});

test("pulsar connection: close() says goodbye, gives up what is open and leaves no timer behind", async () => {
  const broker = new ScriptedBroker();
  const clock = new FakeClock();
  const { createBuiltinSink } = await import("../../src/pulsar/builtin.ts");
  const events = { fatal: () => assert.fail("fatal") };
  const sink = createBuiltinSink({
    serviceUrl: broker.url,
    clock,
    events,
    clientVersion: "x",
    transport: network(broker),
    maxPendingMessages: 2,
  });
  const delivery = new RecordingDelivery();
  sendTexts(sink, delivery, ["a"]);
  await clock.advanceUntil(() => sink.pending === 0, 1000, 1);
  sendTexts(sink, delivery, ["never", "sent"], 1);
  const room = sink.reserve(1, NEVER);
  await sink.close();
  assert.equal(await room, false);
  assert.equal(broker.got("CLOSE_PRODUCER").length, 1);
  assert.deepEqual(broker.texts, ["a"]);
  assert.deepEqual([sink.pending, delivery.acks.size, delivery.refusals.length], [0, 1, 0]);
  await settle();
  assert.equal(clock.sleeping, 0);
});

test("pulsar connection: open() tells at the start what is wrong with a topic, in one attempt", async (t) => {
  const broker = new ScriptedBroker();
  const { sink, notes } = openSink(t, broker.url, { transport: network(broker) });
  broker.down = true;
  await assert.rejects(sink.open("t", NEVER), { code: "PULSAR_UNREACHABLE", retryable: true });
  broker.down = false;
  await assert.rejects(sink.open("a/b", NEVER), { code: "PULSAR_REFUSED" });
  await sink.open("t", NEVER);
  await sink.open("persistent://public/default/t", NEVER);
  assert.equal(broker.got("PRODUCER").length, 1);
  assert.deepEqual(notes.reconnecting, [], "the caller tells");
  broker.script.PRODUCER = ({ requestId }, { reply }) =>
    reply("ERROR", { requestId, error: SERVER_ERROR.AuthorizationError, message: "no" });
  await assert.rejects(sink.open("forbidden", NEVER), { code: "PULSAR_NOT_AUTHORIZED", retryable: false });
  broker.script.PRODUCER = ({ requestId }, { reply }) =>
    reply("ERROR", { requestId, error: SERVER_ERROR.ServiceNotReady, message: "wait" });
  await assert.rejects(sink.open("slow", NEVER), { code: "PULSAR_UNAVAILABLE" });
  delete broker.script.PRODUCER;
  await sink.open("slow", NEVER);
  const delivery = new RecordingDelivery();
  sendTexts(sink, delivery, ["a"], 0, "slow");
  await until(() => sink.pending === 0, "the receipt");
  const abort = new AbortController();
  broker.script.PARTITIONED_METADATA = () => abort.abort(new Error("stopped"));
  await assert.rejects(sink.open("never", abort.signal), /stopped/);
});

test("pulsar connection: messages that were sent before open() keep their place", async (t) => {
  const broker = new ScriptedBroker();
  const answers: (() => void)[] = [];
  broker.script.PARTITIONED_METADATA = (_, __, usual) => void answers.push(usual);
  const { sink } = openSink(t, broker.url, { transport: network(broker) });
  const delivery = new RecordingDelivery();
  sendTexts(sink, delivery, ["a"]);
  await until(() => answers.length === 1, "the first question");
  const opening = sink.open("t", NEVER);
  await until(() => answers.length === 2, "the second");
  answers[1]!(); // overtakes
  await opening;
  sendTexts(sink, delivery, ["b"], 1);
  answers[0]!();
  sendTexts(sink, delivery, ["c"], 2);
  await until(() => sink.pending === 0, "the receipts");
  assert.deepEqual(broker.texts, ["a", "b", "c"]);
});

test("pulsar connection: a stranger who answers in a broker's place later on is waited out", async (t) => {
  const broker = new ScriptedBroker();
  const { sink, notes } = openSink(t, broker.url, { transport: network(broker) });
  const delivery = new RecordingDelivery();
  sendTexts(sink, delivery, ["a"]);
  await until(() => sink.pending === 0, "the receipt");
  let isStrange = true;
  broker.script.CONNECT = (_, { raw }, usual) => isStrange ? raw(Buffer.from("HTTP/1.1 503 no")) : usual();
  broker.connections[0]!.cut();
  await until(() => notes.reconnecting.length >= 2, "the complaint");
  isStrange = false;
  sendTexts(sink, delivery, ["b"], 1);
  await until(() => sink.pending === 0, "the receipt");
  assert.equal(notes.reconnecting[1]?.error.code, "PULSAR_PROTOCOL");
  assert.equal(notes.fatal.length, 0);
});
