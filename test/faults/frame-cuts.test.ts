// A connection that is cut inside a frame, at every byte of its head and at every part of its payload, on the way to
// the broker and back: nothing is lost, first occurrences keep their order; effectively once, nothing is there twice.

import { test, type TestContext } from "node:test";
import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { startLocalBroker } from "../../src/local/mod.ts";
import type { BuiltinSinkOptions } from "../../src/pulsar/builtin.ts";
import type { MessageSink } from "../../src/pulsar/sink.ts";
import type { CommandName } from "../../src/pulsar/wire/commands.ts";
import { decodePayload } from "../../src/pulsar/wire/frames.ts";
import { decodeMetadata } from "../../src/pulsar/wire/metadata.ts";
import { OnceDelivery } from "../pulsar/once-harness.ts";
import { NEVER, newTopic, openSink, RecordingDelivery, until } from "../pulsar/sink-harness.ts";
import { pulsarAdmin } from "../servers/admin.ts";
import { brokerMissing, pulsarBroker } from "../servers/broker.ts";
import { readTopic } from "../servers/topic-reader.ts";
import { type CuttingProxy, startCuttingProxy } from "./cutting-proxy.ts";

/** What of a {@link Sender} differs. */
interface SenderOptions extends Partial<BuiltinSinkOptions> {
  readonly isOnce?: boolean;
  readonly topic?: string;
}

/** A sink behind a proxy, and messages "0", "1", … to one party. */
class Sender {
  readonly topic: string;
  readonly delivery: RecordingDelivery;
  readonly #isOnce: boolean;
  readonly proxy: CuttingProxy;
  readonly sink: MessageSink;
  readonly #fatal: readonly Error[];
  sent = 0;

  constructor(t: TestContext, proxy: CuttingProxy, options: SenderOptions = {}) {
    const { isOnce = false, topic = newTopic("cuts"), ...sinkOptions } = options;
    this.proxy = proxy;
    this.topic = topic;
    this.#isOnce = isOnce;
    this.delivery = isOnce ? new OnceDelivery(`cuts/${topic}`) : new RecordingDelivery();
    const { sink, notes } = openSink(t, proxy.serviceUrl, {
      batchMaxMessages: 3,
      batchMaxDelayMs: 0,
      backoff: { firstMs: 1, maxMs: 2 },
      ...isOnce ? { delivery: "effectively-once" } : {},
      ...sinkOptions,
    });
    this.sink = sink;
    this.#fatal = notes.fatal;
  }

  send(count: number): void {
    for (let i = 0; i < count; i++) this.sendText(`${this.sent} ${"x".repeat(this.sent % 50)}`);
  }

  /** @param text begins with the message's number */
  sendText(text: string): void {
    assert.equal(this.sink.reserve(1, NEVER), true);
    const ordinal = this.sent++;
    const data = Buffer.from(text);
    const sequenceId = this.#isOnce ? 1024 * ordinal : undefined;
    this.sink.send({ topic: this.topic, key: "k", data }, this.delivery, ordinal, sequenceId);
  }

  /** Sends while the next frame of this command is cut, and waits for the receipts. */
  async sendThroughCut(
    name: CommandName,
    after: (bytes: Buffer) => number,
    send = () => this.send(7),
    isIt = (_bytes: Buffer) => true,
  ): Promise<void> {
    const before = this.proxy.cuts;
    this.proxy.cut = (frame) => {
      if (frame.name !== name || !isIt(frame.bytes)) return undefined;
      this.proxy.cut = undefined;
      return after(frame.bytes);
    };
    send();
    await until(() => this.proxy.cuts > before && this.sink.pending === 0, `receipts after a cut of ${name}`);
  }

  /** @param texts what the topic holds */
  assertIntact(texts: readonly string[]): void {
    assert.deepEqual(this.#fatal, []);
    assert.deepEqual(this.delivery.refusals, []);
    assert.equal(this.delivery.acks.size, this.sent);
    assert.ok([...this.delivery.acks.values()].every((count) => count === 1), "one receipt each");
    const kept = this.#isOnce ? texts : [...new Set(texts)];
    const numbers = kept.map((text) => Number(text.split(" ")[0]));
    assert.deepEqual(numbers, Array.from({ length: this.sent }, (_, at) => at));
  }
}

/** Every byte of a frame, its end too; every 16th of what is behind the first 256, which hold all of a SEND's head. */
function places(length: number): number[] {
  return Array.from({ length: length + 1 }, (_, at) => at).filter((at) =>
    at < 256 || at % 16 === 0 || at >= length - 1
  );
}

const MODES = [["at least once", false], ["effectively once", true]] as const;

for (const [mode, isOnce] of MODES) {
  test(`faults cuts: ${mode}, a SEND cut after any of its bytes is sent again, and everything behind it`, async (t) => {
    const broker = await startLocalBroker({ deduplication: isOnce });
    t.after(() => broker.close());
    const sender = new Sender(t, await startCuttingProxy(t, broker.url), { isOnce });
    let length = 0;
    await sender.sendThroughCut("SEND", (bytes) => length = bytes.length);
    for (const place of places(length)) {
      await sender.sendThroughCut("SEND", (bytes) => Math.min(place, bytes.length));
    }
    assert.equal(sender.proxy.cuts, places(length).length + 1);
    sender.assertIntact(broker.messages(sender.topic).map(({ data }) => data.toString()));
  });
}

const ANSWERS = ["SEND_RECEIPT", "PRODUCER_SUCCESS", "LOOKUP_RESPONSE", "CONNECTED"] as const;
for (const [mode, isOnce] of MODES) {
  for (const name of ANSWERS) {
    test(`faults cuts: ${mode}, ${name} cut after any of its bytes costs a reconnect, no more`, async (t) => {
      const broker = await startLocalBroker({ deduplication: isOnce });
      t.after(() => broker.close());
      const sender = new Sender(t, await startCuttingProxy(t, broker.url), { isOnce });
      sender.send(1);
      await until(() => sender.sink.pending === 0, "the first receipt");
      for (let place = 0, length = 1; place <= length; place++) {
        // A fresh connection, on which the answer comes again.
        if (name !== "SEND_RECEIPT") broker.cutConnections();
        await sender.sendThroughCut(name, (bytes) => Math.min(place, length = bytes.length));
      }
      sender.assertIntact(broker.messages(sender.topic).map(({ data }) => data.toString()));
    });
  }
}

test("faults cuts: PARTITIONED_METADATA_RESPONSE cut after any of its bytes is asked for again", async (t) => {
  const broker = await startLocalBroker();
  t.after(() => broker.close());
  const proxy = await startCuttingProxy(t, broker.url);
  for (let place = 0, length = 1; place <= length; place++) {
    const sender = new Sender(t, proxy);
    await sender.sendThroughCut("PARTITIONED_METADATA_RESPONSE", (bytes) => {
      return Math.min(place, length = bytes.length);
    });
    sender.assertIntact(broker.messages(sender.topic).map(({ data }) => data.toString()));
    await sender.sink.close();
  }
});

/** Cuts once at each part of a SEND, and at some of its receipt. */
async function cutEveryPart(sender: Sender): Promise<void> {
  let parts: number[] = [];
  await sender.sendThroughCut("SEND", (bytes) => {
    parts = partsOfSend(bytes);
    return bytes.length;
  });
  for (const part of parts) await sender.sendThroughCut("SEND", (bytes) => Math.min(part, bytes.length));
  for (const place of [0, 1, 4, 8, 9, 20]) {
    await sender.sendThroughCut("SEND_RECEIPT", (bytes) => Math.min(place, bytes.length));
  }
}

/** A new topic in a namespace of its own with deduplication on. */
async function deduplicatedTopic(): Promise<string> {
  const admin = pulsarAdmin();
  const namespace = `public/${newTopic("cuts")}`;
  await admin.call("PUT", `namespaces/${namespace}`, {});
  await admin.setDeduplication(true, namespace);
  return `persistent://${namespace}/${newTopic("t")}`;
}

/** Ends of the parts of a SEND frame, and a byte before and behind each. */
function partsOfSend(frame: Buffer): number[] {
  const command = 8 + frame.readUInt32BE(4);
  const metadata = command + 10 + frame.readUInt32BE(command + 6);
  const ends = [4, 8, command, command + 2, command + 6, command + 10, metadata, frame.length];
  const near = ends.flatMap((end) => [end - 1, end, end + 1]);
  return [...new Set([0, 1, ...near, (metadata + frame.length) >> 1])].filter((at) => at <= frame.length);
}

for (const [mode, isOnce] of MODES) {
  test(
    `faults cuts: ${mode}, a real broker, cut inside every part of a SEND and of its receipt, has all in order`,
    {
      skip: brokerMissing() ?? false,
    },
    async (t) => {
      const { serviceUrl } = await pulsarBroker();
      const topic = isOnce ? await deduplicatedTopic() : newTopic("cuts");
      const sender = new Sender(t, await startCuttingProxy(t, serviceUrl), { isOnce, topic });
      await cutEveryPart(sender);
      const read = await readTopic(topic, { count: sender.sent });
      sender.assertIntact(read.map(({ data }) => data!.toString()));
    },
  );
}

for (const [mode, isOnce] of MODES) {
  test(`faults cuts: ${mode}, a chunked message cut inside any part of any chunk arrives whole`, async (t) => {
    const broker = await startLocalBroker({ deduplication: isOnce, maxMessageSize: 20_000 });
    t.after(() => broker.close());
    const sender = new Sender(t, await startCuttingProxy(t, broker.url), { isOnce });
    const text = (ordinal: number) => `${ordinal} ${"0123456789abcdef".repeat(3_000)}`;
    for (let chunk = 0; chunk < 3; chunk++) {
      let parts = [0];
      for (let at = 0; at < parts.length; at++) {
        let seen = 0;
        await sender.sendThroughCut(
          "SEND",
          (bytes) => {
            parts = partsOfSend(bytes);
            return parts[Math.min(at, parts.length - 1)]!;
          },
          () => {
            sender.sendText(text(sender.sent));
            sender.send(2);
          },
          (bytes) => isChunk(bytes) && seen++ === chunk,
        );
      }
    }
    const texts = broker.messages(sender.topic).map(({ data }) => data.toString());
    for (const one of texts.filter(({ length }) => length > 100)) {
      assert.equal(one, text(parseInt(one)), "it is whole");
    }
    sender.assertIntact(texts);
  });
}

function isChunk(frame: Buffer): boolean {
  return decodeMetadata(decodePayload(frame)!.metadata).numChunksFromMsg !== undefined;
}
