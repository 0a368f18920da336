// Words about one lease, and about leases among each other. All pure: the table's rows in, an answer out.

import { compareSequenceNumbers } from "../core/position.ts";
import { coverAll } from "./hash-ranges.ts";
import type { Lease } from "./store.ts";

/** The stream that a table's leases belong to. */
export interface StreamIdentity {
  readonly streamArn: string;
  /** StreamCreationTimestamp, epoch milliseconds: a stream deleted and made again has another one. */
  readonly streamCreatedAt: number;
}

/** Who processes the shard: during a KCL 3.x hand-over still the old worker. */
export function ownerOf(lease: Lease): string | undefined {
  return lease.checkpointOwner ?? lease.leaseOwner;
}

/** Whether the shard is completely processed. */
export function isFinished(lease: Lease): boolean {
  return lease.checkpoint.sequenceNumber === "SHARD_END";
}

/** Whether nobody has ever stored a position for a lease that starts at the tip. */
export function isAtLatest(lease: Lease): boolean {
  return lease.checkpoint.sequenceNumber === "LATEST";
}

/**
 * Parents that still hold a shard back: those with a lease that is not at SHARD_END. A parent without a lease holds
 * nothing back: it was finished and cleaned up, or was never to be read (kcl-compat §4.4).
 */
export function unfinishedParents(
  lease: Lease,
  rowOf: (shardId: string) => Lease | undefined,
): string[] {
  return lease.parentShardIds.filter((parent) => {
    const row = rowOf(parent);
    return row !== undefined && !isFinished(row);
  });
}

/** Children by the parents that they name. Made once for many {@link reasonToKeep}. */
export function childrenByParent(
  leases: Iterable<Pick<Lease, "leaseKey" | "parentShardIds">>,
): ReadonlyMap<string, readonly string[]> {
  const children = new Map<string, string[]>();
  for (const { leaseKey, parentShardIds } of leases) {
    for (const parent of parentShardIds) {
      const siblings = children.get(parent);
      if (siblings === undefined) children.set(parent, [leaseKey]);
      else siblings.push(leaseKey);
    }
  }
  return children;
}

/**
 * Why a finished lease has to stay in the table, or `undefined` if it may be deleted: its children have begun
 * (so nobody needs it to know where they start), and its own parents' leases are gone (kcl-compat §4.6). Children are
 * those it names and those that name it; together they have all of its hash keys.
 */
export function reasonToKeep(
  lease: Lease,
  leases: ReadonlyMap<string, Lease>,
  naming: ReadonlyMap<string, readonly string[]> = childrenByParent(leases.values()),
): string | undefined {
  if (!isFinished(lease)) return "it is not at SHARD_END";
  const parent = lease.parentShardIds.find((id) => leases.has(id));
  if (parent !== undefined) return `its parent ${parent} still has a lease`;
  const children = new Set([...lease.childShardIds, ...naming.get(lease.leaseKey) ?? []]);
  if (children.size === 0) return "its children are not known";
  for (const child of children) {
    const row = leases.get(child);
    if (row === undefined) return `its child ${child} has no lease`;
    // LATEST counts as begun: it stays so for an idle shard.
    if (compareSequenceNumbers(row.checkpoint.sequenceNumber, "LATEST") < 0) {
      return `its child ${child} is still at ${row.checkpoint.sequenceNumber}`;
    }
  }
  // A child that nobody knows of yet goes on where this one ended. Without this row it would begin anew, at LATEST even.
  const known = [...children].map((child) => leases.get(child)!);
  return coverAll(known, [lease]) ? undefined : "a part of its hash keys has no child with a lease";
}
