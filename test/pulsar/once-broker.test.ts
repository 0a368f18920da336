// Effectively once against a real broker that deduplicates; what is in a topic is judged by the official Java client.

import { test } from "node:test";
import assert from "node:assert/strict";
import { brokerMissing, brokersOnOneFolder, startBroker, type TestBroker } from "../servers/broker.ts";
import { pulsarAdmin } from "../servers/admin.ts";
import { readTopic } from "../servers/topic-reader.ts";
import {
  crashingTransport,
  firstUnfinished,
  type MessagesOf,
  numbered,
  OnceDelivery,
  readInto,
} from "./once-harness.ts";
import { NEVER, newTopic, openSink, until } from "./sink-harness.ts";

const skip = brokerMissing() ?? false;
const ONCE = { delivery: "effectively-once" } as const;
const BACKOFF = { firstMs: 50, maxMs: 1000 };

/** One for the whole file; it ends with this process. */
let own: Promise<TestBroker> | undefined;
function dedupBroker(): Promise<TestBroker> {
  return own ??= startBroker({ args: ["--dedup"] });
}

async function namespace(broker: TestBroker, deduplication: boolean): Promise<string> {
  const name = `public/${newTopic("ns")}`;
  const admin = pulsarAdmin(broker.adminUrl);
  await admin.call("PUT", `namespaces/${name}`);
  await admin.setDeduplication(deduplication, name);
  return name;
}

/** Records 0, 1, …: some are filtered, some become three messages, some have no key. */
function messagesFor(topic: string): MessagesOf {
  return (place) =>
    place % 7 === 3 ? [] : Array.from(
      { length: place % 5 === 4 ? 3 : 1 },
      (_, index) => numbered(topic, place, index, place % 3 === 0 ? undefined : `key${place % 50}`),
    );
}

/** Each message once, in order per partition, under this name. */
async function assertOnce(
  topic: string,
  serviceUrl: string,
  producerName: string,
  messagesOf: MessagesOf,
  total: number,
): Promise<void> {
  const wanted = Array.from(
    { length: total },
    (_, place) => messagesOf(place).map(({ data }) => data.toString()),
  ).flat();
  const there = await readTopic(topic, { serviceUrl, count: wanted.length, timeoutMs: 60_000 });
  assert.deepEqual(there.map(({ data }) => data!.toString()).sort(), wanted.sort());
  const last = new Map<number, number>();
  for (const message of there) {
    assert.equal(message.producerName, producerName);
    assert.ok(message.sequenceId > (last.get(message.partition) ?? -1), "in order");
    last.set(message.partition, message.sequenceId);
  }
}

test("pulsar once, real broker: crashed again and again, read again in other batches: each message once", {
  skip,
}, async (t) => {
  const { serviceUrl, adminUrl } = await dedupBroker();
  const topic = newTopic("once");
  await pulsarAdmin(adminUrl).createPartitionedTopic(topic, 3);
  const messagesOf = messagesFor(topic);
  const [name, stored, total] = ["an app/stream/shardId-000000000000/0a1b", new Map<string, number>(), 6000];
  let [checkpoint, duplicates] = [0, 0];
  for (const round of [0, 1, 2, 3, 4, 5]) {
    const isLast = round === 5;
    const network = crashingTransport();
    const { sink, notes } = openSink(t, serviceUrl, {
      ...ONCE,
      backoff: BACKOFF,
      batchMaxMessages: [7, 100, 1, 33, 1000, 20][round],
      transport: network.factory,
    });
    const delivery = new OnceDelivery(name, stored);
    const to = isLast ? total : Math.min(total, checkpoint + 2500);
    const stop = new AbortController();
    const crashAt = checkpoint + 1500 + round * 37;
    await readInto(sink, delivery, messagesOf, {
      from: checkpoint,
      to,
      signal: stop.signal,
      async each(place) {
        if (!isLast && place === crashAt) {
          await until(() => delivery.acks.size > 0, "some receipts", 90_000);
          network.crash();
          stop.abort();
        }
      },
    });
    if (isLast) await until(() => sink.pending === 0, "all receipts", 90_000);
    checkpoint = Math.floor((checkpoint + firstUnfinished(delivery, messagesOf, checkpoint, to)) / 2);
    await sink.close();
    assert.deepEqual(notes.fatal, []);
    for (const count of notes.duplicates.values()) duplicates += count;
  }
  assert.deepEqual([...stored], [[`persistent://public/default/${topic}`, 3]]);
  assert.ok(duplicates > 0, "the broker dropped some");
  await assertOnce(topic, serviceUrl, name, messagesOf, total);
});

test(
  "pulsar once, real broker: killed with -9 and started on its data, nothing is there twice",
  { skip },
  async (t) => {
    const brokers = brokersOnOneFolder(t, ["--dedup"]);
    const before = await brokers.start();
    const topic = newTopic("killed");
    const messagesOf = messagesFor(topic);
    const total = 8_000;
    const { sink, notes } = openSink(t, before.serviceUrl, {
      ...ONCE,
      backoff: BACKOFF,
      batchMaxMessages: 50,
    });
    const [name, stored] = ["app/s/0/f", new Map<string, number>()];
    const delivery = new OnceDelivery(name, stored);
    let after: Promise<TestBroker> | undefined;
    await readInto(sink, delivery, messagesOf, {
      from: 0,
      to: total,
      signal: NEVER,
      async each(place) {
        if (place !== 4000) return;
        await until(() => delivery.acks.size > 1000, "it is going on", 90_000);
        await before.crash();
        after = brokers.start();
        after.catch(() => {}); // awaited below
      },
    });
    const { serviceUrl } = await after!;
    await until(() => sink.pending === 0, "all receipts", 90_000);
    assert.equal(notes.fatal.length, 0);
    assert.ok(notes.reconnecting.length > 0);
    await sink.close();
    const again = openSink(t, serviceUrl, { ...ONCE, backoff: BACKOFF, batchMaxMessages: 777 });
    const replay = new OnceDelivery(name, stored);
    await readInto(again.sink, replay, messagesOf, { from: 5_000, to: total, signal: NEVER });
    await until(() => again.sink.pending === 0, "receipts of the replay", 90_000);
    await assertOnce(topic, serviceUrl, name, messagesOf, total);
  },
);

test("pulsar once, real broker: deduplication off at the start, or switched off later, ends everything", {
  skip,
}, async (t) => {
  const broker = await dedupBroker();
  const { serviceUrl, adminUrl } = broker;
  const admin = pulsarAdmin(adminUrl);
  const off = `${await namespace(broker, false)}/t`;
  const first = openSink(t, serviceUrl, { ...ONCE, backoff: BACKOFF, batchMaxMessages: 5 });
  const delivery = new OnceDelivery("p");
  await readInto(first.sink, delivery, (place) => [numbered(off, place)], { from: 0, to: 50, signal: NEVER });
  await until(() => first.notes.fatal.length > 0, "the end", 60_000);
  assert.equal(first.notes.fatal[0]!.code, "DEDUPLICATION_OFF");
  assert.match(first.notes.fatal[0]!.message, /last one .*set-deduplication public\/ns-/);
  await first.sink.close();
  assert.equal((await readTopic(off, { serviceUrl, count: 5 })).length, 5);

  const name = await namespace(broker, true);
  const topic = `${name}/t`;
  const { sink, notes } = openSink(t, serviceUrl, { ...ONCE, backoff: BACKOFF });
  const later = new OnceDelivery("p");
  await readInto(sink, later, (place) => [numbered(topic, place)], { from: 0, to: 50, signal: NEVER });
  await until(() => sink.pending === 0, "receipts", 60_000);
  await admin.setDeduplication(false, name);
  await admin.unload(topic);
  await until(() => notes.fatal.length > 0, "the end", 60_000);
  assert.equal(notes.fatal[0]!.code, "DEDUPLICATION_OFF");
  await readInto(sink, later, (place) => [numbered(topic, place)], { from: 50, to: 60, signal: NEVER });
  await sink.close();
  assert.equal((await readTopic(topic, { serviceUrl, count: 50 })).length, 50);
});

test("pulsar once, real broker: a held name is waited for; a party that is dropped gives its name back", {
  skip,
}, async (t) => {
  const { serviceUrl, adminUrl } = await dedupBroker();
  const topic = newTopic("held");
  const holder = openSink(t, serviceUrl, { ...ONCE, backoff: BACKOFF });
  const first = new OnceDelivery("same/name");
  const messagesOf: MessagesOf = (place) => [numbered(topic, place)];
  await readInto(holder.sink, first, messagesOf, { from: 0, to: 10, signal: NEVER });
  await until(() => holder.sink.pending === 0, "receipts", 60_000);
  const { sink, notes } = openSink(t, serviceUrl, { ...ONCE, backoff: BACKOFF });
  const second = new OnceDelivery("same/name");
  await readInto(sink, second, messagesOf, { from: 5, to: 20, signal: NEVER });
  await until(() => notes.reconnecting.length >= 3, "attempts", 60_000);
  assert.match(notes.reconnecting[0]!.error.message, /ProducerBusy/);
  assert.equal(second.acks.size, 0);
  holder.sink.drop(first);
  await until(() => sink.pending === 0, "receipts", 60_000);
  const { publishers } = await pulsarAdmin(adminUrl).stats(topic);
  assert.deepEqual(publishers.map(({ producerName }) => producerName), ["same/name"]);
  await assertOnce(topic, serviceUrl, "same/name", messagesOf, 20);
});
