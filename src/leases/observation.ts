// Whether another worker is alive, judged only by what this process saw: the moment when it first saw the present
// counter of a row (kcl-compat §3.1). Clocks of different hosts are never compared.

import { ownerOf } from "./lease.ts";
import type { Lease } from "./store.ts";

/** Since when (monotonic milliseconds) a row has been seen with this counter and owner. */
export interface Observation {
  readonly counter: number;
  readonly owner: string | undefined;
  readonly since: number;
}

/** By lease key. */
export type Observations = ReadonlyMap<string, Observation>;

/** What a scan adds to what was seen before. */
export interface Observed {
  readonly observations: Observations;
  /** Rows that were written since the scan before and have an owner: it is alive. */
  readonly renewed: readonly Lease[];
}

/**
 * @param seenAt when the scan's answer was there (not when it was asked for: a row may have been renewed meanwhile)
 */
export function observe(previous: Observations, leases: readonly Lease[], seenAt: number): Observed {
  const observations = new Map<string, Observation>();
  const renewed: Lease[] = [];
  for (const lease of leases) {
    const before = previous.get(lease.leaseKey);
    const owner = ownerOf(lease);
    if (before !== undefined && before.counter === lease.leaseCounter && before.owner === owner) {
      observations.set(lease.leaseKey, before);
    } else {
      observations.set(lease.leaseKey, { counter: lease.leaseCounter, owner, since: seenAt });
      if (before !== undefined && owner !== undefined) renewed.push(lease);
    }
  }
  return { observations, renewed };
}

/** When (monotonic milliseconds) an owned row will count as given up, unless its counter moves. */
export function expiresAt(observation: Observation, failoverTimeMs: number): number {
  return observation.since + failoverTimeMs;
}

/** Whether a row may be taken: nobody owns it, or its owner did not renew it for longer than the failover time. */
export function isAvailable(observation: Observation, now: number, failoverTimeMs: number): boolean {
  return observation.owner === undefined || now > expiresAt(observation, failoverTimeMs);
}
