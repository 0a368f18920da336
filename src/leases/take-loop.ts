// Scans the table again and again, remembers when which counter was first seen, and takes what balance.ts chooses.
// What it has seen is the coordinator's view of the table. A take is never repeated blindly: the next scan shows.

import type { Clock } from "../core/clock.ts";
import { toConnectorError } from "../core/errors.ts";
import type { Logger } from "../core/log.ts";
import type { Telemetry } from "../core/telemetry.ts";
import { leasesToTake } from "./balance.ts";
import { Bell } from "./bell.ts";
import type { StreamIdentity } from "./lease.ts";
import { expiresAt, type Observations, observe } from "./observation.ts";
import { checkJavaFailoverTime, checkStream } from "./preflight.ts";
import { forEachBounded, PARALLEL_CALLS, type Retry } from "./retry.ts";
import type { Lease, LeaseStore } from "./store.ts";
import { takeReport } from "./take-report.ts";
import type { LeaseTimes } from "./times.ts";

/** Options of {@link TakeLoop}. */
export interface TakeLoopOptions {
  readonly workerId: string;
  readonly store: LeaseStore;
  readonly stream: StreamIdentity;
  readonly clock: Clock;
  readonly log: Logger;
  readonly times: LeaseTimes;
  readonly retry: Retry;
  /** By lease key: what this worker holds. */
  readonly held: ReadonlyMap<string, unknown>;
  /** Takes a scanned row. Rejects with a ConnectorError when it is not known whether it is taken. */
  readonly take: (row: Lease) => Promise<void>;
  /** Told of each round. */
  readonly telemetry?: Telemetry | undefined;
  /** Called after each scan, before anything is taken. */
  readonly onScan: () => void;
}

// A row that expires soon is not asked for more often than this.
const SHORTEST_WATCH_MS = 100;

/** Takes until aborted. */
export class TakeLoop {
  readonly #options: TakeLoopOptions;
  readonly #bell: Bell;
  #rows: ReadonlyMap<string, Lease> = new Map();
  #observations: Observations = new Map();
  #foreignItems = 0;
  /** Rounds in a row in which a take was not answered or was throttled. */
  #failedRounds = 0;
  #scanConsistently = false;

  constructor(options: TakeLoopOptions) {
    this.#options = options;
    this.#bell = new Bell(options.clock);
  }

  /** By lease key, as the last scan saw them. */
  get rows(): ReadonlyMap<string, Lease> {
    return this.#rows;
  }

  /** Something is worth a scan now. */
  wake(): void {
    this.#bell.ring();
  }

  /** Rows were just created: an eventually consistent scan could miss them. */
  wakeForNewRows(): void {
    this.#scanConsistently = true;
    this.wake();
  }

  /** Rejects with a ConnectorError that waiting does not cure. */
  async run(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      const version = this.#bell.version;
      const delayMs = await this.#round(signal);
      await this.#bell.wait(version, delayMs, signal);
    }
  }

  /** One round; returns when the next is due, in milliseconds. */
  async #round(signal: AbortSignal): Promise<number> {
    const { store, clock, workerId, times, stream, retry, held, take, onScan } = this.#options;
    const consistent = this.#scanConsistently;
    this.#scanConsistently = false;
    const startedAt = clock.monotonic();
    const scan = await retry.run(() => store.scan({ signal, consistent }), signal);
    if (scan === undefined) return 0;
    const now = clock.monotonic();
    checkStream(scan.leases, stream, store.tableName);
    this.#mentionForeignItems(scan.foreignItems);
    const { observations, renewed } = observe(this.#observations, scan.leases, now);
    this.#observations = observations;
    this.#rows = new Map(scan.leases.map((row) => [row.leaseKey, row]));
    checkJavaFailoverTime(renewed, times.failoverTimeMs, store.tableName);
    onScan();

    const view = {
      leases: scan.leases,
      observations,
      now,
      failoverTimeMs: times.failoverTimeMs,
      workerId,
      held: new Set(held.keys()),
    };
    let retryMs: number | undefined;
    const attempt = this.#failedRounds + 1;
    const chosen = leasesToTake(view, () => clock.random());
    let taken = 0;
    await forEachBounded(chosen, PARALLEL_CALLS, async (row) => {
      if (retryMs !== undefined || signal.aborted) return;
      try {
        await take(row);
        if (held.has(row.leaseKey)) taken++;
      } catch (error) {
        retryMs = await retry.delayAfter(toConnectorError(error), attempt, retryMs !== undefined);
      }
    });
    this.#failedRounds = retryMs === undefined ? 0 : attempt;
    const durationMs = clock.monotonic() - startedAt;
    const success = retryMs === undefined;
    this.#options.telemetry?.report(takeReport({ view, chosen: chosen.length, taken, durationMs, success }));
    return retryMs ?? this.#nextScanMs();
  }

  #nextScanMs(): number {
    const { clock, held, times: { watchEveryMs, scanEveryMs, failoverTimeMs } } = this.#options;
    const others = [...this.#rows.keys()].filter((key) => !held.has(key));
    if (others.length === 0 && this.#rows.size > 0) return scanEveryMs;
    const now = clock.monotonic();
    let nextExpiry = Infinity;
    for (const key of others) {
      nextExpiry = Math.min(nextExpiry, expiresAt(this.#observations.get(key)!, failoverTimeMs) - now);
    }
    return Math.min(watchEveryMs, Math.max(SHORTEST_WATCH_MS, nextExpiry + 1));
  }

  #mentionForeignItems(count: number): void {
    if (count === this.#foreignItems) return;
    this.#foreignItems = count;
    const { log, store } = this.#options;
    log.info(`table "${store.tableName}" has ${count} items that are no leases; ignored`);
  }
}
