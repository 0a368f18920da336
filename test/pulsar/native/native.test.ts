// The official client's traps, and what the driver does about them; against the double.

import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { test, type TestContext } from "node:test";
import type { ConnectorError } from "../../../src/core/errors.ts";
import type { AuthSupplier } from "../../../src/pulsar/auth/supplier.ts";
import { nativeFailure } from "../../../src/pulsar/native/errors.ts";
import { createNativeSink, type NativeSinkOptions } from "../../../src/pulsar/native/sink.ts";
import { systemClock } from "../../../src/runtime.ts";
import { FakeClock, RecordingLogger, settle } from "../../fakes.ts";
import { NEVER, RecordingDelivery, sendTexts, texts, until } from "../sink-harness.ts";
import { type AuthenticationDouble, ClientDouble } from "./double.ts";

async function open(t: TestContext, options: Partial<NativeSinkOptions> = {}) {
  const double = new ClientDouble();
  const fatal: ConnectorError[] = [];
  const retries: ConnectorError[] = [];
  const sink = await createNativeSink(double.module, {
    serviceUrl: "pulsar://h:6650",
    clock: systemClock,
    batchMaxDelayMs: 2,
    backoff: { firstMs: 2, maxMs: 20 },
    events: { fatal: (error) => fatal.push(error), reconnecting: (_topic, error) => retries.push(error) },
    ...options,
  });
  t.after(() => sink.close());
  return { sink, double, fatal, retries };
}

const TOPIC = "persistent://public/default/t";
const stored = (double: ClientDouble): string[] => double.messages(TOPIC).map(({ data }) => data.toString());

test("pulsar native: options are the official client's, its traps avoided", async (t) => {
  const { sink, double } = await open(t, { listenerName: "internal", tls: { caFile: "/ca.pem" } });
  await sink.open("t", NEVER);
  const { log: _, ...config } = double.configs[0]!;
  assert.deepEqual(config, {
    serviceUrl: "pulsar://h:6650",
    listenerName: "internal",
    tlsValidateHostname: true,
    tlsTrustCertsFilePath: "/ca.pem",
    logLevel: 2,
  });
  assert.deepEqual(double.producers, [{
    topic: TOPIC,
    sendTimeoutMs: 2147483647,
    maxPendingMessages: 2147483647,
    maxPendingMessagesAcrossPartitions: 2147483647,
    blockIfQueueFull: false,
    messageRoutingMode: "RoundRobinDistribution",
    hashingScheme: "Murmur3_32Hash",
    compressionType: "None",
    batchingEnabled: true,
    batchingMaxMessages: 1000,
    batchingMaxAllowedSizeInBytes: 131072,
    batchingMaxPublishDelayMs: 2,
    batchingType: "DefaultBatching",
  }]);
});

test("pulsar native: batch limits that the client does not take are given otherwise", async (t) => {
  const cases: [Partial<NativeSinkOptions>, object][] = [
    [{ batchMaxMessages: 1 }, { batchingEnabled: false, batchingMaxMessages: undefined }],
    [{ batchMaxDelayMs: 0 }, { batchingEnabled: true, batchingMaxPublishDelayMs: 1 }],
    [{ batchMaxBytes: 1e9 }, { batchingMaxAllowedSizeInBytes: 4 * 1024 * 1024 }],
    [{ batchBuilder: "key-based" }, { batchingType: "KeyBasedBatching" }],
    [{ compression: "zlib" }, { compressionType: "Zlib" }],
    [{ compression: "snappy" }, { compressionType: "SNAPPY" }],
  ];
  for (const [options, expected] of cases) {
    const { sink, double } = await open(t, options);
    await sink.open("t", NEVER);
    const config = double.producers[0]! as unknown as Record<string, unknown>;
    for (const [name, value] of Object.entries(expected)) assert.equal(config[name], value, name);
  }
});

test("pulsar native: certificates and host name check are handed on", async (t) => {
  const tls = { certFile: "/c.pem", keyFile: "/k.pem", verifyHostname: false };
  const auth: AuthSupplier = { method: "tls", source: "x", authData: () => Promise.resolve(undefined) };
  const { double } = await open(t, { serviceUrl: "pulsar+ssl://h", tls, auth });
  const { authentication, tlsValidateHostname, tlsCertificateFilePath } = double.configs[0]!;
  assert.deepEqual([tlsValidateHostname, tlsCertificateFilePath], [false, "/c.pem"]);
  const { method, params } = authentication as AuthenticationDouble;
  assert.deepEqual({ method, params }, {
    method: "tls",
    params: { certificatePath: "/c.pem", privateKeyPath: "/k.pem" },
  });
});

test("pulsar native: user and password are handed on, colons in the password too", async (t) => {
  const auth: AuthSupplier = {
    method: "basic",
    source: "x",
    authData: () => Promise.resolve(Buffer.from("me:pass:word")),
  };
  const { double } = await open(t, { auth });
  const { method, params } = double.configs[0]!.authentication as AuthenticationDouble;
  assert.deepEqual({ method, params }, {
    method: "basic",
    params: { username: "me", password: "pass:word" },
  });
});

test("pulsar native: a token is asked for each time, and a supplier that fails gives the last one", async (t) => {
  const answers = ["one", "two", undefined, "three"];
  const log = new RecordingLogger();
  let isClosed = false;
  const auth: AuthSupplier = {
    method: "token",
    source: "x",
    authData: () => {
      const answer = answers.shift();
      if (answer === undefined) return Promise.reject(new Error("no such file"));
      return Promise.resolve(Buffer.from(answer));
    },
    close: () => void (isClosed = true),
  };
  const { double, sink } = await open(t, { auth, log });
  const { params } = double.configs[0]!.authentication as AuthenticationDouble;
  const { token } = params as { token(): Promise<string> };
  assert.deepEqual([await token(), await token(), await token(), await token()], [
    "one",
    "two",
    "two",
    "three",
  ]);
  assert.equal(log.messages("warn").length, 1);
  await sink.close();
  assert.equal(isClosed, true);
});

test("pulsar native: the client's warnings reach our log, its chatter does not", async (t) => {
  const log = new RecordingLogger();
  const { double } = await open(t, { log });
  double.configs[0]!.log!(1, "Client.cc", 1, "connected");
  double.configs[0]!.log!(2, "Client.cc", 1, "connection lost");
  assert.deepEqual(log.messages("warn"), ["pulsar-client: connection lost"]);
});

test("pulsar native: errors are known by their text, unknown ones are tried again", () => {
  const cases: [string, string, boolean][] = [
    ["Failed to send message: TopicTerminated", "PULSAR_TOPIC_TERMINATED", false],
    ["Failed to send message: MessageTooBig", "MESSAGE_TOO_LARGE", false],
    ["Failed to send message: ResultProducerFenced", "PULSAR_REFUSED", false],
    ["Failed to send message: ResultNotAllowedError", "PULSAR_REFUSED", false],
    ["Failed to send message: TimeOut", "PULSAR_UNREACHABLE", true],
    ["Failed to send message: ProducerBlockedQuotaExceededException", "PULSAR_QUOTA_EXCEEDED", true],
    ["Failed to send message: ProducerQueueIsFull", "PULSAR_UNAVAILABLE", true],
    ["Failed to create producer: AuthorizationError", "PULSAR_NOT_AUTHORIZED", false],
    ["Failed to create producer: ServiceUnitNotReady", "PULSAR_UNAVAILABLE", true],
    ["Failed to send message: SomethingNew", "PULSAR_UNAVAILABLE", true],
    ["TypeError in the add-on", "PULSAR_UNAVAILABLE", true],
  ];
  for (const [text, code, retryable] of cases) {
    const { error } = nativeFailure(new Error(text), TOPIC);
    assert.deepEqual([error.code, error.retryable], [code, retryable], text);
    assert.match(error.message, new RegExp(text));
  }
});

test("pulsar native: what the client gives back is sent again, in order, before what came later", async (t) => {
  for (const result of ["ProducerBlockedQuotaExceededException", "TimeOut", "AlreadyClosed"]) {
    const { sink, double, retries } = await open(t, { batchMaxMessages: 1 });
    const delivery = new RecordingDelivery();
    await sink.open("t", NEVER);
    double.holdsReceipts = true;
    sendTexts(sink, delivery, ["a"]);
    double.fail("send", result, { times: 3 });
    sendTexts(sink, delivery, ["b", "c", "d"], 1);
    await settle();
    sendTexts(sink, delivery, ["e", "f"], 4);
    await settle();
    assert.deepEqual(stored(double), ["a"], "what is behind waits for what came back");
    double.releaseReceipts();
    await until(() => sink.pending === 0, "all receipts");
    assert.deepEqual(stored(double), ["a", "b", "c", "d", "e", "f"]);
    assert.deepEqual([...delivery.acks.values()], [1, 1, 1, 1, 1, 1]);
    assert.ok(double.closedProducers > 0, "by a new producer");
    assert.equal(retries.length, 3);
  }
});

test("pulsar native: a batch that its properties make too large loses nothing and keeps its order", async (t) => {
  const { sink, double } = await open(t, { batchMaxDelayMs: 50 });
  const delivery = new RecordingDelivery();
  const properties = { big: "x".repeat(40_000) };
  for (let ordinal = 0; ordinal < 300; ordinal++) {
    sink.reserve(1, NEVER);
    sink.send({ topic: "t", data: Buffer.from(`${ordinal}`), properties }, delivery, ordinal);
  }
  await until(() => sink.pending === 0, "all receipts");
  assert.equal(delivery.refusals.length, 0);
  assert.equal(double.producers.length, 1, "none of its messages was refused first");
  assert.deepEqual(stored(double), Array.from({ length: 300 }, (_, ordinal) => `${ordinal}`));
});

test("pulsar native: where the broker takes less, a refused batch goes again one by one, and only what is too large is refused", async (t) => {
  const { sink, double } = await open(t, { chunking: false });
  double.maxMessageSize = 1000;
  const delivery = new RecordingDelivery();
  await sink.open("t", NEVER);
  sendTexts(sink, delivery, ["a".repeat(600), "b".repeat(600), "c".repeat(1200)]);
  await until(() => sink.pending === 0, "all ended");
  assert.deepEqual([...delivery.acks.keys()], [0, 1]);
  assert.deepEqual(delivery.refusals.map(({ ordinal, error }) => [ordinal, error.code]), [[
    2,
    "MESSAGE_TOO_LARGE",
  ]]);
});

test("pulsar native: large messages go alone by a producer that makes chunks, dead letters always", async (t) => {
  for (const [options, topic] of [[{}, "t"], [{ chunking: false, deadLetterTopic: TOPIC }, "t"]] as const) {
    const { sink, double } = await open(t, options);
    const delivery = new RecordingDelivery();
    sendTexts(sink, delivery, ["before", "x".repeat(6_000_000), "after"], 0, topic);
    await until(() => sink.pending === 0, "all receipts");
    assert.equal(delivery.acks.size, 3);
    assert.deepEqual(stored(double).map((text) => text.length), [6, 6_000_000, 5]);
    const [batching, lone] = double.producers;
    assert.deepEqual([batching!.batchingEnabled, batching!.chunkingEnabled], [true, undefined]);
    assert.deepEqual([lone!.batchingEnabled, lone!.chunkingEnabled], [false, true]);
  }
});

test("pulsar native: what the client would cut or change is refused, not corrupted", async (t) => {
  const { sink, double } = await open(t);
  const delivery = new RecordingDelivery();
  const data = Buffer.from("x");
  const messages = [
    { topic: "t", data, key: "a\0b" },
    { topic: "t", data, properties: { p: "a\0b" } },
    { topic: "t", data, orderingKey: Buffer.from([0xff, 0xfe]) },
    { topic: "t", data, orderingKey: Buffer.from("a\0b") },
    { topic: "t", data: Buffer.from("a\0b"), key: "fine" },
  ];
  for (const [ordinal, message] of messages.entries()) {
    sink.reserve(1, NEVER);
    sink.send(message, delivery, ordinal);
  }
  await until(() => sink.pending === 0, "all ended");
  assert.deepEqual(delivery.refusals.map(({ ordinal }) => ordinal), [0, 1, 2, 3]);
  for (const { error } of delivery.refusals) assert.equal(error.code, "PULSAR_REFUSED");
  assert.match(delivery.refusals[0]!.error.message, /key with a NUL character.*pulsar\.driver = "builtin"/);
  assert.deepEqual(stored(double), ["a\0b"]);
});

test("pulsar native: a topic that is terminated refuses what waits, and is tried again a minute later", async (t) => {
  const clock = new FakeClock();
  const { sink, double, fatal } = await open(t, { clock, batchMaxMessages: 1 });
  const delivery = new RecordingDelivery();
  await sink.open("t", NEVER);
  double.fail("send", "TopicTerminated");
  sendTexts(sink, delivery, ["a"]);
  await until(() => sink.pending === 0, "the refusal");
  sendTexts(sink, delivery, ["b"], 1);
  await until(() => sink.pending === 0, "the refusal");
  assert.deepEqual(delivery.refusals.map(({ error }) => error.code), [
    "PULSAR_TOPIC_TERMINATED",
    "PULSAR_TOPIC_TERMINATED",
  ]);
  await clock.advance(60_000);
  sendTexts(sink, delivery, ["c"], 2);
  await until(() => sink.pending === 0, "the receipt");
  assert.deepEqual(stored(double), ["c"]);
  assert.deepEqual(fatal, []);
});

test("pulsar native: credentials that are not accepted end the connector", async (t) => {
  let refused = 0;
  const auth: AuthSupplier = {
    method: "token",
    source: "x",
    authData: () => Promise.resolve(undefined),
    refused: () => void refused++,
  };
  const { sink, double, fatal } = await open(t, { auth });
  double.fail("create", "AuthenticationError", { times: Infinity });
  sendTexts(sink, new RecordingDelivery(), ["a"]);
  await until(() => fatal.length > 0, "the end");
  assert.deepEqual([fatal[0]!.code, refused], ["PULSAR_NOT_AUTHORIZED", 1]);
  assert.equal(await sink.reserve(20_000, NEVER), true);
});

test("pulsar native: what the client already has ends silently after drop(), also when it comes back", async (t) => {
  const { sink, double } = await open(t, { batchMaxMessages: 1 });
  const [lost, kept] = [new RecordingDelivery(), new RecordingDelivery()];
  await sink.open("t", NEVER);
  double.holdsReceipts = true;
  sendTexts(sink, lost, ["l0"]);
  sendTexts(sink, kept, ["k0"]);
  double.fail("send", "TimeOut", { times: 2 });
  sendTexts(sink, lost, ["l1"], 1);
  sendTexts(sink, kept, ["k1"], 1);
  sink.drop(lost);
  assert.equal(sink.pending, 4, "room comes back with the receipts");
  await settle();
  double.releaseReceipts();
  await until(() => sink.pending === 0, "all ended");
  assert.deepEqual(stored(double), ["l0", "k0", "k1"]);
  assert.deepEqual([lost.acks.size, lost.refusals.length, kept.acks.size], [0, 0, 2]);
});

test("pulsar native: unused topics are closed after ten minutes, and opened again on demand", async (t) => {
  const clock = new FakeClock();
  const { sink, double } = await open(t, { clock, maxProducers: 1 });
  const delivery = new RecordingDelivery();
  sendTexts(sink, delivery, ["a"]);
  await until(() => sink.pending === 0, "the receipt");
  for (let minute = 0; minute < 9; minute++) await clock.advance(60_000);
  assert.equal(double.closedProducers, 0);
  for (let minute = 9; minute < 11; minute++) await clock.advance(60_000);
  assert.equal(double.closedProducers, 1);
  sendTexts(sink, delivery, ["b"], 1, "u");
  await until(() => sink.pending === 0, "the receipt");
  assert.deepEqual([delivery.acks.size, double.producers.length], [2, 2]);
});

test("pulsar native: close() ends waiting and the client, also while nothing can be opened", async (t) => {
  const { sink, double } = await open(t);
  double.fail("create", "TimeOut", { times: Infinity });
  sendTexts(sink, new RecordingDelivery(), texts("a", 5));
  await settle();
  await sink.close();
  assert.deepEqual([sink.pending, double.closedClients], [0, 1]);
});
