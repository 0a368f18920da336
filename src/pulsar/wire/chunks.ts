// Cuts the sealed frame of one message that is larger than a broker takes into frames that it takes, as the Java
// client does (PIP-37; fields of MessageMetadata in PulsarApi.proto): each a SEND with the message's sequence id and is_chunk, its metadata the message's with the fields
// uuid (26), num_chunks_from_msg (27), total_chunk_msg_size (28, after compression) and chunk_id (29). Each is made
// when it is its turn; its payload is a view of the whole frame, so that a message costs its size once.

import { Buffer } from "node:buffer";
import { decodeCommand, PAYLOAD_HEADER, writeCommand } from "./frames.ts";
import { headerSize, placeHeader } from "./entry-header.ts";
import { stringBound, writeString, writeVarint } from "./protobuf.ts";

/** How to cut. */
export interface ChunkOptions {
  /** What brokers compare with this: magic, checksum, metadata and payload of each chunk. */
  readonly maxMessageSize: number;
  /** By what consumers know which chunks belong together. */
  readonly uuid: string;
}

/** Tags and numbers of the fields that chunks have more, beside the uuid. */
const FIELDS_BOUND = 3 * 7 + 2;

/** Into how many chunks a sealed frame is cut; 0 when there is no room beside the metadata. */
export function chunkCount(frame: Buffer, options: ChunkOptions): number {
  const room = roomFor(frame, options);
  return room > 0 ? Math.ceil((frame.length - payloadStart(frame)) / room) : 0;
}

/** Adds the pieces of one chunk's frame to `frames`; returns its bytes as a frame. */
export function addChunk(frame: Buffer, options: ChunkOptions, index: number, frames: Buffer[]): number {
  const room = roomFor(frame, options);
  const start = payloadStart(frame);
  const payload = frame.subarray(start + index * room, start + (index + 1) * room);
  const whole = metadataOf(frame);
  const metadata = Buffer.allocUnsafe(whole.length + stringBound(options.uuid) + FIELDS_BOUND);
  let at = whole.copy(metadata);
  at = writeString(metadata, tag(metadata, at, 26, 2), options.uuid);
  at = writeVarint(metadata, tag(metadata, at, 27, 0), chunkCount(frame, options));
  at = writeVarint(metadata, tag(metadata, at, 28, 0), frame.length - start);
  at = writeVarint(metadata, tag(metadata, at, 29, 0), index);
  const send = decodeCommand(frame);
  if (send?.name !== "SEND") throw new RangeError("a frame that is no SEND");
  const command = Buffer.allocUnsafe(64);
  const commandEnd = writeCommand(command, 0, "SEND", { ...send, isChunk: true });
  const encoded = { command: command.subarray(0, commandEnd), metadata: metadata.subarray(0, at) };
  const header = Buffer.allocUnsafe(headerSize(encoded));
  placeHeader(header, 0, encoded, header.length, payload);
  frames.push(header, payload);
  return header.length + payload.length;
}

function roomFor(frame: Buffer, { maxMessageSize, uuid }: ChunkOptions): number {
  return maxMessageSize - PAYLOAD_HEADER - metadataOf(frame).length - FIELDS_BOUND - Buffer.byteLength(uuid) -
    5;
}

function metadataOf(frame: Buffer): Buffer {
  const at = 8 + frame.readUInt32BE(4) + PAYLOAD_HEADER;
  return frame.subarray(at, at + frame.readUInt32BE(at - 4));
}

function payloadStart(frame: Buffer): number {
  const metadata = 8 + frame.readUInt32BE(4) + PAYLOAD_HEADER;
  return metadata + frame.readUInt32BE(metadata - 4);
}

function tag(buffer: Buffer, at: number, field: number, wireType: number): number {
  return writeVarint(buffer, at, field * 8 + wireType);
}
