// The minute's housekeeping of one worker: deletes the rows of finished shards that nobody needs any more (kcl-compat
// §4.6), and looks whether the table has gone over to a KCL 3.x fleet. What it cannot delete is only untidy, never a
// failure. Only rows that this worker holds are deleted; a stolen one is the thief's to delete.

import type { Clock } from "../core/clock.ts";
import { toConnectorError } from "../core/errors.ts";
import { type Logger, silentLogger } from "../core/log.ts";
import type { HeldLease } from "./held-lease.ts";
import { childrenByParent, reasonToKeep } from "./lease.ts";
import { checkClientVersion } from "./preflight.ts";
import type { Retry } from "./retry.ts";
import type { ShardSync } from "./shard-sync.ts";
import type { Lease, LeaseStore } from "./store.ts";
import type { LeaseTimes } from "./times.ts";

/** Options of {@link Cleanup}. */
export interface CleanupOptions {
  readonly store: LeaseStore;
  readonly clock: Clock;
  readonly log: Logger;
  readonly times: LeaseTimes;
  readonly retry: Retry;
  /** For shards that have expired, or whose children are not known. Without it their rows stay. */
  readonly sync?: ShardSync | undefined;
  /** All rows, own ones as they were last written. */
  readonly leases: () => readonly Lease[];
}

// The KCL looks for unknown children when it looks at finished leases, for garbage every half an hour.
const CHILDREN_EVERY_MS = 300_000;
const GARBAGE_EVERY_MS = 1_800_000;

/** A finished lease, and why it is not deleted. */
interface Kept {
  readonly held: HeldLease;
  readonly reason: string;
  readonly hasChildren: boolean;
}

/** Holds the finished leases of a worker until they may go. */
export class Cleanup {
  readonly #options: CleanupOptions;
  /** Since when they are known to be finished, monotonic milliseconds. */
  readonly #finished = new Map<HeldLease, number>();
  /** When the stream was last listed for what stays, monotonic milliseconds. */
  #listedAt: number;

  constructor(options: CleanupOptions) {
    this.#options = options;
    this.#listedAt = options.clock.monotonic();
  }

  /** A held lease is at SHARD_END. */
  add(held: HeldLease): void {
    this.#finished.set(held, this.#options.clock.monotonic());
  }

  /** It is held no more. */
  remove(held: HeldLease): void {
    this.#finished.delete(held);
  }

  /** Rejects with LEASE_TABLE_FOREIGN when a KCL 3.x fleet has taken over. */
  async run(signal: AbortSignal): Promise<void> {
    const { clock, times, retry, store } = this.#options;
    for (;;) {
      await clock.sleep(times.cleanupEveryMs, signal);
      if (signal.aborted) return;
      await retry.run(() => checkClientVersion(store, silentLogger), signal); // the start has warned
      await this.#deleteFinished(signal);
    }
  }

  async #deleteFinished(signal: AbortSignal): Promise<void> {
    const { clock, times, log, leases } = this.#options;
    const due = clock.monotonic() - times.keepFinishedMs;
    const candidates = [...this.#finished].filter(([, since]) => since <= due);
    if (candidates.length === 0) return;
    const rows = new Map(leases().map((row) => [row.leaseKey, row]));
    const children = childrenByParent(rows.values()); // once: there may be thousands of both
    const kept: Kept[] = [];
    for (const [held] of candidates) {
      const reason = reasonToKeep(held.lease, rows, children);
      if (reason === undefined) {
        await this.#delete(held, signal);
        continue;
      }
      log.debug(`the lease of finished shard ${held.shardId} stays: ${reason}`);
      kept.push({
        held,
        reason,
        hasChildren: held.lease.childShardIds.length > 0 || children.has(held.shardId),
      });
    }
    try {
      await this.#lookAtStream(kept, [...rows.values()], signal);
    } catch (thrown) {
      if (signal.aborted) return;
      log.warn(`leases of finished shards stay: ${toConnectorError(thrown).message}`);
    }
  }

  /** Children that no row names are found by a listing; what is not listed any more is garbage. */
  async #lookAtStream(kept: readonly Kept[], rows: readonly Lease[], signal: AbortSignal): Promise<void> {
    const { sync, clock, store, retry, log } = this.#options;
    const everyMs = kept.every((one) => one.hasChildren) ? GARBAGE_EVERY_MS : CHILDREN_EVERY_MS;
    if (sync === undefined || kept.length === 0 || clock.monotonic() - this.#listedAt < everyMs) return;
    this.#listedAt = clock.monotonic();
    const shards = await sync.list(signal);
    const listed = new Set(shards.map(({ shardId }) => shardId));
    const named = childrenByParent(
      shards.map(({ shardId, parentShardIds }) => ({ leaseKey: shardId, parentShardIds })),
    );
    for (const { held, hasChildren } of kept) {
      const childShardIds = named.get(held.shardId);
      if (hasChildren || childShardIds === undefined) continue;
      await retry.run(() => store.setMeta(held.shardId, { childShardIds }), signal);
    }
    const garbage = kept.filter(({ held }) => !listed.has(held.shardId));
    if (garbage.length === 0) return;
    // Such a row is the only word that what descends from it was being read: that gets its leases first (G1).
    await sync.complete(signal, { known: rows, listed: shards });
    for (const { held, reason } of garbage) {
      log.info(`shard ${held.shardId} is not listed any more, so its lease is not kept, although ${reason}`);
      await this.#delete(held, signal);
    }
  }

  async #delete(held: HeldLease, signal: AbortSignal): Promise<void> {
    const { log, retry } = this.#options;
    try {
      const result = await retry.run(() => held.remove(), signal);
      if (result === "removed") log.info(`deleted the lease of finished shard ${held.shardId}`);
    } catch (error) {
      log.warn(`the lease of finished shard ${held.shardId} stays: ${toConnectorError(error).message}`);
    }
  }
}
