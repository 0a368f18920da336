// The codecs: round trips of anything, and each against an implementation that is not ours.

import { test } from "node:test";
import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { randomBytes } from "node:crypto";
import { createRequire } from "node:module";
import { deflateSync, inflateSync } from "node:zlib";
import fc from "fast-check";
import { loadDecoders } from "../../src/pulsar/codecs/decoders.ts";
import { loadCodec } from "../../src/pulsar/codecs/load.ts";
import { compressLz4Block, decompressLz4Block } from "../../src/pulsar/codecs/lz4-block.ts";
import { runtimeZstd, webAssemblyZstd, zstdCodec } from "../../src/pulsar/codecs/zstd.ts";
import { type Codec, COMPRESSION_TYPES } from "../../src/pulsar/wire/codec.ts";

/** Untyped, and only here: the independent opinion on our LZ4. */
const lz4js = createRequire(import.meta.url)("lz4js") as {
  compressBlock(from: Uint8Array, to: Uint8Array, start: number, size: number, table: Uint32Array): number;
  decompressBlock(from: Uint8Array, to: Uint8Array, start: number, size: number, at: number): number;
};

const NAMES = ["lz4", "zlib", "zstd", "snappy"] as const;
const SIZES = [
  0,
  1,
  4,
  11,
  12,
  13,
  14,
  15,
  16,
  17,
  64,
  255,
  270,
  271,
  65_535,
  65_536,
  65_551,
  131_072,
  300_000,
];

/** Noise, runs, words that repeat at all distances: what makes matches of every length. */
const bytesArbitrary = fc.array(
  fc.oneof(
    fc.uint8Array({ maxLength: 200 }),
    fc.tuple(fc.nat(255), fc.nat(700)).map(([byte, count]) => new Uint8Array(count).fill(byte)),
    fc.constantFrom("kinesis.sequence.number", '{"id":', "a", "abcabcabc").map((text) => Buffer.from(text)),
  ),
  { maxLength: 30 },
).map((parts) => Buffer.concat(parts));

const words = (size: number): Buffer =>
  Buffer.from(
    Array.from({ length: size / 4 + 1 }, (_, i) => `{"order":${i * 7919 % 1013},"of":"customer"}`).join(),
  ).subarray(0, size);

function returns(codec: Codec, data: Uint8Array): void {
  const packed = codec.compress(data);
  if (packed === undefined) return;
  assert.ok(packed.length < data.length, "never larger");
  const back = codec.decompress(Buffer.from(packed), data.length);
  assert.ok(Buffer.from(data).equals(back));
}

async function codecs(): Promise<[string, Codec][]> {
  const known = await Promise.all(
    NAMES.map(async (name) => [name, (await loadCodec(name))!] as [string, Codec]),
  );
  return [...known, ["zstd in WebAssembly", zstdCodec(await webAssemblyZstd())]];
}

test("pulsar codecs: what is compressed comes back, of every size and kind", async () => {
  for (const [name, codec] of await codecs()) {
    for (const size of SIZES) {
      returns(codec, words(size));
      returns(codec, Buffer.alloc(size, "x"));
      assert.equal(codec.compress(randomBytes(size)), undefined, `${name}: noise of ${size} bytes`);
    }
    fc.assert(fc.property(bytesArbitrary, (data) => returns(codec, data)));
  }
});

test("pulsar codecs: JSON gets a third of its size, or less", async () => {
  for (const [name, codec] of await codecs()) {
    assert.ok(codec.compress(words(131_072))!.length * 3 < 131_072, name);
  }
});

test("pulsar codecs: LZ4 blocks are read by another implementation, and its blocks by us", () => {
  fc.assert(
    fc.property(bytesArbitrary, fc.nat(50), (data, before) => {
      const shifted = Buffer.concat([Buffer.alloc(before), data]).subarray(before); // also not at offset 0
      const target = new Uint8Array(data.length + data.length / 255 + 16);
      const size = compressLz4Block(shifted, target);
      const back = new Uint8Array(data.length);
      assert.equal(lz4js.decompressBlock(target, back, 0, size, 0), data.length);
      assert.ok(data.equals(back), "ours, read by the other");
      const theirs = new Uint8Array(data.length * 2 + 100);
      const theirSize = lz4js.compressBlock(data, theirs, 0, data.length, new Uint32Array(1 << 16));
      if (theirSize === 0) return; // it does not write what does not get smaller
      const ours = new Uint8Array(data.length);
      decompressLz4Block(theirs.subarray(0, theirSize), ours);
      assert.ok(data.equals(ours), "the other's, read by us");
    }),
    { numRuns: 300 },
  );
});

test("pulsar codecs: LZ4 ends a block as the format demands", () => {
  fc.assert(fc.property(bytesArbitrary, (data) => {
    const target = new Uint8Array(data.length + data.length / 255 + 16);
    const size = compressLz4Block(data, target);
    let at = 0;
    let written = 0;
    const length = (nibble: number): number => {
      if (nibble < 15) return nibble;
      let sum = 15;
      for (;;) {
        const byte = target[at++]!;
        sum += byte;
        if (byte < 255) return sum;
      }
    };
    for (;;) {
      const token = target[at++]!;
      const literals = length(token >> 4);
      at += literals;
      written += literals;
      if (at >= size) return assert.ok(literals >= Math.min(5, data.length), "the last 5 bytes are literals");
      assert.ok(data.length - written >= 12, "no match starts in the last 12 bytes");
      at += 2;
      written += length(token & 15) + 4;
    }
  }));
});

test("pulsar codecs: an LZ4 block that has no room is given up", () => {
  fc.assert(fc.property(bytesArbitrary, fc.double({ min: 0, max: 1, noNaN: true }), (data, part) => {
    const room = Math.floor(data.length * part);
    const memory = Buffer.alloc(room + 100, 0xee);
    const size = compressLz4Block(data, memory.subarray(0, room));
    assert.ok(size <= room);
    assert.ok(memory.subarray(room).every((byte) => byte === 0xee), "nothing is written behind it");
  }));
});

test("pulsar codecs: damaged bytes are an error, never a crash or other bytes than were asked for", async () => {
  for (const [name, codec] of await codecs()) {
    const data = words(2000);
    const packed = Buffer.from(codec.compress(data)!);
    for (const size of [0, 1999, 2001]) assert.throws(() => codec.decompress(packed, size), RangeError, name);
    assert.throws(() => codec.decompress(packed.subarray(0, -10), 2000), RangeError, name);
    fc.assert(fc.property(fc.nat(packed.length - 1), fc.integer({ min: 1, max: 255 }), (at, bits) => {
      const damaged = Buffer.from(packed);
      damaged[at]! ^= bits;
      try {
        assert.equal(codec.decompress(damaged, 2000).length, 2000);
      } catch (error) {
        assert.ok(error instanceof RangeError, `${name}: ${error}`);
      }
    }));
  }
});

test("pulsar codecs: zlib is RFC 1950, and streams that were flushed but not ended are read", async () => {
  const codec = (await loadCodec("zlib"))!;
  const data = words(5000);
  assert.deepEqual(inflateSync(codec.compress(data)!), data);
  const whole = deflateSync(data);
  assert.deepEqual(Buffer.from(codec.decompress(whole.subarray(0, -4), 5000)), data, "without its checksum");
});

test("pulsar codecs: the runtime's zstd and the WebAssembly one read each other", async () => {
  const other = await webAssemblyZstd();
  const own = runtimeZstd() ?? other;
  const data = words(100_000);
  assert.deepEqual(Buffer.from(own.decompress(other.compress(data), data.length)), data);
  assert.deepEqual(Buffer.from(other.decompress(own.compress(data), data.length)), data);
});

test("pulsar codecs: each has the protocol's number, and none is no codec", async () => {
  assert.equal(await loadCodec("none"), undefined);
  for (const name of NAMES) assert.equal((await loadCodec(name))!.type, COMPRESSION_TYPES[name]);
  assert.deepEqual([...(await loadDecoders()).keys()].sort(), [1, 2, 3, 4]);
});
