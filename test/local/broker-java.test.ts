import assert from "node:assert/strict";
import { randomBytes, randomUUID } from "node:crypto";
import { test } from "node:test";
import { openTopicReader, startLocalBroker, type TopicReader } from "../../src/local/mod.ts";
import { pulsarAdmin } from "../servers/admin.ts";
import { brokerMissing, pulsarBroker } from "../servers/broker.ts";
import { readTopic, sendToTopic, type TopicMessage } from "../servers/topic-reader.ts";

const skip = brokerMissing() ?? false;

const MESSAGES = Array.from({ length: 300 }, (_, i) => ({
  data: randomBytes(i % 50),
  key: `ключ-${i % 20}`,
  ...(i % 3 ? { orderingKey: randomBytes(4) } : {}),
  ...(i % 2 ? { eventTime: 1_700_000_000_000 + i } : {}),
  properties: { number: String(i), "": "leer" },
}));

async function take(reader: TopicReader, count: number): Promise<Comparable[]> {
  const taken: Comparable[] = [];
  for (let i = 0; i < count; i++) taken.push(comparable((await reader.next())!));
  return taken.sort((a, b) => a.partition - b.partition);
}

type Comparable = ReturnType<typeof comparable>;

function comparable(
  one:
    & Pick<TopicMessage, "topic" | "partition" | "sequenceId" | "producerName" | "publishTime" | "eventTime">
    & Pick<TopicMessage, "properties">
    & {
      readonly key?: string | undefined;
      readonly data?: Uint8Array;
      readonly orderingKey?: Uint8Array | undefined;
    },
) {
  const { topic, partition, sequenceId, producerName, publishTime, eventTime, key, properties } = one;
  return {
    ...{ topic, partition, sequenceId, producerName, publishTime, eventTime, key },
    properties: { ...properties },
    data: [...one.data!],
    orderingKey: [...one.orderingKey ?? []],
  };
}

for (const [what, partitions, batching] of [["batches", 0, true], ["single messages", 3, false]] as const) {
  test(`local broker: the Java client writes ${what} and reads them back`, { skip }, async (t) => {
    const broker = await startLocalBroker({ partitions: { t: partitions } });
    t.after(() => broker.close());
    const serviceUrl = broker.url;
    await sendToTopic("t", MESSAGES, { serviceUrl, batching, producerName: "java" });
    const java = await readTopic("t", { serviceUrl, count: 300 });
    assert.equal(java.length, 300);
    const numbers = java.map((one) => Number(one.properties.number));
    if (partitions === 0) assert.deepEqual(numbers, [...numbers.keys()]);
    else assert.equal(new Set(java.map((one) => one.partition)).size, partitions);
    for (const one of java) {
      const sent = MESSAGES[Number(one.properties.number)]!;
      assert.ok(one.data!.equals(sent.data));
      assert.deepEqual([one.key, one.eventTime], [sent.key, sent.eventTime ?? 0]);
    }
    assert.deepEqual(broker.messages("t").map(comparable), java.map(comparable));
    const reader = await openTopicReader({ serviceUrl, topic: "t", queueSize: 10 });
    t.after(() => reader.close());
    assert.deepEqual(await take(reader, 300), java.map(comparable));
  });

  test(`topic reader: reads ${what} of the Java client from a real broker`, { skip }, async (t) => {
    const topic = `reader-${randomUUID()}`;
    if (partitions > 0) await pulsarAdmin().createPartitionedTopic(topic, partitions);
    const { serviceUrl } = await pulsarBroker();
    await sendToTopic(topic, MESSAGES, { batching });
    const reader = await openTopicReader({ serviceUrl, topic, queueSize: 10 });
    t.after(() => reader.close());
    assert.deepEqual(await take(reader, 300), (await readTopic(topic)).map(comparable));
    await sendToTopic(topic, [{ data: randomBytes(3), key: "later" }]);
    assert.equal((await reader.next())?.key, "later");
  });
}
