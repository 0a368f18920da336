// The public face of the local Kinesis server: how it is started, and what a test may do to it directly,
// without a client. Everything direct acts on the same state as requests do and is seen by the next one.

import { Buffer } from "node:buffer";
import { randomFillSync } from "node:crypto";
import { localClock } from "../clock.ts";
import type { LocalCredentials } from "./access.ts";
import { Account, type CreateStreamOptions } from "./account.ts";
import { deregisterConsumer, findConsumer, registerConsumer } from "./consumer.ts";
import { invalidArgument, validationError } from "./errors.ts";
import type { InjectedFault } from "../counted-faults.ts";
import type { Fault } from "./faults.ts";
import { listen, type Listener } from "./listener.ts";
import { AWS_SHARD_LIMITS, type ShardLimits } from "./limits.ts";
import type {
  CallFilter,
  FillOptions,
  LocalKinesisOptions,
  LocalRecord,
  PutPosition,
  StoredRecord,
} from "./local-kinesis-options.ts";
import { type LoggedRequest, RequestLog } from "./request-log.ts";
import { parseSequenceNumber } from "./sequence-number.ts";
import { UpdateShardCount } from "./operations/shards.ts";
import { CreateStream } from "./operations/streams.ts";
import { KinesisService } from "./service.ts";
import { type OpenSubscription, openSubscriptions, type SubscriptionFilter } from "./open-subscriptions.ts";
import type { Shard } from "./shard.ts";
import { validate } from "./validation.ts";

/** A running server. Its methods throw an Error named as AWS names it, e.g. ResourceNotFoundException. */
export class LocalKinesis {
  /** Endpoint for clients, for HTTP/1.1 and HTTP/2: http://127.0.0.1:port, with `tls` https://… */
  readonly url: string;
  readonly #account: Account;
  readonly #service: KinesisService;
  readonly #listener: Listener;

  /** Use {@link startLocalKinesis}. */
  constructor(service: KinesisService, listener: Listener, url: string) {
    this.#account = service.account;
    this.#service = service;
    this.#listener = listener;
    this.url = url;
  }

  /** Stops listening and closes all connections, also those that wait for an answer. */
  async close(): Promise<void> {
    await this.#listener.close();
  }

  /** Creates a stream. */
  createStream(name: string, options: CreateStreamOptions): void {
    validate({ StreamName: name, ShardCount: options.shards }, CreateStream.shape);
    this.#account.create(name, options);
  }

  /** Deletes a stream with its records and consumers. */
  deleteStream(name: string): void {
    this.#account.delete(this.#account.find({ StreamName: name }), true);
  }

  /** Ids of a stream's shards, closed ones included, in order of creation. */
  shardIds(streamName: string): string[] {
    return this.#stream(streamName).shards.map((shard) => shard.shardId);
  }

  /** Ids of a stream's open shards, in order of their hash ranges. */
  openShardIds(streamName: string): string[] {
    return this.#stream(streamName).openShards.map((shard) => shard.shardId);
  }

  /** Puts one record. */
  putRecord(streamName: string, record: LocalRecord): PutPosition {
    return this.putRecords(streamName, [record])[0]!;
  }

  /** Puts records, in order; any number, not limited per second. */
  putRecords(streamName: string, records: readonly LocalRecord[]): PutPosition[] {
    const stream = this.#stream(streamName);
    const now = this.#account.now();
    return records.map((record) => {
      const shard = record.shardId === undefined
        ? stream.shardFor(record.partitionKey, record.explicitHashKey)
        : this.#openShard(streamName, record.shardId);
      const data = Buffer.from(record.data);
      const size = data.length + Buffer.byteLength(record.partitionKey);
      if (size > stream.maxRecordBytes) {
        throw validationError(
          `a record of ${size} bytes is larger than the stream's ${stream.maxRecordBytes}`,
        );
      }
      const sequenceNumber = stream.append(shard, {
        partitionKey: record.partitionKey,
        base64: data.toString("base64"),
        size,
        arrivedAt: record.arrivedAt ?? now,
      });
      return { shardId: shard.shardId, sequenceNumber };
    });
  }

  /**
   * Fills shards quickly with random bytes under the keys "key-0", "key-1" … (a few µs per record), for
   * measurements. The keys are not chosen to belong to their shard.
   */
  fill(streamName: string, options: FillOptions): void {
    const stream = this.#stream(streamName);
    const arrivedAt = this.#account.now();
    const data = Array.from(
      { length: Math.min(options.records, 64) },
      () => Buffer.from(randomFillSync(new Uint8Array(options.bytes))).toString("base64"),
    );
    for (const shardId of options.shardIds ?? this.openShardIds(streamName)) {
      const shard = this.#openShard(streamName, shardId);
      for (let i = 0; i < options.records; i++) {
        const partitionKey = `key-${i}`;
        const size = options.bytes + partitionKey.length;
        stream.append(shard, { partitionKey, base64: data[i % data.length]!, size, arrivedAt });
      }
    }
  }

  /** All records that are still kept: of one shard, or of the stream, shard by shard. */
  records(streamName: string, shardId?: string): StoredRecord[] {
    const stream = this.#stream(streamName);
    const ids = shardId === undefined ? this.shardIds(streamName) : [shardId];
    return ids.flatMap((id) => storedRecords(stream.readableShard(id, this.#account.now())));
  }

  /** Splits a shard, by default in the middle of its hash range; gives the children's ids. */
  splitShard(streamName: string, shardId: string, newStartingHashKey?: string): [string, string] {
    const [lower, upper] = this.#stream(streamName)
      .split(shardId, newStartingHashKey, this.#account.now(), this.#account.options.transitionMs);
    return [lower.shardId, upper.shardId];
  }

  /** Merges two shards whose hash ranges are neighbours; gives the child's id. */
  mergeShards(streamName: string, shardId: string, adjacentShardId: string): string {
    return this.#stream(streamName)
      .merge(shardId, adjacentShardId, this.#account.now(), this.#account.options.transitionMs).shardId;
  }

  /**
   * Splits and merges until there are so many open shards with equal hash ranges, as UpdateShardCount does; to any
   * count at once, not only to between half and double.
   */
  updateShardCount(streamName: string, count: number): void {
    const stream = this.#stream(streamName);
    validate({ TargetShardCount: count, ScalingType: "UNIFORM_SCALING" }, UpdateShardCount.shape);
    this.#account.requireShards(count - stream.openShards.length);
    stream.rescale(count, this.#account.now(), this.#account.options.transitionMs);
  }

  /** Ends a shard that gets no children (the service does that only with a deletion); puts to it then fail. */
  closeShard(streamName: string, shardId: string): void {
    this.#stream(streamName).close(shardId, this.#account.now());
  }

  /** Forgets a shard's records before a sequence number, as if their retention had passed. */
  trim(streamName: string, shardId: string, beforeSequenceNumber: string): void {
    const parsed = parseSequenceNumber(beforeSequenceNumber);
    if (!parsed) throw invalidArgument(`${beforeSequenceNumber} is no sequence number of this server`);
    this.#stream(streamName).readableShard(shardId, this.#account.now()).log.trim(parsed.ordinal);
  }

  /** Records put from now on are marked as encrypted, or no longer. */
  setEncryption(streamName: string, encryptionType: "NONE" | "KMS"): void {
    const stream = this.#stream(streamName);
    stream.encryptionType = encryptionType;
    stream.keyId = encryptionType === "KMS" ? "alias/aws/kinesis" : undefined;
  }

  /** Changes a stream's retention; what is older goes at once. */
  setRetention(streamName: string, hours: number): void {
    this.#stream(streamName).retentionHours = hours;
  }

  /** Switches limits on (true: AWS's), off (false) or sets them one by one. */
  setLimits(limits: boolean | ShardLimits): void {
    this.#account.limits = limitsOf(limits);
  }

  /** Replaces the accepted key pairs; undefined accepts everything. */
  setCredentials(credentials: readonly LocalCredentials[] | undefined): void {
    this.#service.credentials = credentials;
  }

  /** Registers a fan-out consumer and gives its ARN. */
  registerConsumer(streamName: string, consumerName: string): string {
    return registerConsumer(this.#account, this.#stream(streamName), consumerName).arn;
  }

  /** Deregisters a consumer; what is subscribed through it ends with ResourceNotFoundException. */
  deregisterConsumer(consumerArn: string): void {
    deregisterConsumer(this.#account, findConsumer(this.#account, { ConsumerARN: consumerArn }));
  }

  /** The subscriptions that are open now. */
  subscriptions(filter: SubscriptionFilter = {}): OpenSubscription[] {
    return openSubscriptions(this.#account, filter);
  }

  /** Lets connections be made (again), or breaks every one at once, also those that are open. */
  setReachable(reachable: boolean): void {
    this.#listener.setReachable(reachable);
  }

  /** Asks HTTP/2 clients to take another connection for further requests (GOAWAY); open streams go on. */
  goAway(): void {
    this.#listener.goAway();
  }

  /** Lets something go wrong; see {@link Fault}. */
  inject(fault: Fault): InjectedFault {
    return this.#service.faults.inject(fault);
  }

  /** Ends all injected faults. */
  clearFaults(): void {
    this.#service.faults.clear();
  }

  /** Requests so far, in order of arrival. */
  get requests(): readonly LoggedRequest[] {
    return this.#service.log.entries;
  }

  /** The requests of one operation. */
  calls(operation: string, filter: CallFilter = {}): LoggedRequest[] {
    return this.requests.filter((request) =>
      request.operation === operation &&
      (filter.streamName === undefined || filter.streamName === request.streamName) &&
      (filter.shardId === undefined || filter.shardId === request.shardId)
    );
  }

  /** Forgets the requests so far. */
  clearRequests(): void {
    this.#service.log.clear();
  }

  #stream(name: string) {
    return this.#account.find({ StreamName: name });
  }

  #openShard(streamName: string, shardId: string): Shard {
    const shard = this.#stream(streamName).readableShard(shardId, this.#account.now());
    if (shard.closedAt !== undefined) {
      throw invalidArgument(`Shard ${shardId} of stream ${streamName} is closed: it takes no more records.`);
    }
    return shard;
  }
}

/**
 * Starts a Kinesis server in this process, on a loopback address: AWS's JSON protocol over HTTP/1.1 and HTTP/2
 * (without TLS by prior knowledge, as the SDK's default handler speaks it) on one port, streams in memory. Give its
 * `url` to a client as endpoint.
 *
 * @example
 * const kinesis = await startLocalKinesis();
 * kinesis.createStream("orders", { shards: 2 });
 * kinesis.putRecord("orders", { partitionKey: "a", data: "hello" });
 * await kinesis.close();
 * @throws ConnectorError CONFIG_INVALID for a host that is not loopback or a port that is taken
 */
export async function startLocalKinesis(options: LocalKinesisOptions = {}): Promise<LocalKinesis> {
  const clock = options.clock ?? localClock;
  const account = new Account({
    clock,
    region: options.region ?? "us-east-1",
    accountId: options.accountId ?? "000000000000",
    shardLimit: options.shardLimit ?? 20_000,
    transitionMs: options.transitionMs ?? 0,
    iteratorLifeMs: options.iteratorLifeMs ?? 300_000,
    maxRecordBytes: options.maxRecordBytes ?? 1024 * 1024,
    retentionHours: options.retentionHours ?? 24,
    emptyPageAtShardEnd: options.emptyPageAtShardEnd ?? false,
    consumerTransitionMs: options.consumerTransitionMs ?? options.transitionMs ?? 0,
    subscriptionLifeMs: options.subscriptionLifeMs ?? 300_000,
    resubscribeAfterMs: options.resubscribeAfterMs ?? 5_000,
    heartbeatMs: options.heartbeatMs ?? 5_000,
    maxEventBytes: options.maxEventBytes ?? 1024 * 1024,
  });
  account.limits = limitsOf(options.limits ?? false);
  const log = new RequestLog(options.requestLogSize ?? 10_000, clock);
  const service = new KinesisService(account, log, options.credentials);
  const host = options.host ?? "127.0.0.1";
  const listener = await listen((request) => service.handle(request), {
    host,
    port: options.port ?? 0,
    tls: options.tls,
  });
  const authority = host.includes(":") ? `[${host}]` : host;
  return new LocalKinesis(
    service,
    listener,
    `${options.tls ? "https" : "http"}://${authority}:${listener.port}`,
  );
}

function limitsOf(limits: boolean | ShardLimits): ShardLimits {
  if (limits === true) return AWS_SHARD_LIMITS;
  return limits === false ? {} : limits;
}

function storedRecords(shard: Shard): StoredRecord[] {
  const page = shard.log.read(shard.log.first, Infinity, Infinity);
  const records: {
    Data: string;
    PartitionKey: string;
    SequenceNumber: string;
    ApproximateArrivalTimestamp: number;
    EncryptionType?: "KMS";
  }[] = JSON.parse(`[${Buffer.concat(page.chunks).toString()}]`);
  return records.map((record) => ({
    shardId: shard.shardId,
    sequenceNumber: record.SequenceNumber,
    data: new Uint8Array(Buffer.from(record.Data, "base64")),
    partitionKey: record.PartitionKey,
    approximateArrivalTimestamp: Math.round(record.ApproximateArrivalTimestamp * 1000),
    encryptionType: record.EncryptionType ?? "NONE",
  }));
}
