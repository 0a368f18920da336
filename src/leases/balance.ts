// Which leases a worker takes after a scan. KCL's priority path (kcl-compat §3.4 step 3): whatever is available is
// taken at once, whoever has how many; children are taken too and wait for their parents.
// Stealing from live workers for an even share will be decided here as well.

import { isAvailable, type Observations } from "./observation.ts";
import type { Lease } from "./store.ts";

/** What a worker knows when it chooses. */
export interface TableView {
  readonly leases: readonly Lease[];
  readonly observations: Observations;
  /** Monotonic milliseconds. */
  readonly now: number;
  readonly failoverTimeMs: number;
  readonly workerId: string;
  /** Keys of the leases that this worker holds. */
  readonly held: ReadonlySet<string>;
}

/**
 * The leases to take now, in a random order, so that workers that start together do not all run after the same row.
 * A row with this worker's id that it does not hold (its take was answered too late, or it let it expire) is free
 * for it at once: nobody else writes under that id.
 */
export function leasesToTake(view: TableView, random: () => number): Lease[] {
  const free = view.leases.filter((lease) => {
    if (view.held.has(lease.leaseKey)) return false;
    if (lease.leaseOwner === view.workerId && lease.checkpointOwner === undefined) return true;
    const observation = view.observations.get(lease.leaseKey);
    return observation !== undefined && isAvailable(observation, view.now, view.failoverTimeMs);
  });
  return shuffled(free, random);
}

/** Fisher–Yates on a copy. */
function shuffled<T>(values: readonly T[], random: () => number): T[] {
  const copy = [...values];
  for (let i = copy.length - 1; i > 0; i--) {
    const j = Math.min(i, Math.floor(random() * (i + 1)));
    [copy[i], copy[j]] = [copy[j]!, copy[i]!];
  }
  return copy;
}
