// The dead letters of one shard: one for each record that cannot be published, in the place of what was refused of it.
// The record is finished when its dead letter is stored (G1). A Delivery of its own, so that their receipts are told
// apart. Effectively once: an id never follows a higher one, so one is sent when all before it is finished.

import { Buffer } from "node:buffer";
import { ConnectorError, toConnectorError } from "../core/errors.ts";
import { sequenceIdOf } from "../core/generation.ts";
import type { InFlight } from "../core/in-flight.ts";
import type { UserRecord } from "../core/record.ts";
import type { HookChain } from "../hooks/chain.ts";
import type { FailedRecord } from "../hooks/outcome.ts";
import type { Delivery, MessageSink, OnceIdentity } from "../pulsar/sink.ts";
import type { DeadLetters, Failure } from "./dead-letter.ts";
import type { Progress } from "./progress.ts";

/** What {@link ShardLetters} needs of the shard's {@link ShardDelivery}. */
export interface ShardLettersOptions {
  readonly streamName: string;
  readonly shardId: string;
  /** Whose records these are. */
  readonly delivery: Delivery;
  readonly deadLetters: DeadLetters;
  readonly sink: MessageSink;
  readonly hooks: Pick<HookChain, "error">;
  readonly inFlight: InFlight;
  readonly progress: Progress;
  /** The record can never be finished, and the connector cannot go on. Gives what `refused` has to give. */
  readonly giveUp: (ordinal: number, error: ConnectorError) => void | Promise<void>;
  /** What {@link ShardLetters.areOwed} says has changed. */
  readonly owedChanged: () => void;
}

/** A record on its way, as read. */
interface Kept {
  readonly record: UserRecord;
  /** Effectively once: its ordinal in the shard's generation. */
  readonly place: number | undefined;
  letter?: Letter;
}

interface Letter {
  readonly failure: Failure;
  stored: boolean;
  /** Of a refused message: settled, effectively once, when it is stored, or nothing more will come. */
  settled?: Promise<void>;
}

/** See the file's header. */
export class ShardLetters implements Delivery {
  readonly #options: ShardLettersOptions;
  readonly #kept = new Map<number, Kept>();
  #owed = 0;

  constructor(options: ShardLettersOptions) {
    this.#options = options;
  }

  get once(): OnceIdentity | undefined {
    return this.#options.delivery.once;
  }

  isAlive(): boolean {
    return this.#options.delivery.isAlive();
  }

  /** Pulsar refused messages whose dead letters are not stored; also when they were given up. */
  get areOwed(): boolean {
    return this.#owed > 0;
  }

  /** Keeps a record for as long as a message of it may be refused. */
  keep(ordinal: number, record: UserRecord, place: number | undefined): void {
    this.#kept.set(ordinal, { record: withOwnBytes(record), place });
  }

  /** Messages of the records `from` … `to` were acknowledged: finished records are not needed any more. */
  forget(from: number, to: number): void {
    const { inFlight } = this.#options;
    for (let ordinal = from; ordinal <= to; ordinal++) {
      if (inFlight.isFinished(ordinal)) this.#kept.delete(ordinal);
    }
  }

  /** Nothing is in flight any more. */
  clear(): void {
    this.#kept.clear();
  }

  /**
   * Hands on the dead letter of a record that a hook failed on. As {@link ShardDelivery.handOn}; effectively once it
   * also waits until the dead letter is stored: at a replay the hook may not fail, and the record's id must not come
   * back after a higher one.
   */
  handOn(
    record: UserRecord,
    failed: FailedRecord,
    signal: AbortSignal,
    place: number | undefined,
  ): boolean | Promise<boolean> {
    if (place !== undefined) return this.#handOnAlone(record, failed, signal, place);
    const room = this.#options.sink.reserve(1, signal);
    return room === true
      ? this.#sendFailed(record, failed, place)
      : room.then((admitted) => this.#admitted(admitted, record, failed, signal, place));
  }

  async #handOnAlone(
    record: UserRecord,
    failed: FailedRecord,
    signal: AbortSignal,
    place: number,
  ): Promise<boolean> {
    const { sink, inFlight, progress } = this.#options;
    const isDrained = (): boolean => inFlight.size === 0;
    sink.flush();
    await progress.until(isDrained, signal);
    const admitted = !signal.aborted && await sink.reserve(1, signal);
    if (!this.#admitted(admitted, record, failed, signal, place)) return false;
    sink.flush();
    await progress.until(isDrained, signal);
    return true;
  }

  #admitted(
    admitted: boolean,
    record: UserRecord,
    failed: FailedRecord,
    signal: AbortSignal,
    place: number | undefined,
  ): boolean {
    if (!admitted) return false;
    if (!signal.aborted) return this.#sendFailed(record, failed, place);
    this.#options.sink.unreserve(1);
    return false;
  }

  #sendFailed(record: UserRecord, failure: FailedRecord, place: number | undefined): boolean {
    const { sequenceNumber, subSequenceNumber, data } = record;
    const following = place === undefined ? undefined : place + 1;
    const { inFlight } = this.#options;
    const ordinal = inFlight.add(sequenceNumber, subSequenceNumber, data.length, 1, following);
    const kept: Kept = { record, place, letter: { failure, stored: false } };
    this.#kept.set(ordinal, kept);
    this.#send(ordinal, kept, failure);
    return true;
  }

  /**
   * A message of a record on its way was refused for good: a dead letter takes its place, one for all messages of a
   * record. As {@link Delivery.refused}.
   */
  replace(ordinal: number, refusal: ConnectorError): void | Promise<void> {
    const kept = this.#kept.get(ordinal);
    if (kept === undefined) { // acknowledged as often as it has messages, and yet refused
      return this.#options.giveUp(ordinal, refusal);
    }
    if (kept.letter === undefined) {
      const letter: Letter = kept.letter = { failure: this.#failureOf(kept.record, refusal), stored: false };
      if (this.#owed++ === 0) this.#options.owedChanged();
      letter.settled = this.#replace(ordinal, kept, letter).catch((error: unknown) =>
        this.#options.giveUp(ordinal, toConnectorError(error))
      );
    } else {
      this.#options.inFlight.acknowledged(ordinal, ordinal);
      this.forget(ordinal, ordinal);
      this.#options.progress.look();
    }
    return this.once === undefined ? undefined : kept.letter.settled;
  }

  async #replace(ordinal: number, kept: Kept, letter: Letter): Promise<void> {
    const { sink, inFlight, progress, hooks, shardId } = this.#options;
    const { over } = progress;
    if (this.once !== undefined) {
      sink.flush();
      await progress.until(() => inFlight.first >= ordinal);
    }
    if (over.aborted) return;
    await hooks.error({ error: letter.failure.error, shardId });
    if (over.aborted) return;
    if (this.once !== undefined) sink.reserveAtOnce(1); // what waits behind it may have all the room
    else if (!await sink.reserve(1, over)) return;
    if (over.aborted) return sink.unreserve(1);
    this.#send(ordinal, kept, letter.failure);
    if (this.once === undefined) return;
    sink.flush();
    await progress.until(() => letter.stored);
  }

  #send(ordinal: number, { record, place }: Kept, failure: Failure): void {
    const { deadLetters, sink, shardId } = this.#options;
    deadLetters.say(record, shardId, failure);
    const message = deadLetters.message(record, shardId, failure);
    sink.send(message, this, ordinal, place === undefined ? undefined : sequenceIdOf(place, 0));
  }

  acknowledged(from: number, to: number): void {
    const { inFlight, deadLetters, progress } = this.#options;
    if (progress.over.aborted) return;
    for (let ordinal = from; ordinal <= to; ordinal++) this.#stored(this.#kept.get(ordinal)!.letter!);
    deadLetters.stored(to - from + 1);
    inFlight.acknowledged(from, to);
    this.forget(from, to);
    progress.look();
  }

  #stored(letter: Letter): void {
    letter.stored = true;
    const isOfRefusal = letter.settled !== undefined;
    if (isOfRefusal && --this.#owed === 0) this.#options.owedChanged();
  }

  refused(ordinal: number, refusal: ConnectorError): void | Promise<void> {
    const { streamName: stream, shardId, giveUp, progress } = this.#options;
    if (progress.over.aborted) return;
    const { record: { sequenceNumber }, letter } = this.#kept.get(ordinal)!;
    const error = new ConnectorError(
      `stream ${stream}, ${shardId}, sequence number ${sequenceNumber}: the dead letter was refused for good: ` +
        `${refusal.message.replace(/\.$/, "")}. It was to keep this: ${letter!.failure.error.message}`,
      { code: refusal.code, cause: refusal, where: { ...refusal.where, stream, shardId, sequenceNumber } },
    );
    return giveUp(ordinal, error);
  }

  #failureOf({ sequenceNumber }: UserRecord, cause: ConnectorError): Failure {
    const { streamName: stream, shardId } = this.#options;
    const error = new ConnectorError(
      `a message of stream ${stream}, ${shardId}, sequence number ${sequenceNumber} was refused for good: ${cause.message}`,
      { code: cause.code, cause, where: { ...cause.where, stream, shardId, sequenceNumber } },
    );
    return { error, attempts: 1 };
  }
}

/** A view of a large aggregate would keep all of it alive. */
function withOwnBytes(record: UserRecord): UserRecord {
  const { data } = record;
  const whole = data.buffer.byteLength;
  if (whole <= Buffer.poolSize || data.length * 2 >= whole) return record;
  return { ...record, data: Buffer.from(data) };
}
