import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { randomBytes, randomUUID } from "node:crypto";
import { test } from "node:test";
import { pulsarAdmin } from "./admin.ts";
import { brokerMissing } from "./broker.ts";
import { pythonMissing, readWithPython } from "./python.ts";
import { type MessageToSend, readTopic, sendToTopic } from "./topic-reader.ts";

const skip = brokerMissing() ?? pythonMissing() ?? false;
const newTopic = () => `python-${randomUUID()}`;

test("servers: the Python client and the Java client read the same", { skip }, async () => {
  const topic = newTopic();
  await pulsarAdmin().createPartitionedTopic(topic, 2);
  const messages: MessageToSend[] = Array.from({ length: 40 }, (_, i) => ({
    data: randomBytes(i * 37),
    key: `schlüssel "${i}"`,
    ...(i % 4 ? { orderingKey: Buffer.from(`order ${i}`) } : {}),
    properties: { number: String(i), "ключ": "wert+ %", empty: "" },
    eventTime: i % 2 ? 1_700_000_000_000 + i : 0,
  }));
  for (const compression of ["NONE", "LZ4", "ZLIB", "ZSTD", "SNAPPY"] as const) {
    await sendToTopic(topic, messages, { compression, producerName: `p-${compression}` });
  }
  const java = await readTopic(topic, { count: 200 });
  const python = await readWithPython(topic, { count: 200 });
  assert.equal(python.length, 200);
  assert.deepEqual(
    python.map(({ ledgerId, entryId, batchIndex, redeliveries, ...rest }) => {
      assert.equal(redeliveries, 0);
      const batch = batchIndex < 0 ? "" : `:${batchIndex}`;
      return { ...rest, messageId: `${ledgerId}:${entryId}:${rest.partition}${batch}` };
    }),
    java.map(({ sequenceId: _, orderingKey, ...rest }) => ({
      ...rest,
      ...(orderingKey === undefined ? {} : { orderingKey: orderingKey.toString() }),
    })),
  );
});

test("servers: Python gives chunked messages whole, to every kind of subscription", { skip }, async () => {
  const topic = newTopic();
  const large = randomBytes(6 * 1024 * 1024);
  await sendToTopic(topic, [{ data: large, key: "large" }], { batching: false, chunking: true });
  for (const subscriptionType of ["Exclusive", "Shared", "Failover", "KeyShared"] as const) {
    const read = await readWithPython(topic, { count: 1, subscriptionType });
    assert.deepEqual(read.map((one) => one.key), ["large"], subscriptionType);
    assert.ok(large.equals(read[0]!.data!), subscriptionType);
  }
  assert.deepEqual(Object.keys((await pulsarAdmin().stats(topic)).subscriptions), []);
});

test(
  "servers: Python waits for messages, ends in silence, and says when it cannot read",
  { skip },
  async () => {
    const topic = newTopic();
    await pulsarAdmin().createTopic(topic);
    assert.deepEqual(await readWithPython(topic), []);
    const waiting = readWithPython(topic, { count: 2, timeoutMs: 20_000 });
    await sendToTopic(topic, [{ data: Buffer.from("a") }]);
    await sendToTopic(topic, [{}]);
    assert.deepEqual((await waiting).map((one) => one.data?.toString()), ["a", undefined]);
    assert.equal((await readWithPython(topic, { count: 1 })).length, 2);
    assert.equal((await readWithPython(topic, { count: 3, timeoutMs: 200 })).length, 2);
    await assert.rejects(
      readWithPython(topic, { serviceUrl: "pulsar://127.0.0.1:1", timeoutMs: 1000 }),
      /python: python-/,
    );
  },
);
