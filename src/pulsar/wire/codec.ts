// Compression as the protocol knows it: its numbers, and what an entry asks of a codec. The codecs themselves are
// in codecs/, loaded when they are needed; here is no package and no I/O.

/** CompressionType of MessageMetadata (PulsarApi.proto). */
export const COMPRESSION_TYPES = { none: 0, lz4: 1, zlib: 2, zstd: 3, snappy: 4 } as const;

/** Names of configuration. */
export type Compression = keyof typeof COMPRESSION_TYPES;

/** Compresses payloads of entries, and gives them back. */
export interface Codec {
  readonly type: (typeof COMPRESSION_TYPES)[Compression];
  /** The compressed bytes, at most until the next call; undefined when they are not fewer. */
  compress(data: Uint8Array): Uint8Array | undefined;
  /**
   * The bytes that were compressed.
   * @param size their exact number (`uncompressed_size` of the entry)
   * @throws RangeError for bytes that are not what this codec makes, or another number of them
   */
  decompress(data: Uint8Array, size: number): Uint8Array;
}
