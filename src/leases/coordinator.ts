// The leases of one worker: finds rows nobody works on, takes them, keeps them alive, deletes finished ones.
// Owns the loops and the I/O; what to do is decided by the pure files beside it. A loop never dies unnoticed (G7):
// what waiting does not cure goes to `onFault`.

import { setMaxListeners } from "node:events";
import type { Clock } from "../core/clock.ts";
import { type ConnectorError, toConnectorError } from "../core/errors.ts";
import type { Logger } from "../core/log.ts";
import type { ChildShard, Shard } from "../core/shard.ts";
import type { Telemetry } from "../core/telemetry.ts";
import { Auditor } from "./audit.ts";
import { ChildLeases } from "./child-leases.ts";
import { type HeldLease, type HeldLeaseEvents, type LeaseLoss, takeLease } from "./held-lease.ts";
import { Cleanup } from "./cleanup.ts";
import { createRows } from "./create-rows.ts";
import type { StreamIdentity } from "./lease.ts";
import { LeavingLeases } from "./leaving.ts";
import type { Observations } from "./observation.ts";
import { ParentWatch } from "./parents.ts";
import { RenewalLoop } from "./renewals.ts";
import { resumableScan } from "./resumable-scan.ts";
import { forEachBounded, type OnLeaseThrottle, PARALLEL_CALLS, Retry } from "./retry.ts";
import { ShardSync, type StreamShards } from "./shard-sync.ts";
import type { Lease, LeaseStore } from "./store.ts";
import { TakeLoop } from "./take-loop.ts";
import { leaseTimes } from "./times.ts";

/** Options of {@link LeaseCoordinator}. */
export interface LeaseCoordinatorOptions {
  /** Unique per process start: see `newWorkerId`. */
  readonly workerId: string;
  /** `leases.failoverTimeMs`. */
  readonly failoverTimeMs: number;
  /** An opened store: see `openLeaseTable`. */
  readonly store: LeaseStore;
  readonly stream: StreamIdentity;
  /** Without it the leases are what others make them: nothing is audited, and garbage stays. */
  readonly shards?: StreamShards | undefined;
  readonly clock: Clock;
  readonly log: Logger;
  /** Kinesis' clock, epoch milliseconds: the local one corrected by what its answers' dates say. */
  readonly kinesisNow: () => number;
  /** A shard may be processed from now on (after {@link LeaseCoordinator.waitForParents}). Never a finished one. */
  readonly onAcquired: (held: HeldLease) => void;
  /** A lease given to `onAcquired` is not ours any more and was not finished; its `lost` signal is aborted. */
  readonly onLost: (held: HeldLease, loss: LeaseLoss) => void;
  /**
   * A lease given to `onAcquired` is to be given up, for an even share: to be resolved when nothing of the shard is in
   * flight and its last checkpoint is stored, or the signal aborts. Then it is released. @default nothing is in flight
   */
  readonly onGiveUp?: ((held: HeldLease, signal: AbortSignal) => Promise<void>) | undefined;
  /** What was seen of the table before the start, by the same clock. @default nothing */
  readonly observations?: Observations | undefined;
  /** Something failed that waiting does not cure; the connector has to stop. */
  readonly onFault: (error: ConnectorError) => void;
  readonly onThrottle?: OnLeaseThrottle | undefined;
  /** Told of each round of taking and renewing. */
  readonly telemetry?: Telemetry | undefined;
}

/** Takes and keeps leases from {@link start} to {@link stop}. */
export class LeaseCoordinator {
  readonly #options: LeaseCoordinatorOptions;
  readonly #retry: Retry;
  readonly #held = new Map<string, HeldLease>();
  readonly #takes: TakeLoop;
  readonly #renewals: RenewalLoop;
  readonly #parents: ParentWatch;
  readonly #leaving: LeavingLeases;
  readonly #sync: ShardSync | undefined;
  readonly #children: ChildLeases;
  readonly #cleanup: Cleanup;
  readonly #stopTaking = new AbortController();
  readonly #stop = new AbortController();
  #hasScanned = false;
  #takeLoop: Promise<void> = Promise.resolve();
  #renewLoop: Promise<void> = Promise.resolve();

  constructor(options: LeaseCoordinatorOptions) {
    this.#options = options;
    // Many shards wait on these at once; Node would call eleven a leak.
    setMaxListeners(0, this.#stopTaking.signal, this.#stop.signal);
    const times = leaseTimes(options.failoverTimeMs);
    this.#retry = new Retry(options);
    this.#leaving = new LeavingLeases({
      ...options,
      retry: this.#retry,
      drain: async (held, signal) => {
        if (!held.isFinished) await options.onGiveUp?.(held, signal);
      },
      stop: this.#stopTaking.signal,
    });
    this.#takes = new TakeLoop({
      ...options,
      times,
      retry: this.#retry,
      held: this.#held,
      leaving: () => this.#leaving.keys,
      take: (row) => this.#take(row),
      onScan: (rows) => this.#look(rows),
      giveAway: (keys) => {
        for (const key of keys) {
          const held = this.#held.get(key); // lost since the scan, perhaps
          if (held !== undefined) this.#leaving.add(held, "others have less than their share");
        }
      },
    });
    this.#parents = new ParentWatch({
      clock: options.clock,
      lookEveryMs: times.scanEveryMs,
      stop: this.#stopTaking.signal,
      row: (shardId) => this.#row(shardId),
      read: (shardIds, signal) => this.#read(shardIds, signal),
    });
    this.#renewals = new RenewalLoop({
      clock: options.clock,
      renewEveryMs: times.renewEveryMs,
      retry: this.#retry,
      held: () => this.#held.values(),
      onFault: options.onFault,
      telemetry: options.telemetry,
    });
    this.#sync = options.shards && new ShardSync({
      ...options,
      shards: options.shards,
      tableName: options.store.tableName,
      scan: (signal) => this.#scan(signal),
      create: (leases, signal) => this.createLeases(leases, signal),
      stop: this.#stop.signal,
    });
    this.#children = new ChildLeases({
      ...options,
      read: (shardIds, signal) => this.#read(shardIds, signal),
      create: (leases, signal) => this.createLeases(leases, signal),
      sync: this.#sync,
    });
    this.#cleanup = new Cleanup({
      ...options,
      times,
      retry: this.#retry,
      sync: this.#sync,
      leases: () => this.leases(),
    });
  }

  /** Starts taking and renewing; the first scan is made at once. */
  start(): void {
    const taking = this.#stopTaking.signal;
    this.#takeLoop = Promise.all([
      this.#guarded(() => this.#takes.run(taking)),
      this.#guarded(() => this.#cleanup.run(taking)),
      this.#guarded(() => this.#audit(taking)),
    ]).then(() => {});
    this.#renewLoop = this.#guarded(() => this.#renewals.run(this.#stop.signal));
  }

  /** Takes no more leases; those it has stay alive, so that they can be drained. */
  async stopTaking(): Promise<void> {
    this.#stopTaking.abort();
    await this.#takeLoop;
    await this.#leaving.settled();
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
    this.#takes.wake();
  }

  /** The leases that are held now, finished ones included. */
  held(): HeldLease[] {
    return [...this.#held.values()];
  }

  /** All rows as the last scan saw them, own ones as they were last written. */
  leases(): Lease[] {
    return [...this.#takes.rows.values()].map((row) => this.#held.get(row.leaseKey)?.lease ?? row);
  }

  /**
   * Writes rows that do not exist yet and looks for them at once. Returns how many were new.
   * Rejects with a ConnectorError that is not retryable, or with the signal's reason.
   */
  async createLeases(leases: readonly Lease[], signal: AbortSignal = this.#stop.signal): Promise<number> {
    const scan = (until: AbortSignal) => this.#scan(until);
    const created = await createRows(leases, { ...this.#options, scan, retry: this.#retry }, signal);
    this.#takes.wakeForChangedRows();
    return created;
  }

  /**
   * Writes the leases that the table lacks; returns how many were new. To be called before {@link start}, later the
   * auditor does it. Rejects with ConnectorErrors, retryable ones too.
   * @param known the rows as they were scanned
   * @param listed all shards, listed since then
   */
  async completeLeases(
    known: readonly Lease[],
    listed: readonly Shard[],
    signal: AbortSignal,
  ): Promise<number> {
    return await this.#sync?.complete(signal, { known, listed }) ?? 0;
  }

  /**
   * Writes the leases of a shard's children, before its SHARD_END is stored. "postponed": of a merge's parents one has
   * no lease yet, or a service does not answer; call again after a while. Rejects with a ConnectorError.
   * @param children none = they have expired or are not known: what descends from it and is listed gets its leases
   */
  async createChildLeases(
    children: readonly ChildShard[],
    signal: AbortSignal = this.#stop.signal,
  ): Promise<"created" | "postponed"> {
    return await this.#children.create(children, signal);
  }

  /**
   * Resolves with true when all parents of a held shard are finished (or have no lease), with false when the lease
   * was lost, released, the signal aborted, or the coordinator stopped. Its last word is a consistent read (G2). Rejects with a
   * ConnectorError that is not retryable.
   */
  waitForParents(held: HeldLease, signal?: AbortSignal): Promise<boolean> {
    return this.#parents.wait(held, signal);
  }

  /** Whatever ends a loop, or a callback that nobody waits for, is a fault. */
  async #guarded(work: () => Promise<void> | void): Promise<void> {
    try {
      await work();
    } catch (error) {
      this.#options.onFault(toConnectorError(error));
    }
  }

  async #audit(signal: AbortSignal): Promise<void> {
    if (this.#sync === undefined) return;
    await new Auditor({
      ...this.#options,
      leases: () => this.#hasScanned ? this.leases() : undefined,
      sync: this.#sync,
      setMeta: async (leaseKey, meta, until) => {
        await this.#retry.run(() => this.#options.store.setMeta(leaseKey, meta), until);
      },
    }).run(signal);
  }

  async #scan(signal: AbortSignal): Promise<readonly Lease[]> {
    const attempt = resumableScan(this.#options.store, { signal, consistent: true });
    const scan = await this.#retry.run(attempt, signal);
    signal.throwIfAborted();
    return scan!.leases;
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
      this.#options.telemetry?.report({ operation: "RenewAllLeases", data: { LostLeases: 1 } });
      this.#options.log.warn(`lost the lease of shard ${held.shardId}: ${loss.reason}${by}`);
      void this.#guarded(() => this.#options.onLost(held, loss));
    },
    finished: (held) => {
      this.#cleanup.add(held);
      this.#parents.ringFor(held.shardId);
      this.wake();
    },
    released: (held) => void this.#forget(held),
    handOverAsked: (held) => this.#leaving.add(held, "another worker of a KCL 3.x fleet is to go on with it"),
  };

  #look(rows: ReadonlyMap<string, Lease>): void {
    this.#hasScanned = true;
    for (const held of this.#held.values()) {
      const row = rows.get(held.shardId);
      if (row !== undefined) held.seen(row);
    }
    this.#parents.ring();
  }

  /** False when it is forgotten already. */
  #forget(held: HeldLease): boolean {
    if (this.#held.get(held.shardId) !== held) return false;
    this.#cleanup.remove(held);
    return this.#held.delete(held.shardId);
  }

  /** The row as this worker last wrote it, or as the last scan saw it. */
  #row(shardId: string): Lease | undefined {
    return this.#held.get(shardId)?.lease ?? this.#takes.rows.get(shardId);
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
