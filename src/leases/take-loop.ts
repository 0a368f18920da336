// Scans the table again and again, remembers when which counter was first seen, takes what take.ts chooses, and gives
// away what give-away.ts says. What it has seen is the coordinator's view of the table. A take is never repeated
// blindly: the next scan shows.

import type { Clock } from "../core/clock.ts";
import { toConnectorError } from "../core/errors.ts";
import type { Logger } from "../core/log.ts";
import type { Telemetry } from "../core/telemetry.ts";
import type { TableView } from "./balance.ts";
import { Bell } from "./bell.ts";
import { leasesToGiveAway } from "./give-away.ts";
import { ownerOf, type StreamIdentity } from "./lease.ts";
import { type Observations, observe } from "./observation.ts";
import { OutageWatch } from "./outage.ts";
import { checkJavaFailoverTime, checkStream } from "./preflight.ts";
import { forEachBounded, PARALLEL_CALLS, type Retry } from "./retry.ts";
import type { Lease, LeaseScan, LeaseStore, ScanCursor } from "./store.ts";
import { nextScanDelay, SharingRhythm, SHORTEST_GAP_MS } from "./rhythm.ts";
import { takeReport } from "./take-report.ts";
import { decideTakes } from "./take.ts";
import type { LeaseTimes } from "./times.ts";

/**
 * When others were faster so often, and more often than not, the rest of a round's rows is most likely theirs too: the
 * table is looked at again. Workers that start together on a large table see nobody at first, and would each try for all.
 */
const OFTEN_BEATEN = PARALLEL_CALLS;

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
  /** Those of `held` that are being given up. */
  readonly leaving: () => ReadonlySet<string>;
  /** Takes a scanned row. Rejects with a ConnectorError when it is not known whether it is taken. */
  readonly take: (row: Lease) => Promise<void>;
  /** Told of each round. */
  readonly telemetry?: Telemetry | undefined;
  /** Called after each scan, before anything is taken. */
  readonly onScan: (rows: ReadonlyMap<string, Lease>) => void;
  /** Gives up leases for an even share, without being waited for. Without it, none are. */
  readonly giveAway?: ((leaseKeys: readonly string[]) => void) | undefined;
  /** What was seen of the table before. @default nothing */
  readonly observations?: Observations | undefined;
}

/** Takes until aborted. */
export class TakeLoop {
  readonly #options: TakeLoopOptions;
  readonly #bell: Bell;
  readonly #rhythm: SharingRhythm;
  readonly #outage = new OutageWatch();
  #rows: ReadonlyMap<string, Lease> = new Map();
  #observations: Observations;
  #foreignItems = 0;
  /** Rounds in a row in which a take was not answered or was throttled. */
  #failedRounds = 0;
  #scanConsistently = false;

  constructor(options: TakeLoopOptions) {
    this.#options = options;
    this.#observations = options.observations ?? new Map();
    this.#bell = new Bell(options.clock);
    this.#rhythm = new SharingRhythm(options.times, () => options.clock.random());
  }

  /** By lease key, as the last scan saw them. */
  get rows(): ReadonlyMap<string, Lease> {
    return this.#rows;
  }

  /** Something is worth a scan now. */
  wake(): void {
    this.#bell.ring();
  }

  /** Rows were just written: an eventually consistent scan could miss it. */
  wakeForChangedRows(): void {
    this.#scanConsistently = true;
    this.wake();
  }

  /** Rejects with a ConnectorError that waiting does not cure. */
  async run(signal: AbortSignal): Promise<void> {
    const { clock } = this.#options;
    while (!signal.aborted) {
      const version = this.#bell.version;
      const { delayMs, scanMs } = await this.#round(signal);
      const endedAt = clock.monotonic();
      await this.#bell.wait(version, delayMs, signal);
      const gap = endedAt + Math.max(SHORTEST_GAP_MS, scanMs) - clock.monotonic();
      if (gap > 0) await clock.sleep(gap, signal);
    }
  }

  /** One round; returns when the next is due, and how long the scan took. */
  async #round(signal: AbortSignal): Promise<{ delayMs: number; scanMs: number }> {
    const { store, clock, retry, held, leaving, workerId, times } = this.#options;
    const consistent = this.#scanConsistently;
    this.#scanConsistently = false;
    const startedAt = clock.monotonic();
    let askedAt = startedAt; // an outage before it is not the scan's time
    const cursor: ScanCursor = {};
    const scan = await retry.run(() => {
      askedAt = clock.monotonic();
      return store.scan({ signal, consistent, cursor });
    }, signal);
    if (scan === undefined) return { delayMs: 0, scanMs: 0 };
    const now = clock.monotonic();
    const scanMs = now - askedAt;
    const oldestAt = cursor.soFar?.startedAt;
    this.#look(scan, now, askedAt - startedAt);

    const view: TableView = {
      leases: scan.leases,
      observations: this.#observations,
      // Who renewed a row after it was read, while later pages were waited for, is not to look silent.
      now: oldestAt ?? now,
      failoverTimeMs: times.failoverTimeMs,
      workerId,
      held: new Set(held.keys()),
      leaving: leaving(),
    };
    const random = () => clock.random();
    const maySteal = this.#rhythm.maySteal(now, held.size);
    const decision = decideTakes(view, { maySteal, random });
    const { take, steal, balance } = decision;
    this.#rhythm.saw(balance, now);
    const { taken, retryMs } = steal === undefined
      ? await this.#takeAll(take, signal)
      : await this.#takeAll(await this.#stillTheirs(steal, now - (oldestAt ?? askedAt), signal), signal);
    if (steal !== undefined && retryMs === undefined && held.size > 0) this.#rhythm.stole(now);
    if (take.length === 0 && steal === undefined) this.#giveAway(view, now);
    const durationMs = clock.monotonic() - startedAt;
    const success = retryMs === undefined;
    this.#options.telemetry?.report(takeReport({ view, decision, taken, durationMs, success }));
    const delayMs = retryMs ??
      nextScanDelay(
        { ...view, held, leaving: leaving(), now: clock.monotonic() },
        times,
        decision.lookAgainAt,
      );
    return { delayMs, scanMs };
  }

  /** Takes in what a scan shows. */
  #look(scan: LeaseScan, now: number, outageMs: number): void {
    const { stream, store, times, onScan } = this.#options;
    checkStream(scan.leases, stream, store.tableName);
    this.#mentionForeignItems(scan.foreignItems);
    const { observations, renewed } = observe(this.#observations, scan.leases, now);
    this.#observations = this.#outage.excuse({
      ...this.#options,
      ...times,
      ...scan,
      observations,
      now,
      outageMs,
    });
    this.#rows = new Map(scan.leases.map((row) => [row.leaseKey, row]));
    checkJavaFailoverTime(renewed, times.failoverTimeMs, store.tableName);
    onScan(this.#rows);
  }

  async #takeAll(rows: readonly Lease[], signal: AbortSignal): Promise<{ taken: number; retryMs?: number }> {
    const { retry, held, take } = this.#options;
    let taken = 0;
    let beaten = 0;
    let retryMs: number | undefined;
    const isBeaten = (): boolean => beaten >= OFTEN_BEATEN && beaten >= taken;
    const attempt = this.#failedRounds + 1;
    await forEachBounded(rows, PARALLEL_CALLS, async (row) => {
      if (retryMs !== undefined || isBeaten() || signal.aborted) return;
      try {
        await take(row);
        if (held.has(row.leaseKey)) taken++;
        else beaten++;
      } catch (error) {
        retryMs = await retry.delayAfter(toConnectorError(error), attempt, retryMs !== undefined);
      }
    });
    this.#failedRounds = retryMs === undefined ? 0 : attempt;
    if (retryMs !== undefined) return { taken, retryMs };
    if (taken > 0 && isBeaten()) this.wakeForChangedRows();
    return { taken };
  }

  /**
   * The lease to be stolen as it is now, if its owner is still the same. Read again after a slow scan, as the KCL does:
   * its owner has renewed it since, and the counter would not fit.
   */
  async #stillTheirs(row: Lease, ageMs: number, signal: AbortSignal): Promise<Lease[]> {
    const { store, retry, log, times } = this.#options;
    log.info(
      `taking the lease of shard ${row.leaseKey} from ${row.leaseOwner}, which has more than its share`,
    );
    if (ageMs <= times.renewEveryMs / 2) return [row];
    const fresh = await retry.run(() => store.get(row.leaseKey), signal);
    return fresh !== undefined && ownerOf(fresh) === ownerOf(row) ? [fresh] : [];
  }

  #giveAway(view: TableView, now: number): void {
    const { giveAway, clock } = this.#options;
    if (giveAway === undefined || !this.#rhythm.mayGive(now)) return;
    const keys = leasesToGiveAway(view, () => clock.random());
    if (keys.length === 0) return;
    this.#rhythm.gave(now);
    giveAway(keys);
  }

  #mentionForeignItems(count: number): void {
    if (count === this.#foreignItems) return;
    this.#foreignItems = count;
    const { log, store } = this.#options;
    log.info(`table "${store.tableName}" has ${count} items that are no leases; ignored`);
  }
}
