// What a connector counts, as metrics of its registry: hooks add theirs to the same one.

import type { Counter, MetricsRegistry } from "../metrics/registry.ts";

/** Counts since the start, of all shards. */
export interface Totals {
  readonly records: Counter;
  readonly bytes: Counter;
  readonly dropped: Counter;
  readonly checkpoints: Counter;
  readonly failedCheckpoints: Counter;
  /** Of one API. */
  throttles(service: string, operation: string): Counter;
  /** Of all APIs. */
  readonly allThrottles: number;
}

/** The connector's own counters in a registry. */
export function createTotals(metrics: MetricsRegistry): Totals {
  const ofThrottles = new Set<Counter>();
  return {
    records: metrics.counter("records_total", {}, "User records handed to Pulsar, dropped or skipped"),
    bytes: metrics.counter("bytes_total", {}, "Bytes of their data as read"),
    dropped: metrics.counter(
      "records_dropped_total",
      {},
      "Records that hooks dropped, or failed on and skipped",
    ),
    checkpoints: metrics.counter("checkpoints_total", {}, "Checkpoints stored"),
    failedCheckpoints: metrics.counter(
      "checkpoints_failed_total",
      {},
      "Checkpoints given up after numRetries; the next interval tries again",
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
