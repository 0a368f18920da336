#!/usr/bin/env -S deno run -A
// kinesis-pulsar copies Amazon Kinesis data streams into Apache Pulsar topics. Public names of the library; run
// directly (Deno), this file is the command line program.

export { createConnector } from "./src/create-connector.ts";
export type { CreateConnectorOptions } from "./src/create-connector.ts";
export type { Connector, ConnectorResult } from "./src/pipeline/connector.ts";
export type { ConnectorEvents } from "./src/pipeline/events.ts";
export type { ConnectorHealth, HealthState } from "./src/pipeline/health.ts";
export type { ConnectorStatus, ShardState, ShardStatus } from "./src/pipeline/status.ts";
export type { MetricSnapshot, SeriesSnapshot } from "./src/metrics/registry.ts";
export { loadConfigFile } from "./src/config/mod.ts";
export type { Config, ConfigInput } from "./src/config/mod.ts";
export { ConnectorError } from "./src/core/errors.ts";
export type { ErrorCode, ErrorWhere } from "./src/core/errors.ts";
export type { LogFields, Logger } from "./src/core/log.ts";
export type { EncryptionType } from "./src/core/record.ts";
export { defineHooks } from "./src/hooks/define.ts";
export type {
  CheckpointEvent,
  ErrorEvent,
  HookContext,
  HookMetrics,
  HookResult,
  Hooks,
  KinesisRecord,
  MaybePromise,
  MessageData,
  OutgoingMessage,
  ShardEndEvent,
  ShardStartEvent,
  StopEvent,
  ThrottleHookEvent,
} from "./src/hooks/types.ts";

if (import.meta.main) await import("./src/cli/main.ts");
