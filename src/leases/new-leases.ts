// Which leases to write for shards that have none: for an empty table, and for the children of a finished shard.
// A child starts at TRIM_HORIZON whatever the connector's position is: it continues its parents (G1).

import type { ChildShard, HashKeyRange, Shard } from "../core/shard.ts";
import { FULL_HASH_RANGE } from "../core/shard.ts";
import { compareSequenceNumbers, type Sentinel, sentinel } from "../core/position.ts";
import type { StreamIdentity } from "./lease.ts";
import type { Lease } from "./store.ts";

/** Where a connector without checkpoints begins. */
export type InitialPosition = Exclude<Sentinel, "SHARD_END">;

/** Options of {@link initialLeases}. */
export interface InitialLeasesOptions {
  readonly position: InitialPosition;
  readonly stream: StreamIdentity;
  /** Kinesis' clock, epoch milliseconds: what arrives from now on belongs to a LATEST lease. */
  readonly kinesisNow: number;
}

/**
 * Leases for an empty table (kcl-compat §4.2): one for each shard that ListShards gives with the filter of the
 * position (AT_LATEST, AT_TRIM_HORIZON, AT_TIMESTAMP), open or closed. See {@link hashRangeHole} first.
 */
export function initialLeases(shards: readonly Shard[], options: InitialLeasesOptions): Lease[] {
  const inOrder = [...shards].sort((a, b) =>
    compareSequenceNumbers(a.startingSequenceNumber, b.startingSequenceNumber) ||
    (a.shardId < b.shardId ? -1 : 1)
  );
  const startedAt = options.position === "LATEST" ? toStartedAt(options.kinesisNow) : undefined;
  return inOrder.map((shard) => newLease(shard, options.position, options.stream, startedAt));
}

/** `startedAt` is rounded down to the second: Kinesis' clock is known no better, and early loses nothing. */
export function toStartedAt(kinesisNow: number): number {
  return Math.floor(kinesisNow / 1000) * 1000;
}

/** What {@link childLeases} decided. */
export type ChildLeases =
  | { readonly type: "create"; readonly leases: readonly Lease[] }
  /** Of a merge's parents exactly one has a lease: somebody is about to write the other, try again. */
  | { readonly type: "postpone"; readonly missingParent: string };

/**
 * Leases for the children of a shard that has come to its end (kcl-compat §4.4).
 * @param hasLease whether this shard has a lease now (by a consistent read)
 */
export function childLeases(
  children: readonly ChildShard[],
  hasLease: (shardId: string) => boolean,
  stream: StreamIdentity,
): ChildLeases {
  const missing = children.filter((child) => !hasLease(child.shardId));
  for (const child of missing) {
    const without = child.parentShardIds.filter((parent) => !hasLease(parent));
    if (child.parentShardIds.length === 2 && without.length === 1) {
      return { type: "postpone", missingParent: without[0]! };
    }
  }
  return {
    type: "create",
    leases: missing.map((child) => newLease(child, "TRIM_HORIZON", stream, undefined)),
  };
}

/**
 * The first hash key that no shard covers, or `undefined` when they cover all. A listing with a hole was made in the
 * middle of a reshard: list again (the KCL: three times, one second apart).
 */
export function hashRangeHole(shards: readonly HashKeyRange[]): string | undefined {
  const ranges = shards.map((shard) => [BigInt(shard.startingHashKey), BigInt(shard.endingHashKey)] as const)
    .sort((a, b) => a[0] < b[0] ? -1 : a[0] > b[0] ? 1 : 0);
  let next = BigInt(FULL_HASH_RANGE.startingHashKey);
  for (const [start, end] of ranges) {
    if (start > next) break;
    if (end >= next) next = end + 1n;
  }
  return next > BigInt(FULL_HASH_RANGE.endingHashKey) ? undefined : next.toString();
}

function newLease(
  shard: ChildShard,
  position: InitialPosition,
  stream: StreamIdentity,
  startedAt: number | undefined,
): Lease {
  return {
    leaseKey: shard.shardId,
    leaseCounter: 0,
    ownerSwitchesSinceCheckpoint: 0,
    checkpoint: sentinel(position),
    parentShardIds: shard.parentShardIds,
    childShardIds: [],
    startingHashKey: shard.startingHashKey,
    endingHashKey: shard.endingHashKey,
    streamArn: stream.streamArn,
    streamCreatedAt: stream.streamCreatedAt,
    startedAt,
  };
}
