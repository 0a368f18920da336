// What rooms that may not import each other tell of their work: one report per finished operation (a page, a round of
// the lease loop, a call to AWS), never one per record. The words are the Kinesis Client Library's (kcl-compat §7), so
// that its dashboards go on; who listens (counters, health, CloudWatch) decides what becomes of a report.

import type { Clock } from "./clock.ts";
import { ConnectorError } from "./errors.ts";

/** The KCL's `Operation` dimension. */
export type OperationName =
  /** One page of one shard, from its read to its records' hand-over. */
  | "ProcessTask"
  /** All shards of the stream. */
  | "ApplicationTracker"
  /** The start of a shard's consumer. */
  | "InitializeTask"
  /** A shard's end. What is missing of a merge is told without the shard, as by the KCL. */
  | "ShutdownTask"
  | "BlockOnParentShardTask"
  /** Writing leases for listed shards. */
  | "ShardSyncTask"
  /** The audit for holes. */
  | "PeriodicShardSyncManager"
  /** A round of renewals. */
  | "RenewAllLeases"
  /** A scan of the table and the takes that follow. */
  | "TakeLeases";

/** One finished operation, or one step of it. */
export interface OperationReport {
  readonly operation: OperationName;
  /**
   * What within it was done, e.g. `KinesisDataFetcher.getRecords`, `RenewLease`, `UpdateLease`, `ListLeases`,
   * `RecordProcessor.processRecords`. Absent = the operation itself.
   */
  readonly step?: string | undefined;
  readonly shardId?: string | undefined;
  /** Milliseconds; becomes `Time`. */
  readonly durationMs?: number | undefined;
  /** Becomes `Success`, 0 or 1. */
  readonly success?: boolean | undefined;
  /** Why it did not succeed, where that is known. */
  readonly error?: ConnectorError | undefined;
  /** Further data by their KCL names, e.g. `{ RecordsProcessed: 12, MillisBehindLatest: 0 }`. */
  readonly data?: Readonly<Record<string, number>> | undefined;
}

/** Listens to reports. It never throws and never makes its caller wait. */
export interface Telemetry {
  report(report: OperationReport): void;
}

/** Calls something and reports how long it took and whether it succeeded. */
export async function measured<T>(
  { telemetry, clock }: { readonly telemetry?: Telemetry | undefined; readonly clock: Clock },
  what: Pick<OperationReport, "operation" | "step" | "shardId">,
  call: () => Promise<T>,
): Promise<T> {
  if (telemetry === undefined) return await call();
  const startedAt = clock.monotonic();
  try {
    const result = await call();
    telemetry.report({ ...what, durationMs: clock.monotonic() - startedAt, success: true });
    return result;
  } catch (thrown) {
    const error = thrown instanceof ConnectorError ? thrown : undefined;
    telemetry.report({ ...what, durationMs: clock.monotonic() - startedAt, success: false, error });
    throw thrown;
  }
}
