// Metadata of messages (PulsarApi.proto, MessageMetadata and SingleMessageMetadata) and reading of entries: one plain
// message, or a batch of several with their own metadata. A batch is marked by the presence of num_messages_in_batch.
// Writing is done in entry.ts, in place.

import { Buffer } from "node:buffer";
import { COMPRESSION_TYPES } from "./codec.ts";
import { KeyValue } from "./commands.ts";
import { FieldReader, protocolError } from "./protobuf.ts";
import {
  bool,
  bytes,
  decodeShape,
  def,
  type Incoming,
  int,
  message,
  opt,
  rep,
  req,
  string,
  uint,
} from "./shape.ts";

/** Metadata of an entry. Times are epoch milliseconds. */
export const MessageMetadata = {
  producerName: req(1, string),
  sequenceId: req(2, uint),
  publishTime: req(3, uint),
  properties: rep(4, message(KeyValue)),
  partitionKey: opt(6, string),
  compression: def(8, uint, COMPRESSION_TYPES.none),
  uncompressedSize: def(9, uint, 0),
  numMessagesInBatch: opt(11, int),
  eventTime: def(12, uint, 0),
  schemaVersion: opt(16, bytes),
  partitionKeyB64Encoded: def(17, bool, false),
  orderingKey: opt(18, bytes),
  deliverAtTime: opt(19, int),
  highestSequenceId: def(24, uint, 0),
  nullValue: def(25, bool, false),
  uuid: opt(26, string),
  numChunksFromMsg: opt(27, int),
  totalChunkMsgSize: opt(28, int),
  chunkId: opt(29, int),
} as const;

/** Metadata of one message of a batch. */
export const SingleMessageMetadata = {
  properties: rep(1, message(KeyValue)),
  partitionKey: opt(2, string),
  payloadSize: req(3, int),
  compactedOut: def(4, bool, false),
  eventTime: def(5, uint, 0),
  partitionKeyB64Encoded: def(6, bool, false),
  orderingKey: opt(7, bytes),
  sequenceId: opt(8, uint),
  nullValue: def(9, bool, false),
} as const;

/** One message as a consumer sees it. */
export interface ReadMessage {
  /** A view of the entry. */
  readonly data: Buffer;
  readonly key: string | undefined;
  readonly orderingKey: Buffer | undefined;
  readonly properties: Readonly<Record<string, string>>;
  /** 0 = none. */
  readonly eventTime: number;
  readonly sequenceId: number;
  readonly publishTime: number;
  readonly producerName: string;
}

/** An entry's metadata. Throws PULSAR_PROTOCOL. */
export function decodeMetadata(encoded: Uint8Array): Incoming<typeof MessageMetadata> {
  return decodeShape(MessageMetadata, encoded);
}

/**
 * The messages of an (uncompressed) entry, in order.
 * Throws PULSAR_PROTOCOL for a payload that does not hold what its metadata says.
 */
export function readMessages(metadata: Incoming<typeof MessageMetadata>, payload: Buffer): ReadMessage[] {
  const { publishTime, producerName } = metadata;
  if (metadata.numMessagesInBatch === undefined) {
    return [{
      ...common(metadata),
      data: payload,
      sequenceId: metadata.sequenceId,
      publishTime,
      producerName,
    }];
  }
  const messages: ReadMessage[] = [];
  let at = 0;
  for (let index = 0; index < metadata.numMessagesInBatch; index++) {
    const entry = batchEntry(payload, at, payload.length);
    const single = decodeShape(SingleMessageMetadata, payload, at + 4, entry.dataStart);
    messages.push({
      ...common(single),
      data: payload.subarray(entry.dataStart, entry.end),
      sequenceId: single.sequenceId ?? metadata.sequenceId + index,
      publishTime,
      producerName,
    });
    at = entry.end;
  }
  if (at !== payload.length) throw protocolError("a batch with bytes behind its last message");
  return messages;
}

/** Where the message at `at` of a batch has its data and its end. Throws PULSAR_PROTOCOL. */
export function batchEntry(payload: Buffer, at: number, limit: number): { dataStart: number; end: number } {
  if (at + 4 > limit) throw protocolError("a batch that ends before its last message");
  const dataStart = at + 4 + payload.readUInt32BE(at);
  if (dataStart > limit) throw protocolError("a batch that ends inside a message's metadata");
  const reader = new FieldReader(payload, at + 4, dataStart);
  let size = -1;
  while (reader.next()) if (reader.field === SingleMessageMetadata.payloadSize.number) size = reader.int();
  if (size < 0 || dataStart + size > limit) throw protocolError("a batch that ends inside a message");
  return { dataStart, end: dataStart + size };
}

function common(
  from: Pick<Incoming<typeof MessageMetadata>, "partitionKey" | "properties" | "eventTime"> & {
    readonly orderingKey?: Uint8Array | undefined;
  },
): Pick<ReadMessage, "key" | "orderingKey" | "properties" | "eventTime"> {
  const { orderingKey } = from;
  return {
    key: from.partitionKey,
    orderingKey: orderingKey === undefined ? undefined : Buffer.from(orderingKey),
    properties: Object.fromEntries(from.properties.map(({ key, value }) => [key, value])),
    eventTime: from.eventTime,
  };
}
