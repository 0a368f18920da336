// Whether silence means death. When a worker could not reach the table itself, the others could not either, most
// likely: their rows stand still, and they live. Without this the first one to come through after an outage of more
// than the failover time takes all leases of all workers, reads everything alone, and has to give nearly all back.

import { ownerOf } from "./lease.ts";
import { isAvailable, type Observations } from "./observation.ts";
import type { Lease } from "./store.ts";

/** What a scan shows, and how it came about. */
export interface ScanAfterOutage {
  readonly leases: readonly Lease[];
  readonly observations: Observations;
  /** When its answer was there, monotonic milliseconds. */
  readonly now: number;
  /** For how long it was refused or not answered before. */
  readonly outageMs: number;
  readonly failoverTimeMs: number;
  readonly workerId: string;
  readonly held: { has(leaseKey: string): boolean; readonly size: number };
}

/** Remembers whether the last scan was one after an outage. */
export class OutageWatch {
  #isExcused = false;

  /**
   * The observations to judge others by: after an outage as if everything were seen for the first time. Only once, until
   * a scan comes without: where that never happens, the dead are found all the same, a failover time later.
   */
  excuse(scan: ScanAfterOutage): Observations {
    const wasExcused = this.#isExcused;
    this.#isExcused = isAfterOutage(scan);
    if (!this.#isExcused || wasExcused) return scan.observations;
    return new Map([...scan.observations].map(([key, seen]) => [key, { ...seen, since: scan.now }]));
  }
}

/** The table did not answer for long, or of this worker's own leases more have expired than it has kept. */
function isAfterOutage(scan: ScanAfterOutage): boolean {
  const { leases, observations, now, outageMs, failoverTimeMs, workerId, held } = scan;
  if (outageMs >= failoverTimeMs / 2) return true;
  let expired = 0;
  for (const lease of leases) {
    if (ownerOf(lease) !== workerId || held.has(lease.leaseKey)) continue;
    if (isAvailable(observations.get(lease.leaseKey)!, now, failoverTimeMs)) expired++;
  }
  return expired > held.size;
}
