// A stream that is split, merged and forgotten, as ListShards would tell it: for vectors and for random lineages.

import type { ChildShard, Shard } from "../../src/core/shard.ts";

const LAST = (1n << 128n) - 1n;

interface ModelShard extends Shard {
  readonly createdAt: number;
  readonly closedAt?: number;
}

/** Shards with ids "0", "1" … in the order of their making; every reshard takes one tick of time. */
export class StreamModel {
  /** Of the next reshard. */
  now = 0;
  readonly #shards = new Map<string, ModelShard>();
  #horizon = 0;

  constructor(count: number) {
    const size = (LAST + 1n) / BigInt(count);
    for (let i = 0; i < count; i++) {
      const start = BigInt(i) * size;
      this.#add(start, i === count - 1 ? LAST : start + size - 1n, []);
    }
    this.now = 1;
  }

  split(id: string): [string, string] {
    const { startingHashKey, endingHashKey } = this.#close(id);
    const [start, end] = [BigInt(startingHashKey), BigInt(endingHashKey)];
    const middle = (start + end) / 2n;
    const children: [string, string] = [this.#add(start, middle, [id]), this.#add(middle + 1n, end, [id])];
    this.now++;
    return children;
  }

  /** Of two shards of which the first lies just below the second. */
  merge(low: string, high: string): string {
    const [a, b] = [this.#close(low), this.#close(high)];
    const child = this.#add(BigInt(a.startingHashKey), BigInt(b.endingHashKey), [low, high]);
    this.now++;
    return child;
  }

  /** Shards that were closed before this time are listed no more. */
  forget(before: number): void {
    this.#horizon = before;
  }

  /** ListShards without a filter. */
  listed(): Shard[] {
    return [...this.#shards.values()].filter(({ closedAt }) => (closedAt ?? Infinity) >= this.#horizon);
  }

  /** Those that were open at a time (or at the oldest that is kept). */
  openAt(time: number): Shard[] {
    const at = Math.max(time, this.#horizon);
    return this.listed().filter(({ shardId }) =>
      this.shard(shardId).createdAt <= at && !this.isClosedAt(shardId, time)
    );
  }

  /** Whether a shard was closed at a time, or at the oldest that is kept: then it holds nothing since. */
  isClosedAt(id: string, time: number): boolean {
    const { closedAt } = this.shard(id);
    return closedAt !== undefined && closedAt <= Math.max(time, this.#horizon);
  }

  /** All, also forgotten ones. */
  ids(): string[] {
    return [...this.#shards.keys()];
  }

  shard(id: string): ModelShard {
    return this.#shards.get(id)!;
  }

  isListed(id: string): boolean {
    return (this.shard(id).closedAt ?? Infinity) >= this.#horizon;
  }

  /** Open ones, by their ranges. */
  open(): string[] {
    return [...this.#shards.values()].filter(({ closedAt }) => closedAt === undefined)
      .sort((a, b) => BigInt(a.startingHashKey) < BigInt(b.startingHashKey) ? -1 : 1)
      .map(({ shardId }) => shardId);
  }

  /** As GetRecords names them, or as they are listed. */
  children(id: string): ChildShard[] {
    return this.listed().filter(({ parentShardIds }) => parentShardIds.includes(id));
  }

  /** Strict ancestors, forgotten ones included. */
  ancestors(id: string): Set<string> {
    const found = new Set(this.shard(id).parentShardIds);
    for (const one of found) for (const parent of this.shard(one).parentShardIds) found.add(parent);
    return found;
  }

  #close(id: string): ModelShard {
    const shard = this.shard(id);
    if (shard.closedAt !== undefined) throw new Error(`shard ${id} is closed`);
    const closed = { ...shard, closedAt: this.now, endingSequenceNumber: String(this.now * 1000 + 999) };
    this.#shards.set(id, closed);
    return closed;
  }

  #add(start: bigint, end: bigint, parentShardIds: readonly string[]): string {
    const shardId = String(this.#shards.size);
    this.#shards.set(shardId, {
      shardId,
      parentShardIds,
      startingHashKey: String(start),
      endingHashKey: String(end),
      startingSequenceNumber: String(this.now * 1000),
      createdAt: this.now,
    });
    return shardId;
  }
}

/**
 * 0+1→6, 2+3→7, 6+7→8, 5→9,10; 4 as it was: the graph of the KCL's documentation.
 */
export function graphA(): StreamModel {
  const stream = new StreamModel(6);
  stream.merge("0", "1");
  stream.merge("2", "3");
  stream.merge("6", "7");
  stream.split("5");
  return stream;
}

/** 0+1→2, 2→3,4, 3+4→5, 5→6,7, 6+7→8, 8→9,10: nothing but reshards. */
export function graphB(): StreamModel {
  const stream = new StreamModel(2);
  stream.merge("0", "1");
  stream.split("2");
  stream.merge("3", "4");
  stream.split("5");
  stream.merge("6", "7");
  stream.split("8");
  return stream;
}

/** 0→4,5, 2+3→6, 4→7,8, 5→9,10; 1 as it was. */
export function graphC(): StreamModel {
  const stream = new StreamModel(4);
  stream.split("0");
  stream.merge("2", "3");
  stream.split("4");
  stream.split("5");
  return stream;
}
