// Storing a shard's checkpoint with the connector's patience: `numRetries` further tries, `backoffTime` apart; then
// the next interval tries. Only what `InFlight` calls finished is ever stored (G1).

import type { Clock } from "../core/clock.ts";
import { type ConnectorError, toConnectorError } from "../core/errors.ts";
import type { Logger } from "../core/log.ts";
import type { Checkpoint } from "../core/position.ts";
import type { OnThrottle } from "../kinesis/source.ts";

// Between tries without end.
const LEAST_DELAY_MS = 100;

/** What a checkpoint is stored in: a held lease. */
export interface CheckpointTarget {
  readonly shardId: string;
  checkpoint(checkpoint: Checkpoint): Promise<"stored" | "lost">;
}

/** Options of {@link storeCheckpoint}. */
export interface StoreCheckpointOptions {
  readonly clock: Clock;
  readonly log: Logger;
  /** Tries after the first; Infinity for a shard's end, which nothing may lose. */
  readonly numRetries: number;
  readonly backoffTimeMs: number;
  readonly onThrottle: OnThrottle;
  readonly tableName: string;
  /** Ends the waiting between tries. */
  readonly signal: AbortSignal;
}

/**
 * Stores one checkpoint. "failed" = given up for now, said in the log.
 * @throws ConnectorError that no repeating cures (ACCESS_DENIED …)
 */
export function storeCheckpoint(
  target: CheckpointTarget,
  checkpoint: Checkpoint,
  options: StoreCheckpointOptions,
): Promise<"stored" | "lost" | "failed"> {
  return storePatiently(() => target.checkpoint(checkpoint), "the checkpoint", target.shardId, options);
}

/**
 * A write to a shard's row, tried again as a checkpoint is.
 * @param what is stored, for the log
 * @throws ConnectorError that no repeating cures (ACCESS_DENIED …)
 */
export async function storePatiently(
  write: () => Promise<"stored" | "lost">,
  what: string,
  shardId: string,
  options: StoreCheckpointOptions,
): Promise<"stored" | "lost" | "failed"> {
  const { clock, log, numRetries, signal } = options;
  for (let attempt = 1;; attempt++) {
    let error: ConnectorError;
    try {
      return await write();
    } catch (thrown) {
      error = toConnectorError(thrown);
    }
    if (!error.retryable) throw error;
    const last = attempt > numRetries;
    const delayMs = await delayAfter(error, attempt, shardId, options);
    const failed = `${what} of shard ${shardId} could not be stored in table "${options.tableName}" ` +
      `(${attempt === 1 ? "1 try" : `${attempt} tries`}): ${error.message}`;
    if (last || signal.aborted) {
      log.warn(`${failed}; the next checkpoint tries again`);
      return "failed";
    }
    if (numRetries === Infinity) log.warn(`${failed}; trying again in ${delayMs} ms`); // it may hold a shard up for long
    await clock.sleep(delayMs, signal);
  }
}

async function delayAfter(
  error: ConnectorError,
  attempt: number,
  shardId: string,
  { backoffTimeMs, onThrottle, numRetries }: StoreCheckpointOptions,
): Promise<number> {
  // `backoffTime` = 0 means "at once", for a few tries.
  const delayMs = numRetries === Infinity ? Math.max(backoffTimeMs, LEAST_DELAY_MS) : backoffTimeMs;
  if (error.code !== "THROTTLED") return delayMs;
  const event = {
    service: "dynamodb",
    operation: "UpdateItem",
    shardId,
    attempt,
    delayMs,
  } as const;
  return await onThrottle(event) ?? delayMs;
}
