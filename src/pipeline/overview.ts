// What a connector knows and shows of itself: status, health, metrics. Listens to what the rooms report and passes it to
// the counters, the health, and whoever else wants it; decides nothing about the flow but which reader stands still.

import type { ConnectorError } from "../core/errors.ts";
import type { OperationReport, Telemetry } from "../core/telemetry.ts";
import { countCalls } from "../metrics/call-counters.ts";
import type { MetricSnapshot } from "../metrics/registry.ts";
import { type ConnectorHealth, Health } from "./health.ts";
import type { Opened } from "./opening.ts";
import type { ConnectorOptions, ConnectorParts } from "./parts.ts";
import type { ReadBudget } from "./read-budget.ts";
import { Retention } from "./retention.ts";
import type { ShardConsumer } from "./shard-consumer.ts";
import { StallWatch } from "./stall-watch.ts";
import type { ConnectorStatus } from "./status.ts";
import { statusMetrics } from "./status-metrics.ts";
import type { Totals } from "./totals.ts";

/** What is looked at. */
export interface OverviewOptions {
  readonly parts: ConnectorParts;
  readonly options: ConnectorOptions;
  readonly totals: Totals;
  readonly budget: ReadBudget;
  readonly opened: Opened;
  readonly consumers: () => readonly ShardConsumer[];
}

const STALL_TIMEOUT_MS = 300_000;

/** Of one connector. */
export class Overview {
  readonly health: Health;
  readonly retention = new Retention();
  readonly stalls: StallWatch;
  /** What the rooms report to. */
  readonly telemetry: Telemetry;
  /** Why the connector ended. */
  failure: ConnectorError | undefined;
  readonly #options: OverviewOptions;

  constructor(overview: OverviewOptions) {
    const { parts, options, consumers, opened } = overview;
    this.#options = overview;
    const health = this.health = new Health(parts.clock, options.failoverTimeMs);
    const calls = countCalls(parts.metrics);
    this.telemetry = {
      report(report: OperationReport): void {
        health.report(report);
        calls.report(report);
        opened.publisher?.report(report);
      },
    };
    const timeoutMs = options.stallTimeoutMs ?? STALL_TIMEOUT_MS;
    this.stalls = new StallWatch({ ...parts, health, timeoutMs, consumers });
  }

  status(state: ConnectorStatus["state"]): ConnectorStatus {
    const { totals, budget, opened, consumers, options } = this.#options;
    const shards = consumers().map((consumer) => consumer.status());
    const lags = shards.flatMap(({ millisBehindLatest }) => millisBehindLatest ?? []);
    return {
      state,
      streamName: options.streamName,
      shards,
      records: totals.records.value,
      bytes: totals.bytes.value,
      dropped: totals.dropped.value,
      deadLettered: totals.deadLettered.value,
      duplicates: totals.duplicates.value,
      checkpoints: totals.checkpoints.value,
      failedCheckpoints: totals.failedCheckpoints.value,
      throttles: totals.allThrottles,
      readerRestarts: this.stalls.restarts,
      leases: opened.coordinator?.held().length ?? 0,
      bufferedBytes: budget.bytes,
      pendingMessages: opened.sink?.pending ?? 0,
      millisBehindLatest: lags.length === 0 ? undefined : Math.max(...lags),
    };
  }

  healthAt(state: ConnectorStatus["state"]): ConnectorHealth {
    return this.health.at(state, this.failure);
  }

  metrics(state: ConnectorStatus["state"]): MetricSnapshot[] {
    const { metrics, processMetrics } = this.#options.parts;
    const own = statusMetrics(this.status(state), this.healthAt(state));
    const names = new Set(own.map(({ name }) => name)); // of a hook's metric with such a name nothing is shown
    const counted = metrics.snapshot().filter(({ name }) => !names.has(name));
    return [...own, ...counted, ...processMetrics?.() ?? []].sort((a, b) => a.name < b.name ? -1 : 1);
  }
}
