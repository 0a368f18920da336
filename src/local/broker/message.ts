// A topic's entries as messages. Entries are stored as they came in: compressed, and each chunk of a large message as
// an entry; they are taken apart and put together only here.

import { Buffer } from "node:buffer";
import { ConnectorError, messageOf } from "../../core/errors.ts";
import type { Decoders } from "../../pulsar/codecs/decoders.ts";
import { COMPRESSION_TYPES } from "../../pulsar/wire/codec.ts";
import { decodeHeadersAndPayload } from "../../pulsar/wire/frames.ts";
import { decodeMetadata, readMessages } from "../../pulsar/wire/metadata.ts";

/** Where an entry is. */
export interface EntryPosition {
  /** The concrete topic, in full. */
  readonly topic: string;
  /** −1 in a topic without partitions. */
  readonly partition: number;
  readonly ledgerId: number;
  readonly entryId: number;
}

/** A message of a topic. */
export interface TopicMessage extends EntryPosition {
  /** Place in its batch, −1 for a message that came alone. */
  readonly batchIndex: number;
  readonly data: Buffer;
  readonly key: string | undefined;
  readonly orderingKey: Buffer | undefined;
  readonly properties: Readonly<Record<string, string>>;
  /** Epoch milliseconds, 0 = none. */
  readonly eventTime: number;
  /** Epoch milliseconds. */
  readonly publishTime: number;
  readonly sequenceId: number;
  readonly producerName: string;
}

/** Chunks of a message that is not whole yet. */
interface Incomplete {
  readonly parts: Buffer[];
  readonly count: number;
}

/** As many messages at a time may have come in part; of more the oldest are given up (consumers: 10 in Java). */
const MAX_INCOMPLETE = 100;

/** Takes one topic's entries apart, in their order: whole messages come with their last chunk. */
export class EntryReader {
  readonly #decoders: Decoders;
  /** By uuid, the oldest first. */
  readonly #incomplete = new Map<string, Incomplete>();

  constructor(decoders: Decoders) {
    this.#decoders = decoders;
  }

  /**
   * The messages of an entry, in order: none for a chunk before the last. Their bytes may be views of the entry.
   * @throws ConnectorError PULSAR_PROTOCOL for a broken entry
   */
  read(headersAndPayload: Buffer, position: EntryPosition): TopicMessage[] {
    const parts = decodeHeadersAndPayload(headersAndPayload);
    const metadata = decodeMetadata(parts.metadata);
    const packed = metadata.uuid === undefined
      ? parts.payload
      : this.#whole(metadata.uuid, metadata, parts.payload);
    if (packed === undefined) return [];
    const batched = metadata.numMessagesInBatch !== undefined;
    return readMessages(metadata, this.#unpack(packed, metadata, position)).map((message, index) => ({
      ...position,
      ...message,
      batchIndex: batched ? index : -1,
    }));
  }

  /** The message, when this was its last chunk. Chunks that do not follow one another are what nobody can use. */
  #whole(
    uuid: string,
    { chunkId = 0, numChunksFromMsg = 1 }: EntryMetadata,
    chunk: Buffer,
  ): Buffer | undefined {
    if (chunkId === 0) {
      this.#incomplete.delete(uuid);
      this.#incomplete.set(uuid, { parts: [], count: numChunksFromMsg });
      if (this.#incomplete.size > MAX_INCOMPLETE) {
        this.#incomplete.delete(this.#incomplete.keys().next().value!);
      }
    }
    const message = this.#incomplete.get(uuid);
    if (message === undefined || message.parts.length !== chunkId) {
      this.#incomplete.delete(uuid);
      return undefined;
    }
    message.parts.push(chunk);
    if (message.parts.length < message.count) return undefined;
    this.#incomplete.delete(uuid);
    return Buffer.concat(message.parts);
  }

  #unpack(payload: Buffer, metadata: EntryMetadata, { topic }: EntryPosition): Buffer {
    const { compression, uncompressedSize } = metadata;
    if (compression === COMPRESSION_TYPES.none) return payload;
    const codec = this.#decoders.get(compression);
    try {
      if (codec === undefined) throw new RangeError("there is no codec for it here");
      const bytes = codec.decompress(payload, uncompressedSize);
      return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
    } catch (cause) {
      throw new ConnectorError(
        `a message in ${topic} cannot be decompressed (type ${compression}): ${messageOf(cause)}`,
        { code: "PULSAR_PROTOCOL", cause, where: { topic } },
      );
    }
  }
}

type EntryMetadata = ReturnType<typeof decodeMetadata>;
