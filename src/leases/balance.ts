// Who works how much: the KCL's count of leases per live worker and the share that is each worker's (kcl-compat §3.4
// steps 1 and 2). Everything that takes, steals or gives away leases (take.ts, give-away.ts) starts from here.

import { ownerOf } from "./lease.ts";
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
  /** Those of `held` that it is about to give up. @default none */
  readonly leaving?: ReadonlySet<string>;
}

/** How the leases of a table are spread. */
export interface Balance {
  /** Leases of each live worker, this one included. Others that hold nothing cannot be seen. */
  readonly counts: ReadonlyMap<string, number>;
  /** How many this worker holds and keeps. */
  readonly mine: number;
  /** How many each worker should hold at most: all leases, finished ones too, over all live workers, rounded up. */
  readonly target: number;
  /**
   * Rows with this worker's id that it does not hold (its take was answered too late, or it let them expire). They
   * count as its own, and are free for it at once: nobody else writes under that id.
   */
  readonly own: readonly Lease[];
  /** Rows that anybody may take: unowned, or their owner is dead. */
  readonly free: readonly Lease[];
}

/** Counts the leases once over. */
export function balanceOf(view: TableView): Balance {
  const { leases, observations, now, failoverTimeMs, workerId, held, leaving } = view;
  const counts = new Map<string, number>();
  const own: Lease[] = [];
  const free: Lease[] = [];
  for (const lease of leases) {
    if (held.has(lease.leaseKey)) continue;
    const owner = ownerOf(lease);
    const observation = observations.get(lease.leaseKey);
    if (owner === workerId && lease.checkpointOwner === undefined) own.push(lease);
    else if (
      observation === undefined || owner === undefined || isAvailable(observation, now, failoverTimeMs)
    ) {
      free.push(lease);
    } else counts.set(owner, (counts.get(owner) ?? 0) + 1);
  }
  const mine = held.size - (leaving?.size ?? 0) + own.length;
  counts.set(workerId, mine);
  return { counts, mine, target: fairShare(leases.length, counts.size), own, free };
}

/** The most that one of so many workers should hold; at least one. */
export function fairShare(leases: number, workers: number): number {
  return workers >= leases ? 1 : Math.ceil(leases / workers);
}

/** Fisher–Yates on a copy: workers that choose at the same moment do not all run after the same row. */
export function shuffled<T>(values: readonly T[], random: () => number): T[] {
  const copy = [...values];
  for (let i = copy.length - 1; i > 0; i--) {
    const j = Math.min(i, Math.floor(random() * (i + 1)));
    [copy[i], copy[j]] = [copy[j]!, copy[i]!];
  }
  return copy;
}
