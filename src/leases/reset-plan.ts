// What `leases reset` writes: the lease set of a position as for an empty table, not only other numbers in the rows
// that are there. A shard between the position and now may have no row any more (finished and cleaned up), and rows of
// its descendants would let them run ahead of it, or keep them finished. Pure: rows and shards in, writes out.

import { type Checkpoint, comparePositions } from "../core/position.ts";
import type { Shard } from "../core/shard.ts";
import { childrenByParent, ownerOf, type StreamIdentity } from "./lease.ts";
import type { Lease, LeaseChange } from "./store.ts";

/** Where a shard of the position begins. */
export interface ResetTarget {
  readonly shard: Shard;
  /** A sentinel, or the number of the first record with subsequence number −1. */
  readonly checkpoint: Checkpoint;
  /** With LATEST: what arrives from here on is to be read, epoch milliseconds. */
  readonly startedAt?: number | undefined;
}

/** One write of a reset. */
export type ResetWrite =
  | { readonly type: "create"; readonly lease: Lease }
  | { readonly type: "update"; readonly before: Lease; readonly change: LeaseChange };

/** All of a reset. */
export interface ResetPlan {
  /**
   * Parents in waves before their children. To be done first: a reset that is killed must not leave shards without
   * any lease.
   */
  readonly writes: readonly (readonly ResetWrite[])[];
  /** Rows of shards that come before the position, or come back at their parents' end. */
  readonly removes: readonly Lease[];
}

/**
 * The writes that bring a table to a position.
 * @param targets every shard of the position's listing, parents in waves before their children
 * @param leases all rows of the table
 */
export function planReset(
  targets: readonly (readonly ResetTarget[])[],
  leases: readonly Lease[],
  stream: StreamIdentity,
): ResetPlan {
  const rows = new Map(leases.map((lease) => [lease.leaseKey, lease]));
  const kept = new Set(targets.flat().map(({ shard }) => shard.shardId));
  return {
    writes: targets.map((wave) =>
      wave.map((target) => writeOf(target, rows.get(target.shard.shardId), stream))
    ),
    removes: leases.filter((lease) => !kept.has(lease.leaseKey)),
  };
}

/** The write of one target, by the row that is there. */
export function writeOf(
  { shard, checkpoint, startedAt }: ResetTarget,
  row: Lease | undefined,
  stream: StreamIdentity,
): ResetWrite {
  const { streamArn, streamCreatedAt } = stream;
  if (row !== undefined) {
    const change: LeaseChange = {
      leaseOwner: null,
      checkpointOwner: null,
      checkpoint,
      startedAt: startedAt ?? null,
      generation: null,
      streamArn,
      streamCreatedAt,
    };
    return { type: "update", before: row, change };
  }
  const lease: Lease = {
    leaseKey: shard.shardId,
    // Not 0: the owner that finds 0 connects a LATEST row at the tip of that moment, and not at `startedAt`.
    leaseCounter: 1,
    ownerSwitchesSinceCheckpoint: 0,
    checkpoint,
    parentShardIds: shard.parentShardIds,
    childShardIds: [],
    startingHashKey: shard.startingHashKey,
    endingHashKey: shard.endingHashKey,
    streamArn,
    streamCreatedAt,
    startedAt,
  };
  return { type: "create", lease };
}

/** What takes the owner out of a row. */
export const RELEASE: LeaseChange = { leaseOwner: null, checkpointOwner: null };

/**
 * Whether a row that was not as expected has what an earlier attempt of the same write gave it: its answer was lost.
 */
export function isWritten(row: Lease | undefined, write: ResetWrite): boolean {
  const counter = write.type === "create" ? write.lease.leaseCounter : write.before.leaseCounter + 1;
  const wanted = write.type === "create" ? write.lease.checkpoint : write.change.checkpoint;
  return row !== undefined && row.leaseCounter === counter && ownerOf(row) === undefined &&
    (wanted === undefined || comparePositions(row.checkpoint, wanted) === 0);
}

/**
 * Shards with a lease that descend from this one, through whichever: what is read of it again, they have gone on from
 * already, and between them and it everything would be read again, too.
 */
export function leasedDescendants(
  shardId: string,
  leases: readonly Lease[],
  shards: readonly Pick<Shard, "shardId" | "parentShardIds">[],
): string[] {
  const rows = new Map(leases.map((lease) => [lease.leaseKey, lease]));
  const listed = shards.map((shard) => ({ leaseKey: shard.shardId, parentShardIds: shard.parentShardIds }));
  const children = childrenByParent([...leases, ...listed]);
  const reached = new Set([shardId]);
  for (const id of reached) { // grows while it is walked
    for (const child of [...children.get(id) ?? [], ...rows.get(id)?.childShardIds ?? []]) reached.add(child);
  }
  return [...reached].filter((id) => id !== shardId && rows.has(id)).sort();
}
