// Kinesis as one process reaches it: the calls of the product's own reader, answered by the model stream.

import { ConnectorError } from "../../src/core/errors.ts";
import type { IteratorPosition, KinesisApi, ShardFilter, ShardListing } from "../../src/kinesis/client.ts";
import type { GetRecordsPage } from "../../src/kinesis/decode.ts";
import type { Chance } from "../chance.ts";
import type { Line } from "./line.ts";
import type { SimShard, SimStream } from "./stream.ts";
import { STREAM_ARN, STREAM_CREATED_AT, STREAM_NAME } from "./stream.ts";
import { EPOCH, type Process, type Timeline } from "./timeline.ts";

/** What a {@link SimKinesis} is made of. */
export interface SimKinesisOptions {
  readonly timeline: Timeline;
  readonly process: Process;
  readonly chance: Chance;
  readonly line: Line;
  readonly stream: SimStream;
  /** An iterator has arrived: the shard is connected. */
  readonly onIterator: (shard: SimShard, position: IteratorPosition) => void;
}

const TIMEOUT_MS = 30_000;
/** The service's. */
const ITERATOR_LIFE_MS = 300_000;
const RECORDS_IN_PAGE = 6;

/** See the file's header. */
export class SimKinesis implements KinesisApi {
  readonly #options: SimKinesisOptions;

  constructor(options: SimKinesisOptions) {
    this.#options = options;
  }

  getRecords(shardId: string, iterator: string, limit: number, signal: AbortSignal): Promise<GetRecordsPage> {
    const call = { operation: "GetRecords", key: shardId, timeoutMs: TIMEOUT_MS, signal };
    return this.#options.line.call(call, () => this.#page(iterator, limit));
  }

  #page(iterator: string, limit: number): GetRecordsPage {
    const { timeline, chance, stream } = this.#options;
    const [shardId = "", from, madeAt] = iterator.split("|");
    if (timeline.now - Number(madeAt) > ITERATOR_LIFE_MS || chance.int(1_000) === 0) {
      throw new ConnectorError("the iterator has expired", { code: "ITERATOR_EXPIRED", retryable: true });
    }
    const shard = stream.shard(shardId);
    // Pages may be shorter than what is there.
    const end = Number(from) + Math.min(limit, chance.percent(20) ? chance.int(2) : RECORDS_IN_PAGE);
    const records = shard.records.slice(Number(from), end);
    const next = Number(from) + records.length;
    const isAtEnd = shard.closedAt !== undefined && next === shard.records.length;
    // The last page of a closed shard comes with its last records, or alone.
    const isLast = isAtEnd && (records.length === 0 || chance.percent(50));
    const waiting = shard.records[next];
    return {
      records: records.map((record) => ({
        data: record.data,
        partitionKey: record.partitionKey,
        sequenceNumber: record.sequenceNumber,
        approximateArrivalTimestamp: record.arrival,
        encryptionType: "NONE",
      })),
      bytes: records.reduce((sum, { data }) => sum + data.length, 0),
      millisBehindLatest: waiting === undefined
        ? 0
        : Math.max(1, Math.floor(EPOCH + timeline.now - waiting.arrival)),
      nextShardIterator: isLast ? undefined : `${shardId}|${next}|${timeline.now}`,
      childShards: isLast && chance.percent(80) ? stream.childrenOf(shard) : [],
    };
  }

  async getShardIterator(shardId: string, position: IteratorPosition, signal: AbortSignal): Promise<string> {
    const { line, timeline, stream, onIterator } = this.#options;
    const call = { operation: "GetShardIterator", key: shardId, timeoutMs: TIMEOUT_MS, signal };
    const shard = stream.shard(shardId);
    const index = await line.call(call, () => indexOf(shard, position));
    onIterator(shard, position);
    return `${shardId}|${index}|${timeline.now}`;
  }

  listShards(
    request: { readonly nextToken: string } | { readonly filter?: ShardFilter | undefined },
    signal: AbortSignal,
  ): Promise<ShardListing> {
    const { line, timeline, chance, stream } = this.#options;
    const call = { operation: "ListShards", timeoutMs: TIMEOUT_MS, signal };
    return line.call(call, () => {
      const lagMs = chance.percent(70) ? 0 : chance.int(3_000);
      const at = Math.max(0, timeline.now - lagMs);
      const filter = "filter" in request ? request.filter : undefined;
      return { shards: stream.list(filter, at), nextToken: undefined };
    });
  }

  describeStreamSummary(signal: AbortSignal) {
    const call = { operation: "DescribeStreamSummary", timeoutMs: TIMEOUT_MS, signal };
    return this.#options.line.call(call, () => ({
      streamName: STREAM_NAME,
      streamArn: STREAM_ARN,
      streamCreatedAt: STREAM_CREATED_AT,
      status: "ACTIVE" as const,
      encryptionType: "NONE" as const,
      retentionHours: 24,
      openShardCount: this.#options.stream.open.length,
    }));
  }

  now(): number {
    return Math.floor((EPOCH + this.#options.timeline.now) / 1000) * 1000;
  }

  close(): void {}
}

/** The record that an iterator gives first. */
function indexOf({ records }: SimShard, position: IteratorPosition): number {
  const first = (is: (record: SimShard["records"][number]) => boolean) => {
    const index = records.findIndex(is);
    return index === -1 ? records.length : index;
  };
  switch (position.type) {
    case "TRIM_HORIZON":
      return 0;
    case "LATEST":
      return records.length;
    case "AT_TIMESTAMP":
      return first(({ arrival }) => arrival >= position.timestamp);
    case "AT_SEQUENCE_NUMBER":
      return first(({ sequence }) => sequence >= BigInt(position.sequenceNumber));
    case "AFTER_SEQUENCE_NUMBER":
      return first(({ sequence }) => sequence > BigInt(position.sequenceNumber));
  }
}

/** Kinesis does not answer. */
export function kinesisUnavailable(operation: string, shardId: string | undefined): ConnectorError {
  return new ConnectorError(`Kinesis ${operation} got no answer`, {
    code: "AWS_UNAVAILABLE",
    retryable: true,
    where: { operation, shardId },
  });
}

/** Kinesis asks to slow down. */
export function kinesisThrottled(operation: string, shardId: string | undefined): ConnectorError {
  return new ConnectorError(`Kinesis ${operation} was throttled`, {
    code: "THROTTLED",
    retryable: true,
    where: { operation, shardId },
  });
}
