// What a connector counts, as metrics of its registry: hooks add theirs to the same one.

import type { Counter, MetricsRegistry } from "../metrics/registry.ts";

/** Counts since the start, of all shards. */
export interface Totals {
  readonly records: Counter;
  readonly bytes: Counter;
  readonly dropped: Counter;
  /** Stored in the dead-letter topic. */
  readonly deadLettered: Counter;
  readonly checkpoints: Counter;
  readonly failedCheckpoints: Counter;
  /** Messages that a broker had already (effectively once). */
  readonly duplicates: Counter;
  /** Producer names begun (effectively once), by reason. */
  generations(reason: string): Counter;
  /** Of one API. */
  throttles(service: string, operation: string): Counter;
  /** Of all APIs. */
  readonly allThrottles: number;
}

/** The connector's own counters in a registry. */
export function createTotals(metrics: MetricsRegistry): Totals {
  const ofThrottles = new Set<Counter>();
  return {
    records: metrics.counter(
      "records_total",
      {},
      "User records handed to Pulsar, dropped, skipped or dead-lettered",
    ),
    bytes: metrics.counter("bytes_total", {}, "Bytes of their data as read"),
    dropped: metrics.counter(
      "records_dropped_total",
      {},
      "Records that hooks dropped, or failed on and skipped",
    ),
    deadLettered: metrics.counter(
      "records_dead_lettered_total",
      {},
      "Records stored in the dead-letter topic: a hook failed on them, or Pulsar refused them",
    ),
    checkpoints: metrics.counter("checkpoints_total", {}, "Checkpoints stored"),
    failedCheckpoints: metrics.counter(
      "checkpoints_failed_total",
      {},
      "Checkpoints given up after numRetries; the next interval tries again",
    ),
    duplicates: metrics.counter(
      "duplicates_dropped_total",
      {},
      "Messages that were sent again and that the broker had already (effectively once)",
    ),
    generations: (reason) =>
      metrics.counter(
        "generations_total",
        { reason },
        "Producer names and numberings of sequence ids begun for a shard (effectively once)",
      ),
    throttles(service, operation) {
      const counter = metrics.counter("throttles_total", { service, operation }, "Calls that AWS throttled");
      ofThrottles.add(counter);
      return counter;
    },
    get allThrottles() {
      let sum = 0;
      for (const counter of ofThrottles) sum += counter.value;
      return sum;
    },
  };
}
