// One Kinesis stream as the pipeline wants it: what it is, its shards, its clock, and a source that reads it.

import type { KinesisClientConfig } from "@aws-sdk/client-kinesis";
import type { Clock } from "../core/clock.ts";
import { ConnectorError } from "../core/errors.ts";
import type { Logger } from "../core/log.ts";
import type { Shard } from "../core/shard.ts";
import type { Telemetry } from "../core/telemetry.ts";
import { type FanOutApi, openKinesisApi, type ShardFilter, type StreamSummary } from "./client.ts";
import type { PacingOptions } from "./pacing.ts";
import { openConsumer } from "./consumer.ts";
import { createFanOutSource } from "./fan-out.ts";
import { createPollingSource } from "./polling.ts";
import { listShards } from "./shards.ts";
import type { OnThrottle, RecordSource } from "./source.ts";
import { whileThrottled } from "./throttle.ts";

/** Reading by enhanced fan-out. */
export interface FanOutSettings {
  /** Found by this name, or registered. */
  readonly consumerName: string;
  /** One that exists, in its place. */
  readonly consumerArn?: string | undefined;
  /** Of the SDK's client, with a request handler whose answers may last for minutes. */
  readonly clientConfig: KinesisClientConfig;
}

/** Options of {@link createKinesisStream}. */
export interface KinesisStreamOptions extends PacingOptions {
  /** Of the SDK's client, with a request handler whose calls cannot hang. */
  readonly clientConfig: KinesisClientConfig;
  readonly streamName: string;
  /** When the stream was given as ARN. */
  readonly streamArn?: string | undefined;
  /** Absent: the stream is polled. */
  readonly fanOut?: FanOutSettings | undefined;
  /** After a throttle, milliseconds; doubles up to ten times of it. */
  readonly backoffTimeMs: number;
  readonly onThrottle?: OnThrottle | undefined;
  /** Told of each read. */
  readonly telemetry?: Telemetry | undefined;
  readonly clock: Clock;
  readonly log: Logger;
}

/** Which of a stream's shards are listed. */
export type ListedFrom =
  | { readonly type: "LATEST" }
  | { readonly type: "TRIM_HORIZON" }
  | { readonly type: "AT_TIMESTAMP"; readonly timestamp: number };

/** Opens a stream; nothing is asked of Kinesis yet. */
export async function createKinesisStream(options: KinesisStreamOptions): Promise<DataStream> {
  const subscriptionConfig = options.fanOut?.clientConfig;
  return new DataStream(options, await openKinesisApi({ ...options, subscriptionConfig }));
}

const CREATING_POLL_MS = 1000;

/** A stream that can be read. */
export class DataStream {
  readonly #options: KinesisStreamOptions;
  readonly #api: FanOutApi;
  #described: StreamSummary | undefined;

  /** Use {@link createKinesisStream}. */
  constructor(options: KinesisStreamOptions, api: FanOutApi) {
    this.#options = options;
    this.#api = api;
  }

  /**
   * The stream's description, once it can be read: one that is being created is waited for.
   * @throws ConnectorError STREAM_NOT_FOUND, ACCESS_DENIED, CREDENTIALS_INVALID; AWS_UNAVAILABLE (retryable)
   */
  async describe(signal: AbortSignal): Promise<StreamSummary> {
    const { clock, log, streamName } = this.#options;
    for (let polls = 0;; polls++) {
      const call = () => this.#api.describeStreamSummary(signal);
      const summary = await whileThrottled(call, this.#options, signal);
      if (summary.status === "DELETING") {
        throw new ConnectorError(`stream "${streamName}" is being deleted`, {
          code: "STREAM_NOT_FOUND",
          where: { stream: streamName, operation: "DescribeStreamSummary" },
        });
      }
      if (summary.status !== "CREATING") {
        return this.#described = summary;
      }
      if (polls === 0) log.info(`stream "${streamName}" is being created; waiting for it`);
      await clock.sleep(CREATING_POLL_MS, signal);
      if (signal.aborted) {
        throw new ConnectorError(`stream "${streamName}" is still being created`, {
          code: "AWS_UNAVAILABLE",
          retryable: true,
          where: { stream: streamName, operation: "DescribeStreamSummary" },
        });
      }
    }
  }

  /**
   * Shards that hold something at or after a position; all that exist without one.
   * @throws ConnectorError as {@link listShards}
   */
  listShards(position: ListedFrom | undefined, signal: AbortSignal): Promise<Shard[]> {
    return listShards({ ...this.#options, api: this.#api }, filterOf(position), signal);
  }

  /** How long the stream keeps records at present, milliseconds. One call; rejects with ConnectorError. */
  async retention(signal: AbortSignal): Promise<number> {
    return (await this.#api.describeStreamSummary(signal)).retentionHours * 3_600_000;
  }

  /** Kinesis' clock, epoch milliseconds, rounded down to the second. */
  now(): number {
    return this.#api.now();
  }

  /**
   * What reads it: polling, or fan-out once its consumer is active. Readers compare the stream's creation time.
   * @throws ConnectorError as {@link describe}, which is called where it was not yet; as {@link openConsumer}
   */
  async openSource(signal: AbortSignal): Promise<RecordSource> {
    const { streamArn, streamCreatedAt } = this.#described ?? await this.describe(signal);
    const { fanOut } = this.#options;
    const options = { ...this.#options, api: this.#api, streamArn, streamCreatedAt };
    if (fanOut === undefined) return createPollingSource(options);
    const { consumerName, consumerArn } = fanOut;
    const consumer = await openConsumer({ ...options, consumerName, consumerArn }, signal);
    return createFanOutSource({ ...options, consumer });
  }

  /** Ends the connections. */
  close(): Promise<void> {
    this.#api.close();
    return Promise.resolve();
  }
}

/** ListShards' filter of a position. */
export function filterOf(position: ListedFrom | undefined): ShardFilter | undefined {
  if (position === undefined) return undefined;
  if (position.type === "AT_TIMESTAMP") return position;
  return { type: position.type === "LATEST" ? "AT_LATEST" : "AT_TRIM_HORIZON" };
}
