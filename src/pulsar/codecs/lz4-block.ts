// LZ4's block format (no frame, no size before it), as Pulsar puts it into entries: encoder and decoder, pure.
// Source: the block format's description in the LZ4 project. Its rules for the end: the last 5 bytes are literals,
// and no match starts in the last 12. Own code, because the libraries are slower or native; proven in the tests
// against one of them and against Pulsar's official clients.

/** Matches are at least so long. */
const MIN_MATCH = 4;
/** So many bytes at the end are literals. */
const LAST_LITERALS = 5;
/** No match starts so near the end. */
const MATCH_LIMIT = 12;
/** Matches are at most so far back. */
const MAX_OFFSET = 0xffff;
/** Lengths up to this stand in the token. */
const IN_TOKEN = 15;
/** 32 KiB of table: what stays in a core's first cache. 14 bits compress 3 % better and take a fifth longer. */
const HASH_BITS = 13;
/** Without a match the step grows by one every 64 bytes: what does not compress is passed quickly. */
const SKIP_BITS = 6;

/** Where a hash of four bytes was seen last, plus 1. */
const seen = new Int32Array(1 << HASH_BITS);

/** Compresses `source` into `target`; the number of bytes, 0 when they do not fit. */
export function compressLz4Block(source: Uint8Array, target: Uint8Array): number {
  const view = new DataView(source.buffer, source.byteOffset, source.length);
  const lastStart = source.length - MATCH_LIMIT;
  const matchEnd = source.length - LAST_LITERALS;
  seen.fill(0);
  let anchor = 0; // behind the last match
  let to = 0;
  let at = 0;
  let misses = 1 << SKIP_BITS;
  while (at <= lastStart) {
    const four = view.getInt32(at, true);
    const slot = hash(four);
    const from = seen[slot]! - 1;
    seen[slot] = at + 1;
    if (from < 0 || at - from > MAX_OFFSET || view.getInt32(from, true) !== four) {
      at += misses++ >> SKIP_BITS;
      continue;
    }
    misses = 1 << SKIP_BITS;
    const end = endOfMatch(view, from + MIN_MATCH, at + MIN_MATCH, matchEnd);
    const literals = at - anchor;
    const length = end - at - MIN_MATCH;
    if (to + 5 + literals + (literals >> 7) + (length >> 7) > target.length) return 0;
    target[to++] = (literals < IN_TOKEN ? literals : IN_TOKEN) << 4 | (length < IN_TOKEN ? length : IN_TOKEN);
    if (literals >= IN_TOKEN) to = writeLength(target, to, literals);
    to = copy(source, anchor, at, target, to);
    target[to++] = at - from;
    target[to++] = (at - from) >> 8;
    if (length >= IN_TOKEN) to = writeLength(target, to, length);
    at = anchor = end;
    if (at <= lastStart) seen[hash(view.getInt32(at - 2, true))] = at - 1;
  }
  const literals = source.length - anchor;
  if (to + 2 + literals + (literals >> 7) > target.length) return 0;
  target[to++] = Math.min(literals, IN_TOKEN) << 4;
  if (literals >= IN_TOKEN) to = writeLength(target, to, literals);
  return copy(source, anchor, source.length, target, to);
}

/** Fibonacci hashing: by 2^32 divided by the golden ratio. */
function hash(four: number): number {
  return Math.imul(four, 0x9e3779b1) >>> (32 - HASH_BITS);
}

/** How far what stands at `from` and at `at` is the same. */
function endOfMatch(view: DataView, from: number, at: number, end: number): number {
  for (; at + 4 <= end; at += 4, from += 4) {
    const difference = view.getInt32(at, true) ^ view.getInt32(from, true);
    if (difference !== 0) return at + ((31 - Math.clz32(difference & -difference)) >> 3);
  }
  for (; at < end && view.getUint8(at) === view.getUint8(from); at++) from++;
  return at;
}

/** Decompresses a block whose content has exactly the target's size. Throws RangeError when it has not. */
export function decompressLz4Block(source: Uint8Array, target: Uint8Array): void {
  let at = 0;
  let to = 0;
  const readLength = (nibble: number): number => {
    let length = nibble;
    if (nibble < IN_TOKEN) return length;
    for (let byte = 255; byte === 255;) {
      if (at >= source.length) throw damaged();
      byte = source[at++]!;
      length += byte;
    }
    return length;
  };
  while (at < source.length) {
    const token = source[at++]!;
    const literals = readLength(token >> 4);
    if (at + literals > source.length || to + literals > target.length) throw damaged();
    to = copy(source, at, at + literals, target, to);
    at += literals;
    if (at === source.length) break; // the last sequence has no match
    const offset = source[at]! | (source[at + 1] ?? 0) << 8;
    at += 2;
    const length = readLength(token & IN_TOKEN) + MIN_MATCH;
    if (offset === 0 || offset > to || to + length > target.length || at > source.length) throw damaged();
    if (offset >= length) target.copyWithin(to, to - offset, to - offset + length);
    else for (let i = to; i < to + length; i++) target[i] = target[i - offset]!; // a run repeats itself
    to += length;
  }
  if (to !== target.length) throw damaged();
}

/** What of a length does not fit into its half of the token. */
function writeLength(target: Uint8Array, to: number, length: number): number {
  let rest = length - IN_TOKEN;
  for (; rest >= 255; rest -= 255) target[to++] = 255;
  target[to++] = rest;
  return to;
}

/** Short pieces are the rule: a call of set() costs as much as some 64 bytes one by one. */
function copy(source: Uint8Array, from: number, end: number, target: Uint8Array, to: number): number {
  if (end - from > 64) {
    target.set(source.subarray(from, end), to);
    return to + end - from;
  }
  while (from < end) target[to++] = source[from++]!;
  return to;
}

function damaged(): RangeError {
  return new RangeError("a damaged LZ4 block");
}
