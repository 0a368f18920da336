// Zstandard frames: the runtime's own where it has them (Deno, Node from 22.15 on), else a WebAssembly build of the
// reference library. Level 1: level 3, the library's default, takes a seventh more time (in WebAssembly a half) for
// 2 % less.

import zlib from "node:zlib";
import { type Codec, COMPRESSION_TYPES } from "../wire/codec.ts";
import { exactly } from "./exactly.ts";

const LEVEL = 1;

/** One-shot compression of whole frames, wherever it comes from. */
export interface Zstd {
  compress(data: Uint8Array): Uint8Array;
  decompress(data: Uint8Array, size: number): Uint8Array;
}

/** The runtime's own; undefined where there is none. */
export function runtimeZstd(): Zstd | undefined {
  const { zstdCompressSync, zstdDecompressSync, constants } = zlib;
  if (typeof zstdCompressSync !== "function") return undefined;
  const params = { [constants.ZSTD_c_compressionLevel]: LEVEL };
  return {
    compress: (data) => zstdCompressSync(data, { params }),
    decompress: (data, size) => zstdDecompressSync(data, { maxOutputLength: Math.max(1, size) }),
  };
}

let webAssembly: Promise<Zstd> | undefined;

/** The WebAssembly one. Loaded once: another init() would exchange the library's memory under its own feet. */
export function webAssemblyZstd(): Promise<Zstd> {
  return webAssembly ??= loadWebAssembly();
}

async function loadWebAssembly(): Promise<Zstd> {
  const zstd = await import("@bokuweb/zstd-wasm");
  await zstd.init();
  return {
    compress: (data) => zstd.compress(data, LEVEL),
    decompress: (data) => zstd.decompress(data),
  };
}

/** See the file's header. */
export async function loadZstdCodec(): Promise<Codec> {
  return zstdCodec(runtimeZstd() ?? await webAssemblyZstd());
}

/** A codec of it. */
export function zstdCodec(zstd: Zstd): Codec {
  return {
    type: COMPRESSION_TYPES.zstd,
    compress(data) {
      const packed = zstd.compress(data);
      return packed.length < data.length ? packed : undefined;
    },
    decompress: (data, size) => exactly(size, () => zstd.decompress(data, size)),
  };
}
