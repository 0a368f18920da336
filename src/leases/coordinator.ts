// The leases of one worker: finds rows nobody works on, takes them, keeps them alive, deletes finished ones.
// Owns the loops and the I/O; what to do is decided by the pure files beside it. A loop never dies unnoticed (G7):
// what waiting does not cure goes to `onFault`.

import { setMaxListeners } from "node:events";
import type { Clock } from "../core/clock.ts";
import { type ConnectorError, toConnectorError } from "../core/errors.ts";
import type { Logger } from "../core/log.ts";
import type { ChildShard } from "../core/shard.ts";
import { leasesToTake } from "./balance.ts";
import { Bell } from "./bell.ts";
import { type HeldLease, type HeldLeaseEvents, type LeaseLoss, takeLease } from "./held-lease.ts";
import { Cleanup } from "./cleanup.ts";
import { isFinished, type StreamIdentity, unfinishedParents } from "./lease.ts";
import { childLeases } from "./new-leases.ts";
import { expiresAt, type Observations, observe } from "./observation.ts";
import { checkJavaFailoverTime, checkStream } from "./preflight.ts";
import { RenewalLoop } from "./renewals.ts";
import { forEachBounded, type OnLeaseThrottle, Retry } from "./retry.ts";
import type { Lease, LeaseStore } from "./store.ts";
import { type LeaseTimes, leaseTimes } from "./times.ts";

/** Options of {@link LeaseCoordinator}. */
export interface LeaseCoordinatorOptions {
  /** Unique per process start: see `newWorkerId`. */
  readonly workerId: string;
  /** `leases.failoverTimeMs`. */
  readonly failoverTimeMs: number;
  /** An opened store: see `openLeaseTable`. */
  readonly store: LeaseStore;
  readonly stream: StreamIdentity;
  readonly clock: Clock;
  readonly log: Logger;
  /** Kinesis' clock, epoch milliseconds: the local one corrected by what its answers' dates say. */
  readonly kinesisNow: () => number;
  /** A shard may be processed from now on (after {@link LeaseCoordinator.waitForParents}). Never a finished one. */
  readonly onAcquired: (held: HeldLease) => void;
  /** A lease given to `onAcquired` is not ours any more and was not finished; its `lost` signal is aborted. */
  readonly onLost: (held: HeldLease, loss: LeaseLoss) => void;
  /** Something failed that waiting does not cure; the connector has to stop. */
  readonly onFault: (error: ConnectorError) => void;
  readonly onThrottle?: OnLeaseThrottle | undefined;
}

const PARALLEL_CALLS = 20;
// A row that expires soon is not asked for more often than this.
const SHORTEST_WATCH_MS = 100;

/** Takes and keeps leases from {@link start} to {@link stop}. */
export class LeaseCoordinator {
  readonly #options: LeaseCoordinatorOptions;
  readonly #times: LeaseTimes;
  readonly #retry: Retry;
  readonly #renewals: RenewalLoop;
  /** Rings when something is worth a scan. */
  readonly #scanBell: Bell;
  /** Who waits for which parent. Thousands may wait after a reshard: each is woken for its own parents only. */
  readonly #waitingFor = new Map<string, Set<Bell>>();
  readonly #held = new Map<string, HeldLease>();
  readonly #cleanup: Cleanup;
  readonly #stopTaking = new AbortController();
  readonly #stop = new AbortController();
  #takeLoop: Promise<void> = Promise.resolve();
  #renewLoop: Promise<void> = Promise.resolve();
  /** By lease key. */
  #scanned: ReadonlyMap<string, Lease> = new Map();
  #observations: Observations = new Map();
  #foreignItems = 0;
  /** Rounds in a row in which a take was not answered or was throttled. */
  #failedRounds = 0;
  /** Rows were just created: an eventually consistent scan could miss them. */
  #scanConsistently = false;

  constructor(options: LeaseCoordinatorOptions) {
    this.#options = options;
    // Many shards wait on these at once; Node would call eleven a leak.
    setMaxListeners(0, this.#stopTaking.signal, this.#stop.signal);
    this.#times = leaseTimes(options.failoverTimeMs);
    this.#retry = new Retry(options);
    this.#scanBell = new Bell(options.clock);
    this.#renewals = new RenewalLoop({
      clock: options.clock,
      renewEveryMs: this.#times.renewEveryMs,
      retry: this.#retry,
      held: () => this.#held.values(),
      onFault: options.onFault,
    });
    this.#cleanup = new Cleanup({
      ...options,
      times: this.#times,
      retry: this.#retry,
      leases: () => this.leases(),
      onDelete: (held) => this.#held.delete(held.shardId),
    });
  }

  /** Starts taking and renewing; the first scan is made at once. */
  start(): void {
    const taking = this.#stopTaking.signal;
    this.#takeLoop = Promise.all([
      this.#guarded(() => this.#takeForEver(taking)),
      this.#guarded(() => this.#cleanup.run(taking)),
    ]).then(() => {});
    this.#renewLoop = this.#guarded(() => this.#renewals.run(this.#stop.signal));
  }

  /** Takes no more leases; those it has stay alive, so that they can be drained. */
  async stopTaking(): Promise<void> {
    this.#stopTaking.abort();
    await this.#takeLoop;
  }

  /** Ends all loops. Leases that were not released expire. */
  async stop(): Promise<void> {
    await this.stopTaking();
    this.#stop.abort();
    await this.#renewLoop;
  }

  /**
   * Releases what is still held, finished shards included, and stops. To be called when nothing is in flight; tries
   * for one failover time at most. Returns the shards whose release nobody confirmed: they expire.
   */
  async releaseAll(): Promise<string[]> {
    await this.stopTaking();
    const { clock, failoverTimeMs, log } = this.#options;
    const limit = new AbortController();
    const over = new AbortController();
    const deadline = clock.sleep(failoverTimeMs, over.signal).then(() => limit.abort());
    await forEachBounded([...this.#held.values()], PARALLEL_CALLS, async (held) => {
      try {
        await this.#retry.run(() => held.release(), limit.signal);
      } catch (error) {
        log.warn(`lease ${held.shardId} could not be released: ${toConnectorError(error).message}`);
      }
    });
    over.abort();
    await deadline;
    await this.stop();
    return [...this.#held.keys()];
  }

  /** Scans now instead of at the next interval. */
  wake(): void {
    this.#scanBell.ring();
  }

  /** The leases that are held now, finished ones included. */
  held(): HeldLease[] {
    return [...this.#held.values()];
  }

  /** All rows as the last scan saw them, own ones as they were last written. */
  leases(): Lease[] {
    return [...this.#scanned.values()].map((row) => this.#held.get(row.leaseKey)?.lease ?? row);
  }

  /**
   * Writes rows that do not exist yet and looks for them at once. Returns how many were new.
   * Rejects with a ConnectorError that is not retryable, or with the signal's reason.
   */
  async createLeases(leases: readonly Lease[], signal: AbortSignal = this.#stop.signal): Promise<number> {
    let created = 0;
    await forEachBounded(leases, PARALLEL_CALLS, async (lease) => {
      if (await this.#retry.run(() => this.#options.store.create(lease), signal)) created++;
      signal.throwIfAborted();
    });
    this.#scanConsistently = true;
    this.wake();
    return created;
  }

  /**
   * Writes the leases of a shard's children, before its SHARD_END is stored. "postponed": of a merge's parents one has
   * no lease yet; nothing was written for that child, call again after a while.
   */
  async createChildLeases(
    children: readonly ChildShard[],
    signal: AbortSignal = this.#stop.signal,
  ): Promise<"created" | "postponed"> {
    const ids = new Set(children.flatMap((child) => [child.shardId, ...child.parentShardIds]));
    const existing = await this.#read(ids, signal);
    signal.throwIfAborted();
    const decision = childLeases(children, (id) => existing.has(id), this.#options.stream);
    if (decision.type === "postpone") {
      this.#options.log.info(`children wait: parent ${decision.missingParent} has no lease yet`);
      return "postponed";
    }
    await this.createLeases(decision.leases, signal);
    return "created";
  }

  /**
   * Resolves with true when all parents of a held shard are finished (or have no lease), with false when the lease
   * was lost, released, or the coordinator stopped. Its last word is a consistent read (G2). Rejects with a
   * ConnectorError that is not retryable.
   */
  async waitForParents(held: HeldLease): Promise<boolean> {
    const bell = new Bell(this.#options.clock);
    for (const parent of held.lease.parentShardIds) {
      const waiting = this.#waitingFor.get(parent);
      if (waiting === undefined) this.#waitingFor.set(parent, new Set([bell]));
      else waiting.add(bell);
    }
    try {
      return await this.#parentsFinished(held, bell);
    } finally {
      for (const parent of held.lease.parentShardIds) {
        const waiting = this.#waitingFor.get(parent);
        if (waiting?.delete(bell) && waiting.size === 0) this.#waitingFor.delete(parent);
      }
    }
  }

  async #parentsFinished(held: HeldLease, bell: Bell): Promise<boolean> {
    const stop = this.#stopTaking.signal;
    while (held.isAlive() && !stop.aborted) {
      const { version } = bell;
      if (unfinishedParents(held.lease, (id) => this.#row(id)).length === 0) {
        const parents = await this.#read(held.lease.parentShardIds, stop);
        if (parents.size > 0) held.hasWaited();
        if (unfinishedParents(held.lease, (id) => parents.get(id)).length === 0) {
          return held.isAlive() && !stop.aborted;
        }
      }
      await bell.wait(version, this.#times.scanEveryMs, stop, held.lost);
    }
    return false;
  }

  /** Wakes those who wait for a parent that holds them back no more. */
  #ringFor(parent: string): void {
    const row = this.#row(parent);
    if (row !== undefined && !isFinished(row)) return;
    for (const bell of this.#waitingFor.get(parent) ?? []) bell.ring();
  }

  /** Whatever ends a loop, or a callback that nobody waits for, is a fault. */
  async #guarded(work: () => Promise<void> | void): Promise<void> {
    try {
      await work();
    } catch (error) {
      this.#options.onFault(toConnectorError(error));
    }
  }

  async #takeForEver(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      const version = this.#scanBell.version;
      const delayMs = await this.#scanAndTake(signal);
      await this.#scanBell.wait(version, delayMs, signal);
    }
  }

  /** One round; returns when the next is due, in milliseconds. */
  async #scanAndTake(signal: AbortSignal): Promise<number> {
    const { store, clock, workerId, failoverTimeMs, stream } = this.#options;
    const consistent = this.#scanConsistently;
    this.#scanConsistently = false;
    const scan = await this.#retry.run(() => store.scan({ signal, consistent }), signal);
    if (scan === undefined) return 0;
    const now = clock.monotonic();
    checkStream(scan.leases, stream, store.tableName);
    this.#mentionForeignItems(scan.foreignItems);
    const { observations, renewed } = observe(this.#observations, scan.leases, now);
    this.#observations = observations;
    this.#scanned = new Map(scan.leases.map((row) => [row.leaseKey, row]));
    checkJavaFailoverTime(renewed, failoverTimeMs, store.tableName);
    for (const parent of this.#waitingFor.keys()) this.#ringFor(parent);

    const view = {
      leases: scan.leases,
      observations,
      now,
      failoverTimeMs,
      workerId,
      held: new Set(this.#held.keys()),
    };
    let retryMs: number | undefined;
    const attempt = this.#failedRounds + 1;
    await forEachBounded(leasesToTake(view, () => clock.random()), PARALLEL_CALLS, async (row) => {
      if (retryMs !== undefined || signal.aborted) return;
      try {
        await this.#take(row);
      } catch (error) {
        // Not repeated blindly: it may have been applied. The next scan shows.
        retryMs = await this.#retry.delayAfter(toConnectorError(error), attempt, retryMs !== undefined);
      }
    });
    this.#failedRounds = retryMs === undefined ? 0 : attempt;
    return retryMs ?? this.#nextScanMs();
  }

  async #take(row: Lease): Promise<void> {
    const { log, onAcquired } = this.#options;
    const held = await takeLease(row, { ...this.#options, events: this.#events });
    if (held === undefined) return;
    this.#held.set(held.shardId, held);
    this.#renewals.wake();
    const from = row.leaseOwner === undefined ? "" : `, last held by ${row.leaseOwner}`;
    if (held.isFinished) {
      // Nothing to process, only to be cleaned up (kcl-compat §4.4).
      this.#cleanup.add(held);
      log.debug(`took the lease of finished shard ${held.shardId}${from}`);
      return;
    }
    log.info(`took the lease of shard ${held.shardId} at ${held.lease.checkpoint.sequenceNumber}${from}`);
    onAcquired(held);
  }

  readonly #events: HeldLeaseEvents = {
    lost: (held, loss) => {
      if (!this.#forget(held)) return;
      this.wake();
      if (held.isFinished) return;
      const by = loss.owner === undefined ? "" : ` by ${loss.owner}`;
      this.#options.log.warn(`lost the lease of shard ${held.shardId}: ${loss.reason}${by}`);
      void this.#guarded(() => this.#options.onLost(held, loss));
    },
    finished: (held) => {
      this.#cleanup.add(held);
      this.#ringFor(held.shardId);
      this.wake();
    },
    released: (held) => void this.#forget(held),
  };

  /** False when it is forgotten already. */
  #forget(held: HeldLease): boolean {
    if (this.#held.get(held.shardId) !== held) return false;
    this.#cleanup.remove(held);
    return this.#held.delete(held.shardId);
  }

  /** The row as this worker last wrote it, or as the last scan saw it. */
  #row(shardId: string): Lease | undefined {
    return this.#held.get(shardId)?.lease ?? this.#scanned.get(shardId);
  }

  #nextScanMs(): number {
    const { watchEveryMs, scanEveryMs, failoverTimeMs } = this.#times;
    const others = [...this.#scanned.keys()].filter((key) => !this.#held.has(key));
    if (others.length === 0 && this.#scanned.size > 0) return scanEveryMs;
    const now = this.#options.clock.monotonic();
    let nextExpiry = Infinity;
    for (const key of others) {
      nextExpiry = Math.min(nextExpiry, expiresAt(this.#observations.get(key)!, failoverTimeMs) - now);
    }
    return Math.min(watchEveryMs, Math.max(SHORTEST_WATCH_MS, nextExpiry + 1));
  }

  #mentionForeignItems(count: number): void {
    if (count === this.#foreignItems) return;
    this.#foreignItems = count;
    this.#options.log.info(
      `table "${this.#options.store.tableName}" has ${count} items that are no leases; ignored`,
    );
  }

  /** Rows of these shards by consistent reads; the missing ones are missing. */
  async #read(shardIds: Iterable<string>, signal: AbortSignal): Promise<ReadonlyMap<string, Lease>> {
    const rows = new Map<string, Lease>();
    await forEachBounded(shardIds, PARALLEL_CALLS, async (id) => {
      const row = await this.#retry.run(() => this.#options.store.get(id), signal);
      if (row !== undefined) rows.set(id, row);
    });
    return rows;
  }
}
