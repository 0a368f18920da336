// Snappy's raw format (its length first, no framing). Pure JavaScript: a WebAssembly build takes half the time, but
// has to be initialized differently on each runtime, and who wants speed takes lz4.

import { type Codec, COMPRESSION_TYPES } from "../wire/codec.ts";
import { exactly } from "./exactly.ts";

/** See the file's header. */
export async function loadSnappyCodec(): Promise<Codec> {
  const { default: { compress, uncompress } } = await import("snappyjs");
  return {
    type: COMPRESSION_TYPES.snappy,
    compress(data) {
      const packed = compress(data);
      return packed.length < data.length ? packed : undefined;
    },
    decompress: (data, size) => exactly(size, () => uncompress(data, size)),
  };
}
