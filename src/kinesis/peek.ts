// Looking at a stream without reading it: what it is, its shards, and the first record from a position on. Invariant:
// one iterator and, mostly, one read of one record per look: the shards' limits are shared with workers that read.

import type { KinesisClientConfig } from "@aws-sdk/client-kinesis";
import type { Clock } from "../core/clock.ts";
import type { Logger } from "../core/log.ts";
import type { RawRecord } from "../core/record.ts";
import type { Shard } from "../core/shard.ts";
import { type IteratorPosition, type KinesisApi, openKinesisApi, type StreamSummary } from "./client.ts";
import { listShards } from "./shards.ts";
import { filterOf, type ListedFrom } from "./stream.ts";
import { whileThrottled } from "./throttle.ts";

/** What stands at a position of a shard. */
export interface Peek {
  /** The first record at or after the position, whatever lies between; undefined when there is none yet. */
  readonly record: RawRecord | undefined;
  /** How far the end of the look is behind the shard's tip, milliseconds. */
  readonly millisBehindLatest: number;
  /** A closed shard, and nothing is left in it from the position on (but for `record`). */
  readonly isEnd: boolean;
}

/** Options of {@link openStreamPeek}. */
export interface StreamPeekOptions {
  /** Of the SDK's client, with a request handler whose calls cannot hang. */
  readonly clientConfig: KinesisClientConfig;
  readonly streamName: string;
  /** When the stream was given as ARN. */
  readonly streamArn?: string | undefined;
  /** After a throttle, milliseconds; doubles up to ten times of it. */
  readonly backoffTimeMs: number;
  readonly clock: Clock;
  readonly log: Logger;
}

/** The service allows five reads per second and shard; some are left for those who work there. */
const NEXT_PAGE_MS = 400;

/** Opens a look at a stream; nothing is asked of Kinesis yet. */
export async function openStreamPeek(options: StreamPeekOptions): Promise<StreamPeek> {
  return new StreamPeek(options, await openKinesisApi(options));
}

/** One stream, looked at. Throttles are waited for; other failures reject with ConnectorError. */
export class StreamPeek {
  readonly #options: StreamPeekOptions;
  readonly #api: KinesisApi;

  /** Use {@link openStreamPeek}. */
  constructor(options: StreamPeekOptions, api: KinesisApi) {
    this.#options = options;
    this.#api = api;
  }

  /** @throws ConnectorError STREAM_NOT_FOUND, ACCESS_DENIED, CREDENTIALS_INVALID; AWS_UNAVAILABLE (retryable) */
  describe(signal: AbortSignal): Promise<StreamSummary> {
    return whileThrottled(() => this.#api.describeStreamSummary(signal), this.#options, signal);
  }

  /** Shards that hold something at or after a position; all that exist without one. */
  listShards(position: ListedFrom | undefined, signal: AbortSignal): Promise<Shard[]> {
    return listShards({ ...this.#options, api: this.#api }, filterOf(position), signal);
  }

  /**
   * The first record from a position on. Pages without records are followed until one has some, or the tip or the
   * shard's end is reached.
   * @throws ConnectorError SHARD_NOT_FOUND, FOREIGN_CHECKPOINT …
   */
  async first(shardId: string, position: IteratorPosition, signal: AbortSignal): Promise<Peek> {
    const scope = this.#options;
    let iterator = await whileThrottled(
      () => this.#api.getShardIterator(shardId, position, signal),
      scope,
      signal,
    );
    for (;;) {
      const page = await whileThrottled(
        () => this.#api.getRecords(shardId, iterator, 1, signal),
        scope,
        signal,
      );
      const { millisBehindLatest, nextShardIterator, records: [record] } = page;
      const isEnd = nextShardIterator === undefined;
      if (record !== undefined || isEnd || millisBehindLatest === 0) {
        return { record, millisBehindLatest, isEnd };
      }
      iterator = nextShardIterator;
      await scope.clock.sleep(NEXT_PAGE_MS, signal);
    }
  }

  /** Kinesis' clock, epoch milliseconds, rounded down to the second. */
  now(): number {
    return this.#api.now();
  }

  /** Ends the connections. */
  close(): Promise<void> {
    this.#api.close();
    return Promise.resolve();
  }
}
