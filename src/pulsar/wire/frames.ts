// Frames: how commands and payloads lie on the TCP stream. All sizes are big-endian and do not count themselves.
//   simple:  totalSize(4) cmdSize(4) BaseCommand
//   payload: totalSize(4) cmdSize(4) BaseCommand 0x0e01(2) crc32c(4) metadataSize(4) MessageMetadata payload
// The checksum covers everything behind it. The broker may put 0x0e02 size(4) BrokerEntryMetadata before 0x0e01.

import { Buffer } from "node:buffer";
import { crc32c } from "./crc32c.ts";
import { type Command, COMMAND_NAMES, type CommandFields, type CommandName, COMMANDS } from "./commands.ts";
import { asBuffer, closeNested, FieldReader, protocolError, writeVarint } from "./protobuf.ts";
import { type Outgoing, readShape, type Shape, shapeBound, writeShape } from "./shape.ts";

/** Largest message unless CONNECTED says otherwise. */
export const DEFAULT_MAX_MESSAGE_SIZE = 5 * 1024 * 1024;
/** A frame may be this much larger than the largest message (sizes, command). */
export const FRAME_PADDING = 10 * 1024;

export const MAGIC_CHECKSUM = 0x0e01;
export const MAGIC_BROKER_ENTRY_METADATA = 0x0e02;

/** Bytes of a payload frame between its command and its metadata: magic, checksum, metadata size. */
export const PAYLOAD_HEADER = 10;

/** A command with its protobuf framing at `at`; returns the offset behind it. */
export function writeCommand<N extends CommandName>(
  buffer: Buffer,
  at: number,
  name: N,
  fields: CommandFields<N>,
): number {
  const { type, shape } = COMMANDS[name];
  buffer[at++] = 0x08;
  at = writeVarint(buffer, at, type);
  at = writeVarint(buffer, at, type * 8 + 2);
  return closeNested(buffer, at, writeShape(shape as Shape, buffer, at + 1, fields as Outgoing<Shape>));
}

/** Upper bound of what {@link writeCommand} writes. */
function commandBound<N extends CommandName>(name: N, fields: CommandFields<N>): number {
  return 10 + shapeBound(COMMANDS[name].shape as Shape, fields as Outgoing<Shape>);
}

/** A whole frame of one command. */
export function encodeCommand<N extends CommandName>(name: N, fields: CommandFields<N>): Buffer {
  const buffer = Buffer.allocUnsafe(8 + commandBound(name, fields));
  const end = writeCommand(buffer, 8, name, fields);
  buffer.writeUInt32BE(end - 4, 0);
  buffer.writeUInt32BE(end - 8, 4);
  return buffer.subarray(0, end);
}

/** A whole frame of a command with metadata and payload: SEND, or MESSAGE as brokers send it. */
export function encodePayloadCommand<N extends "SEND" | "MESSAGE">(
  name: N,
  fields: CommandFields<N>,
  metadata: Uint8Array,
  payload: Uint8Array,
): Buffer {
  const rest = PAYLOAD_HEADER + metadata.length + payload.length;
  const buffer = Buffer.allocUnsafe(8 + commandBound(name, fields) + rest);
  const behind = writeCommand(buffer, 8, name, fields);
  const end = behind + rest;
  buffer.writeUInt32BE(end - 4, 0);
  buffer.writeUInt32BE(behind - 8, 4);
  buffer.writeUInt16BE(MAGIC_CHECKSUM, behind);
  buffer.writeUInt32BE(metadata.length, behind + 6);
  buffer.set(metadata, behind + PAYLOAD_HEADER);
  buffer.set(payload, behind + PAYLOAD_HEADER + metadata.length);
  buffer.writeUInt32BE(crc32c(buffer, behind + 6, end), behind + 2);
  return buffer.subarray(0, end);
}

/** The number of a frame's command type, without decoding the rest; 0 when it is not where everybody puts it. */
export function commandType(frame: Buffer): number {
  return frame[8] === 0x08 && frame[9]! < 128 ? frame[9]! : 0;
}

/**
 * The command of a whole frame; `undefined` for a command that is not known here (to be ignored).
 * Throws PULSAR_PROTOCOL.
 */
export function decodeCommand(frame: Buffer): Command | undefined {
  const end = commandEnd(frame);
  let type = commandType(frame);
  const reader = new FieldReader(frame, 8, end);
  if (type === 0) {
    while (reader.next()) if (reader.field === 1) type = reader.uint();
    return type === 0 ? undefined : readCommand(type, new FieldReader(frame, 8, end));
  }
  return readCommand(type, reader);
}

function readCommand(type: number, reader: FieldReader): Command | undefined {
  const name = COMMAND_NAMES[type];
  if (name === undefined) return undefined;
  while (reader.next()) {
    if (reader.field !== type) continue;
    return { name, ...readShape(COMMANDS[name].shape as Shape, reader.nested()) } as Command;
  }
  throw protocolError(`a ${name} command without content`);
}

/** What follows the command in a payload frame, as views of the frame. */
export interface PayloadParts {
  /** MessageMetadata, encoded. */
  readonly metadata: Buffer;
  readonly payload: Buffer;
  /** Everything behind the command, as a broker stores and forwards it. */
  readonly headersAndPayload: Buffer;
}

/**
 * Takes a payload frame apart and verifies its checksum; `undefined` for a frame without payload.
 * Throws PULSAR_PROTOCOL; for a wrong checksum the message says "checksum".
 */
export function decodePayload(frame: Buffer): PayloadParts | undefined {
  const start = commandEnd(frame);
  if (start === frame.length) return undefined;
  const headersAndPayload = frame.subarray(start);
  return { ...decodeHeadersAndPayload(headersAndPayload), headersAndPayload };
}

/** {@link decodePayload} of what lies behind the command. */
export function decodeHeadersAndPayload(bytes: Uint8Array): { metadata: Buffer; payload: Buffer } {
  const buffer = asBuffer(bytes);
  let at = 0;
  if (magicAt(buffer, at) === MAGIC_BROKER_ENTRY_METADATA) at += 6 + sizeAt(buffer, at + 2);
  if (magicAt(buffer, at) === MAGIC_CHECKSUM) {
    const stored = sizeAt(buffer, at + 2);
    at += 6;
    const computed = crc32c(buffer, at);
    if (stored !== computed) {
      throw protocolError(`wrong checksum ${computed.toString(16)} instead of ${stored.toString(16)}`);
    }
  }
  const metadataEnd = at + 4 + sizeAt(buffer, at);
  if (metadataEnd > buffer.length) throw protocolError("a payload frame that ends inside its metadata");
  return { metadata: buffer.subarray(at + 4, metadataEnd), payload: buffer.subarray(metadataEnd) };
}

function magicAt(buffer: Buffer, at: number): number {
  return at + 2 <= buffer.length ? buffer.readUInt16BE(at) : 0;
}

function sizeAt(buffer: Buffer, at: number): number {
  if (at + 4 > buffer.length) throw protocolError("a payload frame that ends inside its header");
  return buffer.readUInt32BE(at);
}

/** Where a frame's command ends; {@link FrameSplitter} has checked the sizes. */
function commandEnd(frame: Buffer): number {
  return 8 + frame.readUInt32BE(4);
}
