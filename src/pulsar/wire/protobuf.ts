// The parts of protobuf's wire format that Pulsar uses, without objects per value: writers that put a value at
// an offset of a buffer and return the offset behind it, and a reader that walks over fields in place.
// Integers are JavaScript numbers up to 2^53; all ones in 64 bits reads as −1 (Pulsar's "no entry" and defaults).

import { Buffer } from "node:buffer";
import { ConnectorError } from "../../core/errors.ts";

/** Wire types of a field's tag. */
export const VARINT = 0;
export const FIXED64 = 1;
export const BYTES = 2;
export const FIXED32 = 5;

/** Bytes that the largest varint takes. */
export const MAX_VARINT = 10;

/** A broker (or client) that sends what the protocol does not allow. */
export function protocolError(what: string): ConnectorError {
  return new ConnectorError(`the peer does not speak Pulsar's binary protocol correctly: ${what}`, {
    code: "PULSAR_PROTOCOL",
    retryable: true,
  });
}

/** Writes an integer ≥ 0, or a negative one as the ten bytes of its 64-bit two's complement. */
export function writeVarint(buffer: Buffer, at: number, value: number): number {
  if (value < 0) return writeBigVarint(buffer, at, BigInt.asUintN(64, BigInt(value)));
  while (value > 0x7fffffff) {
    buffer[at++] = (value % 128) | 128;
    value = Math.floor(value / 128);
  }
  while (value > 127) {
    buffer[at++] = (value & 127) | 128;
    value >>>= 7;
  }
  buffer[at++] = value;
  return at;
}

function writeBigVarint(buffer: Buffer, at: number, value: bigint): number {
  while (value > 127n) {
    buffer[at++] = Number(value & 127n) | 128;
    value >>= 7n;
  }
  buffer[at++] = Number(value);
  return at;
}

/** Bytes that {@link writeVarint} takes. */
export function varintSize(value: number): number {
  if (value < 0) return MAX_VARINT;
  let size = 1;
  while (value > 127) {
    value = Math.floor(value / 128);
    size++;
  }
  return size;
}

/** The most bytes that {@link writeString} takes for a text. */
export function stringBound(text: string): number {
  return 5 + text.length * 3;
}

/** Up to this length the byte count is below 128 in any encoding, and a loop beats a call out of JavaScript. */
const SHORT = 40;

/** Writes byte length and UTF-8 bytes (lone surrogates become U+FFFD). */
export function writeString(buffer: Buffer, at: number, text: string): number {
  const length = text.length;
  if (length <= SHORT) {
    let to = at + 1;
    for (let i = 0; i < length; i++) {
      const unit = text.charCodeAt(i);
      if (unit > 127) {
        const bytes = buffer.write(text, at + 1);
        buffer[at] = bytes;
        return at + 1 + bytes;
      }
      buffer[to++] = unit;
    }
    buffer[at] = length;
    return to;
  }
  const guess = varintSize(length);
  const bytes = buffer.write(text, at + guess);
  const prefix = varintSize(bytes);
  if (prefix !== guess) buffer.copyWithin(at + prefix, at + guess, at + guess + bytes);
  writeVarint(buffer, at, bytes);
  return at + prefix + bytes;
}

/** Writes byte length and bytes. */
export function writeBytes(buffer: Buffer, at: number, bytes: Uint8Array): number {
  at = writeVarint(buffer, at, bytes.length);
  buffer.set(bytes, at);
  return at + bytes.length;
}

/**
 * Puts the length of what was written to `[start + 1, end)` before it, at `start`, where one byte was left free;
 * moves it when its length needs more than one byte.
 */
export function closeNested(buffer: Buffer, start: number, end: number): number {
  const length = end - start - 1;
  if (length < 128) {
    buffer[start] = length;
    return end;
  }
  const prefix = varintSize(length);
  buffer.copyWithin(start + prefix, start + 1, end);
  writeVarint(buffer, start, length);
  return start + prefix + length;
}

/** Writes a KeyValue message (key = 1, value = 2) with its length, behind its tag. */
export function writeKeyValue(buffer: Buffer, at: number, key: string, value: string): number {
  let to = at + 1;
  buffer[to++] = 0x0a;
  to = writeString(buffer, to, key);
  buffer[to++] = 0x12;
  to = writeString(buffer, to, value);
  return closeNested(buffer, at, to);
}

/**
 * Walks over the fields of one message: `while (reader.next()) switch (reader.field) …`, then reads the value
 * with the method that fits, or leaves it alone: what is not read is skipped, so unknown fields do no harm.
 */
export class FieldReader {
  readonly #bytes: Buffer;
  #at: number;
  readonly #end: number;
  /** Number of the field that {@link next} found. */
  field = 0;
  /** Its wire type. */
  wireType = 0;
  /** Where its value starts, behind a length prefix. */
  valueStart = 0;
  /** Where its value ends. */
  valueEnd = 0;

  constructor(bytes: Uint8Array, start = 0, end: number = bytes.length) {
    this.#bytes = asBuffer(bytes);
    this.#at = start;
    this.#end = end;
  }

  /** Goes to the next field; false at the end. Throws PULSAR_PROTOCOL on a broken field. */
  next(): boolean {
    if (this.#at >= this.#end) return false;
    const tag = this.#varint();
    this.field = Math.floor(tag / 8);
    this.wireType = tag & 7;
    if (this.field === 0) throw protocolError("a field with number 0");
    this.valueStart = this.#at;
    if (this.wireType === VARINT) this.#skipVarint();
    else if (this.wireType === FIXED64) this.#at += 8;
    else if (this.wireType === FIXED32) this.#at += 4;
    else if (this.wireType === BYTES) {
      const length = this.#varint();
      this.valueStart = this.#at;
      this.#at += length;
    } else throw protocolError(`a field with wire type ${this.wireType}`);
    if (!(this.#at <= this.#end)) throw protocolError("a field that is longer than its message");
    this.valueEnd = this.#at;
    return true;
  }

  /** An unsigned value, all ones = −1; above 2^53 the nearest number. */
  uint(): number {
    this.#expect(VARINT);
    return readVarint(this.#bytes, this.valueStart, this.valueEnd);
  }

  /** A signed value (int32, int64); beyond ±2^53 the nearest number. */
  int(): number {
    this.#expect(VARINT);
    if (this.valueEnd - this.valueStart < MAX_VARINT) {
      return readVarint(this.#bytes, this.valueStart, this.valueEnd);
    }
    return Number(BigInt.asIntN(64, readBigVarint(this.#bytes, this.valueStart, this.valueEnd)));
  }

  /** Anything but 0 is true. */
  bool(): boolean {
    return this.uint() !== 0;
  }

  /** UTF-8 text. */
  string(): string {
    this.#expect(BYTES);
    return this.#bytes.toString("utf8", this.valueStart, this.valueEnd);
  }

  /** A view, not a copy. */
  bytes(): Buffer {
    this.#expect(BYTES);
    return this.#bytes.subarray(this.valueStart, this.valueEnd);
  }

  /** The fields of a nested message. */
  nested(): FieldReader {
    this.#expect(BYTES);
    return new FieldReader(this.#bytes, this.valueStart, this.valueEnd);
  }

  #expect(wireType: number): void {
    if (this.wireType !== wireType) {
      throw protocolError(`field ${this.field} has wire type ${this.wireType}, not ${wireType}`);
    }
  }

  #varint(): number {
    const start = this.#at;
    this.#skipVarint();
    return readVarint(this.#bytes, start, this.#at);
  }

  #skipVarint(): void {
    const limit = Math.min(this.#end, this.#at + MAX_VARINT);
    while (this.#at < limit) if (this.#bytes[this.#at++]! < 128) return;
    throw protocolError("an integer without an end");
  }
}

/** The same bytes as a Buffer. */
export function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

/** Reads a varint whose bytes are known to be `[start, end)`. */
function readVarint(bytes: Buffer, start: number, end: number): number {
  if (end - start > 7) {
    const big = readBigVarint(bytes, start, end);
    return big === 0xffff_ffff_ffff_ffffn ? -1 : Number(big);
  }
  let value = 0;
  for (let i = end - 1; i >= start; i--) value = value * 128 + (bytes[i]! & 127);
  return value;
}

function readBigVarint(bytes: Buffer, start: number, end: number): bigint {
  let value = 0n;
  for (let i = end - 1; i >= start; i--) value = (value << 7n) | BigInt(bytes[i]! & 127);
  return BigInt.asUintN(64, value);
}
