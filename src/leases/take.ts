// Which leases a worker takes after a scan: what is free, and at most one of a live worker that has too many. The rules
// are the KCL's (kcl-compat §3.4), so that mixed fleets settle; where they leave room, nothing waits: what a fair share
// leaves over is taken by whoever sees it, soon, so that no shard stays unread.

import { type Balance, balanceOf, shuffled, type TableView } from "./balance.ts";
import { expiresAt, isAvailable, type Observation } from "./observation.ts";
import type { Lease } from "./store.ts";
import { WATCH_EVERY_MS, watchEveryMs } from "./times.ts";
import { isOwnWorkerId } from "./worker-id.ts";

/** What to do after a scan. */
export interface TakeDecision {
  /** To be taken now, in a random order. */
  readonly take: readonly Lease[];
  /** To be taken from a live worker, for an even share. Only with `maySteal`, and when nothing is free. */
  readonly steal?: Lease | undefined;
  /** When (monotonic milliseconds) rows that were left to others are taken after all. */
  readonly lookAgainAt?: number | undefined;
  readonly balance: Balance;
}

/** Options of {@link decideTakes}. */
export interface TakeOptions {
  /** The last stealing round is long enough ago: twice the failover time and 50 ms, as the KCL's takers. */
  readonly maySteal: boolean;
  /** Uniform in [0, 1). */
  readonly random: () => number;
}

// How long rows above the fair share are left to those who need them. All of our workers see a free row within a
// second; the sums keep what is promised: failover time + 2 s after a death, 5 s after a clean stop (design §7).
const LEAVE_EXPIRED_MS = 700;
const LEAVE_UNOWNED_MS = 3_000;

/** Of a large table's rows less often, and then they are left to the others for longer, or nobody would come in time. */
function leaveMs(baseMs: number, rows: number): number {
  return baseMs + watchEveryMs(rows) - WATCH_EVERY_MS;
}

/**
 * What is free is taken up to the fair share at once, and the rest
 * - at once, unless another of our workers needs it (the KCL's priority path; a KCL worker may look only in 20 s);
 * - after 0.7 s (dead owner) or 3 s (unowned) otherwise: then nobody came for it.
 *
 * When nothing is free, one lease may be stolen, exactly by the KCL's rule: a worker that lacks a single lease steals
 * only from one ABOVE the target. With less caution two workers would pass one lease to and fro for ever.
 */
export function decideTakes(view: TableView, { maySteal, random }: TakeOptions): TakeDecision {
  const balance = balanceOf(view);
  const { own, free, mine, target } = balance;
  if (free.length === 0) {
    const steal = maySteal && own.length === 0 ? chooseSteal(view, balance, random) : undefined;
    return { take: own, steal, balance };
  }
  if (neededByOurs(balance, view.workerId) === 0) {
    return { take: shuffled([...own, ...free], random), balance };
  }
  const take = [...own];
  let need = target - mine;
  let lookAgainAt: number | undefined;
  for (const lease of shuffled(free, random)) {
    const overdueAt = leftUntil(view.observations.get(lease.leaseKey), view);
    if (overdueAt <= view.now || need > 0) {
      take.push(lease);
      need--;
    } else lookAgainAt = Math.min(lookAgainAt ?? Infinity, overdueAt);
  }
  return { take: shuffled(take, random), lookAgainAt, balance };
}

/** How many leases other live workers of this program lack to their share: only they look often enough to be left some. */
export function neededByOurs({ counts, target }: Balance, workerId: string): number {
  let needed = 0;
  for (const [worker, count] of counts) {
    if (worker !== workerId && isOwnWorkerId(worker)) needed += Math.max(0, target - count);
  }
  return needed;
}

function leftUntil(observation: Observation | undefined, { failoverTimeMs, leases }: TableView): number {
  if (observation === undefined) return -Infinity;
  const { owner, since } = observation;
  return owner === undefined
    ? since + leaveMs(LEAVE_UNOWNED_MS, leases.length)
    : expiresAt(observation, failoverTimeMs) + leaveMs(LEAVE_EXPIRED_MS, leases.length);
}

/** KCL's rule for at most one steal per round; among equally loaded workers, and among a worker's leases, by lot. */
function chooseSteal(view: TableView, balance: Balance, random: () => number): Lease | undefined {
  const { counts, mine, target } = balance;
  const need = target - mine;
  if (need <= 0) return undefined;
  const most = Math.max(...counts.values());
  const above = most - target;
  if (above < 0 || (above === 0 && need === 1)) return undefined;
  const loaded = [...counts.keys()].filter((worker) => counts.get(worker) === most);
  const victim = pick(loaded, random);
  const candidates = view.leases.filter((lease) =>
    lease.leaseOwner === victim && lease.checkpointOwner === undefined && !view.held.has(lease.leaseKey) &&
    !isAvailable(view.observations.get(lease.leaseKey)!, view.now, view.failoverTimeMs)
  );
  return pick(candidates, random);
}

function pick<T>(values: readonly T[], random: () => number): T | undefined {
  return values[Math.min(values.length - 1, Math.floor(random() * values.length))];
}
