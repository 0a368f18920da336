// What the local broker and the topic reader make of compressed entries and of chunks, ours and the Java client's.

import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { randomBytes } from "node:crypto";
import { test, type TestContext } from "node:test";
import { type LocalBroker, openTopicReader, startLocalBroker } from "../../src/local/mod.ts";
import { loadCodec } from "../../src/pulsar/codecs/load.ts";
import { type Compression, COMPRESSION_TYPES } from "../../src/pulsar/wire/codec.ts";
import { NEVER, openSink, RecordingDelivery, until } from "../pulsar/sink-harness.ts";
import { brokerMissing } from "../servers/broker.ts";
import { sendToTopic } from "../servers/topic-reader.ts";
import { rawClient } from "./raw-client.ts";
import { encodePayloadCommand } from "../../src/pulsar/wire/frames.ts";
import { MessageMetadata } from "../../src/pulsar/wire/metadata.ts";
import { encodeShape } from "../../src/pulsar/wire/shape.ts";

const CODECS = Object.keys(COMPRESSION_TYPES) as Compression[];
/** Small ones for a batch, and two that need chunks, one of which does not get smaller. */
const PAYLOADS = [
  Buffer.from("a"),
  Buffer.from("hello ".repeat(300)),
  Buffer.from("hello ".repeat(400)),
  randomBytes(500),
  randomBytes(40_000),
  Buffer.from(randomBytes(60_000).toString("hex")),
  Buffer.from("z"),
];

async function smallBroker(t: TestContext, deduplication = false): Promise<LocalBroker> {
  const broker = await startLocalBroker({ maxMessageSize: 10_000, deduplication });
  t.after(() => broker.close());
  return broker;
}

for (const compression of CODECS) {
  test(`local broker: what our producer writes with compression ${compression} is read back`, async (t) => {
    const broker = await smallBroker(t);
    const reader = await openTopicReader({ serviceUrl: broker.url, topic: "t", queueSize: 2 });
    t.after(() => reader.close());
    const { sink } = openSink(t, broker.url, { codec: await loadCodec(compression) });
    const delivery = new RecordingDelivery();
    for (const [ordinal, data] of PAYLOADS.entries()) {
      sink.reserve(1, NEVER);
      sink.send({ topic: "t", key: `k${ordinal}`, data }, delivery, ordinal);
    }
    await until(() => sink.pending === 0, "receipts");
    const stored = broker.messages("t");
    assert.deepEqual(stored.map(({ data }) => data.length), PAYLOADS.map(({ length }) => length));
    for (const [ordinal, data] of PAYLOADS.entries()) {
      const read = (await reader.next())!;
      assert.ok(read.data.equals(data) && stored[ordinal]!.data.equals(data), `payload ${ordinal}`);
      assert.deepEqual([read.key, read.sequenceId], [`k${ordinal}`, ordinal]);
    }
    assert.equal(broker.stats("t").messages, PAYLOADS.length, "a chunk is no message");
  });
}

for (const compression of ["NONE", "LZ4", "ZLIB", "ZSTD", "SNAPPY"] as const) {
  const skip = brokerMissing() ?? false;
  test(
    `local broker: what the Java client writes in chunks with ${compression} is read back`,
    { skip },
    async (t) => {
      const broker = await smallBroker(t);
      await sendToTopic("t", PAYLOADS.map((data) => ({ data })), {
        serviceUrl: broker.url,
        batching: false,
        chunking: true,
        compression,
      });
      const read = broker.messages("t");
      assert.deepEqual(
        read.map(({ data }) => data.equals(PAYLOADS[read.findIndex((one) => one.data === data)]!)),
        [
          ...PAYLOADS.keys(),
        ].map(() => true),
      );
    },
  );
}

test("local broker: of chunks the last alone is judged a duplicate, and halves of messages are dropped", async (t) => {
  const broker = await smallBroker(t, true);
  const client = await rawClient(broker.url);
  t.after(() => client.close());
  await client.producer("a", 1, "p");
  const chunk = async (sequenceId: number, uuid: string, chunkId: number): Promise<number> => {
    const fields = { producerName: "p", sequenceId, publishTime: 1, highestSequenceId: sequenceId };
    const metadata = encodeShape(MessageMetadata, {
      ...fields,
      uuid,
      chunkId,
      numChunksFromMsg: 2,
      totalChunkMsgSize: 4,
    });
    const command = { producerId: 1, sequenceId, highestSequenceId: sequenceId, isChunk: true };
    client.write(encodePayloadCommand("SEND", command, metadata, Buffer.from(`${uuid}${chunkId}`)));
    return (await client.expect("SEND_RECEIPT")).messageId!.entryId;
  };
  assert.equal(await chunk(5, "x", 0), 0);
  assert.equal(await chunk(5, "y", 0), 1, "no duplicate of a message that never was whole");
  assert.equal(await chunk(5, "y", 1), 2);
  assert.equal(await chunk(5, "z", 0), 3);
  assert.equal(await chunk(5, "z", 1), -1, "but this completes one that is there");
  assert.equal(await chunk(6, "x", 1), 4);
  assert.deepEqual(broker.messages("a").map(({ data }) => data.toString()), ["y0y1", "x0x1"]);
});
