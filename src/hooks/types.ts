// The public types of hook scripts (exported by mod.ts).

import type { Logger } from "../core/log.ts";
import type { EncryptionType } from "../core/record.ts";
import type { ConnectorError } from "../core/errors.ts";

/** Anything that may be awaited. */
export type MaybePromise<T> = T | Promise<T>;

/** What a hook may give as payload: bytes, a string (sent as UTF-8), or a plain object or array (sent as JSON). */
export type MessageData = Uint8Array | string | { readonly [key: string]: unknown } | readonly unknown[];

/** A message for Pulsar. Only `data` is required; the others default to none, `topic` to `pulsar.topic`. */
export interface OutgoingMessage {
  readonly data: MessageData;
  readonly key?: string | undefined;
  readonly orderingKey?: string | Uint8Array | undefined;
  readonly properties?: Readonly<Record<string, string>> | undefined;
  /** Epoch milliseconds or Date. */
  readonly eventTime?: number | Date | undefined;
  readonly topic?: string | undefined;
  /** Epoch milliseconds or Date; honoured by Shared subscriptions. */
  readonly deliverAt?: number | Date | undefined;
}

/** A Kinesis record as hooks see it. A later script of a chain sees what the one before made of it. */
export interface KinesisRecord {
  /** The payload as it now stands. To change it, give a copy: a dead letter would hold these bytes. */
  readonly data: Uint8Array;
  readonly partitionKey: string;
  readonly sequenceNumber: string;
  /** Index inside a KPL aggregate, 0 for plain records. */
  readonly subSequenceNumber: number;
  readonly shardId: string;
  readonly streamName: string;
  readonly approximateArrivalTimestamp: Date;
  readonly encryptionType: EncryptionType;
  readonly millisBehindLatest: number;
  /** The message that will be published if the hook returns nothing. */
  readonly message: OutgoingMessage & { readonly data: Uint8Array };
  /** `data` as UTF-8 text. */
  text(): string;
  /** `data` parsed as JSON. Throws SyntaxError. */
  json<T = unknown>(): T;
}

/** `undefined` = publish as it stands, `null` = drop, a message, or several. */
export type HookResult = OutgoingMessage | readonly OutgoingMessage[] | null | undefined | void;

/** Counters and gauges that a hook may keep; they appear beside the connector's own. */
export interface HookMetrics {
  /** Adds to a counter. Names: [a-zA-Z_][a-zA-Z0-9_]*. */
  count(name: string, by?: number): void;
  /** Sets a gauge. */
  gauge(name: string, value: number): void;
}

/** Second argument of every hook. */
export interface HookContext<Options = Record<string, unknown>> {
  /** `options` of this script's `[[hooks]]` table. */
  readonly options: Options;
  readonly log: Logger;
  readonly metrics: HookMetrics;
  /** Aborted when the connector stops at once, this shard is given up, or this call timed out. */
  readonly signal: AbortSignal;
  readonly runtime: "node" | "deno";
}

/** First argument of `onShardStart`. */
export interface ShardStartEvent {
  readonly streamName: string;
  readonly shardId: string;
  readonly parentShardIds: readonly string[];
  /** The position read from: digits or TRIM_HORIZON, LATEST, AT_TIMESTAMP. */
  readonly from: string;
}

/** First argument of `onShardEnd`: all records of the shard are published and SHARD_END is stored. */
export interface ShardEndEvent {
  readonly streamName: string;
  readonly shardId: string;
  readonly childShardIds: readonly string[];
}

/** First argument of `onCheckpoint`: this position is stored. */
export interface CheckpointEvent {
  readonly streamName: string;
  readonly shardId: string;
  /** Digits, or SHARD_END. */
  readonly sequenceNumber: string;
  readonly subSequenceNumber: number;
  /** Records and bytes since the last checkpoint of this shard. */
  readonly records: number;
  readonly bytes: number;
  readonly reason: "interval" | "shard-end" | "stop";
}

/** First argument of `onThrottle`. */
export interface ThrottleHookEvent {
  readonly service: "kinesis" | "dynamodb" | "cloudwatch";
  readonly operation: string;
  readonly shardId?: string | undefined;
  /** Counts from 1. */
  readonly attempt: number;
  readonly delayMs: number;
}

/** First argument of `onError`. */
export interface ErrorEvent {
  readonly error: ConnectorError;
  readonly shardId?: string | undefined;
  /** Where a hook failed on it; absent where Pulsar refused a message of it (`error.where` names it). */
  readonly record?: KinesisRecord | undefined;
}

/** First argument of `onStop`. */
export interface StopEvent {
  /** "signal", "stop", "until", "error" … */
  readonly reason: string;
}

/** A set of hooks: a script's default export, its named exports, or what its default function returns. */
export interface Hooks<Options = Record<string, unknown>> {
  onStart?(event: { readonly streamName: string }, context: HookContext<Options>): MaybePromise<void>;
  onShardStart?(event: ShardStartEvent, context: HookContext<Options>): MaybePromise<void>;
  onRecord?(record: KinesisRecord, context: HookContext<Options>): MaybePromise<HookResult>;
  /** May replace onRecord: one result per record, in order. */
  onBatch?(
    records: readonly KinesisRecord[],
    context: HookContext<Options>,
  ): MaybePromise<readonly HookResult[]>;
  onCheckpoint?(event: CheckpointEvent, context: HookContext<Options>): MaybePromise<void>;
  /** May return another delay in milliseconds. */
  onThrottle?(event: ThrottleHookEvent, context: HookContext<Options>): MaybePromise<number | void>;
  onShardEnd?(event: ShardEndEvent, context: HookContext<Options>): MaybePromise<void>;
  onError?(event: ErrorEvent, context: HookContext<Options>): MaybePromise<void>;
  onStop?(event: StopEvent, context: HookContext<Options>): MaybePromise<void>;
}
