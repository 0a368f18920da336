// The rhythm of everything that leases do, derived from one number (design §7, kcl-compat §3.1).

/** How long a row's owner may be silent before others take it: the KCL's default, milliseconds. */
export const KCL_FAILOVER_TIME_MS = 10_000;

/** All milliseconds. */
export interface LeaseTimes {
  readonly failoverTimeMs: number;
  /** A lease is renewed so long after its last renewal was sent. */
  readonly renewEveryMs: number;
  /** Scan rhythm while it holds all of them: the KCL's. */
  readonly scanEveryMs: number;
  /** Within it others notice that this worker has less than its share, and begin to give: a renewal and a scan. */
  readonly giveTimeMs: number;
  /** Time-out of a write to a row. */
  readonly writeTimeoutMs: number;
  /** Time-out of all other calls. */
  readonly callTimeoutMs: number;
  /** Finished rows are looked at so often. */
  readonly cleanupEveryMs: number;
  /** A finished row stays at least so long. */
  readonly keepFinishedMs: number;
}

const EPSILON_MS = 25;

/** Scan rhythm while rows exist that a worker does not hold, milliseconds; of large tables see {@link watchEveryMs}. */
export const WATCH_EVERY_MS = 1_000;
/**
 * A scan is paid for by the row, and every worker of a large table makes it: beyond a thousand rows they look less often,
 * so that a worker's scans cost about 80 read units a second at most. A dead worker is then noticed later, too.
 */
const WATCH_MS_PER_ROW = 1;

/** The scan rhythm by the number of rows, milliseconds. */
export function watchEveryMs(rows: number): number {
  return Math.max(WATCH_EVERY_MS, rows * WATCH_MS_PER_ROW);
}

/** @param failoverTimeMs `leases.failoverTimeMs`, at least 1000 */
export function leaseTimes(failoverTimeMs: number): LeaseTimes {
  return {
    failoverTimeMs,
    renewEveryMs: Math.floor(failoverTimeMs / 3) - EPSILON_MS,
    scanEveryMs: 2 * (failoverTimeMs + EPSILON_MS),
    giveTimeMs: Math.floor(failoverTimeMs / 2),
    writeTimeoutMs: Math.max(500, Math.floor(failoverTimeMs / 3)),
    callTimeoutMs: 10_000,
    cleanupEveryMs: 60_000,
    keepFinishedMs: 300_000,
  };
}
