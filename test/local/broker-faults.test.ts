import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { test, type TestContext } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import {
  type BrokerFault,
  type LocalBroker,
  type LocalBrokerOptions,
  startLocalBroker,
} from "../../src/local/mod.ts";
import { serverErrorName } from "../../src/pulsar/wire/server-error.ts";
import { type RawClient, rawClient, rawConnection, sendFrame } from "./raw-client.ts";

async function start(t: TestContext, options: LocalBrokerOptions = {}): Promise<LocalBroker> {
  const broker = await startLocalBroker(options);
  t.after(() => broker.close());
  return broker;
}

async function producing(t: TestContext, broker: LocalBroker): Promise<RawClient> {
  const client = await rawClient(broker.url);
  t.after(() => client.close());
  await client.producer("a");
  return client;
}

const texts = (broker: LocalBroker) => broker.messages("a").map((one) => String(one.data));

test("local broker faults: the n-th command and as many as wanted are hit, others not", async (t) => {
  const broker = await start(t);
  const client = await producing(t, broker);
  const elsewhere = broker.inject({ command: "SEND", topic: "b", error: "MetadataError" });
  const fault = broker.inject({ command: "SEND", topic: "a", nth: 2, times: 2, error: "NotAllowedError" });
  const answers = [];
  for (let i = 0; i < 5; i++) {
    client.write(sendFrame(i, [`m${i}`]));
    const answer = await client.next();
    answers.push(answer?.name === "SEND_ERROR" ? serverErrorName(answer.error) : answer?.name);
  }
  const ok = "SEND_RECEIPT";
  assert.deepEqual(answers, [ok, "NotAllowedError", "NotAllowedError", ok, ok]);
  assert.deepEqual(texts(broker), ["m0", "m3", "m4"]);
  assert.deepEqual([fault.hits, elsewhere.hits], [2, 0]);
});

test("local broker faults: a dropped connection loses the message, or only its receipt", async (t) => {
  for (const applied of [false, true]) {
    const broker = await start(t);
    const client = await producing(t, broker);
    broker.inject({ command: "SEND", drop: true, applied });
    client.write(sendFrame(0, ["m"]));
    assert.equal(await client.next(), undefined);
    assert.equal(broker.stats("a").messages, applied ? 1 : 0);
    assert.deepEqual(broker.stats("a").producers, []);
  }
});

test("local broker faults: an answer is cut in its middle", async (t) => {
  const broker = await start(t);
  const client = await producing(t, broker);
  const before = client.received.length;
  broker.inject({ command: "SEND", drop: true, afterBytes: 7 });
  client.write(Buffer.concat([sendFrame(0, ["m"]), sendFrame(1, ["n"])]));
  assert.equal(await client.next(), undefined);
  assert.equal(client.received.length - before, 7, "nothing behind it either");
  assert.deepEqual(texts(broker), ["m", "n"]);
});

test("local broker faults: a connection is cut in the middle of a frame that it sends", async (t) => {
  const broker = await start(t);
  const client = await producing(t, broker);
  const frame = sendFrame(0, ["m0"]);
  broker.cutAfterReceiving(frame.length + 20);
  client.write(frame);
  client.write(sendFrame(1, ["m1"]));
  await client.expect("SEND_RECEIPT");
  assert.equal(await client.next(), undefined);
  assert.deepEqual(texts(broker), ["m0"]);
  await producing(t, broker); // once only
});

test("local broker faults: receipts are withheld or late, and late ones keep their order", async (t) => {
  const broker = await start(t);
  const client = await producing(t, broker);
  broker.inject({ command: "SEND", hang: true, applied: true });
  broker.inject({ command: "SEND", delayMs: 30 });
  const started = performance.now();
  for (let i = 0; i < 4; i++) client.write(sendFrame(i, [`m${i}`]));
  client.send("PING", {});
  await client.expect("PONG"); // before what is late
  const ids = [];
  for (let i = 0; i < 3; i++) ids.push((await client.expect("SEND_RECEIPT")).sequenceId);
  assert.deepEqual(ids, [1, 2, 3]);
  assert.ok(performance.now() - started >= 29);
  assert.deepEqual(texts(broker), ["m0", "m1", "m2", "m3"]);
});

test("local broker faults: connections and producers are refused with a code", async (t) => {
  const broker = await start(t);
  broker.inject({ command: "CONNECT", error: "AuthenticationError", message: "who are you?" });
  const refused = rawConnection(broker.url);
  t.after(() => refused.close());
  refused.send("CONNECT", { clientVersion: "raw" });
  const error = await refused.expect("ERROR");
  assert.deepEqual([serverErrorName(error.error), error.message, error.requestId], [
    "AuthenticationError",
    "who are you?",
    -1,
  ]);
  assert.equal(await refused.next(), undefined);
  const client = await rawClient(broker.url);
  t.after(() => client.close());
  broker.inject({ command: "PRODUCER", topic: "a", error: "AuthorizationError" });
  client.send("PRODUCER", { topic: "persistent://public/default/a", producerId: 1, requestId: 1 });
  assert.equal(serverErrorName((await client.expect("ERROR")).error), "AuthorizationError");
  for (const command of ["LOOKUP", "PARTITIONED_METADATA"] as const) {
    broker.inject({ command, error: "ServiceNotReady" });
    client.send(command, { topic: "a", requestId: 2 });
    const answer = await client.next();
    assert.equal(serverErrorName((answer as { error?: number }).error), "ServiceNotReady");
  }
});

test("local broker faults: a lookup is redirected", async (t) => {
  const broker = await start(t);
  const client = await producing(t, broker);
  broker.inject({ command: "LOOKUP", redirectTo: "pulsar://127.0.0.1:1" });
  client.send("LOOKUP", { topic: "a", requestId: 1 });
  const answer = await client.expect("LOOKUP_RESPONSE");
  assert.deepEqual([answer.response, answer.brokerServiceUrl, answer.authoritative], [
    0,
    "pulsar://127.0.0.1:1",
    true,
  ]);
});

test("local broker faults: producers are closed, by hand and in answer to a message", async (t) => {
  const broker = await start(t);
  const client = await producing(t, broker);
  broker.unload("a", "pulsar://127.0.0.1:2");
  const closed = await client.expect("CLOSE_PRODUCER");
  assert.deepEqual([closed.producerId, closed.assignedBrokerServiceUrl], [1, "pulsar://127.0.0.1:2"]);
  client.write(sendFrame(0, ["lost: sent before the client knew"]));
  await client.producer("a");
  broker.inject({ command: "SEND", closeProducer: true });
  client.write(sendFrame(1, ["m1"]));
  await client.expect("CLOSE_PRODUCER");
  assert.deepEqual(texts(broker), []);
});

test("local broker faults: bytes that are no frame", async (t) => {
  const broker = await start(t);
  const client = await producing(t, broker);
  broker.inject({ command: "SEND", garbage: true });
  client.write(sendFrame(0, ["m"]));
  assert.equal(await client.next(), undefined); // the raw client closes
  assert.match(client.received.toString("latin1"), /this is no frame/);
});

test("local broker faults: a broker that does not read makes its clients wait", async (t) => {
  const broker = await start(t);
  const client = await producing(t, broker);
  broker.stopReading();
  client.write(sendFrame(0, ["m0"]));
  await delay(30);
  assert.equal(broker.calls("SEND"), 0);
  broker.startReading();
  await client.expect("SEND_RECEIPT");
});

test("local broker faults: a restart keeps the port and what was stored", async (t) => {
  const broker = await start(t);
  const client = await producing(t, broker);
  client.write(sendFrame(0, ["m0"]));
  await client.expect("SEND_RECEIPT");
  const { url } = broker;
  await broker.close();
  assert.equal(await client.next(), undefined);
  const refused = rawConnection(url);
  t.after(() => refused.close());
  assert.equal(await refused.next(), undefined);
  await broker.reopen();
  assert.equal(broker.url, url);
  await producing(t, broker);
  assert.deepEqual(texts(broker), ["m0"]);
});

test("local broker faults: a fault that contradicts itself is refused", async (t) => {
  const broker = await start(t);
  const wrong: [BrokerFault, RegExp][] = [
    [{ command: "SEND" }, /has no effect/],
    [{ command: "SEND", drop: true, hang: true }, /drop and hang exclude/],
    [{ command: "PRODUCER", closeProducer: true }, /closeProducer is for command SEND/],
    [{ command: "SEND", redirectTo: "pulsar://x" }, /redirectTo is for command LOOKUP/],
    [{ command: "SEND", hang: true, afterBytes: 1 }, /afterBytes goes with drop/],
    [{ command: "SEND", drop: true, nth: 0 }, /at least 1/],
  ];
  for (const [fault, words] of wrong) assert.throws(() => broker.inject(fault), words);
});

test("local broker faults: a client that has fallen silent is cut", async (t) => {
  const broker = await start(t, { keepAliveMs: 40 });
  const client = await rawClient(broker.url);
  t.after(() => client.close());
  await client.expect("PING");
  client.send("PONG", {});
  await client.expect("PING");
  assert.equal(await client.next(), undefined);
});

test("local broker faults: a topic's own limit refuses what its broker would take, until it is raised", async (t) => {
  const broker = await start(t, { deduplication: true });
  const client = await producing(t, broker);
  broker.setMaxMessageSize("a", 300);
  const answers = [];
  for (const [id, size] of [[0, 400], [1, 100], [2, 400]] as const) {
    client.write(sendFrame(id, ["m".repeat(size)]));
    answers.push((await client.next())?.name);
  }
  broker.setMaxMessageSize("a");
  client.write(sendFrame(2, ["m".repeat(400)]));
  answers.push((await client.next())?.name);
  assert.deepEqual(answers, ["SEND_ERROR", "SEND_RECEIPT", "SEND_ERROR", "SEND_RECEIPT"]);
  assert.deepEqual(texts(broker).map((text) => text.length), [100, 400]);
});
