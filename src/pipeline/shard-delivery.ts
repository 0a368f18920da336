// The records of one shard that are on their way to Pulsar, under one lease. A record gets its ordinal when it is
// handed to the sink, in shard order; so everything that is numbered is on its way, and nothing else is. What cannot
// be published becomes a dead letter (shard-letters.ts), or stops the connector.

import { ConnectorError } from "../core/errors.ts";
import { sequenceIdOf } from "../core/generation.ts";
import { InFlight } from "../core/in-flight.ts";
import type { Position } from "../core/position.ts";
import type { SinkMessage, UserRecord } from "../core/record.ts";
import type { HookChain } from "../hooks/chain.ts";
import { FailedRecord, type HookOutcome } from "../hooks/outcome.ts";
import type { HeldLease } from "../leases/held-lease.ts";
import type { Delivery, MessageSink, OnceIdentity } from "../pulsar/sink.ts";
import type { DeadLetters } from "./dead-letter.ts";
import { Progress } from "./progress.ts";
import type { ReadBudget } from "./read-budget.ts";
import { ShardLetters } from "./shard-letters.ts";

/** What a {@link ShardDelivery} works with. */
export interface ShardDeliveryOptions {
  readonly streamName: string;
  readonly lease: HeldLease;
  readonly sink: MessageSink;
  readonly budget: ReadBudget;
  readonly hooks: Pick<HookChain, "error">;
  /** Set where a dead-letter topic is configured. */
  readonly deadLetters?: DeadLetters | undefined;
  readonly onFault: (error: ConnectorError) => void;
}

/** What a shard's messages are known by, and who wants to know of refusals. */
export interface ShardIdentity extends OnceIdentity {
  /** What {@link ShardDelivery.hasRefused} says may have changed. */
  refusalsChanged(): void;
}

/** Hands records of one shard to the sink and hears of their receipts. */
export class ShardDelivery implements Delivery {
  /** Set before the first record is handed on under effectively-once, and then never changed. */
  once: ShardIdentity | undefined;
  readonly #options: ShardDeliveryOptions;
  readonly #inFlight: InFlight;
  readonly #progress = new Progress();
  readonly #letters: ShardLetters | undefined;
  /** The first record that can never be finished. */
  #hopeless = Infinity;
  #abandoned = false;

  constructor(options: ShardDeliveryOptions) {
    this.#options = options;
    const { lease: { shardId }, budget, deadLetters } = options;
    const inFlight = this.#inFlight = new InFlight((bytes) => budget.release(bytes));
    this.#letters = deadLetters && new ShardLetters({
      ...options,
      shardId,
      deadLetters,
      delivery: this,
      inFlight,
      progress: this.#progress,
      giveUp: (ordinal, error) => this.#giveUp(ordinal, error),
      owedChanged: () => this.once?.refusalsChanged(),
    });
    options.lease.lost.addEventListener("abort", () => this.abandon(), { once: true });
  }

  /**
   * Hands on what became of a record (null = dropped); waits while the sink has no room.
   * False = the lease is lost or the signal aborted: the record was not handed on.
   * @param place effectively once: the record's ordinal in the shard's generation
   */
  handOn(
    record: UserRecord,
    outcome: HookOutcome,
    signal: AbortSignal,
    place?: number,
  ): boolean | Promise<boolean> {
    // Nothing joins what was abandoned: it would hold its budget for ever, and a dropped record would pass it by.
    if (signal.aborted) return false;
    if (outcome === null) {
      this.#add(record, record.data.length, 0, place);
      return true;
    }
    if (outcome instanceof FailedRecord) {
      if (this.#letters === undefined) throw outcome.error; // its policy needs a topic: the configuration says so
      return this.#letters.handOn(record, outcome, signal, place);
    }
    const count = isSeveral(outcome) ? outcome.length : 1;
    const room = this.#options.sink.reserve(count, signal);
    if (room === true) return this.#send(record, outcome, place);
    return room.then((admitted) => {
      if (!admitted) return false;
      if (!signal.aborted) return this.#send(record, outcome, place);
      this.#options.sink.unreserve(count);
      return false;
    });
  }

  /**
   * A record of which nothing is published and whose bytes are not counted: its position is only passed.
   * @param following effectively once: the ordinal of the record after it
   */
  pass(position: Position, following?: number): void {
    this.#inFlight.add(position.sequenceNumber, position.subSequenceNumber, 0, 0, following);
  }

  /** How far everything is finished. */
  get finished(): Position | undefined {
    return this.#inFlight.finished;
  }

  /** Effectively once: the generation's ordinal of the record after {@link ShardDelivery.finished}. */
  get finishedFollowing(): number | undefined {
    return this.#inFlight.finishedFollowing;
  }

  /** Nothing that was handed on is still on its way. */
  get isDrained(): boolean {
    return this.#inFlight.size === 0 && !this.#abandoned;
  }

  /** Pulsar refused a message for good, and no dead letter keeps its record (yet). Stays so at the end of a shard. */
  get hasRefused(): boolean {
    return this.#hopeless !== Infinity || this.#letters?.areOwed === true;
  }

  /** Records handed to the sink that a checkpoint cannot pass yet. */
  get size(): number {
    return this.#inFlight.size;
  }

  /** Ordinal of the first record that is not finished; of the next one to come, when all are. */
  get first(): number {
    return this.#inFlight.first;
  }

  /** Records and bytes finished since the last call. */
  takeCounts(): { records: number; bytes: number } {
    return this.#inFlight.takeCounts();
  }

  /** Resolves when everything handed to the sink is acknowledged, the lease is lost, or the signal aborts. */
  drained(signal?: AbortSignal): Promise<void> {
    return this.#progress.until(() => this.#inFlight.size === 0, signal);
  }

  /** As {@link ShardDelivery.drained}, but waits for no record that a checkpoint can never pass. */
  settled(signal?: AbortSignal): Promise<void> {
    return this.#progress.until(
      () => this.#inFlight.size === 0 || this.#inFlight.first >= this.#hopeless,
      signal,
    );
  }

  /** The shard is finished: under effectively-once its producers have nothing more to do. */
  closeProducers(): void {
    if (this.once !== undefined) this.#dropFromSink();
  }

  /** Forgets what is in flight: it is not ours any more, or a stop has run out of time. */
  abandon(): void {
    this.#abandoned ||= this.#inFlight.size > 0;
    this.#dropFromSink();
    this.#letters?.clear();
    this.#inFlight.abandon();
    this.#progress.end();
  }

  #dropFromSink(): void {
    const { sink } = this.#options;
    sink.drop(this);
    if (this.#letters !== undefined) sink.drop(this.#letters);
  }

  isAlive(): boolean {
    return this.#options.lease.isAlive();
  }

  acknowledged(from: number, to: number): void {
    this.#inFlight.acknowledged(from, to);
    this.#letters?.forget(from, to);
    this.#progress.look();
  }

  refused(ordinal: number, cause: ConnectorError): void | Promise<void> {
    if (this.#progress.over.aborted) return; // nobody's any more
    const { streamName: stream, lease: { shardId }, deadLetters } = this.#options;
    if (deadLetters?.takes(cause)) return this.#letters!.replace(ordinal, cause);
    const why = deadLetters === undefined ? "" : " (no dead letter, because every record would become one)";
    const error = new ConnectorError(
      `stream ${stream}, shard ${shardId}: a message was refused for good${why}: ${cause.message}`,
      { code: cause.code, cause, where: { ...cause.where, stream, shardId } },
    );
    return this.#giveUp(ordinal, error);
  }

  /**
   * A record can never be finished: the connector ends. Effectively once, no later id may follow that of a record that
   * the next start publishes again: the promise is settled when nothing more will be sent.
   */
  #giveUp(ordinal: number, error: ConnectorError): void | Promise<void> {
    this.#hopeless = Math.min(this.#hopeless, ordinal);
    this.once?.refusalsChanged();
    this.#progress.look();
    this.#options.onFault(error);
    if (this.once !== undefined) return this.#progress.until(() => false);
  }

  #send(record: UserRecord, outcome: Messages, place?: number): boolean {
    const { sink, budget } = this.#options;
    const read = record.data.length;
    const several = isSeveral(outcome);
    const made = several ? outcome.reduce((sum, { data }) => sum + data.length, 0) : outcome.data.length;
    if (made > read) budget.release(read - made); // hooks made it larger: it counts at its own size
    const size = Math.max(read, made);
    const ordinal = this.#add(record, size, several ? outcome.length : 1, place);
    this.#letters?.keep(ordinal, record, place);
    if (place !== undefined) {
      const messages = several ? outcome : [outcome];
      messages.forEach((message, index) =>
        sink.send(routable(message, record), this, ordinal, sequenceIdOf(place, index))
      );
    } else if (several) {
      for (const message of outcome) sink.send(message, this, ordinal);
    } else {
      sink.send(outcome, this, ordinal);
    }
    return true;
  }

  #add({ sequenceNumber, subSequenceNumber }: UserRecord, size: number, messages: number, place?: number) {
    const following = place === undefined ? undefined : place + 1;
    return this.#inFlight.add(sequenceNumber, subSequenceNumber, size, messages, following);
  }
}

/** A message without key goes where its record's key says, at every replay: never round robin (design §9). */
function routable(message: SinkMessage, record: UserRecord): SinkMessage {
  return message.key === undefined ? { ...message, routingKey: record.partitionKey } : message;
}

type Messages = SinkMessage | readonly SinkMessage[];

function isSeveral(outcome: Messages): outcome is readonly SinkMessage[] {
  return Array.isArray(outcome);
}
