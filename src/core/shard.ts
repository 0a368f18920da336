// Shards and how they descend from each other.

/** Inclusive range of 128-bit partition key hashes, decimal. */
export interface HashKeyRange {
  readonly startingHashKey: string;
  readonly endingHashKey: string;
}

/** A shard as ListShards tells it. */
export interface Shard extends HashKeyRange {
  readonly shardId: string;
  /** None for an original shard, one after a split, two after a merge; also parents that are no longer listed. */
  readonly parentShardIds: readonly string[];
  readonly startingSequenceNumber: string;
  /** Only closed shards have one. */
  readonly endingSequenceNumber?: string | undefined;
}

/** A child as GetRecords and SubscribeToShard tell it at a shard's end. */
export interface ChildShard extends HashKeyRange {
  readonly shardId: string;
  readonly parentShardIds: readonly string[];
}

/** The hash range that every set of open shards covers: 0 … 2^128 − 1. */
export const FULL_HASH_RANGE: HashKeyRange = {
  startingHashKey: "0",
  endingHashKey: "340282366920938463463374607431768211455",
};
