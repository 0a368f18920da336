// A topic as messages name it: finds out once how many partitions it has, routes, and opens a producer for each
// concrete topic on its first message. Invariant: messages that have to wait (for the number of partitions, for a
// producer's slot, for what was refused before them under effectively once) are kept as copies, in order, and nothing
// overtakes them.

import { Buffer } from "node:buffer";
import { backoffDelay } from "../core/backoff.ts";
import { type ConnectorError, toConnectorError } from "../core/errors.ts";
import type { SinkMessage } from "../core/record.ts";
import { Producer } from "./producer.ts";
import type { ProducerContext } from "./producer-context.ts";
import type { ProducerSlots, SlotHolder, SlotWaiter } from "./producer-slots.ts";
import { RepeatedTrouble } from "./repeated-trouble.ts";
import { type HashingScheme, partitionOf } from "./routing.ts";
import type { Delivery } from "./sink.ts";
import { partitionName } from "./topic-name.ts";
import type { OnceTable } from "./topic-table.ts";

/** What topics need beside what their producers need. */
export interface TopicContext extends ProducerContext {
  readonly hashingScheme: HashingScheme;
  readonly slots: ProducerSlots;
}

/** What may be known of a topic. */
export interface TopicOptions {
  /** Otherwise it is asked for, again and again. */
  readonly partitions?: number | undefined;
  /** Effectively once: whose producers these are. */
  readonly once?: OnceTable | undefined;
}

interface Waiting {
  readonly message: SinkMessage;
  readonly delivery: Delivery;
  readonly ordinal: number;
  readonly sequenceId: number | undefined;
  /** Set when there is no producer for it: it is refused in its turn. */
  refusedBy?: ConnectorError;
}

interface OpenProducer extends SlotHolder {
  readonly producer: Producer;
}

/** See the file's header. */
export class Topic implements SlotWaiter {
  readonly name: string;
  readonly #context: TopicContext;
  readonly #once: OnceTable | undefined;
  /** One without partitions has one producer. */
  readonly #producers: (OpenProducer | undefined)[] = [];
  readonly #closing = new AbortController();
  #waiting: Waiting[] = [];
  /** Undefined = not known yet, 0 = a topic without partitions. */
  #partitions: number | undefined;
  /** Where messages without key go until that batch is closed. */
  #turn: number;
  #failure: ConnectorError | undefined;
  /** Whether a message came since the last {@link countUnused}. */
  #isUsed = true;
  #unused = 0;
  /** Refusals that somebody has still to do something about (effectively once): nothing may pass them. */
  #unsettled = 0;
  #isRefreshing = false;

  constructor(name: string, context: TopicContext, { partitions, once }: TopicOptions = {}) {
    this.name = name;
    this.#context = context;
    this.#once = once;
    this.#turn = Math.floor(context.clock.random() * 0x10000);
    this.#partitions = partitions ?? once?.identity.partitions(name);
    if (this.#partitions === undefined) this.#resolveInBackground();
  }

  get pending(): number {
    return this.#producers.reduce((sum, open) => sum + (open?.producer.pending ?? 0), this.#waiting.length);
  }

  /** Nothing would be lost with it. */
  get isEmpty(): boolean {
    return this.isIdle && this.#producers.every((open) => open === undefined);
  }

  /** Nothing is on its way, and nothing has to wait. */
  get isIdle(): boolean {
    return this.#waiting.length === 0 && this.#unsettled === 0 &&
      this.#producers.every((open) => open === undefined || open.isIdle);
  }

  /** How many calls in succession, this one included, found nothing going on. */
  countUnused(): number {
    this.#unused = this.#isUsed || !this.isIdle ? 0 : this.#unused + 1;
    this.#isUsed = false;
    return this.#unused;
  }

  /** Queues the message; a refusal is told later. */
  send(message: SinkMessage, delivery: Delivery, ordinal: number, sequenceId?: number): void {
    this.#isUsed = true;
    if (this.#failure !== undefined) return this.#refuse(delivery, ordinal, this.#failure);
    const mustWait = this.#partitions === undefined || this.#waiting.length > 0 || this.#unsettled > 0;
    const producer = mustWait ? undefined : this.#producerFor(message);
    if (producer === undefined) {
      this.#waiting.push({ message: copyOf(message), delivery, ordinal, sequenceId });
    } else this.#give(producer, message, delivery, ordinal, sequenceId);
  }

  /**
   * Resolves when a producer is open: of a topic with partitions one, which shows what a broker may refuse.
   * One attempt; what it started goes on in the background. Rejects with what is wrong.
   */
  async open(): Promise<void> {
    if (this.#failure !== undefined) throw this.#failure;
    const lookup = this.#context.lookup();
    const partitions = this.#partitions ?? await lookup.partitions(this.name);
    if (this.#partitions === undefined) this.#resolved(partitions);
    const index = partitions === 0 ? 0 : this.#turn % partitions;
    if (this.#producers[index] === undefined) await lookup.broker(this.#concreteName(index));
    await this.#openProducer(index)?.opened();
  }

  flush(): void {
    for (const open of this.#producers) open?.producer.closeBatch();
  }

  drop(delivery: Delivery): void {
    const before = this.#waiting.length;
    this.#waiting = this.#waiting.filter((waiting) => waiting.delivery !== delivery);
    if (before > this.#waiting.length) this.#context.finished(before - this.#waiting.length);
    if (this.#waiting.length === 0) this.#context.slots.forget(this);
    for (const open of this.#producers) open?.producer.drop(delivery);
  }

  /**
   * Asks again how many partitions there are: more are used from now on, fewer are ignored (as in Java). Under
   * effectively once the number is part of what makes a replay the same, and stays.
   */
  async refreshPartitions(): Promise<void> {
    if (!this.#partitions || this.#once !== undefined || this.#isRefreshing) return;
    this.#isRefreshing = true;
    try {
      const count = await this.#context.lookup().partitions(this.name);
      if (count > this.#partitions) this.#partitions = count;
    } finally {
      this.#isRefreshing = false;
    }
  }

  /** Tries again what failed: somebody may have created the topic, or granted the right. */
  forgetFailures(): void {
    if (this.#waiting.length > 0 || this.#unsettled > 0) return;
    if (this.#failure !== undefined) {
      this.#failure = undefined;
      this.#resolveInBackground();
    }
    this.#producers.forEach((open, index) => {
      if (open?.producer.failure !== undefined && open.isIdle) void this.#closeProducer(index);
    });
  }

  /** Gives everything up. */
  async close(): Promise<void> {
    this.#closing.abort();
    this.#context.slots.forget(this);
    this.#context.finished(this.#waiting.length);
    this.#waiting = [];
    await Promise.all(this.#producers.map((_, index) => this.#closeProducer(index)));
  }

  slotFree(): void {
    this.#sendWaiting();
  }

  noSlot(error: ConnectorError): void {
    for (const waiting of this.#waiting) {
      if (this.#producers[this.#indexFor(waiting.message)] === undefined) waiting.refusedBy = error;
    }
    this.#sendWaiting();
  }

  #resolveInBackground(): void {
    this.#resolve().catch((error: unknown) => this.#context.events.fatal(toConnectorError(error)));
  }

  async #resolve(): Promise<void> {
    const { clock, backoff, events } = this.#context;
    const signal = AbortSignal.any([this.#context.signal, this.#closing.signal]);
    const trouble = new RepeatedTrouble();
    for (let attempt = 1;; attempt++) {
      const found = await this.#countPartitions().catch(toConnectorError);
      if (signal.aborted || this.#partitions !== undefined) return;
      if (typeof found === "number") return this.#resolved(found);
      if (!found.retryable) return this.#fail(found);
      const delay = backoffDelay(backoff, attempt, clock.random());
      if (trouble.isToTell(found, clock.monotonic())) {
        events.reconnecting?.(this.name, found, delay);
      }
      await clock.sleep(delay, signal);
    }
  }

  async #countPartitions(): Promise<number> {
    const count = await this.#context.lookup().partitions(this.name);
    await this.#once?.identity.storePartitions(this.name, count);
    return count;
  }

  #resolved(partitions: number): void {
    this.#partitions ??= partitions;
    this.#sendWaiting();
  }

  #fail(error: ConnectorError): void {
    this.#failure = error;
    for (const { delivery, ordinal } of this.#waiting.splice(0)) this.#refuse(delivery, ordinal, error);
  }

  /** One at a time: a party that hears of something may drop its others. */
  #sendWaiting(): void {
    while (this.#waiting.length > 0 && this.#partitions !== undefined && this.#unsettled === 0) {
      const { message, delivery, ordinal, sequenceId, refusedBy } = this.#waiting[0]!;
      if (refusedBy !== undefined) {
        this.#waiting.shift();
        this.#refuse(delivery, ordinal, refusedBy);
        continue;
      }
      const producer = this.#producerFor(message);
      if (producer === undefined) return;
      this.#waiting.shift();
      this.#give(producer, message, delivery, ordinal, sequenceId);
    }
  }

  #give(
    producer: Producer,
    message: SinkMessage,
    delivery: Delivery,
    ordinal: number,
    sequenceId: number | undefined,
  ): void {
    const error = producer.failure ?? producer.send(message, delivery, ordinal, sequenceId);
    if (error !== undefined) this.#refuse(delivery, ordinal, error);
  }

  /** Told later, as every other refusal: the caller need not expect an answer while it is still asking. */
  #refuse(delivery: Delivery, ordinal: number, error: ConnectorError): void {
    const isOnce = this.#once !== undefined;
    if (isOnce) this.#unsettled++;
    queueMicrotask(() => {
      this.#context.finished(1);
      const settled = delivery.refused(ordinal, error);
      if (!isOnce) return;
      if (settled === undefined) this.#settled();
      else void settled.then(() => this.#settled());
    });
  }

  #settled(): void {
    this.#unsettled--;
    this.#sendWaiting();
  }

  /** The producer of the message's partition; undefined when there is no slot for it yet. */
  #producerFor(message: SinkMessage): Producer | undefined {
    const index = this.#indexFor(message);
    return this.#producers[index]?.producer ?? this.#openProducer(index);
  }

  /** A key's own partition; without key one after the other, each for the length of a batch. */
  #indexFor({ key, routingKey }: SinkMessage): number {
    const count = this.#partitions!;
    if (count === 0) return 0;
    if (key !== undefined) return partitionOf(key, count, this.#context.hashingScheme);
    // a replay must find the same partition
    if (this.#once !== undefined) return partitionOf(routingKey ?? "", count, "Murmur3_32Hash");
    if (this.#producers[this.#turn % count]?.producer.isBatching !== true) this.#turn++;
    return this.#turn % count;
  }

  #openProducer(index: number): Producer | undefined {
    const known = this.#producers[index];
    if (known !== undefined) return known.producer;
    const { slots } = this.#context;
    if (!slots.makeRoom(this.name)) {
      slots.wait(this);
      return undefined;
    }
    const topic = this.#concreteName(index);
    const once = this.#once &&
      { producerName: this.#once.identity.producerName, history: this.#once.history(topic) };
    const producer = new Producer(topic, this.#context, once);
    const open: OpenProducer = {
      producer,
      get isIdle() {
        return producer.isIdle;
      },
      get usedAt() {
        return producer.usedAt;
      },
      evict: () => void this.#closeProducer(index),
    };
    this.#producers[index] = open;
    slots.take(this.name, open);
    return producer;
  }

  async #closeProducer(index: number): Promise<void> {
    const open = this.#producers[index];
    if (open === undefined) return;
    this.#producers[index] = undefined;
    this.#context.slots.give(open);
    await open.producer.close();
  }

  #concreteName(index: number): string {
    return this.#partitions === 0 ? this.name : partitionName(this.name, index);
  }
}

/** The caller's bytes are its own again once send() has returned. */
function copyOf(message: SinkMessage): SinkMessage {
  const { data, orderingKey } = message;
  return { ...message, data: Buffer.from(data), orderingKey: orderingKey && Buffer.from(orderingKey) };
}
