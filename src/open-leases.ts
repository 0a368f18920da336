// From a configuration to its lease table and its stream, for the commands that look at leases or change them while no
// connector runs. Beside create-connector.ts, and as that the only place that knows the rooms it puts together.

import { setMaxListeners } from "node:events";
import { awsAccess, openLeaseStore } from "./aws-access.ts";
import type { Config } from "./config/mod.ts";
import type { Clock } from "./core/clock.ts";
import { ConnectorError } from "./core/errors.ts";
import type { Logger } from "./core/log.ts";
import type { LeaseParts } from "./pipeline/lease-parts.ts";
import { type LeaseReport, leaseReport, type LeaseReportOptions } from "./pipeline/lease-report.ts";
import {
  type ReleasedRow,
  releaseLeases,
  resetLeases,
  type ResetOptions,
  type ResetRow,
} from "./pipeline/lease-reset.ts";

export type { LeaseLine, LeaseReport, OwnerLine } from "./pipeline/lease-report.ts";
export type { ReleasedRow, ResetRow } from "./pipeline/lease-reset.ts";
export type { ResetPosition } from "./pipeline/lease-targets.ts";

/** What the commands do; each as in pipeline/. */
export interface Leases {
  readonly tableName: string;
  report(options: LeaseReportOptions): Promise<LeaseReport>;
  reset(options: ResetOptions): Promise<ResetRow[]>;
  release(options: Omit<ResetOptions, "position">): Promise<ReleasedRow[]>;
  close(): Promise<void>;
}

/** What {@link openLeases} needs beside a configuration. */
export interface OpenLeasesOptions {
  readonly log: Logger;
  readonly clock: Clock;
  /** Ends what is under way. */
  readonly signal: AbortSignal;
}

/**
 * Opens both; nothing is asked of AWS yet.
 * @throws ConnectorError CONFIG_INVALID when leases are not kept in DynamoDB; those of credentials
 */
export async function openLeases(config: Config, options: OpenLeasesOptions): Promise<Leases> {
  const { log, clock } = options;
  if (config.leases.store === "memory") {
    throw new ConnectorError(
      'leases.store = "memory": these leases live inside a running connector and end with it; there is no table to look ' +
        'at. Its shards are in its status; a table comes with leases.store = "dynamodb"',
      { code: "CONFIG_INVALID", where: { key: "leases.store" } },
    );
  }
  setMaxListeners(0, options.signal); // twenty calls wait on it at once
  const aws = awsAccess(config, clock, log);
  const { openStreamPeek } = await import("./kinesis/peek.ts");
  const store = await openLeaseStore(config, aws, clock);
  const stream = await openStreamPeek({
    clientConfig: await aws("kinesis", { maxAttempts: 1 }),
    streamName: config.awsKinesisStreamName,
    streamArn: config.kinesis.streamArn,
    backoffTimeMs: config.backoffTime,
    clock,
    log,
  });
  const parts: LeaseParts = {
    ...options,
    store,
    stream,
    streamName: config.awsKinesisStreamName,
    failoverTimeMs: config.leases.failoverTimeMs,
    startAtTime: config.startAtTime,
  };
  return {
    tableName: store.tableName,
    report: (how) => leaseReport(parts, how),
    reset: (how) => resetLeases(parts, how),
    release: (how) => releaseLeases(parts, how),
    close: async () => {
      await store.close();
      await stream.close();
    },
  };
}
