// Loads the codec that is asked for, and nothing of the others.

import { ConnectorError, messageOf } from "../../core/errors.ts";
import type { Codec, Compression } from "../wire/codec.ts";

const LOADERS: Readonly<Record<Exclude<Compression, "none">, () => Promise<Codec>>> = {
  lz4: async () => (await import("./lz4.ts")).lz4Codec(),
  zlib: async () => (await import("./zlib.ts")).zlibCodec(),
  zstd: async () => (await import("./zstd.ts")).loadZstdCodec(),
  snappy: async () => (await import("./snappy.ts")).loadSnappyCodec(),
};

/** The codec of that name; undefined for "none". Rejects with CONFIG_INVALID when it cannot be loaded. */
export async function loadCodec(compression: Compression): Promise<Codec | undefined> {
  if (compression === "none") return undefined;
  try {
    return await LOADERS[compression]();
  } catch (cause) {
    throw new ConnectorError(
      `compression "${compression}" cannot be loaded (${
        messageOf(cause)
      }): install this package anew, with all ` +
        'its dependencies, or choose another pulsar.compression ("lz4" and "zlib" need no package)',
      { code: "CONFIG_INVALID", cause, where: { key: "pulsar.compression" } },
    );
  }
}
