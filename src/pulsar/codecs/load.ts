// Loads the codec that is asked for, and nothing of the others. Figures (CPU per MB and ratio of 128 KiB batches of
// JSON, from the best of five rounds): `node --import tsx test/bench/codecs.ts`, the same with Deno.

import { ConnectorError, messageOf } from "../../core/errors.ts";
import { type Codec, type Compression, COMPRESSION_TYPES } from "../wire/codec.ts";

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

/** The codec of an entry's compression type, loaded once; undefined for entries without compression. */
export function codecOfType(type: number): Promise<Codec | undefined> {
  const known = loaded.get(type);
  if (known !== undefined) return known;
  const name = (Object.keys(COMPRESSION_TYPES) as Compression[]).find((each) =>
    COMPRESSION_TYPES[each] === type
  );
  const codec = name === undefined
    ? Promise.reject(
      new ConnectorError(`an entry with compression type ${type}, which is not known`, {
        code: "PULSAR_PROTOCOL",
      }),
    )
    : loadCodec(name);
  loaded.set(type, codec);
  return codec;
}

const loaded = new Map<number, Promise<Codec | undefined>>();
