// The producer against a real broker; what is in a topic is judged by the official Java client.

import { test } from "node:test";
import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { brokerMissing, pulsarBroker } from "../servers/broker.ts";
import { pulsarAdmin } from "../servers/admin.ts";
import { readTopic, sendToTopic, summarizeTopic } from "../servers/topic-reader.ts";
import type { SinkMessage } from "../../src/core/record.ts";
import type { Delivery, MessageSink } from "../../src/pulsar/sink.ts";
import { breakableTransport, newTopic, openSink, RecordingDelivery, until } from "./sink-harness.ts";

const skip = brokerMissing() ?? false;

async function sendAll(
  sink: MessageSink,
  messages: readonly SinkMessage[],
  delivery: Delivery,
): Promise<void> {
  const { signal } = new AbortController();
  for (const [ordinal, message] of messages.entries()) {
    const room = sink.reserve(1, signal);
    if (room !== true) await room;
    sink.send(message, delivery, ordinal);
  }
}

test("pulsar broker: payload, key, ordering key, properties and event time arrive unchanged, in order", {
  skip,
}, async (t) => {
  const { serviceUrl } = await pulsarBroker();
  const { sink, notes } = openSink(t, serviceUrl);
  const topic = newTopic();
  const messages: SinkMessage[] = [
    { topic, data: Buffer.from("plain, alone in its batch"), key: "k", eventTime: 1_700_000_000_001 },
    ...Array.from({ length: 50 }, (_, index) => ({
      topic,
      data: Buffer.from(Array.from({ length: index * 7 }, (_, at) => (at * 31 + index) & 255)),
      key: index % 3 === 0 ? undefined : `ключ-${index % 5}-${"x".repeat(index * 4)}`,
      orderingKey: index % 4 === 0 ? Buffer.from([0, 255, index]) : undefined,
      properties: { "kinesis.sequence.number": `${index}`, größe: "ß".repeat(index), empty: "" },
      eventTime: 1_700_000_000_000 + index,
    })),
    { topic, data: Buffer.from("later"), key: "d", properties: { a: "b" }, deliverAt: 1_700_000_000_000 },
    { topic, data: Buffer.alloc(0) },
    { topic: `persistent://public/default/${topic}`, data: Buffer.alloc(1_000_000, 9) },
  ];
  const delivery = new RecordingDelivery();
  await sendAll(sink, messages.slice(0, 1), delivery);
  await until(() => delivery.acks.size === 1, "the first receipt");
  await sendAll(sink, messages, delivery);
  await until(() => sink.pending === 0, "all receipts");
  assert.equal(delivery.acks.get(0), 2);
  assert.equal(delivery.acks.size, messages.length);
  const sent = [messages[0]!, ...messages];
  const read = await readTopic(topic, { count: sent.length });
  assert.deepEqual(
    read.map(({ data, key, orderingKey, properties, eventTime, sequenceId }) => ({
      data: data?.toString("hex"),
      key,
      orderingKey: orderingKey?.toString("hex"),
      properties,
      eventTime,
      sequenceId,
    })),
    sent.map(({ data, key, orderingKey, properties, eventTime }, index) => ({
      data: Buffer.from(data).toString("hex"),
      key,
      orderingKey: orderingKey && Buffer.from(orderingKey).toString("hex"),
      properties: { ...properties },
      eventTime: eventTime ?? 0,
      sequenceId: index,
    })),
  );
  const { publishers } = await pulsarAdmin().stats(topic);
  assert.equal(publishers[0]?.clientVersion, "kinesis-pulsar/test");
  assert.deepEqual([notes.fatal, notes.reconnecting], [[], []]);
});

test(
  "pulsar broker: 100 000 messages of 1 KiB, connections cut: each at least once, first occurrences in order",
  { skip },
  async (t) => {
    const { serviceUrl } = await pulsarBroker();
    const cable = breakableTransport();
    const { sink, notes } = openSink(t, serviceUrl, { transport: cable.factory });
    const topic = newTopic();
    const delivery = new RecordingDelivery();
    const count = 100_000;
    const data = Buffer.alloc(1024, "x");
    const { signal } = new AbortController();
    for (let ordinal = 0; ordinal < count; ordinal++) {
      const room = sink.reserve(1, signal);
      if (room !== true) await room;
      if (ordinal === 30_000) cable.cutAfter(1_000_003); // inside a frame
      if (ordinal === 70_000) cable.cutAfter(0);
      data.writeUInt32BE(ordinal);
      sink.send({ topic, data, properties: { "kinesis.sequence.number": `${ordinal}` } }, delivery, ordinal);
    }
    await until(() => sink.pending === 0, "all receipts", 60_000);
    assert.equal(delivery.acks.size, count);
    assert.ok(cable.opened >= 3, "both cuts happened");
    assert.equal(notes.fatal.length, 0);
    const read = await summarizeTopic(topic, { count, timeoutMs: 20_000 });
    let next = 0;
    for (const { sequenceNumber, bytes } of read) {
      assert.equal(bytes, 1024);
      if (Number(sequenceNumber) === next) next++;
      else assert.ok(Number(sequenceNumber) < next, `${sequenceNumber} came before ${next}`);
    }
    assert.equal(next, count);
    // what was resent is identical: a sequence id always stood for the same record
    for (const { sequenceNumber, sequenceId } of read) assert.equal(sequenceId, Number(sequenceNumber));
  },
);

test("pulsar broker: keys go to the partitions that Java's Murmur3 chooses; keyless batches take turns", {
  skip,
}, async (t) => {
  const { serviceUrl } = await pulsarBroker();
  const [ours, theirs] = [newTopic("ours"), newTopic("theirs")];
  await pulsarAdmin().createPartitionedTopic(ours, 7);
  await pulsarAdmin().createPartitionedTopic(theirs, 7);
  const keys = ["", "key1", "key2", "key3", "customer-00012345", "naïve-ключ", "😀", "\u0000"].concat(
    Array.from({ length: 100 }, (_, index) => `k${index * 7919}`),
  );
  const { sink } = openSink(t, serviceUrl);
  const delivery = new RecordingDelivery();
  await sendAll(sink, keys.map((key) => ({ topic: ours, key, data: Buffer.from(key) })), delivery);
  await sendToTopic(theirs, keys.map((key) => ({ key, data: Buffer.from(key) })));
  await until(() => sink.pending === 0, "receipts");
  const placed = async (topic: string): Promise<Record<string, number>> =>
    Object.fromEntries(
      (await readTopic(topic, { count: keys.length })).map(({ key, partition }) => [key, partition]),
    );
  assert.deepEqual(await placed(ours), await placed(theirs));
  const keyless = newTopic("keyless");
  await pulsarAdmin().createPartitionedTopic(keyless, 3);
  for (let batch = 0; batch < 6; batch++) {
    await sendAll(
      sink,
      [1, 2, 3].map((n) => ({ topic: keyless, data: Buffer.from(`${batch}.${n}`) })),
      delivery,
    );
    sink.flush();
    if (batch === 0) await until(() => sink.pending === 0, "the partitions are known");
  }
  await until(() => sink.pending === 0, "receipts");
  const partitions = new Set((await readTopic(keyless, { count: 18 })).map(({ partition }) => partition));
  assert.deepEqual([...partitions].sort(), [0, 1, 2]);
});

test(
  "pulsar broker: unloading the topic again and again loses nothing and keeps the order",
  { skip },
  async (t) => {
    const { serviceUrl } = await pulsarBroker();
    const { sink, notes } = openSink(t, serviceUrl);
    const topic = newTopic();
    const delivery = new RecordingDelivery();
    const { signal } = new AbortController();
    const count = 20_000;
    let unloaded = Promise.resolve();
    for (let ordinal = 0; ordinal < count; ordinal++) {
      const room = sink.reserve(1, signal);
      if (room !== true) await room;
      const properties = { "kinesis.sequence.number": `${ordinal}` };
      sink.send({ topic, data: Buffer.alloc(100), properties }, delivery, ordinal);
      if (ordinal % 5000 === 2500) {
        await unloaded;
        await until(() => delivery.acks.size > 0, "the topic exists");
        unloaded = pulsarAdmin().unload(topic);
      }
    }
    await unloaded;
    await until(() => sink.pending === 0, "receipts");
    assert.equal(delivery.acks.size, count);
    assert.ok(notes.reconnecting.length > 0);
    let next = 0;
    for (const { sequenceNumber } of await summarizeTopic(topic, { count })) {
      if (Number(sequenceNumber) === next) next++;
      else assert.ok(Number(sequenceNumber) < next);
    }
    assert.equal(next, count);
  },
);

test(
  "pulsar broker: what a broker refuses for good is refused with words, the rest goes on",
  { skip },
  async (t) => {
    const { serviceUrl } = await pulsarBroker();
    const { sink, notes } = openSink(t, serviceUrl, { chunking: false });
    const topic = newTopic();
    const delivery = new RecordingDelivery();
    const messages: SinkMessage[] = [
      { topic, data: Buffer.from("before") },
      { topic, data: Buffer.alloc(5 * 1024 * 1024 + 1) },
      { topic, data: Buffer.from("after") },
      { topic: "no-such-tenant/ns/topic", data: Buffer.from("x") },
      { topic: "http://wrong", data: Buffer.from("x") },
    ];
    await sendAll(sink, messages, delivery);
    await until(() => sink.pending === 0, "receipts and refusals");
    assert.deepEqual([...delivery.acks.keys()].sort(), [0, 2]);
    const words = new Map(delivery.refusals.map(({ ordinal, error }) => [ordinal, error]));
    assert.equal(words.get(1)?.code, "MESSAGE_TOO_LARGE");
    assert.match(
      words.get(1)!.message,
      /larger than the broker's limit of 5242880, and pulsar\.chunking is off: switch it on, raise maxMessageSize/,
    );
    assert.equal(words.get(3)?.code, "PULSAR_TOPIC_NOT_FOUND", words.get(3)?.message);
    assert.equal(words.get(4)?.code, "PULSAR_REFUSED");
    assert.deepEqual((await readTopic(topic, { count: 2 })).map(({ data }) => data?.toString()), [
      "before",
      "after",
    ]);
    await pulsarAdmin().terminate(topic);
    sink.reserve(1, new AbortController().signal);
    sink.send({ topic, data: Buffer.from("too late") }, delivery, 5);
    await until(() => sink.pending === 0, "the refusal");
    const last = delivery.refusals.at(-1)!;
    assert.deepEqual([last.ordinal, last.error.code], [5, "PULSAR_TOPIC_TERMINATED"]);
    assert.equal(notes.fatal.length, 0);
  },
);
