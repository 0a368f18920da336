// Reads shards by enhanced fan-out: SubscribeToShard, renewed without a gap. Invariants, as for polling.ts: after a
// record was received reading goes on AFTER it, before that from where it began; numbers of continuation stay in
// memory; nothing is subscribed once the lease is lost (it would cut off the new owner).

import { type Backoff, backoffDelay } from "../core/backoff.ts";
import { ConnectorError, toConnectorError } from "../core/errors.ts";
import { compareSequenceNumbers } from "../core/position.ts";
import type { RecordPage } from "../core/record.ts";
import { measured } from "../core/telemetry.ts";
import type { FanOutApi, IteratorPosition } from "./client.ts";
import type { FanOutConsumer } from "./consumer.ts";
import type { ShardEvent } from "./decode.ts";
import { isException } from "./errors.ts";
import { assertSameStream } from "./missing-shard.ts";
import { OutageLog } from "./outage-log.ts";
import { type ReadingOptions, Recovery } from "./recovery.ts";
import type { Admit, GrantedPage, ReadShardOptions, RecordSource, ShardReader } from "./source.ts";
import { Subscription } from "./subscription.ts";

/** Options of {@link createFanOutSource}. */
export interface FanOutOptions extends ReadingOptions {
  readonly api: FanOutApi;
  readonly consumer: FanOutConsumer;
  /**
   * The service refuses a second subscription of a shard so soon after the first one (ResourceInUseException); later it
   * cuts the first one off. @default 5000
   */
  readonly resubscribeAfterMs?: number | undefined;
  /** See {@link Subscription}. */
  readonly silenceMs?: number | undefined;
}

const RESUBSCRIBE_MS = 5_000;
/** Who finds a shard held so often in a row is not merely late. */
const QUIET_IN_USE = 2;
/** A lease that changes hands cuts off one subscription; so many of one shard in a row are a fight. */
const EVICTIONS_OF_A_FIGHT = 5;
const SAY_FIGHT_AGAIN_MS = 600_000;
const LONG_LIFE_MS = 60_000;
const QUIET_BREAKS = 2;

/** Reads by enhanced fan-out. `close()` ends all subscriptions and leaves the api open. */
export function createFanOutSource(options: FanOutOptions): RecordSource {
  const outage = new OutageLog(options.clock, options.log);
  const closed = new AbortController();
  let saidAt = -Infinity;
  const sayFight = (shardId: string): void => {
    const { clock, log, consumer, streamName } = options;
    if (clock.monotonic() - saidAt < SAY_FIGHT_AGAIN_MS) return;
    saidAt = clock.monotonic();
    log.warn(
      `subscriptions to stream "${streamName}" are cut off again and again: somebody else reads it as the same ` +
        `consumer ${consumer.arn}, by another lease table. Give each application a consumer of its own ` +
        "(kinesis.consumerName)",
      { shardId },
    );
  };
  return {
    open: (shard) => {
      const signal = AbortSignal.any([shard.signal, closed.signal]);
      return new FanOutReader(
        options,
        { ...shard, signal },
        outage,
        () => options.consumer.check(closed.signal),
        sayFight,
      );
    },
    close: () => {
      closed.abort();
      return Promise.resolve();
    },
  };
}

class FanOutReader implements ShardReader {
  readonly #options: FanOutOptions;
  readonly #shard: ReadShardOptions;
  readonly #recovery: Recovery;
  #subscription: Subscription | undefined;
  /** Of the last subscription that stood: when it was made (monotonic), and Kinesis' time before it. */
  #subscribedAt = -Infinity;
  #asOf = -Infinity;
  /** Whether the last subscription has given an event. */
  #heard = false;
  #connected = false;
  #lastRecord: string | undefined;
  /** What an event told to go on after, once it is past the start: never below a record that was received. */
  #continuation: string | undefined;
  /** In a row, back to 0 after an event. */
  #inUse = 0;
  /** Subscriptions in a row that stood, and were cut off by another one. */
  #evictions = 0;
  readonly #sayFight: (shardId: string) => void;
  /** Connections in a row that broke soon. */
  #breaks = 0;

  constructor(
    options: FanOutOptions,
    shard: ReadShardOptions,
    outage: OutageLog,
    checkConsumer: () => Promise<void>,
    sayFight: (shardId: string) => void,
  ) {
    this.#options = options;
    this.#sayFight = sayFight;
    this.#shard = shard;
    this.#recovery = new Recovery(options, shard, {
      hasReceived: () => this.#goOnAfter !== undefined,
      disconnect: () => this.#disconnect(),
      throttled: () => 0,
      foundListed: checkConsumer,
    }, outage);
  }

  async next(admit: Admit): Promise<GrantedPage | undefined> {
    const { clock } = this.#options;
    const { signal } = this.#shard;
    for (let recoveryMs = 0;;) {
      if (recoveryMs > 0) await clock.sleep(recoveryMs, signal);
      if (signal.aborted || this.#isLost) return this.#recovery.stopped();
      try {
        const page = this.#recovery.isExpired
          ? await this.#endOfExpired(admit)
          : await this.#nextEvent(admit);
        if (signal.aborted) {
          page?.grant.release();
          return this.#recovery.stopped();
        }
        if (page !== undefined) return page;
        recoveryMs = this.#untilRenewal();
      } catch (error) {
        this.#disconnect();
        if (signal.aborted) return this.#recovery.stopped();
        recoveryMs = Math.max(await this.#recover(error), this.#untilRenewal());
      }
    }
  }

  /** undefined = the subscription has ended, as it does every five minutes. */
  async #nextEvent(admit: Admit): Promise<GrantedPage | undefined> {
    if (this.#subscription === undefined || this.#isTooOld()) await this.#subscribe();
    if (this.#subscription === undefined) return undefined; // the lease is lost
    const granted = await this.#subscription.next(admit);
    if (granted === undefined) {
      this.#evictions = 0;
      this.#disconnect();
      if (!this.#heard && !this.#shard.signal.aborted) {
        throw endedAtOnce(this.#options.streamName, this.#shard.shardId);
      }
      this.#breaks = 0;
      return undefined;
    }
    const { event, grant } = granted;
    try {
      const page = await this.#pageOf(event);
      if (page !== undefined) return { page, grant };
    } catch (error) {
      grant.release();
      throw error;
    }
    grant.release();
    return undefined;
  }

  /** undefined = aborted. */
  async #pageOf(event: ShardEvent): Promise<RecordPage | undefined> {
    const { records, bytes, millisBehindLatest, continuationSequenceNumber } = event;
    this.#heard = true;
    this.#inUse = 0;
    this.#recovery.succeeded();
    this.#report(undefined);
    const page = { records, bytes, millisBehindLatest, asOf: this.#asOf };
    if (continuationSequenceNumber !== undefined) {
      this.#received(records.at(-1)?.sequenceNumber, continuationSequenceNumber);
      return page;
    }
    this.#disconnect();
    this.#heard = false; // what fails from here on is no break of the stream
    const childShards = event.childShards.length > 0
      ? event.childShards
      : await this.#recovery.listedChildren();
    return childShards && { ...page, shardEnd: { childShards } };
  }

  /**
   * Notes how far a page came. A subscription AT a checkpoint may give events before the one with its record: until
   * then only a greater number is past it, else the rest of a half-done aggregate would be left out.
   */
  #received(record: string | undefined, continuation: string): void {
    this.#lastRecord = record ?? this.#lastRecord;
    const { start } = this.#shard;
    const past = this.#lastRecord ?? (start.type === "AT_SEQUENCE_NUMBER" ? start.sequenceNumber : undefined);
    const isPast = past === undefined || compareSequenceNumbers(continuation, past) > 0;
    this.#continuation = isPast ? continuation : undefined;
  }

  get #goOnAfter(): string | undefined {
    return this.#continuation ?? this.#lastRecord;
  }

  async #subscribe(): Promise<void> {
    const { api, clock, consumer, silenceMs } = this.#options;
    const { shardId, signal, onConnected } = this.#shard;
    this.#disconnect();
    const position = this.#position();
    const { until } = this.#shard;
    // Kinesis' clock is known to the second: rather a second later than renewed for its sake.
    if (until !== undefined && until > api.now() && until <= api.now() + 1_000) {
      await clock.sleep(1_000, signal);
    }
    signal.throwIfAborted();
    if (this.#isLost) return;
    const asOf = api.now();
    const step = { operation: "ProcessTask", step: "SubscribeToShard", shardId } as const;
    const stream = await measured(
      this.#options,
      step,
      () => api.subscribeToShard(consumer.arn, shardId, position, signal),
    );
    this.#subscription = new Subscription(stream, { clock, signal, silenceMs });
    this.#subscribedAt = clock.monotonic();
    this.#asOf = asOf;
    this.#heard = false;
    // TRIM_HORIZON, LATEST and times are valid in any stream, also in one that was made anew meanwhile.
    if (this.#connected && !("sequenceNumber" in position)) {
      await assertSameStream(this.#options, shardId, signal);
    }
    if (this.#connected || signal.aborted) return;
    this.#connected = true;
    onConnected?.();
  }

  get #isLost(): boolean {
    return this.#shard.isHeld?.() === false;
  }

  #position(): IteratorPosition {
    const { start, restart } = this.#shard;
    const sequenceNumber = this.#goOnAfter;
    if (sequenceNumber !== undefined) return { type: "AFTER_SEQUENCE_NUMBER", sequenceNumber };
    return this.#connected ? restart ?? start : start;
  }

  /** An event may have been made long before it came: only a subscription made after `until` tells what was there then. */
  #isTooOld(): boolean {
    const { until } = this.#shard;
    return until !== undefined && this.#asOf < until && this.#options.api.now() >= until &&
      this.#untilRenewal() === 0;
  }

  /** How long the next subscription has to wait, milliseconds. */
  #untilRenewal(): number {
    return Math.max(0, this.#subscribedAt + this.#resubscribeMs - this.#options.clock.monotonic());
  }

  /** The delay after which a failure is tried again, milliseconds; those of every day are not told of at once. */
  async #recover(thrown: unknown): Promise<number> {
    const { clock, log } = this.#options;
    const { shardId } = this.#shard;
    const error = toConnectorError(thrown);
    const isInUse = isException(error, "ResourceInUseException");
    const broke = this.#heard && error.code === "AWS_UNAVAILABLE";
    if (broke && isInUse && ++this.#evictions >= EVICTIONS_OF_A_FIGHT) this.#sayFight(shardId);
    this.#heard = false;
    if (isInUse && ++this.#inUse <= QUIET_IN_USE) {
      const delayMs = backoffDelay(this.#inUseBackoff, this.#inUse, clock.random());
      log.debug(`${error.message}; trying again`, { shardId, delayMs });
      return delayMs;
    }
    if (broke && this.#isUsualBreak()) {
      log.debug(`${error.message}; subscribing again`, { shardId });
      return 0;
    }
    this.#report(error);
    if (error.code === "AWS_REFUSED" && this.#continuation !== undefined) {
      this.#continuation = undefined;
      log.warn(`${error.message}; going on from the last record instead`, { shardId });
      return 0;
    }
    const delayMs = await this.#recovery.delayAfter(error);
    return isInUse ? Math.max(delayMs, this.#resubscribeMs) : delayMs;
  }

  /** Connections break now and then; those that break again and again, a moment after they stood, are trouble. */
  #isUsualBreak(): boolean {
    const livedMs = this.#options.clock.monotonic() - this.#subscribedAt;
    this.#breaks = livedMs < LONG_LIFE_MS ? this.#breaks + 1 : 1;
    return this.#breaks <= QUIET_BREAKS;
  }

  async #endOfExpired(admit: Admit): Promise<GrantedPage | undefined> {
    const grant = await admit(this.#shard.signal, 0);
    if (grant === undefined) return undefined;
    const page = await this.#recovery.endOfExpired();
    if (page !== undefined) return { page, grant };
    grant.release();
    return undefined;
  }

  /** An event came, or none can be got. */
  #report(error: ConnectorError | undefined): void {
    const { shardId } = this.#shard;
    const success = error === undefined;
    this.#options.telemetry?.report({
      operation: "ProcessTask",
      step: "SubscribeToShard.event",
      shardId,
      success,
      error,
    });
  }

  get #resubscribeMs(): number {
    return this.#options.resubscribeAfterMs ?? RESUBSCRIBE_MS;
  }

  /** Never shorter than the rule wants. */
  get #inUseBackoff(): Backoff {
    return { firstMs: 1.2 * this.#resubscribeMs, maxMs: 2.4 * this.#resubscribeMs, jitter: 0.15 };
  }

  #disconnect(): void {
    this.#subscription?.close();
    this.#subscription = undefined;
  }
}

function endedAtOnce(stream: string, shardId: string): ConnectorError {
  return new ConnectorError(
    `Kinesis ended a subscription to shard ${shardId} of stream "${stream}" without an event`,
    {
      code: "AWS_UNAVAILABLE",
      retryable: true,
      where: { stream, shardId, operation: "SubscribeToShard" },
    },
  );
}
