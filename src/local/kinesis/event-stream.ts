// The frames of application/vnd.amazon.eventstream, as SubscribeToShard answers them. A frame is
//   total length (4) | length of headers (4) | CRC-32 of these eight (4) | headers | payload | CRC-32 of all before (4)
// and a header is length of name (1) | name | type 7, a string (1) | length of value (2) | value.
// Invariant: a payload in slices is never copied: its frame is those slices between a head and a tail.

import { Buffer } from "node:buffer";
import { crc32 } from "node:zlib";

const PRELUDE_BYTES = 12;
const CRC_BYTES = 4;
const STRING = 7;
const JSON_TYPE = "application/json";

/** Headers of a frame, encoded. */
export type FrameHeaders = Buffer;

/** Encodes headers, for frames that have the same ones. */
export function frameHeaders(headers: Readonly<Record<string, string>>): FrameHeaders {
  const parts = Object.entries(headers).flatMap(([name, value]) => {
    const length = Buffer.alloc(3);
    length.writeUInt8(STRING, 0);
    length.writeUInt16BE(Buffer.byteLength(value), 1);
    return [Buffer.of(Buffer.byteLength(name)), Buffer.from(name), length, Buffer.from(value)];
  });
  return Buffer.concat(parts);
}

/** Headers of an event of this type whose payload is JSON. */
export function eventHeaders(eventType: string): FrameHeaders {
  return frameHeaders({
    ":message-type": "event",
    ":event-type": eventType,
    ":content-type": JSON_TYPE,
  });
}

/** A frame in slices. */
export function encodeFrame(headers: FrameHeaders, payload: readonly Uint8Array[]): Uint8Array[] {
  const payloadBytes = payload.reduce((sum, chunk) => sum + chunk.length, 0);
  const head = Buffer.allocUnsafe(PRELUDE_BYTES + headers.length);
  head.writeUInt32BE(head.length + payloadBytes + CRC_BYTES, 0);
  head.writeUInt32BE(headers.length, 4);
  head.writeUInt32BE(crc32(head.subarray(0, 8)), 8);
  headers.copy(head, PRELUDE_BYTES);
  const tail = Buffer.allocUnsafe(CRC_BYTES);
  tail.writeUInt32BE(payload.reduce((crc, chunk) => crc32(chunk, crc), crc32(head)), 0);
  return [head, ...payload, tail];
}

/** The frame of an exception, after which the service ends the stream. */
export function exceptionFrame(name: string, message: string): Uint8Array[] {
  const headers = frameHeaders({
    ":message-type": "exception",
    ":exception-type": name,
    ":content-type": JSON_TYPE,
  });
  return encodeFrame(headers, [Buffer.from(JSON.stringify({ message }))]);
}
