// Compression and chunks on a real broker, read back by Pulsar's official Java and Python clients: every message
// once, whole, in order, and none stuck, also where connections and leases are lost between chunks.

import { test, type TestContext } from "node:test";
import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { createHash, randomBytes } from "node:crypto";
import { loadCodec } from "../../src/pulsar/codecs/load.ts";
import type { SinkMessage } from "../../src/core/record.ts";
import { systemClock } from "../../src/runtime.ts";
import { tcpTransport, type TransportFactory } from "../../src/pulsar/transport.ts";
import { type Compression, COMPRESSION_TYPES } from "../../src/pulsar/wire/codec.ts";
import { decodeCommand } from "../../src/pulsar/wire/frames.ts";
import { pulsarAdmin } from "../servers/admin.ts";
import { brokerMissing, pulsarBroker } from "../servers/broker.ts";
import { pythonMissing, readWithPython } from "../servers/python.ts";
import { readTopic } from "../servers/topic-reader.ts";
import { OnceDelivery } from "./once-harness.ts";
import { NEVER, newTopic, openSink, RecordingDelivery, until } from "./sink-harness.ts";

const skip = brokerMissing() ?? pythonMissing() ?? false;
const MIB = 1024 * 1024;
/** The broker takes 5 MiB. */
const LARGE = 6 * MIB;

/** Gets to about half its size with every codec. */
function halfNoise(size: number): Buffer {
  const data = randomBytes(size);
  for (let at = 0; at < size; at += 256) data.fill("kinesis-", at, at + 128);
  return data;
}

/** What both clients agree on. */
function comparable(
  { data, key, properties, eventTime }: {
    readonly data?: Uint8Array;
    readonly key?: string | undefined;
    readonly properties?: Readonly<Record<string, string>> | undefined;
    readonly eventTime?: number | undefined;
  },
): unknown[] {
  const digest = createHash("sha256").update(data ?? "").digest("hex");
  return [data?.length, digest, key ?? "", { ...properties }, eventTime ?? 0];
}

async function assertRead(topic: string, sent: readonly SinkMessage[]): Promise<void> {
  const wanted = sent.map(comparable);
  const options = { count: sent.length, timeoutMs: 20_000 };
  assert.deepEqual((await readTopic(topic, { ...options, queueSize: 20 })).map(comparable), wanted, "Java");
  assert.deepEqual((await readWithPython(topic, options)).map(comparable), wanted, "Python");
}

function send(
  sink: ReturnType<typeof openSink>["sink"],
  messages: readonly SinkMessage[],
  delivery: RecordingDelivery,
  from = 0,
): void {
  for (const [index, message] of messages.entries()) {
    assert.equal(sink.reserve(1, NEVER), true);
    const ordinal = from + index;
    sink.send(message, delivery, ordinal, delivery instanceof OnceDelivery ? ordinal * 1024 : undefined);
  }
}

/** TCP that calls `written` for each chunk that was given to the socket, which may cut it. */
function watchingChunks(written: (count: number, cut: () => void) => void): TransportFactory {
  let count = 0;
  return async (address, events, signal) => {
    const socket = await tcpTransport(address, events, signal);
    return {
      write(frames, flushed) {
        socket.write(frames, flushed);
        for (const frame of frames) {
          if (!isChunkHeader(Buffer.from(frame))) continue;
          written(++count, () => {
            socket.destroy();
            events.closed(new Error("cut by the test"));
          });
        }
      },
      destroy: () => socket.destroy(),
    };
  };
}

/** Chunks come in two pieces, of which the first has the command. */
function isChunkHeader(piece: Buffer): boolean {
  if (piece.length < 20 || piece.readUInt32BE(0) < piece.length - 4 || piece[8] !== 8 || piece[9] !== 6) {
    return false;
  }
  const command = decodeCommand(piece);
  return command?.name === "SEND" && command.isChunk;
}

for (const compression of Object.keys(COMPRESSION_TYPES) as Compression[]) {
  test(`pulsar clients: what is sent with compression ${compression} is read back`, { skip }, async (t) => {
    const { serviceUrl } = await pulsarBroker();
    const topic = newTopic(compression);
    const messages: SinkMessage[] = [
      ...Array.from({ length: 40 }, (_, index) => ({
        topic,
        data: Buffer.from(JSON.stringify({ index, text: "ordinary words ".repeat(index) })),
        key: index % 3 === 0 ? undefined : `ключ-${index % 5}`,
        properties: { "kinesis.sequence.number": `${index}`, größe: "ß".repeat(index) },
        eventTime: 1_700_000_000_000 + index,
      })),
      { topic, data: Buffer.alloc(0), key: "nothing" },
      { topic, data: Buffer.from("a") },
      { topic, data: randomBytes(3000), key: "noise" },
      { topic, data: Buffer.alloc(200_000, "ab"), key: "much smaller" },
      {
        topic,
        data: Buffer.alloc(10 * MIB, "0123456789"),
        key: "fits when compressed",
        properties: { a: "b" },
      },
      {
        topic,
        data: halfNoise(11 * MIB),
        key: "in chunks, compressed",
        properties: { a: "b" },
        eventTime: 1,
      },
      { topic, data: Buffer.from("last") },
    ];
    const codec = await loadCodec(compression);
    const delivery = new RecordingDelivery();
    const { sink: single } = openSink(t, serviceUrl, { codec, batchMaxMessages: 1 });
    const alone = messages.slice(0, 5);
    send(single, alone, delivery);
    await until(() => single.pending === 0, "receipts of single messages");
    const { sink } = openSink(t, serviceUrl, { codec });
    send(sink, messages, delivery, alone.length);
    await until(() => sink.pending === 0, "all receipts", 60_000);
    assert.deepEqual(delivery.refusals, []);
    await assertRead(topic, [...alone, ...messages]);
  });
}

/** A topic in a namespace of its own, with deduplication or without. */
async function topicWith(deduplication: boolean): Promise<string> {
  const namespace = `public/${newTopic("ns")}`;
  await pulsarAdmin().call("PUT", `namespaces/${namespace}`);
  if (deduplication) await pulsarAdmin().setDeduplication(true, namespace);
  return `persistent://${namespace}/chunks`;
}

function largeBetweenSmall(topic: string): SinkMessage[] {
  const data = [Buffer.from("before"), randomBytes(3 * LARGE), Buffer.from("after"), randomBytes(LARGE)];
  return data.map((one, index) => ({ topic, data: one, key: `k${index}` }));
}

for (const deduplication of [false, true]) {
  const how = deduplication ? "with broker deduplication" : "without deduplication";
  test(
    `pulsar clients: connections lost between chunks, ${how}: each message is read once`,
    { skip },
    async (t) => {
      const { serviceUrl } = await pulsarBroker();
      const topic = await topicWith(deduplication);
      const messages = largeBetweenSmall(topic);
      const cuts = [1, 4]; // behind the first chunk of the first session, behind the third of the next
      const transport = watchingChunks((count, cut) => {
        if (cuts.includes(count)) cut();
      });
      const { sink, notes } = openSink(t, serviceUrl, { transport });
      const delivery = new RecordingDelivery();
      send(sink, messages.slice(0, 1), delivery);
      await until(() => sink.pending === 0, "the first receipt");
      send(sink, messages.slice(1), delivery, 1);
      await until(() => sink.pending === 0, "all receipts", 60_000);
      assert.ok(notes.reconnecting.length >= 2);
      await assertRead(topic, messages);
    },
  );
}

test(
  "pulsar clients: effectively once, killed between chunks and behind the last: each message is read once",
  {
    skip,
  },
  async (t) => {
    const { serviceUrl } = await pulsarBroker();
    const topic = await topicWith(true);
    const messages = largeBetweenSmall(topic);
    const run = async (killAt: number): Promise<void> => {
      let isKilled = false;
      const transport = watchingChunks((count, cut) => {
        if (count < killAt) return;
        isKilled = true;
        cut();
      });
      const { sink } = openSink(t, serviceUrl, {
        transport: (...about) => isKilled ? Promise.reject(new Error("killed")) : transport(...about),
        delivery: "effectively-once",
      });
      send(sink, messages, new OnceDelivery(`app/stream/${topic}/g`));
      await until(() => isKilled || sink.pending === 0, "the kill, or receipts", 60_000);
      await sink.close();
    };
    for (const killAt of [1, 3, 4, 5, 6, Infinity]) await run(killAt);
    await assertRead(topic, messages);
  },
);

test(
  "pulsar clients: a lease lost between chunks: what follows is read, the half message is not",
  { skip },
  async (t) => {
    const { serviceUrl } = await pulsarBroker();
    const topic = newTopic("lost");
    const [lost, other] = [new RecordingDelivery(), new RecordingDelivery()];
    let chunks = 0;
    const transport = watchingChunks((count) => {
      chunks = count;
      lost.alive = false;
    });
    const { sink } = openSink(t, serviceUrl, { transport });
    const following = ["a", "b"].map((text) => ({ topic, data: Buffer.from(text) }));
    send(sink, [{ topic, data: randomBytes(LARGE) }], lost);
    send(sink, following, other);
    await until(() => other.acks.size === 2, "receipts of the others");
    assert.deepEqual([chunks, lost.acks.size, lost.refusals.length], [1, 0, 0]);
    await assertRead(topic, following);
  },
);

test(
  "pulsar clients: a topic that takes less than its broker gets smaller batches, and refuses what is alone too large",
  {
    skip,
  },
  async (t: TestContext) => {
    const { serviceUrl } = await pulsarBroker();
    const topic = newTopic("small");
    const admin = pulsarAdmin();
    await admin.createTopic(topic);
    await setMaxMessageSize(topic, 20_000);
    const { sink, notes } = openSink(t, serviceUrl);
    const delivery = new RecordingDelivery();
    const messages = Array.from({ length: 60 }, (_, index) => ({
      topic,
      data: Buffer.alloc(index === 33 ? 30_000 : 1500, index),
    }));
    send(sink, messages, delivery);
    await until(() => sink.pending === 0, "receipts and a refusal");
    assert.deepEqual(delivery.refusals.map(({ ordinal, error }) => [ordinal, error.code]), [[
      33,
      "MESSAGE_TOO_LARGE",
    ]]);
    assert.equal(notes.reconnecting.length, 0);
    await assertRead(topic, messages.filter((_, index) => index !== 33));
  },
);

/** Policies take a moment until they are read, and another until a topic that is loaded keeps to them. */
async function setMaxMessageSize(topic: string, bytes: number): Promise<void> {
  const admin = pulsarAdmin();
  const path = `persistent/public/default/${topic}/maxMessageSize`;
  await admin.call("POST", path, bytes);
  while (await admin.call("GET", path) !== String(bytes)) await systemClock.sleep(50);
  await admin.unload(topic);
}
