// A Kinesis of which the test writes every answer, for readers on a clock that stands still.

import { ConnectorError, type ErrorCode } from "../../src/core/errors.ts";
import type { Shard } from "../../src/core/shard.ts";
import type { IteratorPosition, KinesisApi, ShardListing, StreamSummary } from "../../src/kinesis/client.ts";
import type { GetRecordsPage } from "../../src/kinesis/decode.ts";
import { createPollingSource, type PollingOptions } from "../../src/kinesis/polling.ts";
import type { RecordSource } from "../../src/kinesis/source.ts";
import { FakeClock, RecordingLogger } from "../fakes.ts";

/** An answer, or a failure that is thrown. */
export type Reply<T> = T | ConnectorError | (() => Promise<T>);

/** Answers come from the queues; what is asked is noted with its time. */
export class ScriptedApi implements KinesisApi {
  readonly clock: FakeClock;
  /** One per GetRecords; afterwards empty pages at the tip. */
  readonly pages: Reply<GetRecordsPage>[] = [];
  /** One per GetShardIterator; afterwards it succeeds. */
  readonly iterators: Reply<string>[] = [];
  readonly summaries: Reply<StreamSummary>[] = [];
  readonly listings: Reply<ShardListing>[] = [];
  readonly reads: { readonly at: number; readonly iterator: string; readonly limit: number }[] = [];
  readonly positions: IteratorPosition[] = [];
  describes = 0;
  #made = 0;

  constructor(clock: FakeClock) {
    this.clock = clock;
  }

  async getRecords(_shardId: string, iterator: string, limit: number): Promise<GetRecordsPage> {
    this.reads.push({ at: this.clock.monotonic(), iterator, limit });
    return await reply(this.pages.shift() ?? page());
  }

  async getShardIterator(_shardId: string, position: IteratorPosition): Promise<string> {
    this.positions.push(position);
    return await reply(this.iterators.shift() ?? `iterator-${++this.#made}`);
  }

  async listShards(): Promise<ShardListing> {
    return await reply(this.listings.shift() ?? { shards: [], nextToken: undefined });
  }

  async describeStreamSummary(): Promise<StreamSummary> {
    this.describes++;
    return await reply(this.summaries.shift() ?? summary());
  }

  now(): number {
    return this.clock.now();
  }

  close(): void {}
}

async function reply<T>(given: Reply<T>): Promise<T> {
  await Promise.resolve();
  if (given instanceof ConnectorError) throw given;
  return typeof given === "function" ? await (given as () => Promise<T>)() : given;
}

/** A page with records of these sequence numbers; more follows. */
export function page(
  sequenceNumbers: readonly number[] = [],
  more: Partial<GetRecordsPage> = {},
): GetRecordsPage {
  const records = sequenceNumbers.map((number) => ({
    data: new Uint8Array(100),
    partitionKey: "k",
    sequenceNumber: String(number),
    approximateArrivalTimestamp: number,
    encryptionType: "NONE" as const,
  }));
  return {
    records,
    bytes: records.length * 100,
    millisBehindLatest: 0,
    nextShardIterator: "next",
    childShards: [],
    ...more,
  };
}

/** The stream "orders", created at 1000. */
export function summary(more: Partial<StreamSummary> = {}): StreamSummary {
  return {
    streamName: "orders",
    streamArn: "arn:aws:kinesis:us-east-1:000000000000:stream/orders",
    streamCreatedAt: 1000,
    status: "ACTIVE",
    encryptionType: "NONE",
    retentionHours: 24,
    openShardCount: 1,
    ...more,
  };
}

/** A shard of a listing. */
export function shard(shardId: string, parentShardIds: readonly string[] = []): Shard {
  return { shardId, parentShardIds, startingHashKey: "0", endingHashKey: "9", startingSequenceNumber: "1" };
}

/** A failure as the api throws it. */
export function failure(code: ErrorCode, operation = "GetRecords"): ConnectorError {
  const retryable = code === "THROTTLED" || code === "AWS_UNAVAILABLE" || code === "ITERATOR_EXPIRED";
  return new ConnectorError(`scripted ${code}`, {
    code,
    retryable,
    where: { operation, shardId: "shard-0" },
  });
}

/** A source on a scripted api, with the settings' defaults. */
export function scripted(options: Partial<PollingOptions> = {}): {
  readonly api: ScriptedApi;
  readonly clock: FakeClock;
  readonly log: RecordingLogger;
  readonly source: RecordSource;
} {
  const clock = new FakeClock();
  const api = new ScriptedApi(clock);
  const log = new RecordingLogger();
  const source = createPollingSource({
    api,
    streamName: "orders",
    streamCreatedAt: 1000,
    backoffTimeMs: 3000,
    idlePollMs: 1000,
    maxReadsPerSecond: 5,
    maxReadBytesPerSecond: 2 * 1024 * 1024,
    clock,
    log,
    ...options,
  });
  return { api, clock, log, source };
}
