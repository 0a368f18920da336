// Looks whether the leases cover all hash keys (kcl-compat §4.7), and has what is missing written. A hole is believed
// when it was seen three times in a row; the table is then scanned consistently and the stream listed, and the same
// rules decide as at a start.
//
// The elected leader audits, as among Java workers (leader.ts). All others look too, because looking costs nothing:
// it reads what the take loop has scanned anyway. They act on a hole that stands twice as long, so that one that the
// leader cannot see to (it hangs, its row's owner is long dead) is not there for ever.

import type { Clock } from "../core/clock.ts";
import { toConnectorError } from "../core/errors.ts";
import type { Logger } from "../core/log.ts";
import type { HashKeyRange, Shard } from "../core/shard.ts";
import { measured, type Telemetry } from "../core/telemetry.ts";
import { hasRange, uncoveredRanges } from "./hash-ranges.ts";
import { elect, type Election, isLeader } from "./leader.ts";
import { isFinished } from "./lease.ts";
import type { ShardSync } from "./shard-sync.ts";
import type { Lease, LeaseMeta } from "./store.ts";

/** The first audit comes so long after the start, as the KCL's. */
export const FIRST_AUDIT_MS = 60_000;
/** And the next ones so long after the last. */
export const AUDIT_EVERY_MS = 120_000;

const BELIEVED_AFTER = 3;
const OTHERS_BELIEVE_AFTER = 2 * BELIEVED_AFTER;

/** How often in a row each hole was seen: `start-end` → times. */
export type Sightings = ReadonlyMap<string, number>;

/** The holes of a table with those of the audit before. Rows without a range cover nothing. */
export function sightHoles(before: Sightings, leases: readonly Lease[]): Sightings {
  const ranges = leases.filter((lease) => !isFinished(lease)).filter(hasRange);
  return new Map(
    uncoveredRanges(ranges).map(({ startingHashKey, endingHashKey }) => {
      const hole = `${startingHashKey}-${endingHashKey}`;
      return [hole, (before.get(hole) ?? 0) + 1];
    }),
  );
}

/** The ranges that rows lack and the listing knows (rows of old KCL versions have none). */
export function missingRanges(
  leases: readonly Lease[],
  shards: readonly Shard[],
): { readonly leaseKey: string; readonly range: HashKeyRange }[] {
  const listed = new Map(shards.map((shard) => [shard.shardId, shard]));
  return leases.flatMap((lease) => {
    const shard = listed.get(lease.leaseKey);
    if (shard === undefined || isFinished(lease) || hasRange(lease)) return [];
    const { startingHashKey, endingHashKey } = shard;
    return [{ leaseKey: lease.leaseKey, range: { startingHashKey, endingHashKey } }];
  });
}

/** Options of {@link Auditor}. */
export interface AuditorOptions {
  readonly workerId: string;
  readonly clock: Clock;
  readonly log: Logger;
  /** What the last scan saw; `undefined` before the first. */
  readonly leases: () => readonly Lease[] | undefined;
  readonly sync: ShardSync;
  readonly setMeta: (leaseKey: string, meta: LeaseMeta, signal: AbortSignal) => Promise<void>;
  /** Told of each audit. */
  readonly telemetry?: Telemetry | undefined;
}

/** Audits until aborted. */
export class Auditor {
  readonly #options: AuditorOptions;
  #sightings: Sightings = new Map();
  #election: Election | undefined;

  constructor(options: AuditorOptions) {
    this.#options = options;
  }

  async run(signal: AbortSignal): Promise<void> {
    const { clock, log } = this.#options;
    for (let delayMs = FIRST_AUDIT_MS;; delayMs = AUDIT_EVERY_MS) {
      await clock.sleep(delayMs, signal);
      if (signal.aborted) return;
      try {
        await measured(this.#options, { operation: "PeriodicShardSyncManager" }, () => this.#audit(signal));
      } catch (thrown) {
        if (signal.aborted) return;
        // Nothing is lost by it; what is wrong for good stops the loops that cannot do without.
        const error = toConnectorError(thrown);
        log.warn(
          `an audit of the leases failed, the next is in ${AUDIT_EVERY_MS / 1000} s: ${error.message}`,
          {
            code: error.code,
          },
        );
      }
    }
  }

  async #audit(signal: AbortSignal): Promise<void> {
    const { leases: seen, sync, clock, workerId, log } = this.#options;
    const rows = seen();
    if (rows === undefined) return;
    this.#election = elect(this.#election, rows, clock.monotonic());
    const leads = isLeader(this.#election, workerId);
    const leases = leads ? await this.#fillRanges(rows, signal) : rows;
    this.#sightings = sightHoles(this.#sightings, leases);
    const times = Math.max(0, ...this.#sightings.values());
    const believed = times >= (leads ? BELIEVED_AFTER : OTHERS_BELIEVE_AFTER);
    const isToSync = believed || rows.length === 0 && leads;
    this.#options.telemetry?.report({
      operation: "PeriodicShardSyncManager",
      data: {
        NumStreamsWithPartialLeases: Number(times > 0),
        NumStreamsToSync: Number(isToSync),
        NumSkippedShardSyncTask: 0,
      },
    });
    if (!believed && rows.length > 0) {
      if (times > 0) log.debug(`hash keys without a lease, seen ${times} times: ${this.#holes()}`);
      return;
    }
    if (rows.length === 0 && !leads) return;
    const created = await sync.complete(signal);
    if (created === 0) log.debug(`hash keys without a lease, but no lease is missing: ${this.#holes()}`);
  }

  /** The rows with their ranges; what they lacked is written for all who look. */
  async #fillRanges(leases: readonly Lease[], signal: AbortSignal): Promise<readonly Lease[]> {
    const { sync, setMeta, log } = this.#options;
    if (leases.every((lease) => isFinished(lease) || hasRange(lease))) return leases;
    const missing = missingRanges(leases, await sync.list(signal));
    for (const { leaseKey, range } of missing) await setMeta(leaseKey, range, signal);
    if (missing.length > 0) log.info(`wrote the hash key ranges of ${missing.length} leases that had none`);
    const ranges = new Map(missing.map(({ leaseKey, range }) => [leaseKey, range]));
    return leases.map((lease) => ({ ...lease, ...ranges.get(lease.leaseKey) }));
  }

  #holes(): string {
    return [...this.#sightings.keys()].slice(0, 5).join(", ");
  }
}
