// When a worker looks at the table, and when it may steal and give away. The last two at most once per round of the
// KCL's takers, twice the failover time and 50 ms (kcl-compat §3.1), so that what one round changed is seen by all
// before the next; rows that nobody owns wait for no rhythm.

import type { Balance, TableView } from "./balance.ts";
import { expiresAt } from "./observation.ts";
import { type LeaseTimes, WATCH_EVERY_MS, watchEveryMs } from "./times.ts";

/**
 * However much there is news of (thousands of shards may end at once), scans begin no closer together, milliseconds.
 */
export const SHORTEST_GAP_MS = 100;

// Of several workers that started together not all shall steal at the same moment for ever.
const JITTER = 0.25;

/** The state between two scans. Times are monotonic milliseconds. */
export class SharingRhythm {
  readonly #times: Pick<LeaseTimes, "giveTimeMs" | "scanEveryMs">;
  readonly #random: () => number;
  /** The first rounds are made at once, as the KCL's. */
  #mayStealAt = -Infinity;
  #mayGiveAt = -Infinity;
  #isNeedy = false;

  /** @param random uniform in [0, 1) */
  constructor(times: Pick<LeaseTimes, "giveTimeMs" | "scanEveryMs">, random: () => number) {
    this.#times = times;
    this.#random = random;
  }

  /**
   * Asked before the decision about a scan. Who holds nothing steals at once, and as often as it loses the race: until
   * it holds something, nobody sees it. Everybody else has to have been needy in the scan before.
   */
  maySteal(now: number, held: number): boolean {
    return now >= this.#mayStealAt && (this.#isNeedy || held === 0);
  }

  /**
   * Told of each scan. Who holds something is seen, and others of this program give it its share without a loss: they
   * get the time. How much is by lot, because all may become needy by the same event; the KCL's takers come one by one.
   */
  saw({ free, mine, target }: Balance, now: number): void {
    const isNeedy = free.length === 0 && mine < target;
    if (isNeedy && !this.#isNeedy && mine > 0) {
      const { giveTimeMs, scanEveryMs } = this.#times;
      const patience = giveTimeMs + (scanEveryMs - giveTimeMs) * this.#random();
      this.#mayStealAt = Math.max(this.#mayStealAt, now + patience);
    }
    this.#isNeedy = isNeedy;
  }

  /** A steal was tried, and something is held. */
  stole(now: number): void {
    this.#mayStealAt = this.#next(now);
  }

  mayGive(now: number): boolean {
    return now >= this.#mayGiveAt;
  }

  gave(now: number): void {
    this.#mayGiveAt = this.#next(now);
  }

  #next(now: number): number {
    return now + this.#times.scanEveryMs * (1 + JITTER * this.#random());
  }
}

/** What of a {@link TableView} the next scan depends on. */
export interface ScanView extends Pick<TableView, "leases" | "observations" | "now" | "leaving"> {
  readonly held: { has(leaseKey: string): boolean };
}

/**
 * How long until the next scan, milliseconds: as the KCL while this worker holds everything; else a second, or less
 * where a row expires before, more where the table has more than a thousand rows. What it is giving up counts as
 * others': perhaps nobody comes for it.
 * @param lookAgainAt see TakeDecision
 */
export function nextScanDelay(
  { leases, observations, now, held, leaving }: ScanView,
  { scanEveryMs, failoverTimeMs }: Pick<LeaseTimes, "scanEveryMs" | "failoverTimeMs">,
  lookAgainAt = Infinity,
): number {
  let nextNews = lookAgainAt;
  let others = 0;
  for (const { leaseKey } of leases) {
    const isHeld = held.has(leaseKey);
    if (isHeld && leaving?.has(leaseKey) !== true) continue;
    others++;
    if (isHeld) continue;
    nextNews = Math.min(nextNews, expiresAt(observations.get(leaseKey)!, failoverTimeMs) + 1);
  }
  if (others === 0 && leases.length > 0) return scanEveryMs;
  const watchMs = watchEveryMs(leases.length);
  return watchMs > WATCH_EVERY_MS ? watchMs : Math.min(watchMs, Math.max(SHORTEST_GAP_MS, nextNews - now));
}
