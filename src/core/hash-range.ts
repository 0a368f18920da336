// Whether a record belongs to a shard: its hash key against the shard's inclusive range of 128-bit numbers.
// Numbers are four unsigned words, most significant first, so that the common path needs no BigInt.

import { md5Words } from "./md5.ts";
import { FULL_HASH_RANGE, type HashKeyRange } from "./shard.ts";

/** Judges hash keys of one shard. */
export interface HashFilter {
  /** Whether the MD5 of this partition key lies in the range. */
  holdsPartitionKey(partitionKey: string): boolean;
  /** Whether this decimal number lies in the range; undefined when it is none. */
  holdsHashKey(hashKey: string): boolean | undefined;
}

const filters = new WeakMap<HashKeyRange, HashFilter | "everything">();
const INTEGER = /^[+-]?\d+$/;
const LONGEST = 40; // a sign and the 39 digits of 2^128

/** The filter of a range; undefined for the full range, which holds everything. Made once per range object. */
export function hashFilter(range: HashKeyRange): HashFilter | undefined {
  let filter = filters.get(range);
  if (filter === undefined) {
    filter = isFull(range) ? "everything" : createFilter(range);
    filters.set(range, filter);
  }
  return filter === "everything" ? undefined : filter;
}

function isFull(range: HashKeyRange): boolean {
  return range.startingHashKey === FULL_HASH_RANGE.startingHashKey &&
    range.endingHashKey === FULL_HASH_RANGE.endingHashKey;
}

function createFilter(range: HashKeyRange): HashFilter {
  const first = BigInt(range.startingHashKey);
  const last = BigInt(range.endingHashKey);
  const firstWords = wordsOf(first);
  const lastWords = wordsOf(last);
  const words = new Uint32Array(4);
  return {
    holdsPartitionKey(partitionKey) {
      md5Words(partitionKey, words);
      return compare(words, firstWords) >= 0 && compare(words, lastWords) <= 0;
    },
    holdsHashKey(hashKey) {
      if (!INTEGER.test(hashKey)) return undefined;
      if (hashKey.length > LONGEST) return false; // no producer pads; and a long BigInt takes its time
      const value = BigInt(hashKey.startsWith("+") ? hashKey.slice(1) : hashKey);
      return value >= first && value <= last;
    },
  };
}

function wordsOf(value: bigint): Uint32Array {
  return Uint32Array.from(
    { length: 4 },
    (_, word) => Number((value >> BigInt(96 - 32 * word)) & 0xffff_ffffn),
  );
}

function compare(a: Uint32Array, b: Uint32Array): number {
  for (let word = 0; word < 4; word++) {
    if (a[word] !== b[word]) return a[word]! < b[word]! ? -1 : 1;
  }
  return 0;
}
