// The calls of Kinesis that reading needs, for one stream: one attempt each, failures as ConnectorErrors. The SDK is
// loaded when a client is made.

import type { Readable } from "node:stream";
import type {
  Consumer as SdkConsumer,
  KinesisClient,
  KinesisClientConfig,
  Shard as SdkShard,
} from "@aws-sdk/client-kinesis";
import type { Clock } from "../core/clock.ts";
import type { ConnectorError } from "../core/errors.ts";
import type { Shard } from "../core/shard.ts";
import type { GetRecordsPage } from "./decode.ts";
import { type KinesisRequest, toConnectorError } from "./errors.ts";
import type { EventStreamOutput, FastOutput } from "./fast-protocol.ts";
import { ServiceClock } from "./service-clock.ts";
import { SharedCall } from "./shared-call.ts";
import type { StartPosition } from "./source.ts";

/** Where an iterator begins: a start, or after the last received record. */
export type IteratorPosition = StartPosition;

/** Which shards ListShards gives. */
export type ShardFilter =
  | { readonly type: "AT_LATEST" }
  | { readonly type: "AT_TRIM_HORIZON" }
  | { readonly type: "AT_TIMESTAMP"; readonly timestamp: number };

/** One answer of ListShards. */
export interface ShardListing {
  readonly shards: readonly Shard[];
  readonly nextToken: string | undefined;
}

/** What DescribeStreamSummary tells. */
export interface StreamSummary {
  readonly streamName: string;
  readonly streamArn: string;
  /** Epoch milliseconds. */
  readonly streamCreatedAt: number;
  readonly status: "CREATING" | "DELETING" | "ACTIVE" | "UPDATING";
  readonly encryptionType: "NONE" | "KMS";
  readonly retentionHours: number;
  /** What producers may put at most; undefined where the server does not say. */
  readonly maxRecordBytes?: number | undefined;
  readonly openShardCount: number;
}

/** An answer of SubscribeToShard. */
export interface EventStream {
  /** Frames, see event-stream.ts; nothing of it was read yet. */
  readonly body: Readable;
  /** What broke it, or one of its exceptions, as an error of the call. */
  toError(error: unknown): ConnectorError;
}

/** Which fan-out consumer is asked about. */
export type ConsumerRequest =
  | { readonly consumerArn: string }
  | { readonly streamArn: string; readonly consumerName: string };

/** A fan-out consumer as Kinesis describes it. */
export interface StreamConsumer {
  readonly consumerArn: string;
  readonly status: "CREATING" | "DELETING" | "ACTIVE";
}

/**
 * Kinesis for one stream. Calls are made once and reject with ConnectorError; after an abort of `signal` they reject
 * soon, with anything.
 */
export interface KinesisApi {
  getRecords(
    shardId: string,
    shardIterator: string,
    limit: number,
    signal: AbortSignal,
  ): Promise<GetRecordsPage>;
  getShardIterator(shardId: string, position: IteratorPosition, signal: AbortSignal): Promise<string>;
  listShards(
    request: { readonly nextToken: string } | { readonly filter?: ShardFilter | undefined },
    signal: AbortSignal,
  ): Promise<ShardListing>;
  describeStreamSummary(signal: AbortSignal): Promise<StreamSummary>;
  /** Kinesis' clock, epoch milliseconds, rounded down to the second. */
  now(): number;
  close(): void;
}

/** What enhanced fan-out needs beside it. */
export interface FanOutApi extends KinesisApi {
  /** Fails with CONSUMER_NOT_FOUND where there is none. */
  describeStreamConsumer(consumer: ConsumerRequest, signal: AbortSignal): Promise<StreamConsumer>;
  registerStreamConsumer(
    consumer: { readonly streamArn: string; readonly consumerName: string },
    signal: AbortSignal,
  ): Promise<StreamConsumer>;
  /** Resolves when the subscription stands; an abort of the signal, also later, ends it. */
  subscribeToShard(
    consumerArn: string,
    shardId: string,
    position: IteratorPosition,
    signal: AbortSignal,
  ): Promise<EventStream>;
}

/** Options of {@link openKinesisApi}. */
export interface KinesisApiOptions {
  /** For the SDK's client; its `protocol`, `maxAttempts` and `retryMode` are set here. */
  readonly clientConfig: KinesisClientConfig;
  /** For subscriptions, whose answers last for minutes. @default as clientConfig */
  readonly subscriptionConfig?: KinesisClientConfig | undefined;
  readonly streamName: string;
  /** When the stream was given as ARN; needed across accounts. */
  readonly streamArn?: string | undefined;
  readonly clock: Clock;
}

type Sdk = typeof import("@aws-sdk/client-kinesis");

/** Makes a client for one stream. */
export async function openKinesisApi(options: KinesisApiOptions): Promise<FanOutApi> {
  const [sdk, { fastKinesisProtocol }] = await Promise.all([
    import("@aws-sdk/client-kinesis"),
    import("./fast-protocol.ts"),
  ]);
  const serviceClock = new ServiceClock(options.clock);
  const open = (config: KinesisClientConfig) =>
    new sdk.KinesisClient({
      ...config,
      // Each throttle has to be seen, and readers retry by themselves.
      maxAttempts: 1,
      retryMode: "standard",
      protocol: fastKinesisProtocol((header) => serviceClock.observe(header)),
    });
  const { clientConfig, subscriptionConfig } = options;
  const client = open(clientConfig);
  const subscriber = subscriptionConfig === undefined ? client : open(subscriptionConfig);
  return new SdkKinesisApi(options, sdk, { client, subscriber }, serviceClock);
}

class SdkKinesisApi implements FanOutApi {
  readonly #sdk: Sdk;
  readonly #client: KinesisClient;
  readonly #subscriber: KinesisClient;
  readonly #serviceClock: ServiceClock;
  readonly #summary = new SharedCall(() => this.#describeStreamSummary());
  readonly #stream: { readonly StreamName: string } | { readonly StreamARN: string };
  /** GetRecords needs no stream but for another account's. */
  readonly #arn: { readonly StreamARN?: string };
  readonly #request: { readonly stream: string; readonly place: string };

  constructor(
    options: KinesisApiOptions,
    sdk: Sdk,
    { client, subscriber }: { readonly client: KinesisClient; readonly subscriber: KinesisClient },
    serviceClock: ServiceClock,
  ) {
    const { streamName, streamArn, clientConfig } = options;
    this.#sdk = sdk;
    this.#client = client;
    this.#subscriber = subscriber;
    this.#serviceClock = serviceClock;
    this.#stream = streamArn ? { StreamARN: streamArn } : { StreamName: streamName };
    this.#arn = streamArn ? { StreamARN: streamArn } : {};
    this.#request = { stream: streamArn ?? streamName, place: placeOf(clientConfig) };
  }

  async getRecords(
    shardId: string,
    shardIterator: string,
    limit: number,
    signal: AbortSignal,
  ): Promise<GetRecordsPage> {
    const input = { ShardIterator: shardIterator, Limit: limit, ...this.#arn };
    try {
      const output: unknown = await this.#client.send(
        new this.#sdk.GetRecordsCommand(input),
        { abortSignal: signal },
      );
      return (output as FastOutput).page;
    } catch (error) {
      throw this.#failed(error, { operation: "GetRecords", shardId });
    }
  }

  async getShardIterator(shardId: string, position: IteratorPosition, signal: AbortSignal): Promise<string> {
    const operation = "GetShardIterator";
    try {
      const { ShardIterator } = await this.#client.send(
        new this.#sdk.GetShardIteratorCommand({
          ...this.#stream,
          ShardId: shardId,
          ShardIteratorType: position.type,
          ...position.type === "AT_TIMESTAMP" ? { Timestamp: new Date(position.timestamp) } : {},
          ..."sequenceNumber" in position ? { StartingSequenceNumber: position.sequenceNumber } : {},
        }),
        { abortSignal: signal },
      );
      return required(ShardIterator, "ShardIterator");
    } catch (error) {
      const checkpoint = position.type === "AT_SEQUENCE_NUMBER" ? position.sequenceNumber : undefined;
      throw this.#failed(error, { operation, shardId, checkpoint });
    }
  }

  async listShards(
    request: { readonly nextToken: string } | { readonly filter?: ShardFilter | undefined },
    signal: AbortSignal,
  ): Promise<ShardListing> {
    // With a token neither name nor filter may be given.
    const input = "nextToken" in request
      ? { NextToken: request.nextToken, ...this.#arn }
      : { ...this.#stream, ...request.filter ? { ShardFilter: sdkFilter(request.filter) } : {} };
    try {
      const { Shards = [], NextToken } = await this.#client.send(new this.#sdk.ListShardsCommand(input), {
        abortSignal: signal,
      });
      return { shards: Shards.map(toShard), nextToken: NextToken || undefined };
    } catch (error) {
      throw this.#failed(error, { operation: "ListShards" });
    }
  }

  describeStreamSummary(signal: AbortSignal): Promise<StreamSummary> {
    return this.#summary.ask(signal);
  }

  async #describeStreamSummary(): Promise<StreamSummary> {
    try {
      const { StreamDescriptionSummary: summary } = await this.#client.send(
        new this.#sdk.DescribeStreamSummaryCommand(this.#stream),
      );
      return {
        streamName: required(summary?.StreamName, "StreamName"),
        streamArn: required(summary?.StreamARN, "StreamARN"),
        streamCreatedAt: required(summary?.StreamCreationTimestamp, "StreamCreationTimestamp").getTime(),
        status: required(summary?.StreamStatus, "StreamStatus"),
        encryptionType: summary?.EncryptionType === "KMS" ? "KMS" : "NONE",
        retentionHours: summary?.RetentionPeriodHours ?? 24,
        maxRecordBytes: summary?.MaxRecordSizeInKiB && summary.MaxRecordSizeInKiB * 1024,
        openShardCount: summary?.OpenShardCount ?? 0,
      };
    } catch (error) {
      throw this.#failed(error, { operation: "DescribeStreamSummary" });
    }
  }

  async describeStreamConsumer(consumer: ConsumerRequest, signal: AbortSignal): Promise<StreamConsumer> {
    const isArn = "consumerArn" in consumer;
    const input = isArn
      ? { ConsumerARN: consumer.consumerArn }
      : { StreamARN: consumer.streamArn, ConsumerName: consumer.consumerName };
    try {
      const { ConsumerDescription } = await this.#client.send(
        new this.#sdk.DescribeStreamConsumerCommand(input),
        { abortSignal: signal },
      );
      return toConsumer(ConsumerDescription);
    } catch (error) {
      const name = isArn ? consumer.consumerArn : consumer.consumerName;
      throw this.#failed(error, { operation: "DescribeStreamConsumer", consumer: name });
    }
  }

  async registerStreamConsumer(
    { streamArn, consumerName }: { readonly streamArn: string; readonly consumerName: string },
    signal: AbortSignal,
  ): Promise<StreamConsumer> {
    try {
      const { Consumer } = await this.#client.send(
        new this.#sdk.RegisterStreamConsumerCommand({ StreamARN: streamArn, ConsumerName: consumerName }),
        { abortSignal: signal },
      );
      return toConsumer(Consumer);
    } catch (error) {
      throw this.#failed(error, { operation: "RegisterStreamConsumer", consumer: consumerName });
    }
  }

  async subscribeToShard(
    consumerArn: string,
    shardId: string,
    position: IteratorPosition,
    signal: AbortSignal,
  ): Promise<EventStream> {
    const request = { operation: "SubscribeToShard", shardId, consumer: consumerArn } as const;
    const input = {
      ConsumerARN: consumerArn,
      ShardId: shardId,
      StartingPosition: {
        Type: position.type,
        ...position.type === "AT_TIMESTAMP" ? { Timestamp: new Date(position.timestamp) } : {},
        ..."sequenceNumber" in position ? { SequenceNumber: position.sequenceNumber } : {},
      },
    };
    try {
      const output: unknown = await this.#subscriber.send(
        new this.#sdk.SubscribeToShardCommand(input),
        { abortSignal: signal },
      );
      const { body } = output as EventStreamOutput;
      return { body, toError: (error) => this.#failed(error, request) };
    } catch (error) {
      const checkpoint = position.type === "AT_SEQUENCE_NUMBER" ? position.sequenceNumber : undefined;
      throw this.#failed(error, { ...request, checkpoint });
    }
  }

  now(): number {
    return this.#serviceClock.now();
  }

  close(): void {
    this.#client.destroy();
    this.#subscriber.destroy();
  }

  #failed(error: unknown, request: Omit<KinesisRequest, "stream" | "place">): ConnectorError {
    return toConnectorError(error, { ...this.#request, ...request });
  }
}

function placeOf({ region, endpoint }: KinesisClientConfig): string {
  const parts = [
    ...typeof region === "string" ? [`region ${region}`] : [],
    ...typeof endpoint === "string" ? [`at ${endpoint}`] : [],
  ];
  return parts.join(" ") || "its region";
}

function toConsumer(consumer: SdkConsumer | undefined): StreamConsumer {
  return {
    consumerArn: required(consumer?.ConsumerARN, "ConsumerARN"),
    status: required(consumer?.ConsumerStatus, "ConsumerStatus"),
  };
}

function sdkFilter(filter: ShardFilter) {
  return {
    Type: filter.type,
    ...filter.type === "AT_TIMESTAMP" ? { Timestamp: new Date(filter.timestamp) } : {},
  };
}

function toShard(shard: SdkShard): Shard {
  const range = required(shard.HashKeyRange, "HashKeyRange");
  const numbers = required(shard.SequenceNumberRange, "SequenceNumberRange");
  return {
    shardId: required(shard.ShardId, "ShardId"),
    parentShardIds: [shard.ParentShardId, shard.AdjacentParentShardId].filter((id) => id !== undefined),
    startingHashKey: required(range.StartingHashKey, "StartingHashKey"),
    endingHashKey: required(range.EndingHashKey, "EndingHashKey"),
    startingSequenceNumber: required(numbers.StartingSequenceNumber, "StartingSequenceNumber"),
    ...numbers.EndingSequenceNumber ? { endingSequenceNumber: numbers.EndingSequenceNumber } : {},
  };
}

/** A member that the API always gives; without it the answer is not Kinesis'. */
function required<T>(value: T | undefined, member: string): T {
  if (value === undefined) {
    const error = new Error(`the answer lacks ${member}; is the endpoint one of Kinesis?`);
    error.name = "ProtocolError";
    throw Object.assign(error, { $fault: "client" });
  }
  return value;
}
