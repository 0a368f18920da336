import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { createHash, randomBytes, randomUUID } from "node:crypto";
import { test } from "node:test";
import { pulsarAdmin } from "./admin.ts";
import { brokerMissing, brokersOnOneFolder, pulsarBroker } from "./broker.ts";
import { type MessageToSend, readTopic, sendToTopic, summarizeTopic } from "./topic-reader.ts";

const skip = brokerMissing() ?? false;
const newTopic = () => `judge-${randomUUID()}`;

test("servers: what the Java client publishes, the judge reads back exactly", { skip }, async () => {
  const topic = newTopic();
  const messages: MessageToSend[] = Array.from({ length: 50 }, (_, i) => ({
    data: randomBytes(i * 37),
    ...(i % 3 ? { key: `schlüssel "${i}"\n` } : {}),
    ...(i % 4 ? { orderingKey: randomBytes(5) } : {}),
    properties: { "kinesis.sequence.number": String(i), "ключ": "wert+ %", empty: "" },
    eventTime: i % 2 ? 1_700_000_000_000 + i : 0,
    sequenceId: i * 10,
  }));
  const started = Date.now();
  const ids = await sendToTopic(topic, messages, { producerName: "p 1" });
  assert.equal(ids.length, 50);
  const read = await readTopic(topic, { count: 50 });
  assert.deepEqual(
    read.map(({ publishTime, ...rest }) => {
      assert.ok(publishTime >= started - 1000 && publishTime <= Date.now() + 1000);
      return rest;
    }),
    messages.map((message, i) => ({
      topic: `persistent://public/default/${topic}`,
      partition: -1,
      messageId: ids[i],
      producerName: "p 1",
      ...message,
      data: Buffer.from(message.data!),
      ...(message.orderingKey ? { orderingKey: Buffer.from(message.orderingKey) } : {}),
    })),
  );
});

test("servers: the judge reads compressed, chunked and single messages and key bytes", { skip }, async () => {
  const topic = newTopic();
  const small = randomBytes(1000);
  const large = randomBytes(6 * 1024 * 1024);
  for (const compression of ["LZ4", "ZLIB", "ZSTD", "SNAPPY"] as const) {
    await sendToTopic(topic, [{ data: small, key: compression }], { compression });
  }
  await sendToTopic(topic, [{ data: large, key: "AAEC", keyIsBase64: true }], {
    batching: false,
    chunking: true,
  });
  const read = await readTopic(topic);
  assert.deepEqual(read.map((one) => one.key), ["LZ4", "ZLIB", "ZSTD", "SNAPPY", "AAEC"]);
  assert.deepEqual(read.map((one) => one.keyIsBase64 ?? false), [false, false, false, false, true]);
  for (const one of read.slice(0, 4)) assert.ok(small.equals(one.data!));
  assert.ok(large.equals(read[4]!.data!));
});

test(
  "servers: the judge reads what was published over REST, which no client of ours wrote",
  { skip },
  async () => {
    const topic = newTopic();
    await pulsarAdmin().createTopic(topic);
    const { adminUrl } = await pulsarBroker();
    const response = await fetch(`${adminUrl}/topics/persistent/public/default/${topic}`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({
        producerName: "rest",
        valueSchema: JSON.stringify({ name: "", schema: "", type: "STRING", properties: {} }),
        messages: [{ payload: "höllo", key: "k", properties: { a: "b" }, eventTime: 1_700_000_000_001 }],
      }),
    });
    assert.equal(response.status, 200, await response.text());
    const [message, ...others] = await readTopic(topic);
    assert.equal(others.length, 0);
    assert.equal(message?.data?.toString(), "höllo");
    assert.equal(message.key, "k");
    assert.equal(message.properties.a, "b");
    assert.equal(message.eventTime, 1_700_000_000_001);
  },
);

test(
  "servers: the judge reads partition after partition, in order, and the summary agrees",
  { skip },
  async () => {
    const topic = newTopic();
    const admin = pulsarAdmin();
    await admin.createPartitionedTopic(topic, 3);
    const messages = Array.from({ length: 3000 }, (_, i) => ({
      data: randomBytes(100),
      key: `k${i % 100}`,
      properties: {
        "kinesis.sequence.number": String(i),
        ...(i % 2 ? { "kinesis.subsequence.number": "1" } : {}),
      },
    }));
    await sendToTopic(topic, messages);
    const read = await readTopic(topic, { count: 3000 });
    const summary = await summarizeTopic(topic, { count: 3000 });
    assert.equal(read.length, 3000);
    assert.deepEqual(new Set(read.map((one) => one.partition)), new Set([0, 1, 2]));
    for (let i = 1; i < read.length; i++) {
      const [before, after] = [read[i - 1]!, read[i]!];
      assert.ok(after.partition >= before.partition);
      if (after.partition === before.partition) {
        assert.ok(
          Number(after.properties["kinesis.sequence.number"]) >
            Number(before.properties["kinesis.sequence.number"]),
        );
      }
    }
    assert.deepEqual(
      summary,
      read.map((one) => ({
        partition: one.partition,
        key: one.key ?? null,
        sequenceId: one.sequenceId,
        sequenceNumber: one.properties["kinesis.sequence.number"] ?? null,
        subSequenceNumber: one.properties["kinesis.subsequence.number"] ?? null,
        bytes: one.data!.length,
        sha256: createHash("sha256").update(one.data!).digest("hex"),
      })),
    );
    assert.equal((await admin.stats(`${topic}-partition-0`)).publishers.length, 0);
    await admin.deleteTopic(topic);
    assert.ok(!(await admin.topics()).some((name) => name.includes(topic)));
  },
);

test("servers: the judge waits for messages, shows more than were asked for, and ends in silence", {
  skip,
}, async () => {
  const topic = newTopic();
  assert.deepEqual(await readTopic(topic), []);
  const waiting = readTopic(topic, { count: 2, timeoutMs: 20_000 });
  await sendToTopic(topic, [{ data: Buffer.from("a") }]);
  await sendToTopic(topic, [{ data: Buffer.from("b") }]);
  assert.deepEqual((await waiting).map((one) => String(one.data)), ["a", "b"]);
  assert.equal((await readTopic(topic, { count: 1 })).length, 2);
  assert.equal((await readTopic(topic, { count: 3, timeoutMs: 200 })).length, 2);
  await assert.rejects(
    readTopic(topic, { serviceUrl: "pulsar://127.0.0.1:1", timeoutMs: 100 }),
    /topic reader: read judge-/,
  );
});

test("servers: a broker killed outright is started again on the same data and ports", { skip }, async (t) => {
  const brokers = brokersOnOneFolder(t, ["--heap", "256m"]);
  const first = await brokers.start();
  await sendToTopic("kept", [{ data: Buffer.from("before") }], { serviceUrl: first.serviceUrl });
  await first.crash();
  const second = await brokers.start();
  assert.equal(second.serviceUrl, first.serviceUrl);
  assert.equal(second.adminUrl, first.adminUrl);
  const read = await readTopic("kept", { serviceUrl: second.serviceUrl, count: 1 });
  assert.deepEqual(read.map((one) => String(one.data)), ["before"]);
});
