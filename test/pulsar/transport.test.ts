// Ways to a broker: hosts that are dead or silent, proxies, listeners, names that do not resolve, connections that
// nobody uses; and how long a refusal is waited for.

import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { createServer } from "node:net";
import { test, type TestContext } from "node:test";
import { SERVER_ERROR } from "../../src/pulsar/wire/server-error.ts";
import { systemClock } from "../../src/runtime.ts";
import { FakeClock } from "../fakes.ts";
import { listeningBroker, network, ScriptedBroker } from "./scripted-broker.ts";
import { NEVER, openSink, RecordingDelivery, sendTexts, until } from "./sink-harness.ts";

/** A host that accepts connections and says nothing; counts them. */
async function silentHost(
  t: TestContext,
): Promise<{ readonly host: string; readonly connections: () => number }> {
  let connections = 0;
  const sockets = new Set<{ destroy(): void }>();
  const server = createServer((socket) => {
    connections++;
    sockets.add(socket);
    socket.on("error", () => {});
    socket.resume();
  });
  t.after(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  const port = await new Promise<number>((resolve) => {
    server.listen(0, "127.0.0.1", () => resolve((server.address() as { port: number }).port));
  });
  return { host: `127.0.0.1:${port}`, connections: () => connections };
}

test("pulsar transport: a silent host costs its time-out once, a dead one nothing; then the good one is kept", async (t) => {
  const broker = await listeningBroker(t);
  const silent = await silentHost(t);
  const url = `pulsar://${silent.host},127.0.0.1:1,${broker.url.slice("pulsar://".length)}`;
  const { sink, notes } = openSink(t, url, { connectTimeoutMs: 300, clock: startingWith(0) });
  const delivery = new RecordingDelivery();
  const topics = ["a", "b", "c", "d"];
  topics.forEach((topic, ordinal) => sendTexts(sink, delivery, [topic], ordinal, topic));
  await until(() => sink.pending === 0, "the receipts");
  broker.connections[0]!.cut();
  topics.forEach((topic, ordinal) => sendTexts(sink, delivery, [topic], ordinal + 4, topic));
  await until(() => sink.pending === 0, "the receipts");
  assert.equal(delivery.acks.size, 8);
  assert.deepEqual([silent.connections(), notes.fatal.length], [1, 0]);
});

/** The real clock, whose dice show one number. */
function startingWith(random: number) {
  return { ...systemClock, random: () => random };
}

test("pulsar transport: a host that is silent after the connection is said to be", async (t) => {
  const silent = await silentHost(t);
  const { sink } = openSink(t, `pulsar://${silent.host}`, { connectTimeoutMs: 50 });
  await assert.rejects(sink.open("t", NEVER), {
    code: "PULSAR_UNREACHABLE",
    retryable: true,
    message: `${silent.host} accepted the connection, but did not answer CONNECT within 50 ms`,
  });
});

test("pulsar transport: a host whose lookups fail is left for the next one", async (t) => {
  const [one, two] = [new ScriptedBroker("pulsar://one:6650"), new ScriptedBroker("pulsar://two:6650")];
  one.script.LOOKUP = ({ requestId }, { reply }) =>
    reply("LOOKUP_RESPONSE", {
      requestId,
      response: 2,
      error: SERVER_ERROR.ServiceNotReady,
      message: "starting",
    });
  const { sink } = openSink(t, "pulsar://one,two", { transport: network(one, two), clock: startingWith(0) });
  sendTexts(sink, new RecordingDelivery(), ["a"]);
  await until(() => sink.pending === 0, "the receipt");
  assert.deepEqual([one.got("LOOKUP").length, two.texts], [1, ["a"]]);
});

test("pulsar transport: a name that does not resolve is said with what to check, and tried again", async (t) => {
  const { sink } = openSink(t, "pulsar://no-such-host.invalid:6650");
  await assert.rejects(sink.open("t", NEVER), {
    code: "PULSAR_UNREACHABLE",
    retryable: true,
    message:
      /^the name no-such-host\.invalid of the broker no-such-host\.invalid:6650 cannot be resolved \(E\w+\): check/,
  });
});

test("pulsar transport: an IPv6 address is dialled as it is", async (t) => {
  const broker = new ScriptedBroker("pulsar://[::1]:6650");
  const { sink } = openSink(t, "pulsar://[::1]", { transport: network(broker) });
  sendTexts(sink, new RecordingDelivery(), ["a"]);
  await until(() => sink.pending === 0, "the receipt");
  assert.deepEqual(broker.texts, ["a"]);
});

test("pulsar transport: behind a proxy an assigned broker is reached by the same proxy", async (t) => {
  const proxy = new ScriptedBroker("pulsar://proxy:6650");
  proxy.script.LOOKUP = ({ requestId }, { reply }) => {
    const brokerServiceUrl = "pulsar://hidden-1:6650";
    reply("LOOKUP_RESPONSE", { requestId, response: 1, brokerServiceUrl, proxyThroughServiceUrl: true });
  };
  const { sink, notes } = openSink(t, proxy.url, { transport: network(proxy) });
  const delivery = new RecordingDelivery();
  sendTexts(sink, delivery, ["a"]);
  await until(() => sink.pending === 0, "the receipt");
  proxy.connections[1]!.reply("CLOSE_PRODUCER", {
    producerId: proxy.got("PRODUCER")[0]!.producerId,
    requestId: 1,
    assignedBrokerServiceUrl: "pulsar://hidden-2:6650",
  });
  sendTexts(sink, delivery, ["b"], 1);
  await until(() => sink.pending === 0, "the receipt");
  assert.deepEqual(proxy.got("CONNECT").map(({ proxyToBrokerUrl }) => proxyToBrokerUrl), [
    undefined,
    "hidden-1:6650",
    "hidden-2:6650",
  ]);
  assert.deepEqual([proxy.got("LOOKUP").length, notes.fatal.length], [1, 0]);
});

test("pulsar transport: an address that is none is an error, and as an assignment looked up instead", async (t) => {
  const broker = new ScriptedBroker();
  const { sink, notes } = openSink(t, broker.url, { transport: network(broker) });
  sendTexts(sink, new RecordingDelivery(), ["a"]);
  await until(() => sink.pending === 0, "the receipt");
  const { producerId } = broker.got("PRODUCER")[0]!;
  broker.connections[0]!.reply("TOPIC_MIGRATED", {
    resourceId: producerId,
    resourceType: 0,
    brokerServiceUrl: "x",
  });
  broker.connections[0]!.reply("CLOSE_PRODUCER", {
    producerId,
    requestId: 1,
    assignedBrokerServiceUrl: "nowhere",
  });
  sendTexts(sink, new RecordingDelivery(), ["b"], 1);
  await until(() => sink.pending === 0, "the receipt");
  assert.deepEqual([broker.texts, notes.fatal], [["a", "b"], []]);
  broker.script.LOOKUP = ({ requestId }, { reply }) =>
    reply("LOOKUP_RESPONSE", { requestId, response: 1, brokerServiceUrl: "pulsar://" });
  await assert.rejects(sink.open("other", NEVER), {
    code: "PULSAR_REFUSED",
    message: /advertises "pulsar:\/\/", which is no address: correct its advertisedAddress/,
  });
});

test("pulsar transport: a listener that no broker has is named", async (t) => {
  const broker = new ScriptedBroker();
  broker.script.LOOKUP = ({ requestId, advertisedListenerName }, { reply }) =>
    reply("LOOKUP_RESPONSE", {
      requestId,
      response: 2,
      error: SERVER_ERROR.ServiceNotReady,
      message: `the broker do not have ${advertisedListenerName} listener`,
    });
  const { sink } = openSink(t, broker.url, { transport: network(broker), listenerName: "gate" });
  await assert.rejects(sink.open("t", NEVER), {
    code: "PULSAR_REFUSED",
    retryable: false,
    message:
      /^no broker advertises a listener "gate" \(.* not have gate listener\): correct pulsar\.listenerName/,
  });
});

test("pulsar transport: a connection that nobody uses is closed after three minutes", async (t) => {
  const [one, two] = [new ScriptedBroker("pulsar://one:6650"), new ScriptedBroker("pulsar://two:6650")];
  one.script.LOOKUP = ({ requestId }, { reply }) =>
    reply("LOOKUP_RESPONSE", { requestId, response: 1, brokerServiceUrl: two.url });
  const clock = new FakeClock();
  const { sink } = openSink(t, one.url, { transport: network(one, two), clock });
  const delivery = new RecordingDelivery();
  sendTexts(sink, delivery, ["a"]);
  await clock.advanceUntil(() => sink.pending === 0, 1000, 1);
  for (let minute = 0; minute < 4; minute++) await clock.advance(60_000);
  two.connections[0]!.cut();
  sendTexts(sink, delivery, ["b"], 1);
  await clock.advanceUntil(() => sink.pending === 0, 10_000, 10);
  assert.deepEqual([one.got("CONNECT").length, two.texts], [2, ["a", "b"]]);
});

test("pulsar transport: credentials that a broker took before are refused for a while, then it is fatal", async (t) => {
  const broker = new ScriptedBroker();
  const clock = new FakeClock();
  let refused = 0;
  const auth = {
    method: "token",
    source: "pulsar.auth.file (/run/token)",
    authData: () => Promise.resolve(Buffer.from("HUSH")),
    refused: () => void refused++,
  };
  const { sink, notes } = openSink(t, broker.url, { transport: network(broker), clock, auth });
  const delivery = new RecordingDelivery();
  sendTexts(sink, delivery, ["a"]);
  await clock.advanceUntil(() => sink.pending === 0, 1000, 1);
  const refuse = (): void => {
    broker.script.CONNECT = (_, { reply }) =>
      reply("ERROR", { requestId: -1, error: SERVER_ERROR.AuthenticationError, message: "HUSH has expired" });
    broker.connections.at(-1)!.cut();
    sendTexts(sink, delivery, ["b"], 1);
  };
  const pass = async (seconds: number): Promise<void> => {
    for (let step = 0; step < seconds * 10; step++) await clock.advance(100); // each lets the broker answer
  };
  refuse();
  await pass(30);
  assert.equal(notes.fatal.length, 0);
  assert.ok(refused > 1, "a cached token is thrown away");
  const said = notes.reconnecting.find(({ error }) => error.code === "PULSAR_NOT_AUTHORIZED")!.error;
  assert.match(
    said.message,
    /AuthenticationError to CONNECT: \(hidden\) has expired\. .* They came from pulsar\.auth\.file \(\/run\/token\)\. This worked before, and is tried for 60 s/,
  );
  delete broker.script.CONNECT;
  await clock.advanceUntil(() => sink.pending === 0, 60_000, 1000);
  refuse();
  await pass(55);
  assert.equal(notes.fatal.length, 0, "patience began anew");
  await pass(20);
  assert.deepEqual(notes.fatal.map(({ code, retryable }) => [code, retryable]), [[
    "PULSAR_NOT_AUTHORIZED",
    false,
  ]]);
});
