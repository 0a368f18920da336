// Entries as they go to the socket, read back by protobufjs and by our reader.

import { test } from "node:test";
import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import fc from "fast-check";
import { lz4Codec } from "../../src/pulsar/codecs/lz4.ts";
import { BufferPool } from "../../src/pulsar/wire/buffer-pool.ts";
import { addChunk, chunkCount } from "../../src/pulsar/wire/chunks.ts";
import { COMPRESSION_TYPES } from "../../src/pulsar/wire/codec.ts";
import { Entry, type EntryMessage, messageBound } from "../../src/pulsar/wire/entry.ts";
import { commandType, decodeCommand, decodePayload } from "../../src/pulsar/wire/frames.ts";
import { decodeMetadata, type ReadMessage, readMessages } from "../../src/pulsar/wire/metadata.ts";
import { decodeByOracle } from "./oracle.ts";

const HEADER = { producerId: 3, producerName: "standalone-0-1", publishTime: 1_700_000_000_000 };

const messageArbitrary = fc.record({
  data: fc.uint8Array({ maxLength: 300 }),
  key: fc.option(fc.string({ unit: "grapheme", maxLength: 300 }), { nil: undefined }),
  orderingKey: fc.option(fc.uint8Array({ maxLength: 200 }), { nil: undefined }),
  properties: fc.option(
    fc.dictionary(fc.string({ maxLength: 60 }), fc.string({ unit: "grapheme", maxLength: 300 }), {
      maxKeys: 5,
      noNullPrototype: true,
    }),
    { nil: undefined },
  ),
  eventTime: fc.option(fc.maxSafeNat(), { nil: undefined }),
});

function build(messages: readonly EntryMessage[], firstId = 0, deliverAt?: number): Entry {
  const entry = new Entry(new BufferPool(128 * 1024), messages[0]!, 0, deliverAt);
  messages.forEach((message, index) => {
    const before = entry.bytes;
    entry.append(message, firstId + index, messageBound(message));
    assert.ok(entry.bytes - before <= messageBound(message), "the bound holds");
  });
  return entry;
}

const LZ4 = lz4Codec();

function read(frame: Buffer): ReadMessage[] {
  const { metadata, payload } = decodePayload(frame)!;
  return readCompressed(decodeMetadata(metadata), payload);
}

function readCompressed(metadata: ReturnType<typeof decodeMetadata>, payload: Buffer): ReadMessage[] {
  if (metadata.compression === COMPRESSION_TYPES.none) {
    assert.equal(metadata.uncompressedSize, payload.length);
    return readMessages(metadata, payload);
  }
  assert.ok(payload.length < metadata.uncompressedSize, "or it would go as it is");
  return readMessages(metadata, Buffer.from(LZ4.decompress(payload, metadata.uncompressedSize)));
}

function matches(got: readonly ReadMessage[], sent: readonly EntryMessage[], ids: readonly number[]): void {
  assert.deepEqual(
    got.map((message) => ({
      data: message.data.toString("hex"),
      key: message.key,
      orderingKey: message.orderingKey?.toString("hex"),
      properties: message.properties,
      eventTime: message.eventTime,
      id: message.sequenceId,
    })),
    sent.map((message, index) => ({
      data: Buffer.from(message.data).toString("hex"),
      key: message.key,
      orderingKey: message.orderingKey && Buffer.from(message.orderingKey).toString("hex"),
      properties: { ...message.properties },
      eventTime: message.eventTime ?? 0,
      id: ids[index],
    })),
  );
}

const upTo = (count: number, from = 0): number[] => Array.from({ length: count }, (_, index) => from + index);

test("pulsar entry: random batches read back as they were", () => {
  fc.assert(
    fc.property(fc.array(messageArbitrary, { minLength: 1, maxLength: 8 }), fc.nat(), (messages, firstId) => {
      const entry = build(messages, firstId);
      entry.trim();
      entry.seal(HEADER);
      assert.ok(entry.intact);
      assert.equal(commandType(entry.frame), 6);
      matches(read(entry.frame), messages, upTo(messages.length, firstId));
      const send = decodeCommand(entry.frame);
      assert.ok(send?.name === "SEND");
      assert.equal(send.sequenceId, firstId);
      assert.equal(send.highestSequenceId, firstId + messages.length - 1);
      assert.equal(send.numMessages, messages.length);
      assert.equal(entry.messageSize, decodePayload(entry.frame)!.headersAndPayload.length);
    }),
  );
});

test("pulsar entry: protobufjs reads the metadata of batches and of plain messages", () => {
  fc.assert(fc.property(fc.array(messageArbitrary, { minLength: 1, maxLength: 3 }), (messages) => {
    const entry = build(messages, 7);
    entry.seal(HEADER);
    const { metadata, payload } = decodePayload(entry.frame)!;
    const first = messages[0]!;
    const got = decodeByOracle("MessageMetadata", metadata);
    assert.equal(got["producerName"], HEADER.producerName);
    assert.equal(got["sequenceId"], 7);
    assert.equal(got["publishTime"], HEADER.publishTime);
    assert.equal(got["uncompressedSize"], payload.length);
    assert.equal(got["partitionKey"], first.key);
    assert.deepEqual(got["orderingKey"], first.orderingKey && Array.from(first.orderingKey));
    assert.equal(got["highestSequenceId"], 7 + messages.length - 1);
    if (messages.length > 1) {
      assert.equal(got["numMessagesInBatch"], messages.length);
      assert.deepEqual(got["properties"], []);
      return;
    }
    assert.equal("numMessagesInBatch" in got, false, "its presence would mark a batch");
    assert.equal(got["eventTime"] ?? 0, first.eventTime ?? 0);
    const properties = Object.entries(first.properties ?? {}).map(([key, value]) => ({ key, value }));
    assert.deepEqual(got["properties"], properties);
    assert.deepEqual(payload, Buffer.from(first.data));
  }));
});

test("pulsar entry: a delivery time stands in the metadata of a plain message", () => {
  const entry = build([{ data: Buffer.from("later") }], 0, 1_800_000_000_123);
  entry.seal(HEADER);
  assert.equal(decodeMetadata(decodePayload(entry.frame)!.metadata).deliverAtTime, 1_800_000_000_123);
});

test("pulsar entry: messages taken out leave the others as they were, sealed before or not", () => {
  const keepArbitrary = fc.array(fc.boolean(), { minLength: 8, maxLength: 8 });
  const messagesArbitrary = fc.array(messageArbitrary, { minLength: 1, maxLength: 8 });
  fc.assert(fc.property(messagesArbitrary, keepArbitrary, fc.boolean(), (messages, keep, sealedBefore) => {
    const entry = build(messages, 10);
    if (sealedBefore) entry.seal(HEADER);
    entry.retain((index) => keep[index]!);
    const kept = messages.filter((_, index) => keep[index]);
    const ids = upTo(messages.length, 10).filter((_, index) => keep[index]);
    assert.equal(entry.count, kept.length);
    if (kept.length === 0) return;
    if (!entry.sealed) entry.seal(HEADER);
    matches(read(entry.frame), kept, ids);
    assert.deepEqual([entry.firstSequenceId, entry.lastSequenceId], [ids[0], ids.at(-1)]);
  }));
});

test("pulsar entry: an open entry goes on after messages were taken out", () => {
  const messages = ["a", "b", "c"].map((text) => ({ data: Buffer.from(text) }));
  const entry = build(messages);
  entry.retain((index) => index === 1);
  const more = { data: Buffer.from("d"), key: "k" };
  entry.append(more, 3, messageBound(more));
  entry.seal(HEADER);
  matches(read(entry.frame), [messages[1]!, more], [1, 3]);
});

test("pulsar entry: sealing again changes no byte", () => {
  const entry = build([{ data: Buffer.from("a"), key: "k" }, { data: Buffer.from("b") }]);
  entry.seal(HEADER);
  const before = Buffer.from(entry.frame);
  entry.retain(() => true);
  assert.ok(entry.sealed);
  assert.deepEqual(entry.frame, before);
  assert.throws(() => entry.seal(HEADER), RangeError);
});

test("pulsar entry: an entry splits into two with the same messages", () => {
  const messagesArbitrary = fc.array(messageArbitrary, { minLength: 2, maxLength: 8 });
  fc.assert(fc.property(messagesArbitrary, fc.nat(6), (messages, at) => {
    const index = 1 + at % (messages.length - 1);
    const entry = build(messages, 5);
    const rest = entry.splitAt(index);
    entry.seal(HEADER);
    rest.seal(HEADER);
    const ids = upTo(messages.length, 5);
    matches(read(entry.frame), messages.slice(0, index), ids.slice(0, index));
    matches(read(rest.frame), messages.slice(index), ids.slice(index));
    assert.deepEqual([entry.firstSequenceId, entry.lastSequenceId], [5, 4 + index]);
    assert.deepEqual([rest.firstSequenceId, rest.lastSequenceId], [5 + index, 4 + messages.length]);
  }));
});

test("pulsar entry: renumbering changes the ids and nothing else", () => {
  fc.assert(fc.property(fc.array(messageArbitrary, { minLength: 1, maxLength: 8 }), (messages) => {
    const entry = build(messages, 0);
    entry.renumber(1_000_000);
    entry.seal(HEADER);
    matches(read(entry.frame), messages, upTo(messages.length, 1_000_000));
    assert.equal(entry.lastSequenceId, 999_999 + messages.length);
  }));
});

test("pulsar entry: a producer name longer than the head room costs a copy, no more", () => {
  const entry = build([{ data: Buffer.from("a") }, { data: Buffer.from("b") }]);
  const producerName = "n".repeat(2000);
  entry.seal({ ...HEADER, producerName });
  assert.equal(read(entry.frame)[1]!.producerName, producerName);
});

test("pulsar entry: a small entry does not keep a large buffer, a full one is not copied", () => {
  const pool = new BufferPool(128 * 1024);
  const small = { data: Buffer.from("a") };
  const entry = new Entry(pool, small, 100_000);
  entry.append(small, 0, messageBound(small));
  assert.ok(entry.capacity > 100_000);
  entry.trim();
  assert.ok(entry.capacity < 1000, `${entry.capacity}`);
  entry.seal(HEADER);
  matches(read(entry.frame), [small], [0]);
});

test("pulsar entry: a changed byte is noticed by the checksum", () => {
  const entry = build([{ data: Buffer.from("hello") }]);
  entry.seal(HEADER);
  entry.frame[entry.frame.length - 1]! ^= 1;
  assert.equal(entry.intact, false);
  assert.throws(() => decodePayload(entry.frame), /checksum/);
});

test("pulsar entry: compressed entries read back as they were, also after messages were taken out or split off", () => {
  const arbitrary = messageArbitrary.chain((message) =>
    fc.nat(400).map((size) => ({ ...message, data: Buffer.concat([message.data, Buffer.alloc(size, "ab")]) }))
  );
  const messagesArbitrary = fc.array(arbitrary, { minLength: 1, maxLength: 8 });
  const keepArbitrary = fc.array(fc.boolean(), { minLength: 8, maxLength: 8 });
  const header = { ...HEADER, codec: LZ4 };
  fc.assert(fc.property(messagesArbitrary, keepArbitrary, fc.nat(6), (messages, keep, at) => {
    const ids = upTo(messages.length, 10);
    const entry = build(messages, 10);
    entry.seal(header);
    assert.ok(entry.intact);
    assert.equal(entry.messageSize, decodePayload(entry.frame)!.headersAndPayload.length);
    matches(read(entry.frame), messages, ids);
    if (messages.length > 1) {
      const index = 1 + at % (messages.length - 1);
      assert.equal(entry.countUpTo(ids[index]! - 1), index);
      const [first, second] = [build(messages, 10), build(messages, 10)];
      first.seal(header);
      const rest = first.splitAt(index);
      for (const half of [first, rest]) half.seal(header);
      matches([...read(first.frame), ...read(rest.frame)], messages, ids);
      second.seal(header);
      second.retain((each) => keep[each]!);
      if (second.count > 0 && !second.sealed) second.seal(header);
      if (second.count > 0) {
        matches(
          read(second.frame),
          messages.filter((_, each) => keep[each]),
          ids.filter((_, each) => keep[each]),
        );
      }
    } else {
      entry.retain(() => false);
      assert.equal(entry.count, 0);
    }
  }));
});

test("pulsar entry: a compressed frame gives the messages' buffer back and keeps one of its own size", () => {
  const pool = new BufferPool(128 * 1024);
  const big = { data: Buffer.alloc(100_000, "abc") };
  const entry = new Entry(pool, big, 0);
  entry.append(big, 0, messageBound(big));
  entry.seal({ ...HEADER, codec: LZ4 });
  assert.ok(entry.capacity <= 4096, `${entry.capacity}`);
  assert.ok(pool.take(100_000).length > 100_000);
  matches(read(entry.frame), [big], [0]);
});

test("pulsar entry: what does not get smaller goes uncompressed", () => {
  const messages = [{ data: Buffer.from("0123456789".repeat(7)) }, { data: Buffer.from("short") }];
  for (const message of messages) {
    const entry = build([message]);
    entry.seal({ ...HEADER, codec: { ...LZ4, compress: () => undefined } });
    assert.equal(decodeMetadata(decodePayload(entry.frame)!.metadata).compression, COMPRESSION_TYPES.none);
    matches(read(entry.frame), [message], [0]);
  }
});

test("pulsar entry: chunks fit, and together they are the message, wherever they are cut", () => {
  const arbitrary = fc.tuple(
    messageArbitrary,
    fc.nat(3000),
    fc.boolean(),
    fc.integer({ min: 700, max: 4000 }),
  );
  fc.assert(fc.property(arbitrary, ([message, size, isCompressed, maxMessageSize]) => {
    const sent = { ...message, data: Buffer.concat([message.data, Buffer.alloc(size, "ab!")]) };
    const entry = build([sent], 7);
    entry.seal({ ...HEADER, codec: isCompressed ? LZ4 : undefined });
    const options = { maxMessageSize, uuid: "a-7-ü" };
    const count = chunkCount(entry.frame, options);
    // Nothing to cut, or no room beside the metadata.
    const fitsNot = entry.messageSize - sent.data.length > maxMessageSize - 100;
    if (count === 0) return assert.ok(sent.data.length === 0 || fitsNot);
    const { payload: whole, metadata } = decodePayload(entry.frame)!;
    const parts: Buffer[] = [];
    for (let index = 0; index < count; index++) {
      const pieces: Buffer[] = [];
      const bytes = addChunk(entry.frame, options, index, pieces);
      const frame = Buffer.concat(pieces);
      assert.equal(frame.length, bytes);
      assert.equal(frame.readUInt32BE(0), frame.length - 4);
      const chunk = decodePayload(frame)!; // its checksum is right
      assert.ok(chunk.headersAndPayload.length <= maxMessageSize);
      parts.push(chunk.payload);
      const send = decodeCommand(frame);
      assert.ok(send?.name === "SEND" && send.isChunk && send.sequenceId === 7 && send.numMessages === 1);
      assert.deepEqual(decodeByOracle("MessageMetadata", chunk.metadata), {
        ...decodeByOracle("MessageMetadata", metadata),
        uuid: options.uuid,
        numChunksFromMsg: count,
        totalChunkMsgSize: whole.length,
        chunkId: index,
      });
    }
    assert.ok(parts.every((part) => part.length > 0) || whole.length === 0);
    matches(readCompressed(decodeMetadata(metadata), Buffer.concat(parts)), [sent], [7]);
  }));
});

test("pulsar entry: a message of 10 MiB is copied once, and its chunks are views of that copy", () => {
  const taken: number[] = [];
  const buffers = {
    take: (size: number) => (taken.push(size), Buffer.allocUnsafeSlow(size)),
    give: () => {},
  };
  const message = { data: Buffer.alloc(10 * 1024 * 1024, 7), key: "k" };
  const entry = new Entry(buffers, message, 0);
  entry.append(message, 0, messageBound(message));
  entry.seal(HEADER);
  assert.ok(taken.length === 1 && taken[0]! < message.data.length + 1024, `${taken}`);
  const options = { maxMessageSize: 5 * 1024 * 1024, uuid: "u" };
  for (let index = 0; index < chunkCount(entry.frame, options); index++) {
    const pieces: Buffer[] = [];
    addChunk(entry.frame, options, index, pieces);
    assert.equal(pieces[1]!.buffer, entry.frame.buffer);
    assert.ok(pieces[0]!.length < 300);
  }
});

test("pulsar buffer pool: buffers are used again, up to the limit", () => {
  const pool = new BufferPool(128 * 1024, 80 * 1024);
  const first = pool.take(60 * 1024);
  const second = pool.take(60 * 1024);
  pool.give(first);
  pool.give(second);
  assert.equal(pool.take(50 * 1024), first);
  assert.notEqual(pool.take(50 * 1024), second);
  assert.equal(pool.take(10 * 1024 * 1024).length, 10 * 1024 * 1024);
});
