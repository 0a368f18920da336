// An entry of a topic as messages. Entries are stored as they came in; they are taken apart only here.

import type { Buffer } from "node:buffer";
import { ConnectorError } from "../../core/errors.ts";
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

/**
 * The messages of an entry, in order. Their bytes are views of `headersAndPayload`.
 * @throws ConnectorError PULSAR_PROTOCOL for a broken entry, NOT_YET for a compressed one
 */
export function messagesOf(headersAndPayload: Buffer, position: EntryPosition): TopicMessage[] {
  const parts = decodeHeadersAndPayload(headersAndPayload);
  const metadata = decodeMetadata(parts.metadata);
  if (metadata.compression !== COMPRESSION_TYPES.none) {
    throw new ConnectorError(
      `a message in ${position.topic} is compressed, and only uncompressed ones can be read here: ` +
        `publish with compression "none", or read with a Pulsar client`,
      { code: "NOT_YET", where: { topic: position.topic } },
    );
  }
  const batched = metadata.numMessagesInBatch !== undefined;
  return readMessages(metadata, parts.payload).map((message, index) => ({
    ...position,
    ...message,
    batchIndex: batched ? index : -1,
  }));
}
