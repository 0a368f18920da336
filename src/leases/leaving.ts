// Leases that are given up while the rest goes on: for an even share, or because a KCL 3.x fleet asks for it. Each is
// drained, checkpointed and only then released (so nothing is read twice), and kept alive until then.

import { type ConnectorError, toConnectorError } from "../core/errors.ts";
import type { Logger } from "../core/log.ts";
import type { HeldLease } from "./held-lease.ts";
import type { Retry } from "./retry.ts";

/** Options of {@link LeavingLeases}. */
export interface LeavingLeasesOptions {
  readonly log: Logger;
  readonly retry: Retry;
  /** Resolves when nothing of the shard is in flight and its last checkpoint is stored. */
  readonly drain: (held: HeldLease, signal: AbortSignal) => Promise<void>;
  /** A lease that is neither read nor released would be nobody's: the connector has to stop. */
  readonly onFault: (error: ConnectorError) => void;
  /** Aborted when everything ends: then all leases are released together. */
  readonly stop: AbortSignal;
}

/** Gives leases up one by one. */
export class LeavingLeases {
  readonly #options: LeavingLeasesOptions;
  readonly #leaving = new Map<HeldLease, Promise<void>>();

  constructor(options: LeavingLeasesOptions) {
    this.#options = options;
  }

  /** Of which shards; of what was lost on the way no more: others have it by now, or this worker anew. */
  get keys(): ReadonlySet<string> {
    const keys = new Set<string>();
    for (const { shardId, lost } of this.#leaving.keys()) if (!lost.aborted) keys.add(shardId);
    return keys;
  }

  /** Begins, unless it has begun. */
  add(held: HeldLease, why: string): void {
    if (this.#leaving.has(held)) return;
    this.#options.log.info(`giving up the lease of shard ${held.shardId}: ${why}`);
    this.#leaving.set(held, this.#giveUp(held).finally(() => this.#leaving.delete(held)));
  }

  /** Resolves when none is under way. */
  async settled(): Promise<void> {
    await Promise.all(this.#leaving.values());
  }

  async #giveUp(held: HeldLease): Promise<void> {
    const { drain, retry, stop, onFault } = this.#options;
    try {
      await drain(held, stop);
      if (!stop.aborted) await retry.run(() => held.release(), stop);
    } catch (error) {
      if (!stop.aborted) onFault(toConnectorError(error));
    }
  }
}
