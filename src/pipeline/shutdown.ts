// The end of a connector, in order and in time: stop reading, wait for receipts, store the last checkpoints, give the
// leases up. What does not finish in time stays unfinished in the table too, so the next start reads it again (G1).

import type { Clock } from "../core/clock.ts";
import { toConnectorError } from "../core/errors.ts";
import type { Logger } from "../core/log.ts";
import type { LeaseCoordinator } from "../leases/coordinator.ts";
import type { MessageSink } from "../pulsar/sink.ts";
import type { ShardConsumer } from "./shard-consumer.ts";

/** What is to be ended. */
export interface DrainOptions {
  readonly clock: Clock;
  readonly log: Logger;
  readonly shutdownTimeoutMs: number;
  /** After a failure receipts are waited for only shortly: some may never come. */
  readonly failed: boolean;
  readonly running: readonly { readonly consumer: ShardConsumer; readonly done: Promise<void> }[];
  readonly sink: MessageSink | undefined;
  readonly coordinator: LeaseCoordinator | undefined;
  /** Aborted by the caller when the time is over, and here when all is done. */
  readonly stopNow: AbortController;
  /** The onStop hooks. */
  readonly onStop: () => Promise<void>;
}

// Of the time for a stop, this part is for receipts; the rest for the last checkpoints and for releasing leases.
const PART_FOR_RECEIPTS = 0.8;
const FAILED_DRAIN_MS = 5_000;

/** Options of {@link drainShard}. */
export interface DrainShardOptions {
  readonly clock: Clock;
  readonly shutdownTimeoutMs: number;
  readonly sink: MessageSink;
  /** Ends it at once. */
  readonly signal: AbortSignal;
}

/**
 * Ends one shard while the others go on, so that its lease can be given up. What is not acknowledged in time is read
 * again by the next owner. Rejects with a ConnectorError that no repeating cures.
 */
export async function drainShard(
  { consumer, done }: { readonly consumer: ShardConsumer; readonly done: Promise<void> },
  { clock, shutdownTimeoutMs, sink, signal }: DrainShardOptions,
): Promise<void> {
  consumer.stop();
  sink.flush();
  const over = new AbortController();
  const inTime = clock.sleep(shutdownTimeoutMs * PART_FOR_RECEIPTS, AbortSignal.any([over.signal, signal]));
  await Promise.race([done.then(() => consumer.delivery.settled(signal)), inTime]);
  over.abort();
  if (signal.aborted) return; // the stop goes on with it
  await consumer.checkpoints.store("stop", signal);
  if (signal.aborted) return;
  consumer.delivery.abandon();
}

/** Ends it, once all consumers were asked to stop; returns the shards that were not drained or whose last checkpoint could not be stored. */
export async function drainAndRelease(options: DrainOptions): Promise<string[]> {
  const { clock, log, shutdownTimeoutMs, running, sink, coordinator, stopNow } = options;
  const inTime = (work: Promise<unknown>, ms: number): Promise<unknown> =>
    Promise.race([work, clock.sleep(ms, stopNow.signal)]);

  const taking = coordinator?.stopTaking();
  sink?.flush();
  const receipts = shutdownTimeoutMs * PART_FOR_RECEIPTS;
  const drained = Promise.all(
    running.map(({ consumer, done }) => done.then(() => consumer.delivery.settled(stopNow.signal))),
  );
  await inTime(drained, options.failed ? Math.min(receipts, FAILED_DRAIN_MS) : receipts);
  const stored = running.map(({ consumer: { shardId, checkpoints } }) =>
    checkpoints.store("stop", stopNow.signal).catch((error: unknown) =>
      log.warn(`the last checkpoint of shard ${shardId} failed: ${toConnectorError(error).message}`)
    )
  );
  await inTime(Promise.all(stored), shutdownTimeoutMs);
  const undrained = running.flatMap(({ consumer }) => consumer.isClean ? [] : [consumer.shardId]);
  for (const { consumer } of running) consumer.delivery.abandon();
  await inTime(Promise.resolve(taking).then(() => coordinator?.releaseAll()), shutdownTimeoutMs);
  await inTime(Promise.all(running.map(({ consumer }) => consumer.checkpoints.told())), shutdownTimeoutMs);
  await inTime(options.onStop(), shutdownTimeoutMs);
  stopNow.abort();
  return undrained;
}
