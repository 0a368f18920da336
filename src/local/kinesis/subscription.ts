// One open SubscribeToShard: events from the shard's log, each as soon as there is one and the client has taken
// the one before, until the shard ends, the subscription's life is over, or another takes its place. Nothing is
// kept for a client that does not read: its records stay in the log. Invariant: every event but a shard's last
// has a ContinuationSequenceNumber, empty ones too; the last has ChildShards instead.

import { Buffer } from "node:buffer";
import type { Account } from "./account.ts";
import type { Consumer } from "./consumer.ts";
import { KinesisError } from "./errors.ts";
import { encodeFrame, eventHeaders, exceptionFrame } from "./event-stream.ts";
import { childShards, MAX_PAGE_RECORDS, readPage, type ShardPage } from "./page.ts";
import type { Shard } from "./shard.ts";
import type { StreamBody, StreamPiece } from "./stream-body.ts";

const EVENT_HEADERS = eventHeaders("SubscribeToShardEvent");
const HEAD = Buffer.from('{"Records":[');
const INITIAL_RESPONSE = encodeFrame(eventHeaders("initial-response"), [Buffer.from("{}")]);

/** Why a subscription came to its end. */
export type SubscriptionEnd =
  /** The shard has no more records. */
  | "shard-end"
  /** It was as old as the service lets it become, or a test ended it so. */
  | "expired"
  /** An exception was sent, e.g. because another subscription took its place. */
  | "exception"
  /** A fault or a test broke the connection. */
  | "cut"
  /** The client went away, or the server closed. */
  | "client";

/** What a subscription is opened with. */
export interface SubscriptionOrigin {
  readonly account: Account;
  readonly consumer: Consumer;
  readonly shard: Shard;
  /** The first record to send. */
  readonly ordinal: number;
  /** StartingPosition as it was asked for. */
  readonly startingPosition: Readonly<Record<string, unknown>>;
}

/** One subscription. */
export class Subscription implements StreamBody {
  readonly consumer: Consumer;
  readonly shard: Shard;
  readonly startingPosition: Readonly<Record<string, unknown>>;
  /** Monotonic milliseconds. */
  readonly openedAt: number;
  readonly #account: Account;
  #ordinal: number;
  #events = 0;
  #records = 0;
  #greeted = false;
  /** Monotonic time of the last event. */
  #lastEventAt = 0;
  /** With limits: when the next event may be sent, monotonic. */
  #notBefore = 0;
  #lastPiece: StreamPiece | undefined;
  #end: SubscriptionEnd | undefined;
  #waiting: AbortController | undefined;

  constructor(origin: SubscriptionOrigin) {
    this.#account = origin.account;
    this.consumer = origin.consumer;
    this.shard = origin.shard;
    this.startingPosition = origin.startingPosition;
    this.#ordinal = origin.ordinal;
    this.openedAt = this.#clock.monotonic();
    this.shard.watchers.add(this);
  }

  /** Events sent, empty ones included. */
  get events(): number {
    return this.#events;
  }

  /** Records sent. */
  get records(): number {
    return this.#records;
  }

  /** Undefined while it goes on. */
  get end(): SubscriptionEnd | undefined {
    return this.#end;
  }

  /** Lets a waiting subscription look again. */
  wake(): void {
    this.#waiting?.abort();
  }

  /** Ends it after what is being sent: with an exception event if given, else as if its life were over. */
  finish(exception?: KinesisError): void {
    if (this.#end !== undefined) return;
    if (exception) {
      this.#lastPiece = { kind: "bytes", chunks: exceptionFrame(exception.name, exception.message) };
    }
    this.#conclude(exception ? "exception" : "expired");
  }

  /** Breaks the connection without a word. */
  cut(): void {
    if (this.#end !== undefined) return;
    this.#lastPiece = { kind: "cut" };
    this.#conclude("cut");
  }

  close(): void {
    this.#conclude("client");
  }

  async next(): Promise<StreamPiece> {
    if (!this.#greeted) {
      this.#greeted = true;
      return { kind: "bytes", chunks: INITIAL_RESPONSE };
    }
    while (this.#end === undefined) {
      const event = this.#nextEvent();
      if (event) return { kind: "bytes", chunks: event };
      if (this.#end === undefined) await this.#wait();
    }
    const last = this.#lastPiece ?? { kind: "end" };
    this.#lastPiece = undefined;
    return last;
  }

  // What there is to send now; undefined if nothing, or if this was the end.
  #nextEvent(): Uint8Array[] | undefined {
    const now = this.#clock.monotonic();
    if (now >= this.#endsAt) {
      this.finish();
      return undefined;
    }
    const gone = this.#gone();
    if (gone) {
      this.finish(gone);
      return undefined;
    }
    if (now < this.#notBefore) return undefined;
    const { maxEventBytes, heartbeatMs } = this.#account.options;
    const page = readPage(this.#account, this.shard, this.#ordinal, MAX_PAGE_RECORDS, maxEventBytes);
    const isDue = this.#events === 0 || now >= this.#lastEventAt + heartbeatMs;
    if (page.records === 0 && !page.isAtEnd && !isDue) return undefined;
    this.#ordinal = page.next;
    this.#events++;
    this.#records += page.records;
    this.#lastEventAt = now;
    const { subscribeBytesPerSecond: rate } = this.#account.limits;
    if (rate !== undefined) this.#notBefore = now + page.bytes / rate * 1000;
    if (page.isAtEnd) this.#conclude("shard-end");
    return this.#encode(page);
  }

  #encode(page: ShardPage): Uint8Array[] {
    const tail = JSON.stringify({
      ...(page.isAtEnd
        ? { ChildShards: childShards(this.shard) }
        : { ContinuationSequenceNumber: this.shard.continuationNumber(page.next, this.#account.now()) }),
      MillisBehindLatest: page.millisBehindLatest,
    });
    return encodeFrame(EVENT_HEADERS, [HEAD, ...page.chunks, Buffer.from(`],${tail.slice(1)}`)]);
  }

  // Consumers, streams and shards vanish under an open subscription.
  #gone(): KinesisError | undefined {
    const now = this.#account.now();
    const { stream } = this.consumer;
    try {
      if (this.#account.find({ StreamName: stream.name }) === stream && !this.consumer.isGone(now)) {
        stream.readableShard(this.shard.shardId, now);
        return undefined;
      }
    } catch (error) {
      if (!(error instanceof KinesisError)) throw error;
      return error;
    }
    return new KinesisError(
      "ResourceNotFoundException",
      `Consumer ${this.consumer.arn} under account ${stream.origin.accountId} not found.`,
    );
  }

  // Until something is put, the shard ends, an event is due or may be sent, or the life is over.
  async #wait(): Promise<void> {
    const now = this.#clock.monotonic();
    const isHeld = now < this.#notBefore;
    const due = isHeld ? this.#notBefore : this.#lastEventAt + this.#account.options.heartbeatMs;
    const waiting = new AbortController();
    this.#waiting = waiting;
    await this.#clock.sleep(Math.min(due, this.#endsAt) - now, waiting.signal);
    this.#waiting = undefined;
  }

  #conclude(end: SubscriptionEnd): void {
    if (this.#end !== undefined) return;
    this.#end = end;
    this.shard.watchers.delete(this);
    this.wake();
  }

  get #endsAt(): number {
    return this.openedAt + this.#account.options.subscriptionLifeMs;
  }

  get #clock() {
    return this.#account.options.clock;
  }
}
