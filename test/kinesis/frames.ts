// Event-stream frames as tests write them.

import { Buffer } from "node:buffer";
import { crc32 } from "node:zlib";

/** A frame with these headers, or with bytes in their place. */
export function frame(headers: Readonly<Record<string, string>> | Uint8Array, payload: Uint8Array): Buffer {
  const head = headers instanceof Uint8Array ? headers : Buffer.concat(
    Object.entries(headers).flatMap(([name, value]) => {
      const type = Buffer.alloc(3);
      type[0] = 7;
      type.writeUInt16BE(Buffer.byteLength(value), 1);
      return [Buffer.of(Buffer.byteLength(name)), Buffer.from(name), type, Buffer.from(value)];
    }),
  );
  const bytes = Buffer.alloc(16 + head.length + payload.length);
  bytes.writeUInt32BE(bytes.length, 0);
  bytes.writeUInt32BE(head.length, 4);
  bytes.writeUInt32BE(crc32(bytes.subarray(0, 8)), 8);
  bytes.set(head, 12);
  bytes.set(payload, 12 + head.length);
  bytes.writeUInt32BE(crc32(bytes.subarray(0, bytes.length - 4)), bytes.length - 4);
  return bytes;
}

/** A SubscribeToShardEvent in the wire's words. */
export function eventFrame(event: object): Buffer {
  const headers = { ":message-type": "event", ":event-type": "SubscribeToShardEvent" };
  return frame(
    { ...headers, ":content-type": "application/x-amz-json-1.1" },
    Buffer.from(JSON.stringify(event)),
  );
}

/** An exception of the stream. */
export function exceptionFrame(name: string, message: string): Buffer {
  const headers = { ":message-type": "exception", ":exception-type": name };
  return frame({ ...headers, ":content-type": "application/json" }, Buffer.from(JSON.stringify({ message })));
}
