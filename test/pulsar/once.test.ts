// Effectively once against our own broker: whatever is read again, in whatever batches, each message is there once.

import { Buffer } from "node:buffer";
import { test, type TestContext } from "node:test";
import assert from "node:assert/strict";
import fc from "fast-check";
import type { SinkMessage } from "../../src/core/record.ts";
import type { MessageSink } from "../../src/pulsar/sink.ts";
import { type LocalBroker, startLocalBroker } from "../../src/local/mod.ts";
import { FakeClock } from "../fakes.ts";
import {
  crashingTransport,
  firstUnfinished,
  type MessagesOf,
  numbered,
  OnceDelivery,
  readInto,
} from "./once-harness.ts";
import { network, ScriptedBroker } from "./scripted-broker.ts";
import { NEVER, openSink, until } from "./sink-harness.ts";

async function localBroker(t: TestContext, deduplication = true): Promise<LocalBroker> {
  const broker = await startLocalBroker({ deduplication });
  t.after(() => broker.close());
  return broker;
}

const ONCE = { delivery: "effectively-once" } as const;

/** Sends the messages of one record, admitted or not. */
function sendRecord(
  sink: MessageSink,
  delivery: OnceDelivery,
  place: number,
  messages: readonly SinkMessage[],
): void {
  sink.reserve(messages.length, NEVER);
  messages.forEach((message, index) => sink.send(message, delivery, place, place * 1024 + index));
}

test("pulsar once: read again in other batches, filtered, multiplied, cut and crashed: each message once, in order", async (t) => {
  const run = fc.record({
    batchMaxMessages: fc.integer({ min: 1, max: 9 }),
    records: fc.integer({ min: 0, max: 40 }),
    /** Cuts after so many bytes that the broker received, one after the other. */
    cuts: fc.array(fc.integer({ min: 1, max: 4000 }), { maxLength: 3 }),
    crash: fc.boolean(),
    /** Part of what is finished that the checkpoint covers. */
    checkpointed: fc.double({ min: 0, max: 1, noNaN: true }),
  });
  await fc.assert(
    fc.asyncProperty(
      fc.array(run, { minLength: 1, maxLength: 5 }),
      fc.constantFrom(0, 3),
      fc.constantFrom(0, 2, 5),
      async (runs, partitions, filtered) => {
        const broker = await startLocalBroker({ deduplication: true, partitions: { t: partitions } });
        const stored = new Map<string, number>();
        const messagesOf: MessagesOf = (place) =>
          filtered > 0 && place % filtered === 1
            ? []
            : Array.from({ length: place % 4 === 3 ? 3 : 1 }, (_, index) =>
              numbered("t", place, index, place % 3 === 0 ? undefined : `key${place % 5}`));
        const total = 60;
        let checkpoint = 0;
        for (const { batchMaxMessages, records, cuts, crash, checkpointed } of [...runs, LAST]) {
          const network = crashingTransport();
          const { sink, notes } = openSink(t, broker.url, {
            ...ONCE,
            batchMaxMessages,
            transport: network.factory,
          });
          const delivery = new OnceDelivery("app/stream/shard-0/g", stored);
          const to = Math.min(total, checkpoint + records);
          const [first, ...others] = cuts;
          if (first !== undefined) broker.cutAfterReceiving(first);
          await readInto(sink, delivery, messagesOf, {
            from: checkpoint,
            to,
            signal: NEVER,
            async each(place) {
              if (place % 9 !== 8) return;
              if (others.length > 0) broker.cutAfterReceiving(others.shift()!);
              await new Promise((resolve) => setTimeout(resolve, 1));
            },
          });
          if (crash) network.crash();
          else await until(() => sink.pending === 0, "receipts");
          const finished = firstUnfinished(delivery, messagesOf, checkpoint, to);
          checkpoint += Math.floor((finished - checkpoint) * checkpointed);
          broker.cutAfterReceiving(Infinity);
          await sink.close();
          assert.deepEqual(notes.fatal, []);
        }
        assert.equal(checkpoint, total);
        const wanted = Array.from(
          { length: total },
          (_, place) => messagesOf(place).map(({ data }) => data.toString()),
        );
        const there = broker.messages("t");
        assert.deepEqual(there.map(({ data }) => data.toString()).sort(), wanted.flat().sort());
        const last = new Map<number, number>();
        for (const { partition, sequenceId, producerName } of there) {
          assert.ok(sequenceId > (last.get(partition) ?? -1), "in order");
          last.set(partition, sequenceId);
          assert.equal(producerName, "app/stream/shard-0/g");
        }
        await broker.close();
      },
    ),
    { numRuns: 40 },
  );
});

const LAST = { batchMaxMessages: 7, records: 1000, cuts: [], crash: false, checkpointed: 1 };

test("pulsar once: no entry holds ids at or below the broker's last id together with higher ones", async (t) => {
  const broker = new ScriptedBroker();
  const lastIds = [5 * 1024, 12 * 1024];
  broker.script.PRODUCER = ({ requestId, producerName = "" }, { reply }) =>
    reply("PRODUCER_SUCCESS", { requestId, producerName, lastSequenceId: lastIds.shift() ?? 20_000 });
  let isFirst = true;
  broker.script.SEND = (_, connection, usual) => {
    if (!isFirst) return usual();
    isFirst = false; // nothing had a receipt: all is cut once more at what is the last id now
    connection.cut();
  };
  const { sink } = openSink(t, broker.url, { ...ONCE, transport: network(broker) });
  const delivery = new OnceDelivery("p");
  for (let place = 0; place < 20; place++) sendRecord(sink, delivery, place, [numbered("t", place)]);
  await until(() => sink.pending === 0, "receipts");
  const ids = broker.sends.filter(({ connection }) => connection === 1).map(({ messages, command }) => {
    assert.equal(command.highestSequenceId, messages.at(-1)!.sequenceId);
    return messages.map(({ sequenceId }) => sequenceId! / 1024);
  });
  assert.deepEqual(ids, [[0, 1, 2, 3, 4, 5], [6, 7, 8, 9, 10, 11, 12], [13, 14, 15, 16, 17, 18, 19]]);
  assert.equal(delivery.acks.size, 20);
});

/** A broker that deduplicates, or says so, as far as openings go. */
function remembering(broker: ScriptedBroker, doesRemember: () => boolean = () => true): Map<string, number> {
  const lastIds = new Map<string, number>();
  const names = new Map<number, string>();
  broker.script.PRODUCER = ({ requestId, producerName, producerId, topic }, { reply }) => {
    const name = producerName ?? `random-${producerId}`;
    names.set(producerId, `${topic} ${name}`);
    const lastSequenceId = doesRemember() ? lastIds.get(`${topic} ${name}`) ?? -1 : -1;
    reply("PRODUCER_SUCCESS", { requestId, producerName: name, lastSequenceId });
  };
  broker.script.SEND = ({ producerId, highestSequenceId }, _, usual) => {
    lastIds.set(names.get(producerId)!, highestSequenceId);
    usual();
  };
  return lastIds;
}

test("pulsar once: the first frame goes alone, and nothing follows before the producer was opened again", async (t) => {
  const broker = new ScriptedBroker();
  remembering(broker);
  const { sink, notes } = openSink(t, broker.url, {
    ...ONCE,
    transport: network(broker),
    batchMaxMessages: 2,
  });
  const [a, b] = [new OnceDelivery("app/s/shard-a/1"), new OnceDelivery("app/s/shard-b/1")];
  for (let place = 0; place < 8; place++) {
    sendRecord(sink, a, place, [numbered("t", place)]);
    sendRecord(sink, b, place, [numbered("t", place)]);
  }
  await until(() => sink.pending === 0, "receipts");
  const said = broker.commands.map(({ command }) => command).filter(({ name }) =>
    ["PRODUCER", "SEND", "CLOSE_PRODUCER"].includes(name)
  );
  const told = said.map((command) => `${command.name} ${"producerId" in command ? command.producerId : ""}`);
  assert.deepEqual(told.slice(0, 6), [
    "PRODUCER 0",
    "PRODUCER 1",
    "SEND 0",
    "CLOSE_PRODUCER 0",
    "PRODUCER 0",
    "SEND 1",
  ], "b waits for the proof of a");
  assert.equal(told.filter((text) => text.startsWith("PRODUCER")).length, 3, "one proof is enough for both");
  assert.deepEqual(
    broker.got("PRODUCER").map((
      { producerName, userProvidedProducerName },
    ) => [producerName, userProvidedProducerName]),
    [["app/s/shard-a/1", true], ["app/s/shard-b/1", true], ["app/s/shard-a/1", true]],
  );
  assert.deepEqual([a.acks.size, b.acks.size], [8, 8]);
  assert.deepEqual(notes.reconnecting, []);
  assert.deepEqual(notes.connected.length, 2, "the proof is no news");
});

test("pulsar once: a last id, or a receipt for a duplicate, is proof already", async (t) => {
  for (const how of ["last id", "duplicate"]) {
    const broker = new ScriptedBroker();
    if (how === "last id") {
      broker.script.PRODUCER = ({ requestId, producerName = "" }, { reply }) =>
        reply("PRODUCER_SUCCESS", { requestId, producerName, lastSequenceId: 0 });
    } else {
      broker.script.SEND = ({ producerId, sequenceId, highestSequenceId }, { reply }) =>
        reply("SEND_RECEIPT", {
          producerId,
          sequenceId,
          highestSequenceId,
          messageId: { ledgerId: -1, entryId: -1 },
        });
    }
    const duplicates: number[] = [];
    const { sink, notes } = openSink(t, broker.url, {
      ...ONCE,
      transport: network(broker),
      batchMaxMessages: 2,
      events: { fatal: assert.fail, duplicates: (_, count) => duplicates.push(count) },
    });
    const delivery = new OnceDelivery("p");
    for (let place = 1; place < 8; place++) sendRecord(sink, delivery, place, [numbered("t", place)]);
    await until(() => sink.pending === 0, "receipts");
    assert.equal(broker.got("PRODUCER").length, 1, how);
    assert.equal(delivery.acks.size, 7);
    assert.equal(duplicates.reduce((sum, count) => sum + count, 0), how === "last id" ? 0 : 7);
    assert.deepEqual(notes.fatal, []);
  }
});

test("pulsar once: deduplication off at the start ends everything after one frame", async (t) => {
  const broker = await localBroker(t, false);
  const { sink, notes } = openSink(t, broker.url, { ...ONCE, batchMaxMessages: 5 });
  const [a, b] = [new OnceDelivery("a"), new OnceDelivery("b")];
  for (let place = 0; place < 20; place++) {
    sendRecord(sink, a, place, [numbered("orders", place)]);
    sendRecord(sink, b, place, [numbered("orders", place)]);
  }
  await until(() => notes.fatal.length > 0, "the end");
  const [error] = notes.fatal;
  assert.equal(error!.code, "DEDUPLICATION_OFF");
  assert.match(error!.message, /pulsar-admin namespaces set-deduplication public\/default --enable/);
  assert.match(
    error!.message,
    /topicPolicies set-deduplication persistent:\/\/public\/default\/orders --enable/,
  );
  await sink.close();
  assert.equal(broker.messages("orders").length, 5);
  assert.equal(a.refusals.length + b.refusals.length, 0);
  assert.equal(notes.fatal.length, 1);
});

test("pulsar once: deduplication off ends everything after one frame, also behind one larger than any before", async (t) => {
  const broker = await localBroker(t, false);
  const { sink, notes } = openSink(t, broker.url, { ...ONCE, batchMaxMessages: 5 });
  const delivery = new OnceDelivery("a");
  for (let place = 0; place < 20; place++) {
    sendRecord(sink, delivery, place, [{ ...numbered("orders", place), data: Buffer.alloc(2_000) }]);
  }
  await until(() => notes.fatal.length > 0, "the end");
  await sink.close();
  assert.equal(broker.messages("orders").length, 5);
});

test("pulsar once: deduplication switched off while running is seen at the next opening; nothing more is published", async (t) => {
  const broker = await localBroker(t);
  const { sink, notes } = openSink(t, broker.url, ONCE);
  const delivery = new OnceDelivery("p");
  for (let place = 0; place < 20; place++) sendRecord(sink, delivery, place, [numbered("t", place)]);
  await until(() => sink.pending === 0, "receipts");
  broker.setDeduplication(false);
  broker.unload("t");
  for (let place = 20; place < 40; place++) sendRecord(sink, delivery, place, [numbered("t", place)]);
  await until(() => notes.fatal.length > 0, "the end");
  assert.equal(notes.fatal[0]!.code, "DEDUPLICATION_OFF");
  await sink.close();
  assert.equal(broker.messages("t").length, 20);
});

test("pulsar once: a prover that goes away leaves the proof to the next one", async (t) => {
  const broker = new ScriptedBroker();
  remembering(broker);
  const usual = broker.script.SEND!;
  let isHeld = true;
  broker.script.SEND = (command, connection, answer) => isHeld || usual(command, connection, answer);
  const { sink } = openSink(t, broker.url, { ...ONCE, transport: network(broker) });
  const [a, b] = [new OnceDelivery("a"), new OnceDelivery("b")];
  sendRecord(sink, a, 0, [numbered("t", 0)]);
  sendRecord(sink, b, 0, [numbered("t", 0)]);
  await until(() => broker.sends.length === 1, "the first frame");
  isHeld = false;
  sink.drop(a);
  await until(() => sink.pending === 0, "the other's receipt");
  assert.deepEqual([a.acks.size, b.acks.size], [0, 1]);
  await until(() => broker.got("PRODUCER").length === 3, "the other has opened twice");
});

test("pulsar once: a producer that was idle for long and is forgotten by its broker is proved anew", async (t) => {
  const broker = new ScriptedBroker();
  const clock = new FakeClock();
  const lastIds = remembering(broker);
  const { sink, notes } = openSink(t, broker.url, { ...ONCE, transport: network(broker), clock });
  const delivery = new OnceDelivery("p");
  sendRecord(sink, delivery, 0, [numbered("t", 0)]);
  await clock.advanceUntil(() => sink.pending === 0, 1000, 1);
  for (let second = 0; second < 680; second++) await clock.advance(1000);
  assert.equal(broker.got("CLOSE_PRODUCER").length, 2, "the proof's, and the idle one's");
  lastIds.clear();
  sendRecord(sink, delivery, 1, [numbered("t", 1)]);
  sink.flush();
  sendRecord(sink, delivery, 2, [numbered("t", 2)]);
  await clock.advanceUntil(() => sink.pending === 0, 1000, 1);
  assert.equal(broker.got("PRODUCER").length, 4);
  assert.deepEqual(notes.fatal, []);
  assert.equal(delivery.acks.size, 3);
});

test("pulsar once: a name that a crashed predecessor still holds is waited for, as long as it takes", async (t) => {
  const broker = await localBroker(t);
  const before = openSink(t, broker.url, ONCE);
  const first = new OnceDelivery("p");
  sendRecord(before.sink, first, 0, [numbered("t", 0)]);
  await until(() => before.sink.pending === 0, "receipt");
  const { sink, notes } = openSink(t, broker.url, ONCE);
  const delivery = new OnceDelivery("p");
  sendRecord(sink, delivery, 0, [numbered("t", 0)]);
  sendRecord(sink, delivery, 1, [numbered("t", 1)]);
  await until(() => notes.reconnecting.length >= 5, "attempts");
  assert.ok(notes.reconnecting.every(({ error }) => error.message.includes("ProducerBusy")));
  await before.sink.close();
  await until(() => sink.pending === 0, "receipts");
  assert.deepEqual(broker.messages("t").map(({ data }) => data.toString()), ["0.0", "1.0"]);
});

test("pulsar once: an id that does not rise is a defect: not sent, and the end of everything", async (t) => {
  for (const id of [5, 4, undefined, 2 ** 53, 5.5]) {
    const broker = await localBroker(t);
    const { sink, notes } = openSink(t, broker.url, ONCE);
    const delivery = new OnceDelivery("p", new Map([[FULL("t"), 0]]));
    sink.reserve(2, NEVER);
    sink.send(numbered("t", 0), delivery, 0, 5);
    sink.send(numbered("t", 1), delivery, 1, id);
    await until(() => notes.fatal.length > 0 && delivery.refusals.length > 0, "the end");
    assert.deepEqual([notes.fatal[0]!.code, delivery.refusals[0]!.ordinal], ["INTERNAL", 1]);
    await sink.close();
    assert.ok(broker.calls("SEND") <= 1);
  }
});

const FULL = (topic: string): string => `persistent://public/default/${topic}`;

test("pulsar once: the number of partitions is stored before anything is routed, and stays", async (t) => {
  const broker = await localBroker(t);
  broker.setPartitions("t", 4);
  const { sink } = openSink(t, broker.url, ONCE);
  const stored = new Map<string, number>();
  const delivery = new OnceDelivery("p", stored);
  let release = (): void => {};
  const slow = new Promise<void>((resolve) => release = resolve);
  delivery.once.storePartitions = async (topic, count) => {
    await slow;
    stored.set(topic, count);
  };
  const keys = ["key1", "key2", "key3", undefined];
  keys.forEach((key, place) => sendRecord(sink, delivery, place, [numbered("t", place, 0, key)]));
  await until(() => broker.calls("PARTITIONED_METADATA") > 0, "the question");
  await new Promise((resolve) => setTimeout(resolve, 20));
  assert.equal(broker.calls("PRODUCER"), 0);
  release();
  await until(() => sink.pending === 0, "receipts");
  assert.deepEqual([...stored], [[FULL("t"), 4]]);
  const placed = () =>
    Object.fromEntries(broker.messages("t").map(({ data, partition }) => [data.toString(), partition]));
  const before = placed();
  broker.setPartitions("t", 9);
  const again = openSink(t, broker.url, ONCE);
  await sink.close();
  const replay = new OnceDelivery("p", stored);
  keys.forEach((key, place) => sendRecord(again.sink, replay, place, [numbered("t", place, 0, key)]));
  await until(() => again.sink.pending === 0, "receipts");
  assert.deepEqual(placed(), before);
  assert.equal(broker.messages("t").length, 4);
});

test("pulsar once: drop() closes the party's producers, also one that is just being opened", async (t) => {
  const broker = await localBroker(t);
  const { sink } = openSink(t, broker.url, ONCE);
  const [a, b] = [new OnceDelivery("a"), new OnceDelivery("b")];
  sendRecord(sink, a, 0, [numbered("t", 0)]);
  sendRecord(sink, b, 0, [numbered("t", 0)]);
  await until(() => sink.pending === 0, "receipts");
  sink.drop(a);
  await until(() => broker.stats("t").producers.length === 1, "its producer is closed");
  assert.deepEqual(broker.stats("t").producers, ["b"]);
  broker.inject({ command: "PRODUCER", delayMs: 50 });
  const c = new OnceDelivery("c");
  sendRecord(sink, c, 0, [numbered("t", 0)]);
  const calls = broker.calls("PRODUCER");
  await until(() => broker.calls("PRODUCER") > calls, "it is being opened");
  sink.drop(c);
  assert.equal(sink.pending, 0);
  const closed = broker.calls("CLOSE_PRODUCER");
  await until(() => broker.calls("CLOSE_PRODUCER") > closed, "it is closed all the same");
  assert.deepEqual(broker.stats("t").producers, ["b"]);
});

test("pulsar once: what was refused is settled before anything later goes to that topic", async (t) => {
  const broker = await localBroker(t);
  broker.inject({ command: "PARTITIONED_METADATA", topic: "gone", error: "TopicNotFound" });
  const clock = new FakeClock();
  const { sink } = openSink(t, broker.url, { ...ONCE, clock });
  const delivery = new OnceDelivery("p");
  let settle = (): void => {};
  const settled = new Promise<void>((resolve) => settle = resolve);
  delivery.refused = (ordinal, error) => {
    delivery.refusals.push({ ordinal, error });
    return settled;
  };
  sendRecord(sink, delivery, 0, [numbered("gone", 0)]);
  await clock.advanceUntil(() => delivery.refusals.length === 1, 60_000, 10);
  await clock.advance(120_000); // otherwise it would be asked for again after a minute
  sendRecord(sink, delivery, 1, [numbered("gone", 1)]);
  await clock.advanceUntil(() => delivery.refusals.length === 2, 60_000, 10);
  assert.equal(broker.calls("PRODUCER"), 0);
  settle();
  await clock.advance(120_000);
  sendRecord(sink, delivery, 2, [numbered("gone", 2)]);
  await clock.advanceUntil(() => sink.pending === 0, 60_000, 10);
  assert.deepEqual(broker.messages("gone").map(({ data }) => data.toString()), ["2.0"]);
});

test("pulsar once: between two messages that found no producer, what has one goes after the first", async (t) => {
  const broker = await localBroker(t);
  broker.setPartitions("many", 2);
  const held = broker.inject({ command: "SEND", topic: "busy", hang: true });
  const clock = new FakeClock();
  const { sink } = openSink(t, broker.url, { ...ONCE, clock, maxProducers: 2 });
  const others = new OnceDelivery("o");
  sendRecord(sink, others, 0, [numbered("busy", 0)]);
  const delivery = new OnceDelivery("p");
  const settled: (() => void)[] = [];
  delivery.refused = (ordinal, error) => {
    delivery.refusals.push({ ordinal, error });
    return new Promise<void>((resolve) => settled.push(resolve));
  };
  const [here, there] = ["key1", "key2"]; // in different partitions
  sendRecord(sink, delivery, 0, [numbered("many", 0, 0, here)]);
  await clock.advanceUntil(() => delivery.acks.size === 1 && held.hits === 1, 60_000, 10);
  broker.inject({ command: "SEND", topic: "many", hang: true }); // keeps its producer busy
  [here, there, here, there].forEach((key, at) =>
    sendRecord(sink, delivery, 1 + at, [numbered("many", 1 + at, 0, key)])
  );
  const refused = (): number[] => delivery.refusals.map(({ ordinal }) => ordinal);
  await clock.advanceUntil(() => refused().length > 0, 60_000, 10);
  assert.deepEqual(refused(), [2]);
  settled[0]!();
  broker.cutConnections();
  await clock.advanceUntil(() => delivery.acks.has(3), 60_000, 10);
  await clock.advance(1_000);
  assert.deepEqual(refused(), [2, 4], "in its turn");
});

test("pulsar once: open() only looks, non-persistent topics are refused, batches are never by key", async (t) => {
  const broker = await localBroker(t);
  broker.setPartitions("many", 3);
  const { sink, notes } = openSink(t, broker.url, { ...ONCE, batchBuilder: "key-based" });
  await sink.open("many", NEVER);
  await sink.open("plain", NEVER);
  assert.deepEqual([broker.stats("many").producers, broker.stats("plain").producers], [[], []]);
  assert.equal(broker.calls("SEND"), 0);
  assert.deepEqual(notes.connected, []);
  await assert.rejects(sink.open("non-persistent://public/default/t", NEVER), { code: "PULSAR_REFUSED" });
  broker.inject({ command: "PRODUCER", topic: "forbidden", error: "AuthorizationError" });
  await assert.rejects(sink.open("forbidden", NEVER), { code: "PULSAR_NOT_AUTHORIZED" });
  const delivery = new OnceDelivery("p");
  sendRecord(sink, delivery, 0, [numbered("non-persistent://public/default/t", 0)]);
  ["a", "b", "a", "b"].forEach((key, at) =>
    sendRecord(sink, delivery, 1 + at, [numbered("t", 1 + at, 0, key)])
  );
  await until(() => sink.pending === 0, "receipts and a refusal");
  assert.deepEqual(delivery.refusals.map(({ ordinal, error }) => [ordinal, error.code]), [[
    0,
    "PULSAR_REFUSED",
  ]]);
  assert.deepEqual(new Set(broker.messages("t").map(({ entryId }) => entryId)).size, 1);
});
