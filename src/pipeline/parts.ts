// What a connector is put together from (create-connector.ts does it; tests give their own).

import type { Clock } from "../core/clock.ts";
import type { ConnectorError } from "../core/errors.ts";
import type { Logger } from "../core/log.ts";
import type { Shard } from "../core/shard.ts";
import type { Telemetry } from "../core/telemetry.ts";
import type { HookChain } from "../hooks/chain.ts";
import type { OnThrottle, RecordSource } from "../kinesis/source.ts";
import type { LeaseCoordinator } from "../leases/coordinator.ts";
import type { LeaseStore } from "../leases/store.ts";
import type { HttpEndpoint, Observed } from "../metrics/http.ts";
import type { MetricsPublisher } from "../metrics/publisher.ts";
import type { MetricSnapshot, MetricsRegistry } from "../metrics/registry.ts";
import type { MessageSink, SinkEvents } from "../pulsar/sink.ts";
import type { DeadLetters } from "./dead-letter.ts";
import type { Emitter } from "./events.ts";
import type { ReadBudget } from "./read-budget.ts";
import type { OnceSettings } from "./shard-generation.ts";
import type { Totals } from "./totals.ts";

/** Where a connector without checkpoints begins. */
export type InitialPosition =
  | { readonly type: "LATEST" }
  | { readonly type: "TRIM_HORIZON" }
  | { readonly type: "AT_TIMESTAMP"; readonly timestamp: number };

/** The stream, as its service describes it. */
export interface StreamDescription {
  readonly streamName: string;
  readonly streamArn: string;
  /** Epoch milliseconds. */
  readonly streamCreatedAt: number;
  /** What producers may put at most, where that is known. */
  readonly maxRecordBytes?: number | undefined;
}

/** The Kinesis side of a connector. */
export interface KinesisStream {
  /** @throws ConnectorError STREAM_NOT_FOUND, ACCESS_DENIED, CREDENTIALS_INVALID, retryable ones … */
  describe(signal: AbortSignal): Promise<StreamDescription>;
  /** Shards that hold something at or after a position; all that exist without one. */
  listShards(position: InitialPosition | undefined, signal: AbortSignal): Promise<Shard[]>;
  /** How long the stream keeps records at present, milliseconds. One call; rejects with ConnectorError. */
  retention?(signal: AbortSignal): Promise<number>;
  /** Kinesis' clock, epoch milliseconds, rounded down to the second. */
  now(): number;
  /** To be called after describe(). @throws ConnectorError as describe() */
  openSource(signal: AbortSignal): RecordSource | Promise<RecordSource>;
  close(): Promise<void>;
}

/** What makes the parts; each is called once. */
export interface ConnectorParts {
  readonly clock: Clock;
  readonly log: Logger;
  readonly metrics: MetricsRegistry;
  openKinesis(onThrottle: OnThrottle, telemetry: Telemetry): Promise<KinesisStream>;
  openLeaseStore(): Promise<LeaseStore>;
  openSink(events: SinkEvents): Promise<MessageSink>;
  /** @param signal aborted when the connector stops at once */
  openHooks(signal: AbortSignal): Promise<HookChain>;
  /** Under effectively-once: asked once, when the hooks are open. */
  readonly once?: (() => Promise<OnceSettings>) | undefined;
  /** Answers who asks over HTTP; undefined = nobody is to be answered. @throws ConnectorError CONFIG_INVALID */
  readonly openHttp?: ((observed: Observed) => Promise<HttpEndpoint>) | undefined;
  /** Sends what is reported elsewhere; undefined = nowhere. */
  readonly openPublisher?:
    | ((workerId: string, onThrottle: OnThrottle) => Promise<MetricsPublisher>)
    | undefined;
  /** Of this process, for `/metrics`. */
  readonly processMetrics?: (() => readonly MetricSnapshot[]) | undefined;
  /** An id that no process has had before. @default `host:pid:random` */
  readonly newWorkerId?: (() => string) | undefined;
}

/** The settings of a connector, units in the names. */
export interface ConnectorOptions {
  readonly streamName: string;
  /** The topic that is opened at the start, so that what is wrong with it is said then. */
  readonly topic: string;
  /** Full name; opened at the start, too. */
  readonly deadLetterTopic?: string | undefined;
  readonly initialPosition: InitialPosition;
  /** Whether `applicationName` or `leases.table` was given. */
  readonly tableWasChosen: boolean;
  readonly failoverTimeMs: number;
  readonly checkpointIntervalMs: number;
  readonly backoffTimeMs: number;
  readonly numRetries: number;
  readonly receiveQueueSize: number;
  readonly maxBufferedBytes: number;
  readonly shutdownTimeoutMs: number;
  /** After so long without progress a shard's reader is opened anew, milliseconds. @default 300000 */
  readonly stallTimeoutMs?: number | undefined;
  /** Ends by itself when every shard is past this time, epoch milliseconds. */
  readonly until?: number | undefined;
}

/** What all consumers of a connector share. */
export interface ConsumerParts {
  readonly streamName: string;
  readonly startAtTime: number | undefined;
  readonly until: number | undefined;
  readonly numRetries: number;
  readonly backoffTimeMs: number;
  readonly tableName: string;
  readonly clock: Clock;
  readonly log: Logger;
  readonly budget: ReadBudget;
  readonly source: RecordSource;
  readonly kinesisNow: () => number;
  /** How long the stream keeps records, milliseconds; undefined until known. */
  readonly retentionMs: () => number | undefined;
  readonly telemetry: Telemetry;
  readonly sink: MessageSink;
  readonly hooks: HookChain;
  /** Set under effectively-once. */
  readonly once: OnceSettings | undefined;
  readonly deadLetters: DeadLetters | undefined;
  readonly events: Emitter;
  readonly totals: Totals;
  readonly leases: Pick<LeaseCoordinator, "waitForParents" | "createChildLeases">;
  readonly onThrottle: OnThrottle;
  readonly onFault: (error: ConnectorError) => void;
}
