// The minute's housekeeping of one worker: deletes the rows of finished shards that nobody needs any more, and looks
// whether the table has gone over to a KCL 3.x fleet. What it cannot delete is only untidy, never a failure.

import type { Clock } from "../core/clock.ts";
import { toConnectorError } from "../core/errors.ts";
import { type Logger, silentLogger } from "../core/log.ts";
import type { HeldLease } from "./held-lease.ts";
import { childrenByParent, reasonToKeep } from "./lease.ts";
import { checkClientVersion } from "./preflight.ts";
import type { Retry } from "./retry.ts";
import type { Lease, LeaseStore } from "./store.ts";
import type { LeaseTimes } from "./times.ts";

/** Options of {@link Cleanup}. */
export interface CleanupOptions {
  readonly store: LeaseStore;
  readonly clock: Clock;
  readonly log: Logger;
  readonly times: LeaseTimes;
  readonly retry: Retry;
  /** All rows, own ones as they were last written. */
  readonly leases: () => readonly Lease[];
  /** Its row is about to be deleted. */
  readonly onDelete: (held: HeldLease) => void;
}

/** Holds the finished leases of a worker until they may go. */
export class Cleanup {
  readonly #options: CleanupOptions;
  /** Since when they are known to be finished, monotonic milliseconds. */
  readonly #finished = new Map<HeldLease, number>();

  constructor(options: CleanupOptions) {
    this.#options = options;
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
    const { clock, times, log } = this.#options;
    const due = clock.monotonic() - times.keepFinishedMs;
    const candidates = [...this.#finished].filter(([, since]) => since <= due);
    if (candidates.length === 0) return;
    const rows = new Map(this.#options.leases().map((row) => [row.leaseKey, row]));
    const children = childrenByParent(rows.values()); // once: there may be thousands of both
    for (const [held] of candidates) {
      const reason = reasonToKeep(held.lease, rows, children);
      if (reason === undefined) await this.#delete(held, signal);
      else log.debug(`the lease of finished shard ${held.shardId} stays: ${reason}`);
    }
  }

  async #delete(held: HeldLease, signal: AbortSignal): Promise<void> {
    const { store, log, retry, onDelete } = this.#options;
    held.drop();
    this.remove(held);
    onDelete(held);
    try {
      await retry.run(() => store.delete(held.shardId), signal);
      log.info(`deleted the lease of finished shard ${held.shardId}`);
    } catch (error) {
      // The next scan takes it again, and later this is tried again.
      log.warn(`the lease of finished shard ${held.shardId} stays: ${toConnectorError(error).message}`);
    }
  }
}
