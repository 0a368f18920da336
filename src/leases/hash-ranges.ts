// Ranges of hash keys among each other: what nobody covers, and what overlaps. Pure, and n log n also for ten
// thousand shards. Two shards that share a hash key are ancestor and descendant: at any time one shard has the key.

import { FULL_HASH_RANGE, type HashKeyRange } from "../core/shard.ts";

const FIRST = BigInt(FULL_HASH_RANGE.startingHashKey);
const LAST = BigInt(FULL_HASH_RANGE.endingHashKey);

/** The parts of 0 … 2^128 − 1 that no given range covers, in order. Overlaps do no harm. */
export function uncoveredRanges(ranges: Iterable<HashKeyRange>): HashKeyRange[] {
  const sorted = Array.from(ranges, ({ startingHashKey, endingHashKey }) =>
    [
      BigInt(startingHashKey),
      BigInt(endingHashKey),
    ] as const).sort((a, b) => a[0] < b[0] ? -1 : a[0] > b[0] ? 1 : 0);
  const uncovered: HashKeyRange[] = [];
  let next = FIRST;
  for (const [start, end] of sorted) {
    if (start > next) uncovered.push(range(next, start - 1n));
    if (end >= next) next = end + 1n;
  }
  if (next <= LAST) uncovered.push(range(next, LAST));
  return uncovered;
}

/**
 * Whether every hash key of some shards is one of their children's, too. Rows of old KCL versions have no range: of
 * what is not known nothing is missed.
 */
export function coverAll(
  children: readonly Partial<HashKeyRange>[],
  parents: readonly Partial<HashKeyRange>[],
): boolean {
  if (!children.every(hasRange)) return true;
  const gaps = new RangeIndex(uncoveredRanges(children));
  return parents.every((parent) => !hasRange(parent) || gaps.overlapping(parent).length === 0);
}

/** Whether a lease's range is known. */
export function hasRange<T extends Partial<HashKeyRange>>(lease: T): lease is T & HashKeyRange {
  return lease.startingHashKey !== undefined && lease.endingHashKey !== undefined;
}

function range(start: bigint, end: bigint): HashKeyRange {
  return { startingHashKey: String(start), endingHashKey: String(end) };
}

interface Entry<T> {
  readonly start: bigint;
  readonly end: bigint;
  readonly value: T;
}

/** Values by their ranges: finds those that overlap another range in log n plus what it finds. */
export class RangeIndex<T extends HashKeyRange> {
  readonly #entries: readonly Entry<T>[];
  /** The highest end in the half-open slice whose middle is this index: an interval tree on the sorted array. */
  readonly #highest: bigint[];

  constructor(values: Iterable<T>) {
    this.#entries = Array.from(values, (value) => ({
      start: BigInt(value.startingHashKey),
      end: BigInt(value.endingHashKey),
      value,
    })).sort((a, b) => a.start < b.start ? -1 : a.start > b.start ? 1 : 0);
    this.#highest = new Array(this.#entries.length);
    this.#build(0, this.#entries.length);
  }

  /** The values whose ranges share a key with the given one. */
  overlapping({ startingHashKey, endingHashKey }: HashKeyRange): T[] {
    const found: T[] = [];
    this.#search(0, this.#entries.length, BigInt(startingHashKey), BigInt(endingHashKey), found);
    return found;
  }

  #build(from: number, to: number): bigint {
    if (from >= to) return -1n;
    const middle = (from + to) >> 1;
    let highest = this.#entries[middle]!.end;
    for (const end of [this.#build(from, middle), this.#build(middle + 1, to)]) {
      if (end > highest) highest = end;
    }
    return this.#highest[middle] = highest;
  }

  #search(from: number, to: number, start: bigint, end: bigint, found: T[]): void {
    if (from >= to) return;
    const middle = (from + to) >> 1;
    if (this.#highest[middle]! < start) return;
    this.#search(from, middle, start, end, found);
    const entry = this.#entries[middle]!;
    if (entry.start > end) return;
    if (entry.end >= start) found.push(entry.value);
    this.#search(middle + 1, to, start, end, found);
  }
}
