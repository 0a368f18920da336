// What the producers of one sink share: time, limits, where brokers are found, and whom they tell what.

import type { Backoff } from "../core/backoff.ts";
import type { Clock } from "../core/clock.ts";
import type { BatchBuilder } from "./batcher.ts";
import type { Batching } from "./batch-timer.ts";
import type { DeduplicationProofs } from "./deduplication-proof.ts";
import type { ClientIds } from "./ids.ts";
import type { Lookup } from "./lookup.ts";
import type { OnceHistory } from "./once-guard.ts";
import type { SinkEvents } from "./sink.ts";
import type { Codec } from "./wire/codec.ts";
import type { BufferSource } from "./wire/entry.ts";

/** What a producer under effectively once is, beside its topic. */
export interface OnceProducer {
  /** See OnceIdentity.producerName. */
  readonly producerName: string;
  readonly history: OnceHistory;
}

/** See the file's header. */
export interface ProducerContext {
  readonly clock: Clock;
  readonly events: SinkEvents;
  readonly ids: ClientIds;
  readonly buffers: BufferSource;
  readonly backoff: Backoff;
  readonly batchMaxMessages: number;
  readonly batchMaxBytes: number;
  /** Compresses entries. */
  readonly codec: Codec | undefined;
  /** For producers without {@link OnceProducer}. */
  readonly batchBuilder: BatchBuilder;
  /** What is known about deduplication, for producers with it. */
  readonly proofs: DeduplicationProofs;
  /** Whether messages of a concrete topic that are larger than its broker takes go in chunks. */
  isChunked(topic: string): boolean;
  /** Aborted when the sink closes. */
  readonly signal: AbortSignal;
  /** Lookups at a service URL; the configured one when none is given. */
  lookup(serviceUrl?: string): Lookup;
  /** This many messages are not pending any more. */
  finished(count: number): void;
  /** A producer has nothing pending any more. */
  idle(): void;
  /** A batch was opened: it is to be sealed after the batch delay. */
  batchOpened(batching: Batching): void;
  /** …or before. */
  batchClosed(batching: Batching): void;
}
