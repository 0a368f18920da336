// AWS event streams (application/vnd.amazon.eventstream) taken apart while they arrive: a payload of 14 MB is given out
// in the pieces that the network brought, never as a whole. Invariant: "end" is told only of a frame whose checksum
// fits; what of it was given out before has to be thrown away when an error comes in its place.
// Frame: total length (4), length of headers (4), CRC-32 of these (4), headers, payload, CRC-32 of all before it (4).

import { Buffer } from "node:buffer";
import { crc32 } from "node:zlib";

/** What the bytes so far give next. */
export type FrameStep =
  /** A frame's headers are there: `headers` and `payloadBytes` tell about it. */
  | "headers"
  /** `payload` holds the next piece. */
  | "payload"
  /** The frame is complete and unharmed. */
  | "end"
  /** More bytes are needed: `push` some. */
  | undefined;

const PRELUDE_BYTES = 12;
const TRAILER_BYTES = 4;
// The protocol's limits: 24 MiB of payload, 128 KiB of headers.
const LONGEST_HEADERS = 128 * 1024;
const LONGEST_FRAME = 24 * 1024 * 1024 + LONGEST_HEADERS + PRELUDE_BYTES + TRAILER_BYTES;
const NOTHING = new Uint8Array(0);

/** Bytes of a header's value by its type; bytes (6) and strings (7) have their length before them. */
const VALUE_BYTES: readonly (number | undefined)[] = [0, 0, 1, 2, 4, 8, undefined, undefined, 8, 16];
const BYTES = 6;
const STRING = 7;

/** Reads frames out of chunks. An instance that has thrown is of no more use. */
export class FrameDecoder {
  /** Headers of the present frame whose values are strings; AWS uses no others that mean anything. */
  headers: ReadonlyMap<string, string> = new Map();
  /** Length of the present frame's payload. */
  payloadBytes = 0;
  /** The piece that "payload" told of; valid as long as the chunk that it came in. */
  payload: Uint8Array = NOTHING;
  #chunk: Uint8Array = NOTHING;
  #at = 0;
  #part: "prelude" | "headers" | "payload" | "trailer" = "prelude";
  /** Prelude, headers or trailer, as far as they have come; where one chunk has all of it, that is looked at. */
  #kept: Uint8Array = NOTHING;
  #keptBytes = 0;
  #headerBytes = 0;
  #payloadLeft = 0;
  #crc = 0;

  /** The next bytes; only after `step` gave undefined. */
  push(chunk: Uint8Array): void {
    this.#chunk = chunk;
    this.#at = 0;
  }

  /** Whether no frame has begun: the stream may end here. */
  get isBetweenFrames(): boolean {
    return this.#part === "prelude" && this.#keptBytes === 0 && this.#at === this.#chunk.length;
  }

  /**
   * Goes on as far as there is something to tell.
   * @throws SyntaxError for a frame whose checksum does not fit, or that is none
   */
  step(): FrameStep {
    const step = this.#step();
    if (step === undefined) this.push(NOTHING); // thousands of streams wait: none keeps what was read
    return step;
  }

  #step(): FrameStep {
    for (;;) {
      switch (this.#part) {
        case "prelude": {
          const prelude = this.#take(PRELUDE_BYTES);
          if (prelude === undefined) return undefined;
          this.#begin(prelude);
          this.#part = "headers";
          break;
        }
        case "headers": {
          const headers = this.#take(this.#headerBytes);
          if (headers === undefined) return undefined;
          this.#crc = crc32(headers, this.#crc);
          this.headers = parseHeaders(headers);
          this.#part = "payload";
          return "headers";
        }
        case "payload": {
          const bytes = Math.min(this.#payloadLeft, this.#chunk.length - this.#at);
          if (bytes > 0) {
            this.payload = this.#chunk.subarray(this.#at, this.#at += bytes);
            this.#payloadLeft -= bytes;
            this.#crc = crc32(this.payload, this.#crc);
            return "payload";
          }
          if (this.#payloadLeft > 0) return undefined;
          this.#part = "trailer";
          break;
        }
        case "trailer": {
          const trailer = this.#take(TRAILER_BYTES);
          if (trailer === undefined) return undefined;
          if (uint32(trailer, 0) !== this.#crc) throw damaged("its checksum does not fit");
          this.payload = NOTHING;
          this.#part = "prelude";
          return "end";
        }
      }
    }
  }

  #begin(prelude: Uint8Array): void {
    this.#crc = crc32(prelude);
    if (crc32(prelude.subarray(0, 8)) !== uint32(prelude, 8)) {
      throw damaged("the checksum of its lengths does not fit");
    }
    const total = uint32(prelude, 0);
    this.#headerBytes = uint32(prelude, 4);
    this.payloadBytes = this.#payloadLeft = total - this.#headerBytes - PRELUDE_BYTES - TRAILER_BYTES;
    if (this.payloadBytes < 0 || this.#headerBytes > LONGEST_HEADERS || total > LONGEST_FRAME) {
      throw damaged(`it claims ${total} bytes, ${this.#headerBytes} of them headers`);
    }
  }

  /** The next `length` bytes, once all of them are there; valid until the next call. */
  #take(length: number): Uint8Array | undefined {
    const chunk = this.#chunk;
    const there = Math.min(length - this.#keptBytes, chunk.length - this.#at);
    if (this.#keptBytes === 0 && there === length) return chunk.subarray(this.#at, this.#at += length);
    if (this.#keptBytes === 0 && there > 0) this.#kept = new Uint8Array(length);
    this.#kept.set(chunk.subarray(this.#at, this.#at += there), this.#keptBytes);
    this.#keptBytes += there;
    if (this.#keptBytes < length) return undefined;
    const taken = this.#kept;
    this.#kept = NOTHING;
    this.#keptBytes = 0;
    return taken;
  }
}

function parseHeaders(bytes: Uint8Array): Map<string, string> {
  const headers = new Map<string, string>();
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
  for (let at = 0; at < bytes.length;) {
    const nameEnd = at + 1 + bytes[at]!;
    const type = bytes[nameEnd];
    if (type === undefined) throw damaged("a header's name is cut off");
    const hasLength = type === BYTES || type === STRING;
    const valueAt = nameEnd + (hasLength ? 3 : 1);
    if (valueAt > bytes.length) throw damaged("a header's value is cut off");
    const length = hasLength ? buffer.readUInt16BE(nameEnd + 1) : VALUE_BYTES[type];
    if (length === undefined) throw damaged(`a header has type ${type}`);
    const end = valueAt + length;
    if (end > bytes.length) throw damaged("a header's value is cut off");
    if (type === STRING) {
      headers.set(buffer.toString("utf8", at + 1, nameEnd), buffer.toString("utf8", valueAt, end));
    }
    at = end;
  }
  return headers;
}

function uint32(bytes: Uint8Array, at: number): number {
  return (bytes[at]! * 0x1000000) + ((bytes[at + 1]! << 16) | (bytes[at + 2]! << 8) | bytes[at + 3]!);
}

function damaged(why: string): SyntaxError {
  return new SyntaxError(`a frame of the event stream is damaged: ${why}`);
}
