// When a bounded run (`run --until`) is done: every shard is past the time, or finished, or descends from one that
// stopped at the time (all that a child holds arrived after its parents' end).

import type { Lease } from "../leases/store.ts";

/**
 * The leases that keep a bounded run going.
 * @param past shards whose reading stopped at the time
 */
export function unfinishedUntil(leases: readonly Lease[], past: ReadonlySet<string>): Lease[] {
  const byKey = new Map(leases.map((lease) => [lease.leaseKey, lease]));
  const known = new Map<string, boolean>();
  const isPast = (shardId: string): boolean => {
    if (past.has(shardId)) return true;
    const already = known.get(shardId);
    if (already !== undefined) return already;
    known.set(shardId, false); // a loop in the table must not become one here
    const answer = (byKey.get(shardId)?.parentShardIds ?? []).some(isPast);
    known.set(shardId, answer);
    return answer;
  };
  return leases.filter((lease) => lease.checkpoint.sequenceNumber !== "SHARD_END" && !isPast(lease.leaseKey));
}
