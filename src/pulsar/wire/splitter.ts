// Cuts a TCP stream into frames. A frame that lies whole in one read is handed on without a copy; one that is
// spread over reads is collected in a buffer of its final size, so every byte is copied at most once.

import { Buffer } from "node:buffer";
import { DEFAULT_MAX_MESSAGE_SIZE, FRAME_PADDING } from "./frames.ts";
import { asBuffer, protocolError } from "./protobuf.ts";

/** One per connection and direction. */
export class FrameSplitter {
  /** Largest total size of a frame; CONNECTED's max_message_size + padding. */
  maxFrameSize: number = DEFAULT_MAX_MESSAGE_SIZE + FRAME_PADDING;
  readonly #onFrame: (frame: Buffer) => void;
  /** The size field of a frame whose first four bytes came apart. */
  readonly #sizeBytes: Buffer = Buffer.alloc(4);
  #frame: Buffer | undefined;
  #have = 0;

  /** @param onFrame gets each whole frame, size field included: a view that is valid during the call */
  constructor(onFrame: (frame: Buffer) => void) {
    this.#onFrame = onFrame;
  }

  /**
   * Takes what was read. Throws PULSAR_PROTOCOL when it cannot be a frame (the connection is then useless), and
   * whatever `onFrame` throws.
   */
  push(chunk: Uint8Array): void {
    const bytes = asBuffer(chunk);
    let at = 0;
    while (at < bytes.length) {
      if (this.#have === 0 && bytes.length - at >= 4) {
        const end = at + 4 + this.#checkedSize(bytes.readUInt32BE(at));
        if (end <= bytes.length) {
          const frame = bytes.subarray(at, end);
          at = end;
          this.#emit(frame);
          continue;
        }
      }
      at = this.#collect(bytes, at);
    }
  }

  /** Copies up to the end of the frame or of the chunk. */
  #collect(bytes: Buffer, at: number): number {
    if (this.#frame === undefined) {
      const taken = Math.min(4 - this.#have, bytes.length - at);
      bytes.copy(this.#sizeBytes, this.#have, at, at + taken);
      this.#have += taken;
      if (this.#have < 4) return at + taken;
      const size = this.#checkedSize(this.#sizeBytes.readUInt32BE(0));
      this.#frame = Buffer.allocUnsafe(4 + size);
      this.#frame.set(this.#sizeBytes);
      return at + taken;
    }
    const frame = this.#frame;
    const taken = Math.min(frame.length - this.#have, bytes.length - at);
    bytes.copy(frame, this.#have, at, at + taken);
    this.#have += taken;
    if (this.#have === frame.length) {
      this.#frame = undefined;
      this.#have = 0;
      this.#emit(frame);
    }
    return at + taken;
  }

  #checkedSize(size: number): number {
    if (size < 4) throw protocolError(`a frame of ${size} bytes, which is less than its size field`);
    if (size > this.maxFrameSize) {
      throw protocolError(`a frame of ${size} bytes, more than the limit of ${this.maxFrameSize}`);
    }
    return size;
  }

  #emit(frame: Buffer): void {
    const commandSize = frame.readUInt32BE(4);
    if (commandSize + 8 > frame.length) {
      throw protocolError(`a command of ${commandSize} bytes in a frame of ${frame.length - 4}`);
    }
    this.#onFrame(frame);
  }
}
