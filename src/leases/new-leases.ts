// Which leases to write for shards that have none: for an empty table, and for the children of a finished shard.
// A child starts at TRIM_HORIZON whatever the connector's position is: it continues its parents (G1).

import type { ChildShard, HashKeyRange, Shard } from "../core/shard.ts";
import { type Sentinel, sentinel } from "../core/position.ts";
import { uncoveredRanges } from "./hash-ranges.ts";
import type { StreamIdentity } from "./lease.ts";
import { compareShards, type MissingLease } from "./lineage.ts";
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
  return missingLeases(
    [...shards].sort(compareShards).map((shard) => ({ shard, position: options.position, waitFor: [] })),
    options,
  );
}

/** Leases that a table with others lacks (kcl-compat §4.3): what a `Lineage` has found. */
export function missingLeases(
  missing: readonly MissingLease[],
  { stream, kinesisNow }: Omit<InitialLeasesOptions, "position">,
): Lease[] {
  return missing.map(({ shard, position, waitFor }) => {
    const startedAt = position === "LATEST" ? toStartedAt(kinesisNow) : undefined;
    // Whoever takes it, Java workers too, waits until all shards that it names are finished.
    const parentShardIds = [
      ...shard.parentShardIds,
      ...waitFor.filter((id) => !shard.parentShardIds.includes(id)),
    ];
    return newLease({ ...shard, parentShardIds }, position, stream, startedAt);
  });
}

/**
 * `startedAt` is rounded down to the second: Kinesis' clock is known no better (it is the `Date` of its answers), and
 * rounded up it would lose. So a successor that starts there may bring records of up to a second before the promise.
 */
export function toStartedAt(kinesisNow: number): number {
  return Math.floor(kinesisNow / 1000) * 1000;
}

/** What {@link childLeases} decided. */
export type ChildLeases =
  | { readonly type: "create"; readonly leases: readonly Lease[] }
  /** Of a merge's parents exactly one has a lease: is somebody about to write the other? */
  | { readonly type: "postpone"; readonly child: ChildShard; readonly missingParent: string };

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
      return { type: "postpone", child, missingParent: without[0]! };
    }
  }
  return { type: "create", leases: missing.map((child) => childLease(child, stream)) };
}

/** The lease of a shard whose parents were read. */
export function childLease(child: ChildShard, stream: StreamIdentity): Lease {
  return newLease(child, "TRIM_HORIZON", stream, undefined);
}

/**
 * The first hash key that no shard covers, or `undefined` when they cover all. A listing with a hole was made in the
 * middle of a reshard: list again (the KCL: three times, one second apart).
 */
export function hashRangeHole(shards: readonly HashKeyRange[]): string | undefined {
  return uncoveredRanges(shards)[0]?.startingHashKey;
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
