// Who waits for which parent (G2): a child is read only when its parents' rows say SHARD_END, or are gone. Thousands
// may wait after a reshard: each is woken for its own parents only, and believes only a consistent read.

import type { Clock } from "../core/clock.ts";
import { Bell } from "./bell.ts";
import type { HeldLease } from "./held-lease.ts";
import { isFinished, unfinishedParents } from "./lease.ts";
import type { Lease } from "./store.ts";

/** Options of {@link ParentWatch}. */
export interface ParentWatchOptions {
  readonly clock: Clock;
  /** Parents are looked at again so often, whether somebody rang or not. Milliseconds. */
  readonly lookEveryMs: number;
  /** Aborted when no shard is begun any more. */
  readonly stop: AbortSignal;
  /** A row as it was last seen or written; stale ones only delay. */
  readonly row: (shardId: string) => Lease | undefined;
  /** Rows by consistent reads; the missing ones are missing. */
  readonly read: (shardIds: readonly string[], signal: AbortSignal) => Promise<ReadonlyMap<string, Lease>>;
}

/** Lets children wait for their parents. */
export class ParentWatch {
  readonly #options: ParentWatchOptions;
  readonly #waitingFor = new Map<string, Set<Bell>>();

  constructor(options: ParentWatchOptions) {
    this.#options = options;
  }

  /**
   * Resolves with true when all parents of a held shard are finished (or have no lease), with false when the lease
   * was lost, released, or `stop` or the signal aborted. Its last word is a consistent read.
   */
  async wait(held: HeldLease, signal: AbortSignal = this.#options.stop): Promise<boolean> {
    const bell = new Bell(this.#options.clock);
    for (const parent of held.lease.parentShardIds) {
      const waiting = this.#waitingFor.get(parent);
      if (waiting === undefined) this.#waitingFor.set(parent, new Set([bell]));
      else waiting.add(bell);
    }
    try {
      return await this.#finished(held, bell, signal);
    } finally {
      for (const parent of held.lease.parentShardIds) {
        const waiting = this.#waitingFor.get(parent);
        if (waiting?.delete(bell) && waiting.size === 0) this.#waitingFor.delete(parent);
      }
    }
  }

  /** A row has changed: wakes those who wait for it if it holds them back no more. */
  ringFor(parent: string): void {
    const waiting = this.#waitingFor.get(parent);
    if (waiting === undefined) return;
    const row = this.#options.row(parent);
    if (row !== undefined && !isFinished(row)) return;
    for (const bell of waiting) bell.ring();
  }

  /** All rows may have changed. */
  ring(): void {
    for (const parent of this.#waitingFor.keys()) this.ringFor(parent);
  }

  async #finished(held: HeldLease, bell: Bell, signal: AbortSignal): Promise<boolean> {
    const { stop, row, read, lookEveryMs } = this.#options;
    const mayBegin = () => held.isAlive() && !stop.aborted && !signal.aborted;
    while (mayBegin()) {
      const { version } = bell;
      if (unfinishedParents(held.lease, row).length === 0) {
        const parents = await read(held.lease.parentShardIds, stop);
        if (unfinishedParents(held.lease, (id) => parents.get(id)).length === 0) {
          return mayBegin();
        }
      }
      await bell.wait(version, lookEveryMs, stop, held.lost, signal);
    }
    return false;
  }
}
