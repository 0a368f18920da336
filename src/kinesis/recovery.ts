// What readers do about failures, however they read: throttles are told and waited for, outages are tried on for ever,
// a shard that is not found is looked for. Invariant: only the shard's end, the stream itself, or what waiting does
// not cure ends a shard.

import { type Backoff, backoffDelay } from "../core/backoff.ts";
import type { Clock } from "../core/clock.ts";
import { ConnectorError, toConnectorError } from "../core/errors.ts";
import type { Logger } from "../core/log.ts";
import type { RecordPage } from "../core/record.ts";
import type { ChildShard } from "../core/shard.ts";
import type { Telemetry } from "../core/telemetry.ts";
import type { KinesisApi } from "./client.ts";
import { assertSameStream, fateOfShard } from "./missing-shard.ts";
import type { OutageLog } from "./outage-log.ts";
import { listShards } from "./shards.ts";
import type { OnThrottle, ReadShardOptions } from "./source.ts";
import { delayAfterThrottle } from "./throttle.ts";

/** What every reader of a stream is made with. */
export interface ReadingOptions {
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

/** What differs between ways of reading. */
export interface ReadingWay {
  /** Whether a sequence number was received: one that is refused afterwards may mean another stream. */
  hasReceived(): boolean;
  /** What was connected is of no more use. */
  disconnect(): void;
  /** A call was throttled; the least delay, milliseconds. */
  throttled(operation: string): number;
  /** A failure that will be tried again; `attempt` counts in a row. Throws when that is enough. */
  failed?(error: ConnectorError, attempt: number): void;
  /** A shard was not found, although its stream lists it. */
  foundListed?(): Promise<void>;
}

/** Between tries while Kinesis does not answer. */
const OUTAGE_BACKOFF: Backoff = { firstMs: 250, maxMs: 10_000, jitter: 0.2 };
/** Listings are eventually consistent: a shard is over when two of them, this far apart, lack it. */
const MISSING_TWICE_MS = 2_000;
/** A closed shard has children: so often they are looked for, as far apart, before it is finished without. */
const CHILDREN_TRIES = 30;

/** The failures of one shard's reader. */
export class Recovery {
  readonly #options: ReadingOptions;
  readonly #shard: ReadShardOptions;
  readonly #way: ReadingWay;
  readonly #outage: OutageLog;
  // Each counts in a row, back to 0 after a success.
  #throttles = 0;
  #failures = 0;
  #missing = 0;
  #expired = false;

  constructor(options: ReadingOptions, shard: ReadShardOptions, way: ReadingWay, outage: OutageLog) {
    this.#options = options;
    this.#shard = shard;
    this.#way = way;
    this.#outage = outage;
  }

  /** The shard is not listed any more, its records have expired: {@link endOfExpired} is all that is left of it. */
  get isExpired(): boolean {
    return this.#expired;
  }

  /** A page has come. */
  succeeded(): void {
    this.#throttles = 0;
    this.#failures = 0;
    this.#missing = 0;
    this.#outage.over(this.#shard.shardId);
  }

  /** The shard is not read any more. */
  stopped(): undefined {
    this.#outage.forget(this.#shard.shardId);
    return undefined;
  }

  /** The delay after which a failure is tried again, milliseconds. Throws what trying again does not cure. */
  async delayAfter(thrown: unknown): Promise<number> {
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

  /** Its children are younger: what they hold may still be there, and nobody else would give them leases. */
  async endOfExpired(): Promise<RecordPage | undefined> {
    const childShards = await this.listedChildren(1);
    return childShards && { records: [], bytes: 0, millisBehindLatest: 0, shardEnd: { childShards } };
  }

  /**
   * For servers that do not name the children at a shard's end. undefined = aborted.
   * @throws ConnectorError AWS_UNAVAILABLE (retryable) when the shard has none and is listed as open for a minute: it has
   * not ended, whatever the answer said (the KCL reads on then, too)
   */
  async listedChildren(tries = CHILDREN_TRIES): Promise<ChildShard[] | undefined> {
    const { clock, log } = this.#options;
    const { shardId, signal } = this.#shard;
    for (let attempt = 1; !signal.aborted; attempt++) {
      let isOpen: boolean;
      try {
        const shards = await listShards(this.#options, undefined, signal);
        const children = shards.filter((shard) => shard.parentShardIds.includes(shardId)).map(toChild);
        isOpen = shards.some((shard) =>
          shard.shardId === shardId && shard.endingSequenceNumber === undefined
        );
        if (children.length > 0 || attempt >= tries && !isOpen) return children;
        if (attempt === 1) log.warn(`shard ${shardId} is closed, but its children are not listed yet`);
        if (attempt < tries) await clock.sleep(MISSING_TWICE_MS, signal);
      } catch (error) {
        if (!signal.aborted) await clock.sleep(await this.delayAfter(error), signal);
        continue;
      }
      if (attempt >= tries && isOpen) throw this.#notClosed();
    }
    return undefined;
  }

  #notClosed(): ConnectorError {
    const { streamName } = this.#options;
    const { shardId } = this.#shard;
    return new ConnectorError(
      `Kinesis said that shard ${shardId} of stream "${streamName}" has ended, but lists it as open and without ` +
        "children: it is read on",
      { code: "AWS_UNAVAILABLE", retryable: true, where: { stream: streamName, shardId } },
    );
  }

  async #delayOfThrottle(error: ConnectorError): Promise<number> {
    const { operation = "" } = error.where;
    const leastMs = this.#way.throttled(operation);
    const throttle = { operation, shardId: this.#shard.shardId, attempt: ++this.#throttles };
    return Math.max(await delayAfterThrottle(throttle, this.#options), leastMs);
  }

  #delayOfFailure(error: ConnectorError): number {
    const { clock } = this.#options;
    const { shardId } = this.#shard;
    const attempt = ++this.#failures;
    try {
      if (!error.retryable) throw error;
      this.#way.failed?.(error, attempt);
    } catch (final) {
      this.#outage.forget(shardId);
      throw final;
    }
    const delayMs = backoffDelay(OUTAGE_BACKOFF, attempt, clock.random());
    this.#outage.failed(shardId, error, attempt, delayMs);
    return delayMs;
  }

  /** A number that was received a moment ago is refused: the stream of this name may be another one by now. */
  async #checkStream(): Promise<void> {
    if (!this.#way.hasReceived()) return;
    await assertSameStream(this.#options, this.#shard.shardId, this.#shard.signal);
  }

  async #lookForShard(): Promise<number> {
    const { log, clock } = this.#options;
    const { shardId, signal } = this.#shard;
    this.#way.disconnect();
    const fate = await fateOfShard(this.#options, shardId, signal);
    if (fate === "listed") {
      await this.#way.foundListed?.();
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
}

function toChild({ shardId, parentShardIds, startingHashKey, endingHashKey }: ChildShard): ChildShard {
  return { shardId, parentShardIds, startingHashKey, endingHashKey };
}
