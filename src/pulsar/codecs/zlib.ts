// zlib (RFC 1950), the runtime's own. Level 1: higher ones take two to four times as long for 15 % less, and
// whoever wants that takes zstd, which is smaller and quicker than all of them.

import { constants, deflateSync, inflateSync } from "node:zlib";
import { type Codec, COMPRESSION_TYPES } from "../wire/codec.ts";
import { exactly } from "./exactly.ts";

const LEVEL = 1;

/** See the file's header. */
export function zlibCodec(): Codec {
  return {
    type: COMPRESSION_TYPES.zlib,
    compress(data) {
      const packed = deflateSync(data, { level: LEVEL });
      return packed.length < data.length ? packed : undefined;
    },
    // The Java client flushes its streams and never ends them; whether all is there, the size tells.
    decompress: (data, size) =>
      exactly(
        size,
        () => inflateSync(data, { maxOutputLength: Math.max(1, size), finishFlush: constants.Z_SYNC_FLUSH }),
      ),
  };
}
