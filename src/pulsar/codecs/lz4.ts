// LZ4: the quickest codec, and the default of Pulsar's Java functions framework.

import { type Codec, COMPRESSION_TYPES } from "../wire/codec.ts";
import { compressLz4Block, decompressLz4Block } from "./lz4-block.ts";

/** A target up to this size is kept for the next entry. */
const KEPT_BYTES = 256 * 1024;

/** A codec of its own memory. */
export function lz4Codec(): Codec {
  let kept = new Uint8Array(0);
  return {
    type: COMPRESSION_TYPES.lz4,
    compress(data) {
      let target = kept;
      if (target.length < data.length) target = new Uint8Array(data.length);
      if (target.length <= KEPT_BYTES) kept = target;
      const size = compressLz4Block(data, target.subarray(0, data.length));
      return size === 0 || size >= data.length ? undefined : target.subarray(0, size);
    },
    decompress(data, size) {
      const target = new Uint8Array(size);
      decompressLz4Block(data, target);
      return target;
    },
  };
}
