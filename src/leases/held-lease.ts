// One lease that this worker holds. Invariants: its writes go out one after the other with one counter; it counts as
// renewed only from the moment a write was SENT; once it is not alive it never is again, and writes nothing more.
// (kcl-compat §3.2: conditions test the counter only, so two writes at once would take the lease from ourselves.)

import { setMaxListeners } from "node:events";
import type { Clock } from "../core/clock.ts";
import { ConnectorError, toConnectorError } from "../core/errors.ts";
import { isSameGeneration, type PulsarGeneration, type StoredGeneration } from "../core/generation.ts";
import { type Checkpoint, comparePositions } from "../core/position.ts";
import { mayHaveBeenApplied } from "./errors.ts";
import { isAtLatest, isFinished, ownerOf, type StreamIdentity } from "./lease.ts";
import { toStartedAt } from "./new-leases.ts";
import type { Lease, LeaseChange, LeaseStore } from "./store.ts";

/** Why a lease is not ours any more. */
export interface LeaseLoss {
  /** Not renewed within the failover time; taken (or evicted) by somebody; its row is gone. */
  readonly reason: "expired" | "taken" | "gone";
  /** Who holds it now, if known. */
  readonly owner?: string | undefined;
}

/** What a held lease tells its coordinator; never called from within {@link HeldLease.isAlive}. */
export interface HeldLeaseEvents {
  /** Once, unless it was released. */
  lost(held: HeldLease, loss: LeaseLoss): void;
  /** SHARD_END is stored. */
  finished(held: HeldLease): void;
  /** The owner is removed from its row, or the row is deleted. */
  released(held: HeldLease): void;
  /** A KCL 3.x fleet asks for it: to be drained and released soon. Once. */
  handOverAsked(held: HeldLease): void;
}

/** What all leases of a worker share. */
export interface HeldLeaseOptions {
  readonly store: LeaseStore;
  readonly clock: Clock;
  readonly workerId: string;
  readonly failoverTimeMs: number;
  readonly events: HeldLeaseEvents;
}

/**
 * The generation that a write stores, by the one that the row holds. Asked when the write is made, and again when an
 * unanswered one turns out to have arrived before it; gives the same for what it gave.
 */
export type GenerationUpdate = (stored: StoredGeneration) => PulsarGeneration;

/** What a checkpoint writes beside the position, in the same write. */
export interface CheckpointOptions {
  readonly childShardIds?: readonly string[] | undefined;
  readonly generation?: GenerationUpdate | undefined;
}

/** Options of {@link takeLease}. */
export interface TakeLeaseOptions extends HeldLeaseOptions {
  readonly stream: StreamIdentity;
  /** Kinesis' clock, epoch milliseconds. */
  readonly kinesisNow: () => number;
}

/**
 * Takes a scanned row on condition that its counter is still the same; `undefined` = somebody was faster.
 * Rows of Java connectors get the stream's identity, and a LATEST row the time from which on nothing may be lost.
 */
export async function takeLease(row: Lease, options: TakeLeaseOptions): Promise<HeldLease | undefined> {
  const previous = ownerOf(row);
  const writesStartedAt = isAtLatest(row) && row.startedAt === undefined;
  const sentAt = options.clock.monotonic();
  const result = await options.store.update(row.leaseKey, row.leaseCounter, {
    leaseOwner: options.workerId,
    checkpointOwner: null,
    ownerSwitched: previous !== undefined && previous !== options.workerId,
    ...(row.streamArn === undefined ? { streamArn: options.stream.streamArn } : {}),
    ...(row.streamCreatedAt === undefined ? { streamCreatedAt: options.stream.streamCreatedAt } : {}),
    ...(writesStartedAt ? { startedAt: toStartedAt(options.kinesisNow()) } : {}),
  });
  if (!result.done) return undefined;
  const first = isAtLatest(result.lease) && (row.leaseCounter === 0 || writesStartedAt);
  return new HeldLease(result.lease, sentAt, first, options);
}

/** A shard that this worker may process, until it loses or releases it. Made by {@link takeLease}. */
export class HeldLease {
  readonly shardId: string;
  readonly #options: HeldLeaseOptions;
  readonly #lost = new AbortController();
  #lease: Lease;
  /** When the write by which the lease is ours was sent, monotonic milliseconds. */
  #renewedAt: number;
  /** When the oldest write was sent that nobody has answered: it may have been applied, or may still be. */
  #unansweredSince: number | undefined;
  /** Why it is not alive any more. */
  #end: "lost" | "releasing" | "released" | undefined;
  readonly #connectLatestOnce: boolean;
  /** Its row names us as `checkpointOwner`. */
  #isHandedOver = false;
  #queue: Promise<unknown> = Promise.resolve();

  constructor(lease: Lease, sentAt: number, connectLatestOnce: boolean, options: HeldLeaseOptions) {
    setMaxListeners(0, this.#lost.signal); // everything about the shard hangs on it
    this.shardId = lease.leaseKey;
    this.#lease = lease;
    this.#renewedAt = sentAt;
    this.#connectLatestOnce = connectLatestOnce;
    this.#options = options;
  }

  /** The row as this worker last wrote it. */
  get lease(): Lease {
    return this.#lease;
  }

  /** Aborted soon after the lease was lost; not by a release. */
  get lost(): AbortSignal {
    return this.#lost.signal;
  }

  /** SHARD_END is stored: nothing is left to be read. */
  get isFinished(): boolean {
    return isFinished(this.#lease);
  }

  /**
   * Whether the first connection is to be made at LATEST: this worker is the first that ever reads the shard.
   * Otherwise a row at LATEST goes on AT_TIMESTAMP of `lease.startedAt` (design §6).
   */
  get connectLatestOnce(): boolean {
    // Another worker may read a parent by now, however fresh the read that found none: what arrives since that worker
    // connected is promised. So a shard with parents goes on from `startedAt`, which is before that.
    return this.#connectLatestOnce && isAtLatest(this.#lease) && this.#lease.parentShardIds.length === 0;
  }

  /** When it stops being alive unless renewed, monotonic milliseconds. */
  get expiresAt(): number {
    return this.#renewedAt + this.#options.failoverTimeMs;
  }

  /** When the write was sent by which it counts as renewed, monotonic milliseconds. */
  get renewedAt(): number {
    return this.#renewedAt;
  }

  /** Whether this worker may still act for the shard (G5). Once false, false for ever. */
  isAlive(): boolean {
    if (this.#end !== undefined) return false;
    if (this.#options.clock.monotonic() < this.expiresAt) return true;
    this.#lose({ reason: "expired" });
    return false;
  }

  /** Counts up. Rejects with a ConnectorError when nobody knows whether it did; then call again. */
  renew(): Promise<"renewed" | "lost"> {
    return this.#serially(async () => {
      const written = await this.#write(() => ({}), () => true);
      return written && this.isAlive() ? "renewed" : "lost";
    });
  }

  /**
   * Stores that everything at or before a position is done. The first one removes `startedAt`.
   * Rejects with a ConnectorError (retryable: the same call may be repeated at any time, also when the first was
   * applied after all). A position before the stored one is a defect of the caller (INTERNAL).
   */
  checkpoint(checkpoint: Checkpoint, options: CheckpointOptions = {}): Promise<"stored" | "lost"> {
    return this.#serially(async () => {
      if (!this.isAlive()) return "lost";
      const { childShardIds: children, generation } = options;
      const order = comparePositions(checkpoint, this.#lease.checkpoint);
      if (order < 0) throw this.#backwards(checkpoint);
      const holdsAll = (row: Lease): boolean =>
        comparePositions(row.checkpoint, checkpoint) === 0 &&
        (children === undefined || sameSet(children, row.childShardIds)) && holds(row, generation);
      if (order === 0 && holdsAll(this.#lease)) return "stored";
      const written = await this.#write(
        (row) => ({
          checkpoint,
          ...(children === undefined ? {} : { childShardIds: children }),
          ...(generation === undefined ? {} : { generation: generation(row.generation) }),
          ...(row.startedAt === undefined ? {} : { startedAt: null }),
        }),
        (row) =>
          holdsAll(row) && row.startedAt === undefined ||
          // An unanswered end of the shard has arrived after all: a position is not written over it.
          isFinished(row) && checkpoint.sequenceNumber !== "SHARD_END",
      );
      return written ? "stored" : "lost";
    });
  }

  /**
   * Stores a generation beside the checkpoint as it stands. Rejects with a ConnectorError (retryable: the same call may
   * be repeated at any time).
   */
  storeGeneration(generation: GenerationUpdate): Promise<"stored" | "lost"> {
    return this.#serially(async () => {
      if (!this.isAlive()) return "lost";
      if (holds(this.#lease, generation)) return "stored";
      const written = await this.#write(
        (row) => ({ generation: generation(row.generation) }),
        (row) => holds(row, generation),
      );
      return written ? "stored" : "lost";
    });
  }

  /**
   * Gives the lease up: others may take it at once. To be called when nothing is in flight and the last checkpoint is
   * stored; from then on it is not alive. Rejects with a ConnectorError; may be repeated.
   */
  release(): Promise<"released" | "lost"> {
    return this.#serially(async () => {
      if (this.#end === "released") return "released";
      if (this.#end !== "releasing" && !this.isAlive()) return "lost";
      this.#end = "releasing";
      // On condition of the counter, as every write: a late one must not evict us after we took the lease again.
      // A lease that is handed over has its next owner in the row already (kcl-compat §3.2, evict of 3.x).
      const written = await this.#write(
        () => this.#isHandedOver ? { checkpointOwner: null } : { leaseOwner: null },
        (row) => ownerOf(row) !== this.#options.workerId,
      );
      this.#end = "released";
      this.#options.events.released(this);
      return written ? "released" : "lost";
    });
  }

  /** Deletes its row, which nobody needs any more. Rejects with a ConnectorError; may be repeated. */
  remove(): Promise<"removed" | "lost"> {
    return this.#serially(async () => {
      const { store, clock } = this.#options;
      while (this.isAlive()) {
        const { leaseCounter } = this.#lease;
        const since = this.#unansweredSince ?? clock.monotonic();
        // On condition of the counter: a late one must not delete what was made of the row since (by `leases reset`).
        if (await store.delete(this.shardId, leaseCounter)) {
          this.#end = "released";
          this.#options.events.released(this);
          return "removed";
        }
        this.#adoptLate(await store.get(this.shardId), leaseCounter, since);
      }
      return "lost";
    });
  }

  /**
   * What a scan shows of its row: when somebody else has written it since, it is lost, sooner than by the next write.
   */
  seen(row: Lease): void {
    // A scan may be older than our last write, and our unanswered writes count up too.
    if (row.leaseCounter <= this.#lease.leaseCounter || this.#isOurs(row)) return;
    this.#lose({ reason: "taken", owner: ownerOf(row) });
  }

  /**
   * One conditional write; after a failed condition whatever the row says. True = the row holds what was to be
   * written, false = lost.
   * @param change what to write, by the row as it is known
   * @param isDone whether a row has exactly the values of this change
   */
  async #write(change: (row: Lease) => LeaseChange, isDone: (row: Lease) => boolean): Promise<boolean> {
    const { store, clock } = this.#options;
    for (;;) {
      if (this.#end !== "releasing" && !this.isAlive()) return false;
      const counter = this.#lease.leaseCounter;
      const sentAt = clock.monotonic();
      const since = this.#unansweredSince ??= sentAt;
      try {
        const result = await store.update(this.shardId, counter, {
          ...change(this.#lease),
          ...(this.#isHandedOver ? { whileCheckpointOwner: this.#options.workerId } : {}),
        });
        if (result.done) {
          this.#adopt(result.lease, since);
          return true;
        }
      } catch (thrown) {
        const error = toConnectorError(thrown);
        // A refusal is an answer; only silence leaves a write open.
        if (since === sentAt && !mayHaveBeenApplied(error)) this.#unansweredSince = undefined;
        throw error;
      }
      const row = await store.get(this.shardId);
      if (this.#isAskedFor(row, counter)) continue;
      if (!this.#adoptLate(row, counter, since)) return false;
      if (isDone(this.#lease)) return true;
    }
  }

  /** After a failed condition: an earlier write of ours may have arrived whose answer we never got. False = lost. */
  #adoptLate(row: Lease | undefined, counter: number, since: number): boolean {
    if (row !== undefined && row.leaseCounter === counter + 1 && this.#isOurs(row)) {
      this.#adopt(row, since);
      return true;
    }
    this.#lose(row === undefined ? { reason: "gone" } : { reason: "taken", owner: ownerOf(row) });
    return false;
  }

  /** Whether our writes explain this row: it has our id, or is free because we evicted ourselves. */
  #isOurs(row: Lease): boolean {
    const owner = ownerOf(row);
    return owner === this.#options.workerId || (owner === undefined && this.#end === "releasing");
  }

  /** A hand-over of KCL 3.x began since the last write: it leaves the counter as it is (kcl-compat §3.2). */
  #isAskedFor(row: Lease | undefined, counter: number): boolean {
    if (this.#isHandedOver || row?.leaseCounter !== counter) return false;
    if (row.checkpointOwner !== this.#options.workerId) return false;
    this.#isHandedOver = true;
    this.#lease = row;
    this.#options.events.handOverAsked(this);
    return true;
  }

  #adopt(row: Lease, sentAt: number): void {
    const nowFinished = isFinished(row) && !this.isFinished;
    this.#lease = row;
    this.#renewedAt = sentAt;
    this.#unansweredSince = undefined;
    if (nowFinished) this.#options.events.finished(this);
  }

  #lose(loss: LeaseLoss): void {
    if (this.#end !== undefined) return;
    this.#end = "lost";
    // Later, because isAlive() is asked in the middle of a socket's write.
    queueMicrotask(() => {
      this.#lost.abort();
      this.#options.events.lost(this, loss);
    });
  }

  #backwards(checkpoint: Checkpoint): ConnectorError {
    const { sequenceNumber, subSequenceNumber } = this.#lease.checkpoint;
    return new ConnectorError(
      `checkpoint ${checkpoint.sequenceNumber}/${checkpoint.subSequenceNumber} of shard ${this.shardId} is before ` +
        `the stored ${sequenceNumber}/${subSequenceNumber}; a checkpoint never goes back`,
      {
        code: "INTERNAL",
        where: { table: this.#options.store.tableName, shardId: this.shardId },
      },
    );
  }

  #serially<T>(task: () => Promise<T>): Promise<T> {
    const run = this.#queue.then(task);
    this.#queue = run.catch(() => {}); // the caller of this task hears of it, the next one need not
    return run;
  }
}

function holds({ generation: stored }: Lease, generation: GenerationUpdate | undefined): boolean {
  return generation === undefined || isSameGeneration(stored, generation(stored));
}

function sameSet(a: readonly string[], b: readonly string[]): boolean {
  const set = new Set(a);
  return set.size === new Set(b).size && b.every((value) => set.has(value));
}
