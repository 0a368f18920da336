// What stands before an entry's payload in its frame: sizes, the SEND command, checksum, metadata. Metadata of one
// message alone is made of what was encoded for it as part of a batch, so that nothing is encoded twice.
// The numbers are tags (field × 8 + wire type) of MessageMetadata and SingleMessageMetadata in PulsarApi.proto.

import { Buffer } from "node:buffer";
import type { Codec } from "./codec.ts";
import { crc32c } from "./crc32c.ts";
import { MAGIC_CHECKSUM, PAYLOAD_HEADER, writeCommand } from "./frames.ts";
import { FieldReader, stringBound, writeString, writeVarint } from "./protobuf.ts";

/** What sealing needs to know. */
export interface EntryHeader {
  readonly producerId: number;
  readonly producerName: string;
  /** Epoch milliseconds. */
  readonly publishTime: number;
  /** Compresses payloads that get smaller by it. */
  readonly codec?: Codec | undefined;
}

/** An entry, as its header shows it. */
export interface EntryFacts {
  /** Has the first message's own metadata at `start`, behind their size. */
  readonly buffer: Buffer;
  readonly start: number;
  readonly count: number;
  readonly firstSequenceId: number;
  readonly lastSequenceId: number;
  /** What the command says first: a broker that deduplicates looks at that alone. */
  readonly judgedBy: number;
  /** Bytes of the payload before compression. */
  readonly payloadSize: number;
  /** COMPRESSION_TYPES. */
  readonly compression: number;
  /** Epoch milliseconds. */
  readonly deliverAt: number | undefined;
}

/** An encoded header: views that are valid until the next is encoded. */
export interface EncodedHeader {
  readonly command: Buffer;
  readonly metadata: Buffer;
}

/** Upper bound of header bytes beside the producer's name and the first message's keys. */
export const HEADER_BOUND = 256;

let scratch: Buffer = Buffer.allocUnsafe(4096);

/** Encodes command and metadata. */
export function encodeEntryHeader(facts: EntryFacts, header: EntryHeader): EncodedHeader {
  const isPlain = facts.count === 1;
  const ownSize = facts.buffer.readUInt32BE(facts.start);
  const bound = HEADER_BOUND + stringBound(header.producerName) + ownSize;
  if (scratch.length < bound) scratch = Buffer.allocUnsafe(bound * 2);
  let at = 0;
  scratch[at++] = 0x0a;
  at = writeString(scratch, at, header.producerName);
  scratch[at++] = 0x10;
  at = writeVarint(scratch, at, facts.firstSequenceId);
  scratch[at++] = 0x18;
  at = writeVarint(scratch, at, header.publishTime);
  at = writeFromFirst(facts, at, ownSize, isPlain);
  if (facts.compression !== 0) {
    scratch[at++] = 0x40;
    scratch[at++] = facts.compression;
  }
  scratch[at++] = 0x48; // uncompressed_size: decoders allocate by it
  at = writeVarint(scratch, at, facts.payloadSize);
  if (!isPlain) {
    scratch[at++] = 0x58; // num_messages_in_batch: its presence marks a batch
    at = writeVarint(scratch, at, facts.count);
  }
  if (facts.deliverAt !== undefined) {
    scratch[at++] = 0x98; // field 19
    scratch[at++] = 0x01;
    at = writeVarint(scratch, at, facts.deliverAt);
  }
  scratch[at++] = 0xc0; // highest_sequence_id, field 24: deduplication counts on it
  scratch[at++] = 0x01;
  const size = writeVarint(scratch, at, facts.lastSequenceId);
  const end = writeCommand(scratch, size, "SEND", {
    producerId: header.producerId,
    sequenceId: facts.judgedBy,
    numMessages: isPlain ? undefined : facts.count,
    highestSequenceId: facts.lastSequenceId,
  });
  return { command: scratch.subarray(size, end), metadata: scratch.subarray(0, size) };
}

/** Bytes before the payload. */
export function headerSize({ command, metadata }: EncodedHeader): number {
  return 8 + command.length + PAYLOAD_HEADER + metadata.length;
}

/**
 * Writes a header at `at`, right before its payload, as far as that lies there in the same buffer.
 * @param behind more of the payload, in another buffer
 */
export function placeHeader(
  buffer: Buffer,
  at: number,
  header: EncodedHeader,
  payloadEnd: number,
  behind?: Buffer,
): void {
  const { command, metadata } = header;
  buffer.writeUInt32BE(payloadEnd - at - 4 + (behind?.length ?? 0), at);
  buffer.writeUInt32BE(command.length, at + 4);
  at += 8 + command.copy(buffer, at + 8);
  buffer.writeUInt16BE(MAGIC_CHECKSUM, at);
  buffer.writeUInt32BE(metadata.length, at + 6);
  metadata.copy(buffer, at + PAYLOAD_HEADER);
  let checksum = crc32c(buffer, at + 6, payloadEnd);
  if (behind !== undefined) checksum = crc32c(behind, 0, behind.length, checksum);
  buffer.writeUInt32BE(checksum, at + 2);
}

/** Copies what entry metadata shares with the first message's: its keys, and everything of a plain one. */
function writeFromFirst({ buffer, start }: EntryFacts, at: number, size: number, isPlain: boolean): number {
  const reader = new FieldReader(buffer, start + 4, start + 4 + size);
  while (reader.next()) {
    const field = reader.field;
    if (field === 2) scratch[at++] = 0x32; // partition_key
    else if (field === 7) { // ordering_key, field 18
      scratch[at++] = 0x92;
      scratch[at++] = 0x01;
    } else if (field === 1 && isPlain) scratch[at++] = 0x22; // properties
    else if (field === 5 && isPlain) scratch[at++] = 0x60; // event_time
    else continue;
    if (field !== 5) at = writeVarint(scratch, at, reader.valueEnd - reader.valueStart);
    at += buffer.copy(scratch, at, reader.valueStart, reader.valueEnd);
  }
  return at;
}
