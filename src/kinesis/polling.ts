// Reads shards by GetShardIterator and GetRecords. Invariants: a page is asked for only under a grant, and a grant is
// given back before any wait; after a record was received reading goes on AFTER it, before that from where it began,
// so that nothing is skipped and nothing comes twice; only the shard's end or the stream itself ends a shard.

import { ConnectorError } from "../core/errors.ts";
import type { RecordPage } from "../core/record.ts";
import { measured } from "../core/telemetry.ts";
import type { IteratorPosition } from "./client.ts";
import type { GetRecordsPage } from "./decode.ts";
import { foreignCheckpoint, isException } from "./errors.ts";
import { assertSameStream } from "./missing-shard.ts";
import { OutageLog } from "./outage-log.ts";
import { type PacingOptions, ShardPace, type StreamPace } from "./pacing.ts";
import { type ReadingOptions, Recovery } from "./recovery.ts";
import type { Admit, GrantedPage, ReadShardOptions, RecordSource, ShardReader } from "./source.ts";

/** Options of {@link createPollingSource}. */
export interface PollingOptions extends ReadingOptions, PacingOptions {}

/** A server that cannot say what is wrong with an iterator gets a new one after so many failures. */
const NEW_ITERATOR_AFTER = 5;
/** New iterators in a row that are refused at once, until that is taken as the answer. */
const REFUSED_ITERATORS = 3;

/** Reads by polling. `close()` ends all pending reads and leaves the api open. */
export function createPollingSource(options: PollingOptions): RecordSource {
  const pace: StreamPace = { throttled: false, readers: 0, lateMs: 0 };
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
  readonly #recovery: Recovery;
  #iterator: string | undefined;
  #connected = false;
  #lastReceived: string | undefined;
  /** In a row, back to 0 after a page. */
  #refusedIterators = 0;

  constructor(options: PollingOptions, shard: ReadShardOptions, stream: StreamPace, outage: OutageLog) {
    this.#options = options;
    this.#shard = shard;
    this.#stream = stream;
    this.#pace = new ShardPace(options, stream);
    this.#recovery = new Recovery(options, shard, {
      hasReceived: () => this.#lastReceived !== undefined,
      disconnect: () => this.#iterator = undefined,
      throttled: (operation) => this.#throttled(operation),
      failed: (error, attempt) => this.#failed(error, attempt),
    }, outage);
  }

  async next(admit: Admit): Promise<GrantedPage | undefined> {
    const { clock } = this.#options;
    const { signal } = this.#shard;
    for (let recoveryMs = 0;;) {
      const delayMs = Math.max(recoveryMs, this.#pace.delay(clock.monotonic()));
      if (delayMs > 0) {
        const due = clock.monotonic() + delayMs;
        await clock.sleep(delayMs, signal);
        if (!signal.aborted) this.#pace.woke(clock.monotonic() - due);
      }
      if (signal.aborted) return this.#recovery.stopped();
      try {
        if (this.#iterator === undefined && !this.#recovery.isExpired) await this.#connect();
        return await this.#read(admit) ?? this.#recovery.stopped();
      } catch (error) {
        if (signal.aborted) return this.#recovery.stopped();
        recoveryMs = await this.#recovery.delayAfter(error);
      }
    }
  }

  /** undefined = aborted. */
  async #read(admit: Admit): Promise<GrantedPage | undefined> {
    const { signal } = this.#shard;
    const grant = await admit(signal);
    if (grant === undefined) return undefined;
    try {
      const page = this.#recovery.isExpired
        ? await this.#recovery.endOfExpired()
        : await this.#readPage(grant.maxRecords);
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
    this.#refusedIterators = 0;
    this.#recovery.succeeded();
    this.#iterator = answer.nextShardIterator;
    if (answer.nextShardIterator !== undefined) {
      this.#lastReceived = records.at(-1)?.sequenceNumber ?? this.#lastReceived;
      return { records, bytes, millisBehindLatest };
    }
    const childShards = answer.childShards.length > 0
      ? answer.childShards
      : await this.#recovery.listedChildren();
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

  #throttled(operation: string): number {
    const { log, streamName, maxReadsPerSecond, maxReadBytesPerSecond } = this.#options;
    if (operation === "GetRecords" && !this.#stream.throttled) {
      this.#stream.throttled = true;
      log.warn(
        `Kinesis throttles reads of stream "${streamName}", another consumer may share its limits: from now on each ` +
          `shard is read at most ${maxReadsPerSecond} times and ${maxReadBytesPerSecond} bytes per second`,
        { shardId: this.#shard.shardId },
      );
    }
    return 1000 / maxReadsPerSecond; // a hook, or `backoffTime` = 0, may want no pause at all
  }

  #failed(error: ConnectorError, attempt: number): void {
    const isIterator = error.code === "ITERATOR_EXPIRED";
    // The service's own troubles let fresh ones expire at once, too (its documentation of ExpiredIteratorException).
    const isRefused = isIterator && !isException(error, "ExpiredIteratorException");
    if (isRefused && ++this.#refusedIterators >= REFUSED_ITERATORS) throw this.#refusal(error);
    if (isIterator || attempt % NEW_ITERATOR_AFTER === 0) this.#iterator = undefined;
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
}
