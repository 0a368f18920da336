// Routing and metadata on a real broker: partitions compared with those of Java's producer, messages read by Java's
// and Python's clients.

import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { test } from "node:test";
import fc from "fast-check";
import type { SinkMessage } from "../../src/core/record.ts";
import type { MessageSink } from "../../src/pulsar/sink.ts";
import { systemClock } from "../../src/runtime.ts";
import { pulsarAdmin, topicPath } from "../servers/admin.ts";
import { brokerMissing, pulsarBroker } from "../servers/broker.ts";
import { pythonMissing, readWithPython } from "../servers/python.ts";
import { readTopic, sendToTopic } from "../servers/topic-reader.ts";
import { NEVER, newTopic, openSink, RecordingDelivery, until } from "./sink-harness.ts";

const skip = brokerMissing() ?? false;
const skipPython = skip || (pythonMissing() ?? false);

async function publish(sink: MessageSink, messages: readonly SinkMessage[]): Promise<void> {
  const delivery = new RecordingDelivery();
  for (const [ordinal, message] of messages.entries()) {
    const room = sink.reserve(1, NEVER);
    if (room !== true) await room;
    sink.send(message, delivery, ordinal);
  }
  await until(() => sink.pending === 0, "all receipts");
  assert.deepEqual([delivery.acks.size, delivery.refusals], [messages.length, []]);
}

/** Short and long, beyond ASCII, and beyond the basic plane (surrogate pairs in Java and JavaScript). */
function manyKeys(): string[] {
  const text = fc.oneof(
    fc.string({ unit: "binary", maxLength: 40 }),
    fc.string({ unit: "grapheme", maxLength: 12 }),
    fc.string({ unit: fc.constantFrom("😀", "𝒳", "é", "a", "ключ", "\u0000", "\uffff"), maxLength: 9 }),
    fc.string({ unit: "grapheme-ascii", minLength: 1, maxLength: 256 }),
  );
  return [...new Set(["", ...fc.sample(text, { numRuns: 2200, seed: 20_270_101 })])].slice(0, 2000);
}

for (const hashingScheme of ["Murmur3_32Hash", "JavaStringHash"] as const) {
  test(`pulsar routing: 2000 keys of all kinds go to the partitions that Java chooses by ${hashingScheme}`, {
    skip,
  }, async (t) => {
    const { serviceUrl } = await pulsarBroker();
    const { sink } = openSink(t, serviceUrl, { hashingScheme });
    const [ours, theirs] = [newTopic("ours"), newTopic("theirs")];
    for (const topic of [ours, theirs]) await pulsarAdmin().createPartitionedTopic(topic, 7);
    const keys = manyKeys();
    await publish(sink, keys.map((key, index) => ({ topic: ours, key, data: Buffer.from(`${index}`) })));
    await sendToTopic(theirs, keys.map((key, index) => ({ key, data: Buffer.from(`${index}`) })), {
      hashingScheme,
    });
    const placed = async (topic: string): Promise<unknown[]> =>
      (await readTopic(topic, { count: keys.length }))
        .map(({ key, partition, data }) => ({ index: Number(data), key, partition }))
        .sort((a, b) => a.index - b.index);
    const [mine, java] = [await placed(ours), await placed(theirs)];
    assert.equal(mine.length, keys.length);
    assert.deepEqual(mine, java);
    assert.equal(new Set(mine.map((one) => (one as { partition: number }).partition)).size, 7);
  });
}

test(
  "pulsar metadata: each message's own topic, key, ordering key, properties and event time, as Java and Python read them",
  {
    skip: skipPython,
  },
  async (t) => {
    const { serviceUrl } = await pulsarBroker();
    const { sink } = openSink(t, serviceUrl);
    const topics = [newTopic("a"), newTopic("b"), newTopic("c")] as const;
    await pulsarAdmin().createPartitionedTopic(topics[2], 2);
    const messages: SinkMessage[] = Array.from({ length: 60 }, (_, index) => ({
      topic: index % 2 === 0 ? topics[index % 3]! : `persistent://public/default/${topics[index % 3]}`,
      data: Buffer.from([index, 0, 255, 128]),
      key: index % 4 === 0 ? undefined : `ключ-😀-${index % 5}`,
      orderingKey: index % 3 === 0 ? Buffer.from(`o${index}`) : undefined,
      properties: { "kinesis.sequence.number": `${index}`, größe: "ß".repeat(index) },
      eventTime: index % 5 === 0 ? undefined : 1_700_000_000_000 + index,
    }));
    await publish(sink, messages);
    for (const topic of topics) {
      const sent = messages.filter((message) => message.topic.endsWith(topic)).map((message) => ({
        data: Buffer.from(message.data).toString("hex"),
        key: message.key,
        orderingKey: message.orderingKey && Buffer.from(message.orderingKey).toString(),
        properties: message.properties,
        eventTime: message.eventTime ?? 0,
      }));
      const bySequence = <T extends { properties?: Readonly<Record<string, string>> | undefined }>(
        list: T[],
      ): T[] =>
        list.sort((a, b) =>
          Number(a.properties!["kinesis.sequence.number"]) - Number(b.properties!["kinesis.sequence.number"])
        );
      const java = await readTopic(topic, { count: sent.length });
      const python = await readWithPython(topic, { count: sent.length });
      const [fromJava, fromPython] = [java, python].map((read) =>
        bySequence(read.map(({ data, key, orderingKey, properties, eventTime }) => ({
          data: data?.toString("hex"),
          key,
          orderingKey: orderingKey?.toString(),
          properties,
          eventTime,
        })))
      );
      assert.deepEqual(fromJava, sent);
      assert.deepEqual(fromPython, sent);
    }
  },
);

test(
  "pulsar metadata: a delayed message reaches a Shared subscription at its time, an Exclusive one at once",
  {
    skip: skipPython,
  },
  async (t) => {
    const { serviceUrl } = await pulsarBroker();
    const { sink } = openSink(t, serviceUrl);
    const around = (topic: string, deliverAt: number): SinkMessage[] => [
      { topic, data: Buffer.from("now") },
      { topic, data: Buffer.from("later"), deliverAt },
      { topic, data: Buffer.from("then") },
    ];
    const textsOf = (read: readonly { data?: Buffer }[]): (string | undefined)[] =>
      read.map(({ data }) => data?.toString());
    const exclusive = newTopic("later");
    await publish(sink, around(exclusive, Date.now() + 3_600_000));
    assert.deepEqual(textsOf(await readTopic(exclusive, { count: 3 })), ["now", "later", "then"]);

    const shared = newTopic("later");
    await pulsarAdmin().createTopic(shared);
    const reading = readWithPython(shared, { count: 3, timeoutMs: 60_000, subscriptionType: "Shared" });
    reading.catch(() => {}); // awaited below
    await eventually(async () =>
      /"python-/.test(await pulsarAdmin().call("GET", `${topicPath(shared)}/stats`))
    );
    const deliverAt = Date.now() + 4_000;
    await publish(sink, around(shared, deliverAt));
    assert.deepEqual(textsOf(await reading), ["now", "then", "later"]);
    assert.ok(Date.now() >= deliverAt, "invisible before");
  },
);

async function eventually(holds: () => Promise<boolean>): Promise<void> {
  for (const end = Date.now() + 60_000; !await holds();) {
    assert.ok(Date.now() < end, "a subscription within a minute");
    await systemClock.sleep(50);
  }
}
