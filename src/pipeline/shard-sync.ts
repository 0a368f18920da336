// Which leases a connector writes before it starts: for an empty table, and for shards that a start that was killed
// left without one. Parents are written before their children, so a child's lease proves that its parents had theirs.

import type { Shard } from "../core/shard.ts";
import type { Lease } from "../leases/store.ts";

/**
 * Shards of a position's listing that need a lease: those that have none, and none of whose ancestors or descendants
 * has one (a shard's children get theirs at its end; parents of a leased shard are finished). And the other parents of
 * merged shards that wait for theirs: closed since a start was killed, they may be in no listing of the position, but
 * without a lease of each parent the merged shard never gets one (kcl-compat §4.3 and §4.4).
 * @param all every listed shard, for the lineage
 */
export function shardsWithoutLease(
  wanted: readonly Shard[],
  all: readonly Shard[],
  leases: readonly Lease[],
): Shard[] {
  const leased = new Set(leases.map((lease) => lease.leaseKey));
  if (leased.size === 0) return [...wanted];
  const parentsOf = new Map(all.map((shard) => [shard.shardId, shard.parentShardIds]));
  // Rows know parents that are no longer listed.
  for (const lease of leases) {
    if (!parentsOf.has(lease.leaseKey)) parentsOf.set(lease.leaseKey, lease.parentShardIds);
  }
  const below = reach(leased, invert(parentsOf));
  const above = reach(leased, parentsOf);
  const unrelated = (shardId: string): boolean => !below.has(shardId) && !above.has(shardId);
  const missing = new Set(wanted.map(({ shardId }) => shardId).filter(unrelated));
  for (const { shardId, parentShardIds } of all) {
    if (!below.has(shardId) || leased.has(shardId)) continue;
    for (const parent of parentShardIds) if (unrelated(parent)) missing.add(parent);
  }
  const listed = new Map([...all, ...wanted].map((shard) => [shard.shardId, shard]));
  return [...missing].flatMap((shardId) => listed.get(shardId) ?? []);
}

/** Shards in waves: each wave's parents are in earlier ones, or not among them. */
export function inGenerations(shards: readonly Shard[]): Shard[][] {
  const waves: Shard[][] = [];
  let rest = [...shards];
  while (rest.length > 0) {
    const open = new Set(rest.map((shard) => shard.shardId));
    const wave = rest.filter((shard) => !shard.parentShardIds.some((parent) => open.has(parent)));
    if (wave.length === 0) return [...waves, rest]; // a circle: not Kinesis' doing
    waves.push(wave);
    const done = new Set(wave);
    rest = rest.filter((shard) => !done.has(shard));
  }
  return waves;
}

type Graph = ReadonlyMap<string, readonly string[]>;

function reach(from: Iterable<string>, edges: Graph): Set<string> {
  const reached = new Set(from);
  for (const id of reached) for (const next of edges.get(id) ?? []) reached.add(next); // a set grows while walked
  return reached;
}

function invert(edges: Graph): Graph {
  const inverted = new Map<string, string[]>();
  for (const [from, targets] of edges) {
    for (const target of targets) {
      const list = inverted.get(target);
      if (list === undefined) inverted.set(target, [from]);
      else list.push(from);
    }
  }
  return inverted;
}
