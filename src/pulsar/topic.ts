// A topic as messages name it: finds out once how many partitions it has, routes, and opens a producer for each
// concrete topic on its first message. Until the number is known, messages are kept as copies, in order.

import { Buffer } from "node:buffer";
import { backoffDelay } from "../core/backoff.ts";
import { type ConnectorError, toConnectorError } from "../core/errors.ts";
import type { SinkMessage } from "../core/record.ts";
import { Producer } from "./producer.ts";
import type { ProducerContext } from "./producer-context.ts";
import { type HashingScheme, partitionOf } from "./routing.ts";
import type { Delivery } from "./sink.ts";
import { partitionName } from "./topic-name.ts";

/** What topics need beside what their producers need. */
export interface TopicContext extends ProducerContext {
  readonly hashingScheme: HashingScheme;
  /** Room for one more producer, or why not. */
  admitProducer(topic: string): ConnectorError | undefined;
  producerClosed(): void;
}

interface Waiting {
  readonly message: SinkMessage;
  readonly delivery: Delivery;
  readonly ordinal: number;
}

/** See the file's header. */
export class Topic {
  readonly name: string;
  readonly #context: TopicContext;
  /** One without partitions has one producer. */
  readonly #producers: (Producer | undefined)[] = [];
  readonly #closing = new AbortController();
  #waiting: Waiting[] = [];
  /** Undefined = not known yet, 0 = a topic without partitions. */
  #partitions: number | undefined;
  /** Where messages without key go until that batch is closed. */
  #turn: number;
  #failure: ConnectorError | undefined;
  #isUsed = true;

  /** @param partitions their number, when it is known; otherwise it is asked for, again and again */
  constructor(name: string, context: TopicContext, partitions?: number) {
    this.name = name;
    this.#context = context;
    this.#turn = Math.floor(context.clock.random() * 0x10000);
    this.#partitions = partitions;
    if (partitions === undefined) this.#resolveInBackground();
  }

  get pending(): number {
    return this.#producers.reduce((sum, producer) => sum + (producer?.pending ?? 0), this.#waiting.length);
  }

  /** Whether a message came since the last call. */
  takeUsed(): boolean {
    const isUsed = this.#isUsed;
    this.#isUsed = false;
    return isUsed;
  }

  /** Queues the message; the error when it is refused at once. */
  send(message: SinkMessage, delivery: Delivery, ordinal: number): ConnectorError | undefined {
    this.#isUsed = true;
    if (this.#failure !== undefined) return this.#failure;
    if (this.#partitions === undefined) {
      this.#waiting.push({ message: copyOf(message), delivery, ordinal });
      return undefined;
    }
    const index = this.#partitions === 0 ? 0 : this.#route(message.key, this.#partitions);
    const producer = this.#producers[index] ?? this.#openProducer(index);
    if (!(producer instanceof Producer)) return producer;
    if (producer.failure !== undefined) return producer.failure;
    producer.send(message, delivery, ordinal);
    return undefined;
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
    const producer = this.#producers[index] ?? this.#openProducer(index);
    if (!(producer instanceof Producer)) throw producer;
    await producer.opened();
  }

  flush(): void {
    for (const producer of this.#producers) producer?.closeBatch();
  }

  drop(delivery: Delivery): void {
    const before = this.#waiting.length;
    this.#waiting = this.#waiting.filter((waiting) => waiting.delivery !== delivery);
    if (before > this.#waiting.length) this.#context.finished(before - this.#waiting.length);
    for (const producer of this.#producers) producer?.drop(delivery);
  }

  /** Asks again how many partitions there are: more are used from now on, fewer are ignored (as in Java). */
  async refreshPartitions(): Promise<void> {
    if (!this.#partitions) return;
    const count = await this.#context.lookup().partitions(this.name);
    if (count > this.#partitions) this.#partitions = count;
  }

  /** Tries again what failed: somebody may have created the topic, or granted the right. */
  forgetFailures(): void {
    if (this.#failure !== undefined && this.#waiting.length === 0) {
      this.#failure = undefined;
      this.#resolveInBackground();
    }
    this.#producers.forEach((producer, index) => {
      if (producer?.failure === undefined) return;
      this.#producers[index] = undefined;
      this.#context.producerClosed();
    });
  }

  /** Gives everything up. */
  async close(): Promise<void> {
    this.#closing.abort();
    this.#context.finished(this.#waiting.length);
    this.#waiting = [];
    await Promise.all(this.#producers.map(async (producer) => {
      if (producer === undefined) return;
      this.#context.producerClosed();
      await producer.close();
    }));
  }

  #resolveInBackground(): void {
    this.#resolve().catch((error: unknown) => this.#context.events.fatal(toConnectorError(error)));
  }

  async #resolve(): Promise<void> {
    const { clock, backoff, events } = this.#context;
    const signal = AbortSignal.any([this.#context.signal, this.#closing.signal]);
    for (let attempt = 1;; attempt++) {
      const found = await this.#context.lookup().partitions(this.name).catch(toConnectorError);
      if (signal.aborted || this.#partitions !== undefined) return;
      if (typeof found === "number") return this.#resolved(found);
      if (!found.retryable) return this.#fail(found);
      const delay = backoffDelay(backoff, attempt, clock.random());
      events.reconnecting?.(this.name, found, delay);
      await clock.sleep(delay, signal);
    }
  }

  #resolved(partitions: number): void {
    this.#partitions ??= partitions;
    this.#eachWaiting(({ message, delivery, ordinal }) => this.send(message, delivery, ordinal));
  }

  #fail(error: ConnectorError): void {
    this.#failure = error;
    this.#eachWaiting(() => error);
  }

  /** One at a time: a party that hears of a refusal may drop its others. */
  #eachWaiting(handle: (waiting: Waiting) => ConnectorError | undefined): void {
    for (let next = this.#waiting.shift(); next !== undefined; next = this.#waiting.shift()) {
      const error = handle(next);
      if (error === undefined) continue;
      this.#context.finished(1);
      next.delivery.refused(next.ordinal, error);
    }
  }

  /** A key's own partition; without key one after the other, each for the length of a batch. */
  #route(key: string | undefined, count: number): number {
    if (key !== undefined) return partitionOf(key, count, this.#context.hashingScheme);
    if (this.#producers[this.#turn % count]?.isBatching !== true) this.#turn++;
    return this.#turn % count;
  }

  #openProducer(index: number): Producer | ConnectorError {
    const refusal = this.#context.admitProducer(this.name);
    if (refusal !== undefined) return refusal;
    return this.#producers[index] = new Producer(this.#concreteName(index), this.#context);
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
