// The checkpoints of one shard: one write at a time, each followed by its hooks and events in order. Hooks are told
// outside of the writes, so that a slow one holds no checkpoint up.

import { toConnectorError } from "../core/errors.ts";
import { type Checkpoint, type Position, sentinel } from "../core/position.ts";
import type { CheckpointEvent } from "../hooks/types.ts";
import type { CheckpointOptions, HeldLease } from "../leases/held-lease.ts";
import { storeCheckpoint } from "./checkpoints.ts";
import type { ConsumerParts } from "./parts.ts";
import type { ShardDelivery } from "./shard-delivery.ts";
import type { ShardGeneration } from "./shard-generation.ts";

/** Stores how far a shard is finished. */
export class ShardCheckpoints {
  readonly #lease: HeldLease;
  readonly #delivery: ShardDelivery;
  readonly #parts: ConsumerParts;
  /** Under effectively-once. */
  readonly #generation: ShardGeneration | undefined;
  #writing: Promise<unknown> = Promise.resolve();
  #telling: Promise<void> = Promise.resolve();
  #stored: Position | undefined;
  #untold = { records: 0, bytes: 0 };
  #upToDateAt: number;

  constructor(
    lease: HeldLease,
    delivery: ShardDelivery,
    parts: ConsumerParts,
    generation?: ShardGeneration,
  ) {
    this.#lease = lease;
    this.#delivery = delivery;
    this.#parts = parts;
    this.#generation = generation;
    this.#upToDateAt = parts.clock.monotonic();
  }

  /** Everything that is finished is stored. */
  get isUpToDate(): boolean {
    return this.#delivery.finished === this.#stored;
  }

  /**
   * When a checkpoint was last stored, or looked for and found up to date; before that when the lease was taken.
   * Monotonic milliseconds.
   */
  get upToDateAt(): number {
    return this.#upToDateAt;
  }

  /** Stores every `intervalMs` until the signal aborts. Rejects with what no repeating cures. */
  async storeRegularly(intervalMs: number, signal: AbortSignal): Promise<void> {
    for (;;) {
      await this.#parts.clock.sleep(intervalMs, signal);
      if (signal.aborted) return;
      await this.store("interval", signal);
    }
  }

  /** Stores how far everything is finished, unless that is stored already. Rejects with what no repeating cures. */
  store(reason: "interval" | "stop", signal: AbortSignal): Promise<void> {
    return this.#oneAtATime(async () => {
      const position = this.#delivery.finished;
      if (this.#lease.isFinished) return;
      const generation = this.#generation;
      const drained = reason === "stop" && generation?.isDrained === true;
      if (position === undefined || position === this.#stored) {
        await generation?.storeMarks(drained, signal);
        this.#upToDateAt = this.#parts.clock.monotonic();
        return;
      }
      const update = generation?.atCheckpoint(position, this.#delivery.finishedFollowing!, drained);
      if (!await this.#write(position, reason, this.#parts.numRetries, signal, { generation: update })) {
        return;
      }
      this.#stored = position;
    });
  }

  /**
   * Stores the shard's end, tried for as long as the lease is ours: without it the children never start.
   * False = the lease is lost or the signal aborted.
   */
  storeEnd(childShardIds: readonly string[], signal: AbortSignal): Promise<boolean> {
    return this.#oneAtATime(() =>
      this.#write(sentinel("SHARD_END"), "shard-end", Infinity, signal, { childShardIds })
    );
  }

  /** Resolves when all hooks and listeners have been told of what is stored. */
  told(): Promise<void> {
    return this.#telling;
  }

  #oneAtATime<T>(task: () => Promise<T>): Promise<T> {
    const run = this.#writing.then(task);
    this.#writing = run.catch(() => {}); // the caller of this task hears of it
    return run;
  }

  async #write(
    checkpoint: Checkpoint,
    reason: CheckpointEvent["reason"],
    numRetries: number,
    signal: AbortSignal,
    options: CheckpointOptions,
  ): Promise<boolean> {
    const { streamName, totals } = this.#parts;
    const { shardId } = this.#lease;
    const counts = this.#delivery.takeCounts();
    this.#untold.records += counts.records;
    this.#untold.bytes += counts.bytes;
    const target = {
      shardId,
      checkpoint: (position: Checkpoint) => this.#lease.checkpoint(position, options),
    };
    const result = await storeCheckpoint(target, checkpoint, { ...this.#parts, numRetries, signal });
    if (result !== "stored") {
      if (result === "failed") totals.failedCheckpoints.add();
      return false;
    }
    totals.checkpoints.add();
    this.#upToDateAt = this.#parts.clock.monotonic();
    this.#tell({ streamName, shardId, ...checkpoint, ...this.#untold, reason });
    this.#untold = { records: 0, bytes: 0 };
    return true;
  }

  #tell(event: CheckpointEvent): void {
    const { hooks, events, onFault } = this.#parts;
    this.#telling = this.#telling.then(async () => {
      await hooks.checkpoint(event);
      events.emit("checkpoint", event);
    }).catch((error) => onFault(toConnectorError(error)));
  }
}
