// What every driver behind the port of src/pulsar/sink.ts keeps, as tests: run for each of them by
// sink-contract.test.ts.

import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { test, type TestContext } from "node:test";
import type { ErrorCode } from "../../src/core/errors.ts";
import type { SinkMessage } from "../../src/core/record.ts";
import type { MessageSink } from "../../src/pulsar/sink.ts";
import { murmur3 } from "../../src/pulsar/routing.ts";
import { NEVER, RecordingDelivery, sendTexts, type SinkNotes, texts, until } from "./sink-harness.ts";

/** Options that all drivers know. */
export interface DriverOptions {
  readonly maxPendingMessages?: number;
  readonly maxProducers?: number;
  readonly batchMaxMessages?: number;
  readonly batchMaxDelayMs?: number;
  readonly chunking?: boolean;
}

/** A message as a topic holds it. */
export interface HeldMessage {
  readonly partition: number;
  readonly data: Buffer;
  readonly key: string | undefined;
  readonly orderingKey: string | undefined;
  readonly properties: Readonly<Record<string, string>>;
  readonly eventTime: number;
}

/** A sink with a service behind it. */
export interface World {
  readonly sink: MessageSink;
  readonly notes: SinkNotes;
  messages(topic: string): HeldMessage[];
  setPartitions(topic: string, count: number): void;
  /** The topic cannot be opened, for good. */
  refuse(topic: string, why: "TopicNotFound" | "AuthorizationError"): void;
  /** So many next openings of producers fail, but not for good. */
  failOpenings(times: number): void;
}

const textsOf = (world: World, topic: string): string[] =>
  world.messages(topic).map(({ data }) => data.toString());

async function sendAll(sink: MessageSink, messages: readonly SinkMessage[]): Promise<RecordingDelivery> {
  const delivery = new RecordingDelivery();
  for (const [ordinal, message] of messages.entries()) {
    const room = sink.reserve(1, NEVER);
    if (room !== true) await room;
    sink.send(message, delivery, ordinal);
  }
  await until(() => sink.pending === 0, "all ended");
  return delivery;
}

/** Registers the tests under the driver's name. */
export function testDriver(
  name: string,
  open: (t: TestContext, options?: DriverOptions) => Promise<World>,
): void {
  test(`pulsar driver ${name}: payload, key, ordering key, properties and event time arrive, in order`, async (t) => {
    const world = await open(t);
    const messages: SinkMessage[] = [
      { topic: "t", data: Buffer.alloc(0) },
      { topic: "persistent://public/default/t", data: Buffer.from([0, 255, 128]), key: "" },
      {
        topic: "public/default/t",
        data: Buffer.from("x"),
        key: "ключ😀",
        orderingKey: Buffer.from("ordnung"),
        properties: { größe: "ß", empty: "" },
        eventTime: 1_700_000_000_001,
      },
    ];
    const delivery = await sendAll(world.sink, messages);
    assert.deepEqual([...delivery.acks], [[0, 1], [1, 1], [2, 1]]);
    assert.deepEqual(
      world.messages("t").map(({ partition: _, data, ...rest }) => ({ ...rest, data: data.toString("hex") })),
      messages.map(({ data, key, orderingKey, properties, eventTime }) => ({
        data: Buffer.from(data).toString("hex"),
        key,
        orderingKey: orderingKey && Buffer.from(orderingKey).toString(),
        properties: properties ?? {},
        eventTime: eventTime ?? 0,
      })),
    );
    assert.deepEqual(world.notes.fatal, []);
  });

  test(`pulsar driver ${name}: a message's bytes are the caller's own again once send() returned`, async (t) => {
    const { sink, messages } = await open(t);
    const data = Buffer.from("first");
    const delivery = new RecordingDelivery();
    for (const [ordinal, text] of ["first", "again", "third"].entries()) {
      data.write(text);
      sink.reserve(1, NEVER);
      sink.send({ topic: "t", data }, delivery, ordinal);
      data.fill(0);
      if (ordinal === 1) await until(() => sink.pending === 0, "the topic is open");
    }
    await until(() => sink.pending === 0, "receipts");
    assert.deepEqual(messages("t").map((one) => one.data.toString()), ["first", "again", "third"]);
  });

  test(`pulsar driver ${name}: one order per topic, through batches, delayed and large messages`, async (t) => {
    const world = await open(t, { batchMaxMessages: 7, batchMaxDelayMs: 50 });
    const messages = texts("m", 200).map((text, index): SinkMessage => ({
      topic: "t",
      data: index % 40 === 20 ? Buffer.alloc(3_000_000, text) : Buffer.from(text),
      ...index % 11 === 5 ? { deliverAt: 1_700_000_000_000 } : {},
    }));
    const delivery = await sendAll(world.sink, messages);
    assert.equal(delivery.acks.size, 200);
    assert.deepEqual(textsOf(world, "t").map((text) => /^m\d+?(?=m|$)/.exec(text)?.[0]), texts("m", 200));
  });

  test(`pulsar driver ${name}: keys go to the partition that Murmur3 names, messages without take turns`, async (t) => {
    const world = await open(t, { batchMaxDelayMs: 1, batchMaxMessages: 2 });
    world.setPartitions("p", 5);
    const keys = ["key1", "naïve-ключ", "😀", "", ...texts("k", 30)];
    await sendAll(world.sink, keys.map((key) => ({ topic: "p", key, data: Buffer.from(key) })));
    for (const { key, partition } of world.messages("p")) assert.equal(partition, murmur3(key!) % 5, key);
    assert.equal(world.messages("p").length, keys.length);
    world.setPartitions("q", 3);
    for (let round = 0; round < 12; round++) {
      await sendAll(world.sink, texts("u", 2).map((text) => ({ topic: "q", data: Buffer.from(text) })));
    }
    assert.equal(new Set(world.messages("q").map(({ partition }) => partition)).size, 3);
  });

  test(`pulsar driver ${name}: no more messages are on their way than there is room for`, async (t) => {
    const { sink } = await open(t, { maxPendingMessages: 3, batchMaxDelayMs: 20 });
    const delivery = new RecordingDelivery();
    sendTexts(sink, delivery, texts("a", 3));
    assert.equal(sink.pending, 3);
    const room = sink.reserve(2, NEVER);
    assert.notEqual(room, true);
    assert.equal(await sink.reserve(1, AbortSignal.abort()), false);
    assert.equal(await room, true);
    sink.unreserve(2);
    await until(() => sink.pending === 0, "receipts");
    assert.equal(delivery.acks.size, 3);
  });

  test(`pulsar driver ${name}: a record with more messages than all room is admitted alone`, async (t) => {
    const { sink, messages } = await open(t, { maxPendingMessages: 3 });
    const delivery = new RecordingDelivery();
    assert.equal(sink.reserve(50, NEVER), true);
    for (const text of texts("x", 50)) sink.send({ topic: "t", data: Buffer.from(text) }, delivery, 0);
    await until(() => sink.pending === 0, "receipts");
    assert.equal(delivery.acks.get(0), 50);
    assert.equal(messages("t").length, 50);
    assert.equal(sink.reserve(3, NEVER), true);
  });

  test(`pulsar driver ${name}: a party that lost its lease sends nothing more, and gives its room back (G5)`, async (t) => {
    const world = await open(t);
    const [lost, kept] = [new RecordingDelivery(), new RecordingDelivery()];
    sendTexts(world.sink, lost, texts("l", 3));
    lost.alive = false;
    sendTexts(world.sink, kept, ["k0"]);
    sendTexts(world.sink, lost, ["l3"], 3);
    await until(() => world.sink.pending === 0, "all ended");
    assert.deepEqual(textsOf(world, "t"), ["k0"]);
    assert.ok(lost.asked > 0);
    assert.deepEqual([lost.acks.size, lost.refusals.length, kept.acks.size], [0, 0, 1]);
  });

  test(`pulsar driver ${name}: what waits is forgotten by drop(), and its party hears nothing more`, async (t) => {
    const world = await open(t, { maxPendingMessages: 4 });
    const [lost, kept] = [new RecordingDelivery(), new RecordingDelivery()];
    sendTexts(world.sink, lost, texts("l", 2));
    sendTexts(world.sink, kept, ["k0"]);
    world.sink.drop(lost);
    assert.equal(world.sink.pending, 1);
    await until(() => world.sink.pending === 0, "the receipt");
    assert.deepEqual(textsOf(world, "t"), ["k0"]);
    assert.deepEqual([lost.acks.size, lost.refusals.length, kept.acks.size], [0, 0, 1]);
    assert.equal(world.sink.reserve(4, NEVER), true);
  });

  test(`pulsar driver ${name}: open() says what is wrong with a topic, and so does each of its messages`, async (t) => {
    const world = await open(t);
    const cases: ["TopicNotFound" | "AuthorizationError", ErrorCode][] = [
      ["TopicNotFound", "PULSAR_TOPIC_NOT_FOUND"],
      ["AuthorizationError", "PULSAR_NOT_AUTHORIZED"],
    ];
    for (const [why, code] of cases) {
      world.refuse(why, why);
      await assert.rejects(world.sink.open(why, NEVER), { code, retryable: false });
      const delivery = await sendAll(world.sink, [
        { topic: why, data: Buffer.from("a") },
        { topic: "fine", data: Buffer.from("b") },
        { topic: why, data: Buffer.from("c") },
      ]);
      assert.deepEqual([...delivery.acks.keys()], [1]);
      assert.deepEqual(delivery.refusals.map(({ ordinal, error }) => [ordinal, error.code]), [[0, code], [
        2,
        code,
      ]]);
      assert.equal(delivery.refusals[0]!.error.where.topic?.endsWith(why), true);
    }
    await world.sink.open("fine", NEVER);
    assert.deepEqual(world.notes.fatal, []);
  });

  test(`pulsar driver ${name}: a topic that cannot be opened yet keeps its messages, in order`, async (t) => {
    const world = await open(t);
    world.failOpenings(3);
    await assert.rejects(world.sink.open("t", NEVER), { retryable: true });
    const delivery = await sendAll(
      world.sink,
      texts("a", 20).map((text) => ({ topic: "t", data: Buffer.from(text) })),
    );
    assert.equal(delivery.acks.size, 20);
    assert.deepEqual(textsOf(world, "t"), texts("a", 20));
    assert.ok(world.notes.reconnecting.length > 0, "it was said");
  });

  test(`pulsar driver ${name}: what can be no topic is refused, topics beyond the bound may be; others go on`, async (t) => {
    const { sink, messages } = await open(t, { maxProducers: 2 });
    const topics = ["one", "http://no", "two", "three", "one"];
    const delivery = await sendAll(sink, topics.map((topic) => ({ topic, data: Buffer.from(topic) })));
    const refusals = delivery.refusals.map(({ ordinal, error }) => [ordinal, error.code]);
    assert.deepEqual(refusals[0], [1, "PULSAR_REFUSED"]);
    // A driver may close a topic that is idle instead.
    assert.deepEqual(refusals.slice(1), delivery.acks.has(3) ? [] : [[3, "TOO_MANY_TOPICS"]]);
    assert.equal(messages("one").length, 2);
  });

  test(`pulsar driver ${name}: too large without chunking is refused alone, what is around it arrives`, async (t) => {
    const world = await open(t, { chunking: false });
    const delivery = await sendAll(world.sink, [
      { topic: "t", data: Buffer.from("before") },
      { topic: "t", data: Buffer.alloc(6_000_000) },
      { topic: "t", data: Buffer.from("after") },
    ]);
    assert.deepEqual(delivery.refusals.map(({ ordinal, error }) => [ordinal, error.code]), [[
      1,
      "MESSAGE_TOO_LARGE",
    ]]);
    assert.deepEqual(textsOf(world, "t"), ["before", "after"]);
  });

  test(`pulsar driver ${name}: close() gives up what is open and lets nobody wait for room`, async (t) => {
    const { sink, notes } = await open(t, { maxPendingMessages: 1, batchMaxDelayMs: 60_000 });
    const delivery = new RecordingDelivery();
    await sink.open("t", NEVER);
    sendTexts(sink, delivery, ["a"]);
    const room = sink.reserve(1, NEVER);
    await sink.close();
    assert.equal(await room, false);
    assert.deepEqual([delivery.acks.size, delivery.refusals.length, notes.fatal.length], [0, 0, 0]);
  });
}
