// Reads shards by GetShardIterator and GetRecords. Invariants: a page is asked for only under a grant, and a grant is
// given back before any wait; after a record was received reading goes on AFTER it, before that from where it began,
// so that nothing is skipped and nothing comes twice; only the shard's end or the stream itself ends a shard.

import { type Backoff, backoffDelay } from "../core/backoff.ts";
import type { Clock } from "../core/clock.ts";
import { ConnectorError, toConnectorError } from "../core/errors.ts";
import type { Logger } from "../core/log.ts";
import type { RecordPage } from "../core/record.ts";
import type { ChildShard } from "../core/shard.ts";
import { measured, type Telemetry } from "../core/telemetry.ts";
import type { IteratorPosition, KinesisApi } from "./client.ts";
import type { GetRecordsPage } from "./decode.ts";
import { foreignCheckpoint } from "./errors.ts";
import { assertSameStream, fateOfShard } from "./missing-shard.ts";
import { OutageLog } from "./outage-log.ts";
import { type PacingOptions, ShardPace, type StreamPace } from "./pacing.ts";
import { listShards } from "./shards.ts";
import type {
  GrantedPage,
  OnThrottle,
  ReadGrant,
  ReadShardOptions,
  RecordSource,
  ShardReader,
} from "./source.ts";
import { delayAfterThrottle } from "./throttle.ts";

/** Options of {@link createPollingSource}. */
export interface PollingOptions extends PacingOptions {
  readonly api: KinesisApi;
  /** For messages. */
  readonly streamName: string;
  /** Creation time of the stream that the leases belong to, epoch milliseconds. */
  readonly streamCreatedAt?: number | undefined;
  /** After a throttle, milliseconds; doubles up to ten times of it. */
  readonly backoffTimeMs: number;
  readonly onThrottle?: OnThrottle | undefined;
  /** Told of each call. */
  readonly telemetry?: Telemetry | undefined;
  readonly clock: Clock;
  readonly log: Logger;
}

/** Between tries while Kinesis does not answer. */
const OUTAGE_BACKOFF: Backoff = { firstMs: 250, maxMs: 10_000, jitter: 0.2 };
/** A server that cannot say what is wrong with an iterator gets a new one after so many failures. */
const NEW_ITERATOR_AFTER = 5;
/** New iterators in a row that are refused at once, until that is taken as the answer. */
const REFUSED_ITERATORS = 3;
/** Listings are eventually consistent: a shard is over when two of them, this far apart, lack it. */
const MISSING_TWICE_MS = 2_000;
/** A closed shard has children: so often they are looked for, as far apart, before it is finished without. */
const CHILDREN_TRIES = 30;

/** Reads by polling. `close()` ends all pending reads and leaves the api open. */
export function createPollingSource(options: PollingOptions): RecordSource {
  const pace: StreamPace = { throttled: false, readers: 0 };
  const outage = new OutageLog(options.clock, options.log);
  const closed = new AbortController();
  return {
    open: (shard) => {
      const signal = AbortSignal.any([shard.signal, closed.signal]);
      pace.readers++;
      signal.addEventListener("abort", () => pace.readers--, { once: true });
      return new PollingReader(options, { ...shard, signal }, pace, outage);
    },
    close: () => {
      closed.abort();
      return Promise.resolve();
    },
  };
}

class PollingReader implements ShardReader {
  readonly #options: PollingOptions;
  readonly #shard: ReadShardOptions;
  readonly #stream: StreamPace;
  readonly #pace: ShardPace;
  readonly #outage: OutageLog;
  #iterator: string | undefined;
  #connected = false;
  #lastReceived: string | undefined;
  // Each counts in a row, back to 0 after a page.
  #throttles = 0;
  #failures = 0;
  #refusedIterators = 0;
  #missing = 0;
  /** The shard is not listed any more: its records have expired. */
  #expired = false;

  constructor(options: PollingOptions, shard: ReadShardOptions, stream: StreamPace, outage: OutageLog) {
    this.#options = options;
    this.#shard = shard;
    this.#stream = stream;
    this.#pace = new ShardPace(options, stream);
    this.#outage = outage;
  }

  async next(
    admit: (signal: AbortSignal) => Promise<ReadGrant | undefined>,
  ): Promise<GrantedPage | undefined> {
    const { clock } = this.#options;
    const { signal } = this.#shard;
    for (let recoveryMs = 0;;) {
      const delayMs = Math.max(recoveryMs, this.#pace.delay(clock.monotonic()));
      if (delayMs > 0) await clock.sleep(delayMs, signal);
      if (signal.aborted) return this.#stopped();
      try {
        if (this.#iterator === undefined && !this.#expired) await this.#connect();
        return await this.#read(admit) ?? this.#stopped();
      } catch (error) {
        if (signal.aborted) return this.#stopped();
        recoveryMs = await this.#recover(error);
      }
    }
  }

  /** undefined = aborted. */
  async #read(
    admit: (signal: AbortSignal) => Promise<ReadGrant | undefined>,
  ): Promise<GrantedPage | undefined> {
    const { signal } = this.#shard;
    const grant = await admit(signal);
    if (grant === undefined) return undefined;
    try {
      const page = this.#expired ? await this.#endOfExpired() : await this.#readPage(grant.maxRecords);
      if (page !== undefined && !signal.aborted) return { page, grant };
    } catch (error) {
      grant.release();
      throw error;
    }
    grant.release();
    return undefined;
  }

  async #readPage(limit: number): Promise<RecordPage | undefined> {
    const { clock } = this.#options;
    const startedAt = clock.monotonic();
    const answer = await this.#getRecords(limit);
    const { records, bytes, millisBehindLatest } = answer;
    const more = millisBehindLatest > 0 || records.length >= limit;
    this.#pace.pageRead({ startedAt, endedAt: clock.monotonic(), records: records.length, bytes, more });
    this.#throttles = 0;
    this.#failures = 0;
    this.#refusedIterators = 0;
    this.#missing = 0;
    this.#outage.over(this.#shard.shardId);
    this.#iterator = answer.nextShardIterator;
    if (answer.nextShardIterator !== undefined) {
      this.#lastReceived = records.at(-1)?.sequenceNumber ?? this.#lastReceived;
      return { records, bytes, millisBehindLatest };
    }
    const childShards = answer.childShards.length > 0
      ? answer.childShards
      : await this.#listedChildren(CHILDREN_TRIES);
    return childShards && { records, bytes, millisBehindLatest, shardEnd: { childShards } };
  }

  /** An iterator that expired while the read waited for its grant is replaced under the same grant. */
  async #getRecords(limit: number): Promise<GetRecordsPage> {
    const { api, telemetry } = this.#options;
    const { shardId, signal } = this.#shard;
    const step = { operation: "ProcessTask", step: "KinesisDataFetcher.getRecords", shardId } as const;
    const getRecords = () =>
      measured(this.#options, step, () => api.getRecords(shardId, this.#iterator!, limit, signal));
    try {
      return await getRecords();
    } catch (error) {
      if (!(error instanceof ConnectorError) || error.code !== "ITERATOR_EXPIRED") throw error;
      this.#options.log.debug(`${error.message}; a new one is made`, { shardId });
      telemetry?.report({ operation: "ProcessTask", data: { ExpiredIterator: 1 } });
      await this.#connect();
      return await getRecords();
    }
  }

  async #connect(): Promise<void> {
    const { shardId, signal, onConnected } = this.#shard;
    this.#iterator = undefined;
    const position = this.#position();
    const step = { operation: "ProcessTask", step: "KinesisDataFetcher.getShardIterator", shardId } as const;
    const iterator = await measured(
      this.#options,
      step,
      () => this.#options.api.getShardIterator(shardId, position, signal),
    );
    // TRIM_HORIZON, LATEST and times are valid in any stream, also in one that was made anew meanwhile.
    if (this.#connected && !("sequenceNumber" in position)) {
      await assertSameStream(this.#options, shardId, signal);
    }
    this.#iterator = iterator;
    if (this.#connected || signal.aborted) return;
    this.#connected = true;
    onConnected?.();
  }

  #position(): IteratorPosition {
    const { start, restart } = this.#shard;
    if (this.#lastReceived !== undefined) {
      return { type: "AFTER_SEQUENCE_NUMBER", sequenceNumber: this.#lastReceived };
    }
    return this.#connected ? restart ?? start : start;
  }

  /** The delay after which a failure is tried again, milliseconds. Throws what trying again does not cure. */
  async #recover(thrown: unknown): Promise<number> {
    const error = toConnectorError(thrown);
    try {
      if (error.code === "THROTTLED") return await this.#delayOfThrottle(error);
      if (error.code === "SHARD_NOT_FOUND") return await this.#lookForShard();
      if (error.code === "AWS_REFUSED") await this.#checkStream();
    } catch (inner) {
      return this.#delayOfFailure(toConnectorError(inner));
    }
    return this.#delayOfFailure(error);
  }

  async #delayOfThrottle(error: ConnectorError): Promise<number> {
    const { log, streamName, maxReadsPerSecond, maxReadBytesPerSecond } = this.#options;
    const { shardId } = this.#shard;
    const { operation = "GetRecords" } = error.where;
    if (operation === "GetRecords" && !this.#stream.throttled) {
      this.#stream.throttled = true;
      log.warn(
        `Kinesis throttles reads of stream "${streamName}", another consumer may share its limits: from now on each ` +
          `shard is read at most ${maxReadsPerSecond} times and ${maxReadBytesPerSecond} bytes per second`,
        { shardId },
      );
    }
    const delayMs = await delayAfterThrottle(
      { operation, shardId, attempt: ++this.#throttles },
      this.#options,
    );
    return Math.max(delayMs, 1000 / maxReadsPerSecond); // a hook, or `backoffTime` = 0, may want no pause at all
  }

  #delayOfFailure(error: ConnectorError): number {
    const { clock } = this.#options;
    const { shardId } = this.#shard;
    const isIterator = error.code === "ITERATOR_EXPIRED";
    const refused = isIterator && ++this.#refusedIterators >= REFUSED_ITERATORS;
    if (refused || !error.retryable) {
      this.#outage.forget(shardId);
      throw refused ? this.#refusal(error) : error;
    }
    const attempt = ++this.#failures;
    if (isIterator || attempt % NEW_ITERATOR_AFTER === 0) this.#iterator = undefined;
    const delayMs = backoffDelay(OUTAGE_BACKOFF, attempt, clock.random());
    this.#outage.failed(shardId, error, attempt, delayMs);
    return delayMs;
  }

  /** A number that was received a moment ago is refused: the stream of this name may be another one by now. */
  async #checkStream(): Promise<void> {
    if (this.#lastReceived === undefined) return;
    await assertSameStream(this.#options, this.#shard.shardId, this.#shard.signal);
  }

  /** Fresh iterators are refused one after the other. */
  #refusal(cause: ConnectorError): ConnectorError {
    const { streamName } = this.#options;
    const { shardId, start } = this.#shard;
    const where = { stream: streamName, shardId, operation: "GetRecords" };
    if (start.type === "AT_SEQUENCE_NUMBER" && this.#lastReceived === undefined) {
      const message = foreignCheckpoint(start.sequenceNumber, shardId, streamName);
      return new ConnectorError(`${message} (${cause.message})`, {
        code: "FOREIGN_CHECKPOINT",
        where,
        cause,
      });
    }
    return new ConnectorError(
      `${cause.message}: ${REFUSED_ITERATORS} new iterators in a row were refused`,
      { code: "AWS_REFUSED", where, cause },
    );
  }

  async #lookForShard(): Promise<number> {
    const { log, clock } = this.#options;
    const { shardId, signal } = this.#shard;
    this.#iterator = undefined;
    const fate = await fateOfShard(this.#options, shardId, signal);
    if (fate === "listed") {
      this.#missing = 0;
      const delayMs = backoffDelay(OUTAGE_BACKOFF, ++this.#failures, clock.random());
      log.warn(`shard ${shardId} was not found, but is listed: trying again`, { shardId, delayMs });
      return delayMs;
    }
    if (++this.#missing < 2) return MISSING_TWICE_MS;
    log.warn(`shard ${shardId} is not listed any more: its records have expired, it is finished`, {
      shardId,
    });
    this.#expired = true;
    return 0;
  }

  /** Its children are younger: what they hold may still be there, and nobody else would give them leases. */
  async #endOfExpired(): Promise<RecordPage | undefined> {
    const childShards = await this.#listedChildren(1);
    return childShards && { records: [], bytes: 0, millisBehindLatest: 0, shardEnd: { childShards } };
  }

  /** For servers that do not name the children at a shard's end. undefined = aborted. */
  async #listedChildren(tries: number): Promise<ChildShard[] | undefined> {
    const { clock, log } = this.#options;
    const { shardId, signal } = this.#shard;
    for (let attempt = 1; !signal.aborted; attempt++) {
      try {
        const shards = await listShards(this.#options, undefined, signal);
        const children = shards.filter((shard) => shard.parentShardIds.includes(shardId)).map(toChild);
        if (children.length > 0 || attempt >= tries) return children;
        if (attempt === 1) log.warn(`shard ${shardId} is closed, but its children are not listed yet`);
        await clock.sleep(MISSING_TWICE_MS, signal);
      } catch (error) {
        if (!signal.aborted) await clock.sleep(await this.#recover(error), signal);
      }
    }
    return undefined;
  }

  #stopped(): undefined {
    this.#outage.forget(this.#shard.shardId);
    return undefined;
  }
}

function toChild({ shardId, parentShardIds, startingHashKey, endingHashKey }: ChildShard): ChildShard {
  return { shardId, parentShardIds, startingHashKey, endingHashKey };
}
