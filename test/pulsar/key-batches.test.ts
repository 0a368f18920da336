// Batches by key: what a Key_Shared subscription needs, judged by the official Java client; ids that stay apart.

import { test } from "node:test";
import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import fc from "fast-check";
import { startLocalBroker } from "../../src/local/mod.ts";
import type { SinkMessage } from "../../src/core/record.ts";
import { brokerMissing, pulsarBroker } from "../servers/broker.ts";
import { pulsarAdmin } from "../servers/admin.ts";
import { shareTopic } from "../servers/topic-reader.ts";
import { network, ScriptedBroker } from "./scripted-broker.ts";
import { NEVER, newTopic, openSink, RecordingDelivery, until } from "./sink-harness.ts";

const skip = brokerMissing() ?? false;
const BY_KEY = { batchBuilder: "key-based" } as const;

test("pulsar key batches: one entry per key, together, in the order of first messages; ids never interleave", async (t) => {
  const broker = new ScriptedBroker();
  const { sink } = openSink(t, broker.url, { ...BY_KEY, transport: network(broker) });
  const delivery = new RecordingDelivery();
  const send = (text: string, ordinal: number, more: Partial<SinkMessage> = {}): void => {
    sink.reserve(1, NEVER);
    sink.send({ topic: "t", data: Buffer.from(text), ...more }, delivery, ordinal);
  };
  const bytes = (text: string): Uint8Array => Buffer.from(text);
  send("a0", 0, { key: "a" });
  send("b0", 1, { key: "b" });
  send("a1", 2, { key: "a" });
  send("-0", 3);
  send("o0", 4, { key: "x", orderingKey: bytes("a") }); // the ordering key goes first, and is no key
  send("b1", 5, { key: "b" });
  send("o1", 6, { key: "y", orderingKey: bytes("a") });
  send("-1", 7);
  send("a2", 8, { key: "a" });
  send("at", 9, { key: "a", deliverAt: 1 });
  send("a3", 10, { key: "a" });
  await until(() => sink.pending === 0, "receipts");
  const entries = broker.sends.map(({ messages }) => messages.map(({ data }) => data.toString()).join(" "));
  assert.deepEqual(entries, ["a0 a1 a2", "b0 b1", "-0 -1", "o0 o1", "at", "a3"]);
  const ids = broker.sends.map(({ messages }) => messages.map(({ sequenceId }) => sequenceId)).flat();
  assert.deepEqual(ids, Array.from({ length: 11 }, (_, id) => id));
  assert.equal(delivery.acks.size, 11);
});

test("pulsar key batches: the limits are those of all together, and the delay too", async (t) => {
  const broker = new ScriptedBroker();
  const { sink } = openSink(t, broker.url, {
    ...BY_KEY,
    transport: network(broker),
    batchMaxMessages: 4,
    batchMaxBytes: 1000,
    batchMaxDelayMs: 60_000,
  });
  const delivery = new RecordingDelivery();
  const send = (key: string, size: number, ordinal: number): void => {
    sink.reserve(1, NEVER);
    sink.send({ topic: "t", key, data: Buffer.alloc(size, key) }, delivery, ordinal);
  };
  ["a", "b", "a", "b"].forEach((key, ordinal) => send(key, 10, ordinal)); // four messages
  await until(() => delivery.acks.size === 4, "receipts of the first four");
  assert.deepEqual(broker.sends.map(({ messages }) => messages.length), [2, 2]);
  ["a", "b"].forEach((key, at) => send(key, 300, 4 + at));
  send("c", 500, 6); // would be too many bytes: the first two go
  await until(() => delivery.acks.size === 6, "receipts of two more");
  assert.equal(sink.pending, 1);
  sink.flush();
  await until(() => sink.pending === 0, "the last receipt");
});

test("pulsar key batches: what is dropped leaves a gap, no id is given twice", async (t) => {
  const broker = new ScriptedBroker();
  const { sink } = openSink(t, broker.url, {
    ...BY_KEY,
    transport: network(broker),
    batchMaxDelayMs: 60_000,
  });
  await sink.open("t", NEVER);
  const [kept, dropped] = [new RecordingDelivery(), new RecordingDelivery()];
  for (const [ordinal, key] of ["a", "a", "b", "c", "b"].entries()) {
    sink.reserve(1, NEVER);
    const message = { topic: "t", key, data: Buffer.from(`${key}${ordinal}`) };
    sink.send(message, ordinal === 0 || key === "c" ? dropped : kept, ordinal);
  }
  sink.drop(dropped);
  sink.flush();
  await until(() => kept.acks.size === 3, "receipts");
  const given = broker.sends.map(({ messages }) =>
    messages.map(({ data, sequenceId }) => `${data}: ${sequenceId}`)
  );
  assert.deepEqual(given, [["a1: 1"], ["b2: 2", "b4: 3"]]);
});

test("pulsar key batches: nothing is lost where the broker deduplicates; parties are dropped out of them", async (t) => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.tuple(fc.integer({ min: 0, max: 3 }), fc.boolean()), { minLength: 1, maxLength: 60 }),
      fc.integer({ min: 1, max: 20 }),
      fc.array(fc.integer({ min: 1, max: 3000 }), { maxLength: 2 }),
      fc.boolean(),
      async (records, batchMaxMessages, cuts, drops) => {
        const broker = await startLocalBroker({ deduplication: true });
        const { sink } = openSink(t, broker.url, { ...BY_KEY, batchMaxMessages, batchMaxDelayMs: 0 });
        const [a, b] = [new RecordingDelivery(), new RecordingDelivery()];
        if (cuts.length > 0) broker.cutAfterReceiving(cuts[0]!);
        for (const [ordinal, [key, isA]] of records.entries()) {
          sink.reserve(1, NEVER);
          const message = { topic: "t", key: `k${key}`, data: Buffer.from(`${ordinal}`) };
          sink.send(message, isA ? a : b, ordinal);
          if (ordinal % 13 === 12) await new Promise((resolve) => setTimeout(resolve, 1));
          if (ordinal === 20 && cuts.length > 1) broker.cutAfterReceiving(cuts[1]!);
          if (ordinal === 30 && drops) sink.drop(b);
        }
        await until(() => sink.pending === 0, "receipts");
        const there = broker.messages("t");
        const seen = new Map<string, number>();
        for (const { key, data } of there) {
          const ordinal = Number(data.toString());
          assert.ok(ordinal > (seen.get(key!) ?? -1), "in order per key, each once");
          seen.set(key!, ordinal);
        }
        const ordinals = new Set(there.map(({ data }) => Number(data.toString())));
        for (const delivery of [a, b]) {
          for (const ordinal of delivery.acks.keys()) assert.ok(ordinals.has(ordinal));
        }
        const wanted = records.flatMap(([, isA], ordinal) => isA || !drops || ordinal > 30 ? [ordinal] : []);
        for (const ordinal of wanted) assert.ok(ordinals.has(ordinal), `${ordinal} is there`);
        for (const entry of new Set(there.map(({ entryId }) => entryId))) {
          assert.equal(
            new Set(there.filter(({ entryId }) => entryId === entry).map(({ key }) => key)).size,
            1,
          );
        }
        await sink.close();
        await broker.close();
      },
    ),
    { numRuns: 40 },
  );
});

test(
  "pulsar key batches: consumers of a Key_Shared subscription get each key at one of them",
  { skip },
  async (t) => {
    const { serviceUrl } = await pulsarBroker();
    const consumersByKey = async (batchBuilder: "default" | "key-based"): Promise<Set<number>[]> => {
      const topic = newTopic(batchBuilder);
      const { sink } = openSink(t, serviceUrl, { batchBuilder });
      await sink.open(topic, NEVER);
      const count = 2000;
      const shared = shareTopic(topic, { subscription: "s", count, timeoutMs: 60_000, serviceUrl });
      const isReady = async (): Promise<boolean> => {
        const { subscriptions } = await pulsarAdmin().stats(topic);
        return (subscriptions["s"] as { consumers: unknown[] } | undefined)?.consumers.length === 2;
      };
      while (!await isReady()) await new Promise((resolve) => setTimeout(resolve, 50));
      const delivery = new RecordingDelivery();
      for (let ordinal = 0; ordinal < count; ordinal++) {
        sink.reserve(1, NEVER);
        sink.send({ topic, key: `key-${ordinal % 40}`, data: Buffer.from(`${ordinal}`) }, delivery, ordinal);
        if (ordinal % 37 === 36) await new Promise((resolve) => setTimeout(resolve, 3)); // other keys first each time
      }
      const consumers = new Map<string, Set<number>>();
      const last = new Map<string, number>();
      const messages = await shared;
      assert.equal(messages.length, count);
      for (const { key, consumer, text } of messages) {
        consumers.set(key!, (consumers.get(key!) ?? new Set()).add(consumer));
        if (batchBuilder === "default") continue;
        assert.ok(Number(text) > (last.get(key!) ?? -1), "in order per key");
        last.set(key!, Number(text));
      }
      return [...consumers.values()];
    };
    const byKey = await consumersByKey("key-based");
    assert.equal(byKey.length, 40);
    assert.ok(byKey.every(({ size }) => size === 1), "each key at one consumer");
    assert.equal(new Set(byKey.flatMap((consumers) => [...consumers])).size, 2, "both had something to do");
    const mixed = await consumersByKey("default");
    assert.ok(mixed.some(({ size }) => size === 2), "what this is for");
  },
);
