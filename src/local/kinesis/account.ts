// All streams of the server and what they share: names, ARNs, the clock, limits. Invariant: a stream that is
// made again under its old name is another stream (creation timestamp, sequence numbers).

import type { Clock } from "../../core/clock.ts";
import { KinesisError, streamNotFound, validationError } from "./errors.ts";
import type { ShardLimits } from "./limits.ts";
import { STREAM_TAGS } from "./sequence-number.ts";
import { Stream } from "./stream.ts";
import { TokenSeal } from "./token.ts";

/** How the service behaves; see LocalKinesisOptions for what each means. */
export interface AccountOptions {
  readonly clock: Clock;
  readonly region: string;
  readonly accountId: string;
  readonly shardLimit: number;
  readonly transitionMs: number;
  readonly iteratorLifeMs: number;
  readonly maxRecordBytes: number;
  readonly retentionHours: number;
  readonly emptyPageAtShardEnd: boolean;
  readonly consumerTransitionMs: number;
  readonly subscriptionLifeMs: number;
  readonly resubscribeAfterMs: number;
  readonly heartbeatMs: number;
  readonly maxEventBytes: number;
}

/** What a stream is created with. */
export interface CreateStreamOptions {
  readonly shards: number;
  readonly mode?: "PROVISIONED" | "ON_DEMAND" | undefined;
  readonly maxRecordBytes?: number | undefined;
  readonly retentionHours?: number | undefined;
}

/** A stream by name, by ARN, or both. */
export interface StreamReference {
  readonly StreamName?: string | undefined;
  readonly StreamARN?: string | undefined;
}

/** One AWS account's Kinesis in one region. */
export class Account {
  readonly options: AccountOptions;
  readonly seal = new TokenSeal();
  limits: ShardLimits = {};
  readonly #streams = new Map<string, Stream>();
  readonly #createdSeconds = new Map<string, number>();
  #tag: number;

  constructor(options: AccountOptions) {
    this.options = options;
    this.#tag = Math.floor(options.clock.random() * STREAM_TAGS);
  }

  /** Epoch milliseconds, whole. */
  now(): number {
    return Math.floor(this.options.clock.now());
  }

  create(name: string, options: CreateStreamOptions): Stream {
    const now = this.now();
    const { accountId } = this.options;
    if (this.#lookup(name)) {
      throw new KinesisError(
        "ResourceInUseException",
        `Stream ${name} under account ${accountId} already exists.`,
      );
    }
    this.requireShards(options.shards);
    // Timestamps are whole seconds: a stream made again within one gets the next, so that it can be told apart.
    const creationTimestamp = Math.max(Math.floor(now / 1000), (this.#createdSeconds.get(name) ?? 0) + 1);
    this.#createdSeconds.set(name, creationTimestamp);
    this.#tag = (this.#tag + 1) % STREAM_TAGS;
    const stream = new Stream({
      name,
      arn: this.arn(name),
      accountId,
      tag: this.#tag,
      shardCount: options.shards,
      mode: options.mode ?? "PROVISIONED",
      createdAt: now,
      creationTimestamp,
      activeAt: now + this.options.transitionMs,
      maxRecordBytes: options.maxRecordBytes ?? this.options.maxRecordBytes,
      retentionHours: options.retentionHours ?? this.options.retentionHours,
    });
    this.#streams.set(name, stream);
    return stream;
  }

  /** Deletes a stream; one with consumers only when they may go with it. @throws KinesisError ResourceInUseException */
  delete(stream: Stream, withConsumers: boolean): void {
    if (stream.consumers.size > 0 && !withConsumers) {
      throw new KinesisError(
        "ResourceInUseException",
        `Stream ${stream.name} under account ${this.options.accountId} has registered consumers: deregister them ` +
          "first, or set EnforceConsumerDeletion.",
      );
    }
    if (stream.deletedAt === undefined) stream.deletedAt = this.now() + this.options.transitionMs;
    this.#lookup(stream.name);
    for (const shard of stream.shards) shard.wakeWatchers();
  }

  /** @throws KinesisError ResourceNotFoundException, ValidationException */
  find(reference: StreamReference): Stream {
    const name = this.nameOf(reference);
    if (name === undefined) throw validationError("Either StreamName or StreamARN must be specified.");
    const stream = this.#lookup(name);
    const { accountId } = this.options;
    if (!stream) throw streamNotFound(name, accountId);
    if (reference.StreamARN !== undefined && reference.StreamARN !== stream.origin.arn) {
      throw new KinesisError(
        "ResourceNotFoundException",
        `Stream ${reference.StreamARN} under account ${accountId} not found.`,
      );
    }
    return stream;
  }

  /** As {@link find}, for reads and writes of records: a stream being created has none yet. */
  findReady(reference: StreamReference): Stream {
    const stream = this.find(reference);
    const status = stream.status(this.now());
    if (status === "CREATING") throw streamNotFound(stream.name, this.options.accountId);
    return stream;
  }

  /** The name a request means, without looking whether there is such a stream. */
  nameOf(reference: StreamReference): string | undefined {
    return reference.StreamName ?? reference.StreamARN?.split(":stream/")[1];
  }

  /** All streams in order of their names. */
  list(): Stream[] {
    return [...this.#streams.keys()].sort().flatMap((name) => this.#lookup(name) ?? []);
  }

  /** @throws KinesisError LimitExceededException when so many more shards would be too many */
  requireShards(more: number): void {
    const { accountId, region, shardLimit } = this.options;
    const open = this.list().reduce((sum, stream) => sum + stream.openShards.length, 0);
    if (open + more <= shardLimit) return;
    throw new KinesisError(
      "LimitExceededException",
      `This request would exceed the shard limit for the account ${accountId} in ${region}. Current shard count ` +
        `for the account: ${open}. Limit: ${shardLimit}. Number of additional shards that would have resulted ` +
        `from this request: ${more}.`,
    );
  }

  arn(name: string): string {
    return `arn:aws:kinesis:${this.options.region}:${this.options.accountId}:stream/${name}`;
  }

  #lookup(name: string): Stream | undefined {
    const stream = this.#streams.get(name);
    if (stream?.deletedAt !== undefined && stream.deletedAt <= this.now()) {
      this.#streams.delete(name);
      return undefined;
    }
    return stream;
  }
}
