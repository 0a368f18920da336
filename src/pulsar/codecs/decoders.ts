// All codecs at once, for whoever reads entries and does not know beforehand how they were compressed.

import { type Codec, type Compression, COMPRESSION_TYPES } from "../wire/codec.ts";
import { loadCodec } from "./load.ts";

/** By compression type. One that could not be loaded is missing. */
export type Decoders = ReadonlyMap<number, Codec>;

/** Loads them, once. */
export function loadDecoders(): Promise<Decoders> {
  return decoders ??= loadAll();
}

let decoders: Promise<Decoders> | undefined;

async function loadAll(): Promise<Decoders> {
  const names = Object.keys(COMPRESSION_TYPES) as Compression[];
  const codecs = await Promise.allSettled(names.map((name) => loadCodec(name)));
  const found = new Map<number, Codec>();
  for (const codec of codecs) {
    if (codec.status === "fulfilled" && codec.value !== undefined) found.set(codec.value.type, codec.value);
  }
  return found;
}
