// Brings a table's leases and a stream's shards together: lists, decides (lineage.ts), writes what is missing. One set
// of rules for a start, for the auditor, and for a shard whose children cannot be given leases. What it writes is
// conditional, so that any number of workers may do it at once.

import type { Clock } from "../core/clock.ts";
import { ConnectorError } from "../core/errors.ts";
import type { Logger } from "../core/log.ts";
import type { Shard } from "../core/shard.ts";
import type { StreamIdentity } from "./lease.ts";
import { inGenerations, Lineage } from "./lineage.ts";
import { hashRangeHole, initialLeases, type InitialPosition, missingLeases } from "./new-leases.ts";
import type { Lease } from "./store.ts";

/** Where a connector without checkpoints begins, with its time. */
export type StreamPosition =
  | { readonly type: Exclude<InitialPosition, "AT_TIMESTAMP"> }
  | { readonly type: "AT_TIMESTAMP"; readonly timestamp: number };

/** The shards of the stream, and where those that were never read begin. */
export interface StreamShards {
  readonly position: StreamPosition;
  /** Those that were open at a position; all that are listed without one. Rejects with a ConnectorError. */
  list(position: StreamPosition | undefined, signal: AbortSignal): Promise<Shard[]>;
}

/** Options of {@link ShardSync}. */
export interface ShardSyncOptions {
  readonly shards: StreamShards;
  readonly stream: StreamIdentity;
  /** Kinesis' clock, epoch milliseconds. */
  readonly kinesisNow: () => number;
  readonly clock: Clock;
  readonly log: Logger;
  readonly tableName: string;
  /** All rows by a consistent scan. */
  readonly scan: (signal: AbortSignal) => Promise<readonly Lease[]>;
  /** Writes rows that do not exist; returns how many were new. */
  readonly create: (leases: readonly Lease[], signal: AbortSignal) => Promise<number>;
  /** Aborted when nobody needs anything any more. */
  readonly stop: AbortSignal;
}

/** What a merged shard's first finished parent does about it. */
export type MergeVerdict =
  /** The other parent gets a lease, from somebody or just now: try again. */
  | "wait"
  /** The other parent never gets one: the merged shard needs not wait for it. */
  | "create"
  /** A shard further down has a lease: the merged shard was read. */
  | "over";

interface Snapshot {
  readonly lineage: Lineage;
  readonly leased: ReadonlySet<string>;
  readonly at: number;
  /** Shards whose leases were written by it. */
  readonly written: Set<string>;
}

// As the KCL: a listing with a hole was made in the middle of a reshard.
const LISTINGS = 3;
const LISTING_PAUSE_MS = 1_000;
// Thousands of merges may wait at once, for hours if the other parent is far behind: what made one wait is looked at
// again after this long, by one listing and one scan for all of them.
const SNAPSHOT_MS = 60_000;

/** Writes the leases that a table lacks. Rejects with ConnectorErrors; retryable ones may be tried again. */
export class ShardSync {
  readonly #options: ShardSyncOptions;
  #snapshot: Snapshot | undefined;
  #taking: Promise<Snapshot> | undefined;
  #next: Promise<Snapshot> | undefined;

  constructor(options: ShardSyncOptions) {
    this.#options = options;
  }

  /** All shards that are listed. */
  list(signal: AbortSignal): Promise<Shard[]> {
    return this.#options.shards.list(undefined, signal);
  }

  /** Leases for an empty table (kcl-compat §4.2). Returns how many were new. */
  async fill(signal: AbortSignal): Promise<number> {
    const { shards: { position }, create, stream, kinesisNow, log, tableName } = this.#options;
    const shards = await this.#listCompletely(signal);
    let created = 0;
    for (const wave of inGenerations(shards)) {
      const options = { position: position.type, stream, kinesisNow: kinesisNow() };
      created += await create(initialLeases(wave, options), signal);
    }
    if (created > 0) log.info(`wrote ${created} leases at ${position.type}`, { table: tableName });
    return created;
  }

  /**
   * The leases that a table lacks (kcl-compat §4.3). Returns how many were new.
   * @param leases all rows, by a consistent scan
   * @param listed a listing that was made after the scan
   */
  async complete(leases: readonly Lease[], signal: AbortSignal, listed?: readonly Shard[]): Promise<number> {
    if (leases.length === 0) return await this.fill(signal);
    const lineage = await this.#lineage(leases, listed ?? await this.list(signal), signal);
    return await this.#write(lineage, new Set(), undefined, signal);
  }

  /** {@link complete} of the table as it is now. */
  async completeNow(signal: AbortSignal): Promise<number> {
    return await this.complete(await this.#options.scan(signal), signal);
  }

  /**
   * What to do about a merged shard one of whose parents has no lease. Writes that lease where nobody else would.
   * @param merged without a lease; one of its parents is held and has been read to its end
   * @param parent the one without a lease
   */
  async judgeMerge(merged: string, parent: string, signal: AbortSignal): Promise<MergeVerdict> {
    const known = this.#snapshot;
    if (known !== undefined && this.#options.clock.monotonic() - known.at < SNAPSHOT_MS) {
      if (known.lineage.isListed(merged) && known.lineage.isAwaited(parent)) return "wait";
    }
    const { lineage, leased, written } = await this.#newSnapshot();
    signal.throwIfAborted();
    // Older than the merged shard, its parent is in every listing that has that one, unless it has expired.
    if (!lineage.isListed(merged) || leased.has(parent)) return "wait";
    if (lineage.isProved(merged)) return "over";
    await this.#write(lineage, written, [merged], signal);
    return lineage.isAwaited(parent) ? "wait" : "create";
  }

  async #write(
    lineage: Lineage,
    written: Set<string>,
    below: readonly string[] | undefined,
    signal: AbortSignal,
  ): Promise<number> {
    const { create, stream, kinesisNow, log, tableName } = this.#options;
    const missing = lineage.missing(below).filter(({ shard }) => !written.has(shard.shardId));
    if (missing.length === 0) return 0;
    for (const { shard } of missing) written.add(shard.shardId);
    const created = await create(missingLeases(missing, { stream, kinesisNow: kinesisNow() }), signal);
    if (created > 0) {
      const which = missing.slice(0, 5).map(({ shard, position }) => `${shard.shardId} at ${position}`);
      const more = missing.length > which.length ? `, and ${missing.length - which.length} more` : "";
      log.info(`wrote ${created} leases that were missing: ${which.join(", ")}${more}`, { table: tableName });
    }
    return created;
  }

  /** Of a listing and a scan that begin from now on; all who ask before they begin share them. */
  #newSnapshot(): Promise<Snapshot> {
    return this.#next ??= (async () => {
      await this.#taking?.catch(() => {}); // its own callers hear of it
      this.#next = undefined;
      this.#taking = this.#takeSnapshot();
      return await this.#taking;
    })();
  }

  async #takeSnapshot(): Promise<Snapshot> {
    const { clock, scan, stop } = this.#options; // not of one caller, who may lose his lease
    const at = clock.monotonic();
    const leases = await scan(stop);
    const lineage = await this.#lineage(leases, await this.list(stop), stop);
    const leased = new Set(leases.map(({ leaseKey }) => leaseKey));
    return this.#snapshot = { lineage, leased, at, written: new Set() };
  }

  async #lineage(leases: readonly Lease[], shards: readonly Shard[], signal: AbortSignal): Promise<Lineage> {
    const { position, list } = this.#options.shards;
    const openAtTime = position.type === "AT_TIMESTAMP" ? await list(position, signal) : undefined;
    const lineage = new Lineage({ shards, leases, position: position.type, openAtTime });
    const { inconsistent } = lineage;
    if (inconsistent.length > 0) {
      throw this.#unsettled(`listed shard ${inconsistent[0]} as a child of one that was still open`);
    }
    return lineage;
  }

  async #listCompletely(signal: AbortSignal): Promise<Shard[]> {
    const { clock, shards: { position, list } } = this.#options;
    for (let listing = 1;; listing++) {
      const shards = await list(position, signal);
      const hole = hashRangeHole(shards);
      if (hole === undefined) return shards;
      if (listing === LISTINGS) throw this.#unsettled(`left hash key ${hole} uncovered`);
      await clock.sleep(LISTING_PAUSE_MS, signal);
      signal.throwIfAborted();
    }
  }

  #unsettled(what: string): ConnectorError {
    const { streamArn } = this.#options.stream;
    const message =
      `ListShards ${what}, as in the middle of a reshard of stream ${streamArn}; start again in a moment`;
    return new ConnectorError(message, {
      code: "AWS_UNAVAILABLE",
      retryable: true,
      where: { stream: streamArn, operation: "ListShards" },
    });
  }
}
