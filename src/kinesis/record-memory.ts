// Memory for records' data. Small ones share a slab: one allocation for many. Large ones have their own, so that a
// record that stays in flight never keeps more than a slab beside itself alive.

import { Buffer } from "node:buffer";

const SLAB_BYTES = 64 * 1024;
const LARGEST_SHARED_BYTES = SLAB_BYTES / 8;

let slab: ArrayBuffer = new ArrayBuffer(0);
let used = 0;

/** Uninitialised memory that nobody else writes to. */
export function recordMemory(size: number): Buffer {
  if (size > LARGEST_SHARED_BYTES) return Buffer.allocUnsafeSlow(size);
  if (used + size > slab.byteLength) {
    slab = Buffer.allocUnsafeSlow(SLAB_BYTES).buffer as ArrayBuffer;
    used = 0;
  }
  const memory = Buffer.from(slab, used, size);
  used += size;
  return memory;
}
