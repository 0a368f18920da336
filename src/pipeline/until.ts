// When a bounded run (`run --until`) is done: every shard is past the time, or finished, or descends from one that
// stopped at the time (all that a child holds arrived after its parents' end).

import type { Clock } from "../core/clock.ts";
import type { Logger } from "../core/log.ts";
import { resumableScan } from "../leases/resumable-scan.ts";
import { type OnLeaseThrottle, Retry } from "../leases/retry.ts";
import type { Lease, LeaseStore } from "../leases/store.ts";

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

/** What {@link allPastUntil} looks at. */
export interface WatchUntilOptions {
  readonly store: LeaseStore;
  readonly clock: Clock;
  readonly log: Logger;
  readonly signal: AbortSignal;
  readonly onThrottle?: OnLeaseThrottle | undefined;
  /** Shards whose reading stopped at the time; grows. */
  readonly past: ReadonlySet<string>;
  /** Whether anything is being read here. */
  readonly isReading: () => boolean;
}

// How often it is looked when nothing is being read here.
const UNTIL_EVERY_MS = 1_000;

const WAITS_FOR =
  "the run ends when the lease table shows that everything before the time of --until is copied";

/**
 * Resolves with true once every lease of the table, freshly read, is past the time; with false when the signal aborts.
 * Rejects with what is wrong with the table. A table that is throttled or does not answer is asked until it does: what
 * is copied stays copied, and a run that failed now would have to be made again.
 *
 * A scan may miss a lease that is written meanwhile, and show its parent, which is read later, at its end: a throttled
 * one takes up to a minute. So a second one has to say the same and show no lease that the first did not. What is
 * written during the second comes of a shard that ends then, and the first showed none that still could.
 */
export async function allPastUntil(options: WatchUntilOptions): Promise<boolean> {
  const { store, clock, signal, past, isReading } = options;
  const retry = new Retry({ ...options, waitsFor: WAITS_FOR });
  const look = resumableScan(store, { signal, consistent: true });
  let before: ReadonlySet<string> | undefined; // the leases by which it was done
  for (;;) {
    if (before === undefined) await clock.sleep(UNTIL_EVERY_MS, signal);
    if (signal.aborted) return false;
    if (isReading()) {
      before = undefined;
      continue;
    }
    const scan = await retry.run(look, signal);
    if (scan === undefined) return false;
    const keys = scan.leases.map(({ leaseKey }) => leaseKey);
    const isDone = keys.length > 0 && unfinishedUntil(scan.leases, past).length === 0;
    if (isDone && keys.every((key) => before?.has(key))) return true;
    before = isDone ? new Set(keys) : undefined;
  }
}
