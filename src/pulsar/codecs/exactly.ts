// Holds a library to what an entry's metadata promise.

/** What `decompress` gives. Throws RangeError when it fails, or gives another number of bytes. */
export function exactly(size: number, decompress: () => Uint8Array): Uint8Array {
  let bytes: Uint8Array;
  try {
    bytes = decompress();
  } catch (cause) {
    throw new RangeError("damaged compressed bytes", { cause });
  }
  if (bytes.length === size) return bytes;
  throw new RangeError(`compressed bytes of ${bytes.length} bytes instead of ${size}`);
}
