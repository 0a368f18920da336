// Brings a table's leases and a stream's shards together: lists, decides (lineage.ts), writes what is missing. One set
// of rules for a start, for the auditor, and for a shard whose children cannot be given leases. What it writes is
// conditional, so that any number of workers may do it at once.

import type { Clock } from "../core/clock.ts";
import { ConnectorError } from "../core/errors.ts";
import type { Logger } from "../core/log.ts";
import type { Shard } from "../core/shard.ts";
import { measured, type Telemetry } from "../core/telemetry.ts";
import type { StreamIdentity } from "./lease.ts";
import { inGenerations, Lineage } from "./lineage.ts";
import { initialLeases, type InitialPosition, missingLeases } from "./new-leases.ts";
import type { Lease } from "./store.ts";

/** The shards of the stream, and where those that were never read begin. Rejects with ConnectorErrors. */
export interface StreamShards {
  readonly position: InitialPosition;
  /** All that are listed. */
  list(signal: AbortSignal): Promise<Shard[]>;
  /** Those that were open at the position; together they cover all hash keys. */
  listInitial(signal: AbortSignal): Promise<Shard[]>;
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
  /** Told of each comparison of stream and table. */
  readonly telemetry?: Telemetry | undefined;
}

/** What {@link ShardSync.complete} is told. */
export interface KnownBefore {
  /** Rows that were scanned before: where they lack nothing, the table is not scanned again. */
  readonly known?: readonly Lease[];
  /** A listing made just now. */
  readonly listed?: readonly Shard[];
}

/** What a merged shard's first finished parent does about it. */
export type MergeVerdict =
  /** The other parent gets a lease, from somebody or just now: try again. */
  | "wait"
  /** The other parent never gets one: the merged shard needs not wait for it. */
  | "create"
  /** A shard further down has a lease: the merged shard was read. */
  | "over";

/** The stream as it was listed; with AT_TIMESTAMP also as it was at that time. */
interface Listing {
  readonly shards: readonly Shard[];
  readonly openAtTime: readonly Shard[] | undefined;
}

interface Snapshot {
  readonly lineage: Lineage;
  /** By a second scan: what both lack is written. */
  readonly again: () => Promise<Lineage>;
  readonly leased: ReadonlySet<string>;
  /** Kinesis' clock. */
  readonly kinesisNow: number;
  /** Monotonic milliseconds. */
  readonly at: number;
  /** Shards whose leases were written by it. */
  readonly written: Set<string>;
}

// Thousands of merges may wait at once, for hours if the other parent is far behind: what made one wait is looked at
// again after this long, by one listing and one scan for all of them.
const SNAPSHOT_MS = 60_000;

/**
 * Writes the leases that a table lacks. Rejects with ConnectorErrors; retryable ones may be tried again.
 *
 * What is written is decided by a listing, then Kinesis' time, then two consistent scans, in this order: a lease that
 * another worker writes later, for a parent of a listed shard, is not connected before that time. So a shard that
 * begins at LATEST since then misses nothing that its parent's reader would have promised.
 */
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
    return this.#options.shards.list(signal);
  }

  /**
   * The leases that the table lacks: for an empty one kcl-compat §4.2, otherwise §4.3. Returns how many were new.
   */
  async complete(signal: AbortSignal, before: KnownBefore = {}): Promise<number> {
    if (await this.#lacksNothing(before, signal)) return 0;
    return await measured(
      this.#options,
      { operation: "ShardSyncTask" },
      () => this.#complete(before, signal),
    );
  }

  async #lacksNothing({ known, listed }: KnownBefore, signal: AbortSignal): Promise<boolean> {
    if (known === undefined || known.length === 0) return false;
    const shards = listed ?? await this.list(signal);
    return this.#lineage(known, { shards, openAtTime: undefined }).missing().length === 0;
  }

  async #complete({ known, listed }: KnownBefore, signal: AbortSignal): Promise<number> {
    const initial = await this.#options.shards.listInitial(signal);
    // Not needed for an empty table. Should it have rows by now, this is done again.
    const listing = known?.length === 0 ? undefined : await this.#list(signal, listed, initial);
    const kinesisNow = this.#options.kinesisNow();
    const leases = await this.#options.scan(signal);
    if (leases.length === 0) return await this.#fill(initial, kinesisNow, signal);
    if (listing === undefined) {
      const now = { known: leases };
      return await this.#lacksNothing(now, signal) ? 0 : await this.#complete(now, signal);
    }
    const again = this.#secondLook(listing, signal);
    return await this.#write(
      this.#lineage(leases, listing),
      { again, kinesisNow, written: new Set() },
      signal,
    );
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
    const snapshot = await this.#newSnapshot();
    signal.throwIfAborted();
    const { lineage, leased } = snapshot;
    // Older than the merged shard, its parent is in every listing that has that one, unless it has expired.
    if (!lineage.isListed(merged) || leased.has(parent)) return "wait";
    if (lineage.isProved(merged)) return "over";
    await this.#write(lineage, snapshot, signal, [merged]);
    return lineage.isAwaited(parent) ? "wait" : "create";
  }

  async #fill(shards: readonly Shard[], kinesisNow: number, signal: AbortSignal): Promise<number> {
    const { shards: { position }, create, stream, log, tableName } = this.#options;
    let created = 0;
    for (const wave of inGenerations(shards)) {
      created += await create(initialLeases(wave, { position, stream, kinesisNow }), signal);
    }
    if (created > 0) log.info(`wrote ${created} leases at ${position}`, { table: tableName });
    return created;
  }

  async #write(
    lineage: Lineage,
    { again, kinesisNow, written }: Pick<Snapshot, "again" | "kinesisNow" | "written">,
    signal: AbortSignal,
    below?: readonly string[],
  ): Promise<number> {
    const { create, stream, log, tableName } = this.#options;
    const lacking = lineage.missing(below).filter(({ shard }) => !written.has(shard.shardId));
    if (lacking.length === 0) return 0;
    const still = new Set((await again()).missing(below).map(({ shard }) => shard.shardId));
    const missing = lacking.filter(({ shard }) => still.has(shard.shardId));
    if (missing.length === 0) return 0;
    const created = await create(missingLeases(missing, { stream, kinesisNow }), signal);
    for (const { shard } of missing) written.add(shard.shardId);
    if (created > 0) {
      const which = missing.slice(0, 5).map(({ shard, position }) => `${shard.shardId} at ${position}`);
      const more = missing.length > which.length ? `, and ${missing.length - which.length} more` : "";
      log.info(`wrote ${created} leases that were missing: ${which.join(", ")}${more}`, { table: tableName });
    }
    return created;
  }

  /**
   * What a second scan shows, made when it is first asked for. A throttled scan takes up to a minute. It may miss leases
   * that are written meanwhile, to pages that it has read, and also their finished parent, which a Java worker deletes as
   * soon as they have begun: that shard would be read a second time from its start.
   */
  #secondLook(listing: Listing, signal: AbortSignal): () => Promise<Lineage> {
    let look: Promise<Lineage> | undefined;
    const scan = async () => this.#lineage(await this.#options.scan(signal), listing);
    return () =>
      look ??= scan().catch((error) => {
        look = undefined;
        throw error;
      });
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
    const { clock, scan, kinesisNow, stop } = this.#options; // not of one caller, who may lose his lease
    const at = clock.monotonic();
    const listing = await this.#list(stop);
    const now = kinesisNow();
    const leases = await scan(stop);
    const leased = new Set(leases.map(({ leaseKey }) => leaseKey));
    const lineage = this.#lineage(leases, listing);
    const again = this.#secondLook(listing, stop);
    return this.#snapshot = { lineage, again, leased, kinesisNow: now, at, written: new Set() };
  }

  async #list(signal: AbortSignal, listed?: readonly Shard[], initial?: readonly Shard[]): Promise<Listing> {
    const { shards } = this.#options;
    const openAtTime = shards.position === "AT_TIMESTAMP"
      ? initial ?? await shards.listInitial(signal)
      : undefined;
    return { shards: listed ?? await shards.list(signal), openAtTime };
  }

  #lineage(leases: readonly Lease[], listing: Listing): Lineage {
    const { shards: { position }, stream: { streamArn } } = this.#options;
    const lineage = new Lineage({ ...listing, leases, position });
    const [young] = lineage.inconsistent;
    if (young === undefined) return lineage;
    throw new ConnectorError(
      `stream ${streamArn} is in the middle of a reshard: shard ${young} is listed, and a parent of it as open; the next listing shows it whole`,
      { code: "AWS_UNAVAILABLE", retryable: true, where: { stream: streamArn, operation: "ListShards" } },
    );
  }
}
