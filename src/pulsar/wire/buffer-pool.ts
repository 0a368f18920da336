// Buffers for open entries, used again: a batch buffer per entry from the allocator would cost a page fault per
// page and a finalizer each. There are four sizes, from 4 KiB up to a full batch; other buffers are not kept.

import { Buffer } from "node:buffer";
import type { BufferSource } from "./entry.ts";

const KIB = 1024;
/** What a full batch needs beside its messages: head room with keys of usual length. */
const ROOM = 8 * KIB;

/** Keeps at most `maxKeptBytes` of free buffers. One per sink. */
export class BufferPool implements BufferSource {
  readonly #sizes: readonly number[];
  readonly #free: Buffer[][];
  readonly #maxKeptBytes: number;
  #kept = 0;

  constructor(batchMaxBytes: number, maxKeptBytes: number = 8 * KIB * KIB) {
    const largest = batchMaxBytes + ROOM;
    this.#sizes = [...[4 * KIB, 16 * KIB, 64 * KIB].filter((size) => size < largest), largest];
    this.#free = this.#sizes.map(() => []);
    this.#maxKeptBytes = maxKeptBytes;
  }

  take(size: number): Buffer {
    const index = this.#sizes.findIndex((classSize) => size <= classSize);
    if (index < 0) return Buffer.allocUnsafeSlow(size);
    const classSize = this.#sizes[index]!;
    const buffer = this.#free[index]!.pop();
    if (buffer === undefined) return Buffer.allocUnsafeSlow(classSize);
    this.#kept -= classSize;
    return buffer;
  }

  give(buffer: Buffer): void {
    const free = this.#free[this.#sizes.indexOf(buffer.length)];
    if (free === undefined || buffer.buffer.byteLength !== buffer.length) return; // ours own their memory
    if (this.#kept + buffer.length > this.#maxKeptBytes) return;
    this.#kept += buffer.length;
    free.push(buffer);
  }
}
