import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { test } from "node:test";
import { openTopicReader, startLocalBroker } from "../../src/local/mod.ts";
import { MessageMetadata } from "../../src/pulsar/wire/metadata.ts";
import { encodePayloadCommand } from "../../src/pulsar/wire/frames.ts";
import { encodeShape } from "../../src/pulsar/wire/shape.ts";
import { RecordingLogger } from "../fakes.ts";
import { rawClient, sendFrame } from "./raw-client.ts";

test("topic reader: reads what is there and what comes, batches taken apart, in order", async (t) => {
  const broker = await startLocalBroker();
  t.after(() => broker.close());
  const client = await rawClient(broker.url);
  t.after(() => client.close());
  await client.producer("a");
  client.write(sendFrame(0, ["m0", "m1", "m2"]));
  await client.expect("SEND_RECEIPT");
  const reader = await openTopicReader({ serviceUrl: broker.url, topic: "a", queueSize: 2 });
  t.after(() => reader.close());
  const latest = await openTopicReader({ serviceUrl: broker.url, topic: "a", from: "latest" });
  t.after(() => latest.close());
  for (let i = 3; i < 20; i++) client.write(sendFrame(i, [`m${i}`]));
  const texts: string[] = [];
  for await (const message of reader) {
    assert.equal(message.key, `k${message.sequenceId}`);
    if (texts.push(String(message.data)) === 20) break;
  }
  assert.deepEqual(texts, Array.from({ length: 20 }, (_, i) => `m${i}`));
  assert.equal(String((await latest.next())?.data), "m3");
  assert.deepEqual(broker.messages("a").slice(0, 3).map((one) => one.batchIndex), [0, 1, 2]);
});

test("topic reader: reads all partitions, each in order", async (t) => {
  const broker = await startLocalBroker({ partitions: { a: 2 } });
  t.after(() => broker.close());
  const reader = await openTopicReader({
    serviceUrl: `pulsar://127.0.0.1:1,${broker.url.slice(9)}`,
    topic: "a",
  });
  t.after(() => reader.close());
  const client = await rawClient(broker.url);
  t.after(() => client.close());
  for (const partition of [0, 1]) {
    const topic = `persistent://public/default/a-partition-${partition}`;
    await client.producer(topic, partition);
    for (let i = 0; i < 3; i++) {
      client.write(sendFrame(i, [`${partition}:${i}`], partition));
      await client.expect("SEND_RECEIPT");
    }
  }
  await broker.received("a", 6);
  const texts: string[][] = [[], []];
  for (let i = 0; i < 6; i++) {
    const message = (await reader.next())!;
    texts[message.partition]!.push(String(message.data));
  }
  assert.deepEqual(texts, [["0:0", "0:1", "0:2"], ["1:0", "1:1", "1:2"]]);
  assert.deepEqual(broker.messages("a").map((one) => String(one.data)), texts.flat());
});

test("topic reader: ends when it is closed, and says when its connection is lost or refused", async (t) => {
  const broker = await startLocalBroker();
  t.after(() => broker.close());
  const serviceUrl = broker.url;
  const closed = await openTopicReader({ serviceUrl, topic: "a" });
  const ended = closed.next();
  closed.close();
  assert.equal(await ended, undefined);
  const lost = await openTopicReader({ serviceUrl, topic: "a" });
  t.after(() => lost.close());
  const failed = assert.rejects(
    lost.next(),
    /Pulsar broker 127.0.0.1:\d+: (the broker closed the connection|.*ECONNRESET)/,
  );
  broker.cutConnections();
  await failed;
  broker.inject({ command: "SUBSCRIBE", error: "AuthorizationError", message: "not you" });
  await assert.rejects(openTopicReader({ serviceUrl, topic: "a" }), /AuthorizationError: not you/);
  broker.inject({ command: "LOOKUP", error: "TopicNotFound", message: "no" });
  await assert.rejects(
    openTopicReader({ serviceUrl, topic: "a" }),
    /cannot read persistent:.*TopicNotFound: no/,
  );
  await assert.rejects(openTopicReader({ serviceUrl: "pulsar+ssl://h:1", topic: "a" }), /without TLS/);
  await assert.rejects(openTopicReader({ serviceUrl: "pulsar://127.0.0.1:1", topic: "a" }), /ECONNREFUSED/);
});

test("topic reader: says that it cannot read damaged compressed messages", async (t) => {
  const broker = await startLocalBroker();
  t.after(() => broker.close());
  const client = await rawClient(broker.url);
  t.after(() => client.close());
  await client.producer("a");
  const metadata = encodeShape(MessageMetadata, {
    producerName: "p",
    sequenceId: 0,
    publishTime: 1,
    compression: 3,
    uncompressedSize: 3,
  });
  client.write(encodePayloadCommand("SEND", { producerId: 1, sequenceId: 0 }, metadata, Buffer.from("abc")));
  await client.expect("SEND_RECEIPT");
  const reader = await openTopicReader({ serviceUrl: broker.url, topic: "a" });
  t.after(() => reader.close());
  await assert.rejects(
    reader.next(),
    /a message in persistent:\/\/public\/default\/a cannot be decompressed \(type 3\)/,
  );
  assert.throws(() => broker.messages("a"), /decompressed/);
});

test("local broker: keeps a topic's newest messages within its cap and says that older ones went", async (t) => {
  const log = new RecordingLogger();
  const broker = await startLocalBroker({ maxBytesPerTopic: 50_000, log });
  t.after(() => broker.close());
  const client = await rawClient(broker.url);
  t.after(() => client.close());
  await client.producer("a");
  for (let i = 0; i < 3000; i++) client.write(sendFrame(i, [`m${i}`.padEnd(100)]));
  await broker.received("a", 3000);
  const stats = broker.stats("a");
  assert.ok(stats.bytes <= 50_000 && stats.bytes > 49_000, `${stats.bytes} bytes`);
  assert.equal(stats.messages + stats.dropped, 3000);
  const kept = broker.messages("a");
  assert.equal(kept.length, stats.messages);
  assert.equal(kept[0]?.sequenceId, stats.dropped);
  assert.equal(kept.at(-1)?.sequenceId, 2999);
  assert.equal(log.entries.length, 1);
  const reader = await openTopicReader({ serviceUrl: broker.url, topic: "a" });
  t.after(() => reader.close());
  assert.equal((await reader.next())?.sequenceId, stats.dropped);
});

test("local broker: a reader that does not read gets everything later, in order", async (t) => {
  const broker = await startLocalBroker();
  t.after(() => broker.close());
  const client = await rawClient(broker.url);
  t.after(() => client.close());
  await client.producer("a");
  const count = 300;
  for (let i = 0; i < count; i++) client.write(sendFrame(i, ["x".repeat(100_000)]));
  await broker.received("a", count);
  const slow = await rawClient(broker.url);
  t.after(() => slow.close());
  slow.send("SUBSCRIBE", {
    topic: "a",
    subscription: "s",
    subType: 0,
    consumerId: 1,
    requestId: 1,
    durable: false,
    initialPosition: 1,
  });
  await slow.expect("SUCCESS");
  slow.socket.pause();
  slow.send("FLOW", { consumerId: 1, messagePermits: count });
  slow.send("PING", {});
  while (broker.calls("PING") === 0) await new Promise((resolve) => setTimeout(resolve, 1));
  slow.socket.resume();
  for (let i = 0; i < count; i++) {
    const command = await slow.next();
    if (command?.name === "PONG") i--; // may overtake what waits for the socket
    else assert.equal(command?.name === "MESSAGE" && command.messageId.entryId, i);
  }
});

test("local broker: waiting for messages ends with its signal", async (t) => {
  const broker = await startLocalBroker();
  t.after(() => broker.close());
  const abort = new AbortController();
  const waiting = broker.received("a", 1, abort.signal);
  abort.abort(new Error("enough"));
  await assert.rejects(waiting, /enough/);
});
