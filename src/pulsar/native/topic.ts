// A topic behind the official client, partitions and reconnects are its own affair. Invariant: messages are given to
// it in the order of send(), and what it gives back is given again before anything that waits, also to a new producer.

import { type Backoff, backoffDelay } from "../../core/backoff.ts";
import type { Clock } from "../../core/clock.ts";
import { ConnectorError, toConnectorError } from "../../core/errors.ts";
import type { SinkMessage } from "../../core/record.ts";
import type { Delivery, SinkEvents } from "../sink.ts";
import type { NativeProducer, ProducerMessage } from "./api.ts";
import { nativeFailure } from "./errors.ts";
import { nativeMessage, nativeSize } from "./message.ts";
import { MAX_BATCH_BYTES } from "./options.ts";

/** What all topics of a sink share. */
export interface NativeTopicContext {
  readonly clock: Clock;
  readonly events: SinkEvents;
  readonly backoff: Backoff;
  /** Aborted when the sink closes. */
  readonly signal: AbortSignal;
  /** @param isLone for messages one by one, in chunks where they are too large for a broker */
  createProducer(topic: string, isLone: boolean): Promise<NativeProducer>;
  /** Nobody may publish anything: the credentials were not accepted. */
  notAuthenticated(error: ConnectorError): void;
  /** So many messages are not pending any more. */
  finished(count: number): void;
}

interface Outgoing {
  readonly place: number;
  readonly message: ProducerMessage;
  readonly size: number;
  readonly delivery: Delivery;
  readonly ordinal: number;
  /** Sent when all before it has ended, and before anything after it. */
  isLone: boolean;
}

/** Larger messages go alone, through the producer that makes chunks: below any broker's limit that is usual. */
const LONE_BYTES = 2 * 1024 * 1024;
/** How long a refusal of the topic stands: somebody may create it, or grant the right. */
const REFUSAL_MS = 60_000;

/** See the file's header. */
export class NativeTopic {
  readonly name: string;
  readonly #context: NativeTopicContext;
  readonly #producers = new Map<boolean, Promise<NativeProducer>>();
  /** The open one that batches. */
  #ready: NativeProducer | undefined;
  /** Waits, in order. */
  #waiting: Outgoing[] = [];
  /** Came back; to be given again. */
  #returned: Outgoing[] = [];
  readonly #dropped = new WeakSet<Delivery>();
  #inFlight = 0;
  #places = 0;
  #sinceFlush = 0;
  #attempt = 0;
  #isWorking = false;
  #whenIdle: (() => void) | undefined;
  #refusal: { readonly error: ConnectorError; readonly at: number } | undefined;
  #isUsed = true;
  #isClosed = false;

  constructor(name: string, context: NativeTopicContext) {
    this.name = name;
    this.#context = context;
  }

  get pending(): number {
    return this.#waiting.length + this.#returned.length + this.#inFlight;
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
    if (this.#refusal !== undefined) {
      if (this.#context.clock.monotonic() - this.#refusal.at < REFUSAL_MS) return this.#refusal.error;
      this.#refusal = undefined;
    }
    const native = nativeMessage(message);
    if (native instanceof ConnectorError) return native;
    const size = nativeSize(native);
    const isLone = size > LONE_BYTES;
    const outgoing = { place: this.#places++, message: native, size, delivery, ordinal, isLone };
    if (this.#ready !== undefined && !this.#isWorking && !isLone) this.#give(outgoing, this.#ready);
    else {
      this.#waiting.push(outgoing);
      this.#work();
    }
    return undefined;
  }

  /** One attempt to open it. Rejects with what is wrong. */
  async open(): Promise<void> {
    if (this.#refusal !== undefined) throw this.#refusal.error;
    await this.#producer(false);
  }

  /** Seals open batches. */
  flush(): void {
    this.#sinceFlush = 0;
    this.#ready?.flush().catch(() => {}); // each message says itself how it ended
  }

  /** See MessageSink.drop: what the client has already cannot be taken back, but ends silently. */
  drop(delivery: Delivery): void {
    this.#dropped.add(delivery);
    const before = this.pending;
    this.#waiting = this.#waiting.filter((one) => one.delivery !== delivery);
    this.#returned = this.#returned.filter((one) => one.delivery !== delivery);
    if (before > this.pending) this.#context.finished(before - this.pending);
  }

  /** Gives everything up. */
  async close(): Promise<void> {
    this.#isClosed = true;
    this.#context.finished(this.pending);
    this.#waiting = [];
    this.#returned = [];
    this.#inFlight = 0;
    this.#whenIdle?.();
    await this.#closeProducers();
  }

  #give(outgoing: Outgoing, producer: NativeProducer): void {
    if (!outgoing.delivery.isAlive()) return this.#context.finished(1); // G5: and nobody is told
    // The client sends a delayed message ahead of the batch that is open, and forgets in a batch's size all but payloads.
    this.#sinceFlush += outgoing.size;
    if (outgoing.message.deliverAt !== undefined || this.#sinceFlush > MAX_BATCH_BYTES) {
      this.flush();
      this.#sinceFlush = outgoing.size;
    }
    this.#inFlight++;
    let sent: Promise<unknown>;
    try {
      sent = producer.send(outgoing.message);
    } catch (error) {
      sent = Promise.reject(error);
    }
    sent.then(() => this.#ended(outgoing), (error) => this.#ended(outgoing, { error }))
      .catch((error: unknown) => this.#context.events.fatal(toConnectorError(error)));
  }

  #ended(outgoing: Outgoing, failed?: { readonly error: unknown }): void {
    if (this.#isClosed) return;
    this.#inFlight--;
    if (failed !== undefined && !this.#dropped.has(outgoing.delivery)) this.#failed(outgoing, failed.error);
    else {
      this.#attempt = 0;
      this.#context.finished(1);
      if (!this.#dropped.has(outgoing.delivery)) {
        outgoing.delivery.acknowledged(outgoing.ordinal, outgoing.ordinal);
      }
    }
    if (this.#inFlight === 0) this.#whenIdle?.();
  }

  #failed(outgoing: Outgoing, thrown: unknown): void {
    const { result, isOfMessage, error } = nativeFailure(thrown, this.name);
    // A whole batch is refused for its size: alone, each of its messages shows whether it is too large itself.
    const wasInBatch = result === "MessageTooBig" && !outgoing.isLone;
    if (wasInBatch) outgoing.isLone = true;
    if (wasInBatch || error.retryable) {
      this.#returned.push(outgoing);
      if (error.retryable) this.#tellOfRetry(error);
      return this.#work();
    }
    this.#context.finished(1);
    outgoing.delivery.refused(outgoing.ordinal, error)?.catch(() => {}); // by contract it never rejects
    if (!isOfMessage) this.#refuse(error);
  }

  /** The topic takes nothing any more: neither what waits nor what comes within a minute. */
  #refuse(error: ConnectorError): void {
    this.#refusal = { error, at: this.#context.clock.monotonic() };
    this.#closeProducers().catch(() => {});
    const refused = [...this.#returned.splice(0), ...this.#waiting.splice(0)];
    for (const { delivery, ordinal } of refused.sort(byPlace)) {
      this.#context.finished(1);
      if (!this.#dropped.has(delivery)) delivery.refused(ordinal, error)?.catch(() => {});
    }
  }

  /** Works off what waits or came back, one at a time; at most one such work goes on. */
  #work(): void {
    if (this.#isWorking || this.#isClosed) return;
    this.#isWorking = true;
    this.#workOff().catch((error: unknown) => this.#context.events.fatal(toConnectorError(error)));
  }

  async #workOff(): Promise<void> {
    while (!this.#isClosed && this.#waiting.length + this.#returned.length > 0) {
      if (this.#returned.length > 0) {
        await this.#idle();
        await this.#giveAgain();
        continue;
      }
      const { isLone } = this.#waiting[0]!;
      if (isLone) {
        this.flush();
        await this.#idle();
      }
      const producer = await this.#reopened(isLone);
      const next = this.#waiting[0]; // may be dropped, or refused, meanwhile
      if (producer === undefined || next === undefined || this.#returned.length > 0) continue;
      if (next.isLone !== isLone) continue;
      this.#waiting.shift();
      this.#give(next, producer);
      if (isLone) await this.#idle();
    }
    this.#isWorking = false; // at once: what comes from now on has to begin anew
  }

  /** What came back stands before all that waits, in its old order. */
  async #giveAgain(): Promise<void> {
    if (this.#returned.some((one) => !one.isLone)) {
      await this.#closeProducers(); // it may be one that never comes back
      await this.#pause();
    }
    this.#waiting.unshift(...this.#returned.splice(0).sort(byPlace));
  }

  /** A producer, however long that takes; undefined when the topic is refused or closed. */
  async #reopened(isLone: boolean): Promise<NativeProducer | undefined> {
    try {
      return await this.#producer(isLone);
    } catch (thrown) {
      if (this.#isClosed) return undefined;
      const error = toConnectorError(thrown);
      if (!error.retryable) {
        this.#refuse(error);
        return undefined;
      }
      this.#tellOfRetry(error);
      await this.#pause();
      return undefined;
    }
  }

  async #producer(isLone: boolean): Promise<NativeProducer> {
    const known = this.#producers.get(isLone);
    if (known !== undefined) return await known;
    const created = this.#context.createProducer(this.name, isLone);
    this.#producers.set(isLone, created);
    try {
      const producer = await created;
      if (!isLone && this.#producers.get(false) === created) this.#ready = producer;
      this.#context.events.connected?.(this.name, "pulsar-client");
      return producer;
    } catch (error) {
      if (this.#producers.get(isLone) === created) this.#producers.delete(isLone);
      const failure = nativeFailure(error, this.name);
      if (failure.result === "AuthenticationError") this.#context.notAuthenticated(failure.error);
      throw failure.error;
    }
  }

  async #closeProducers(): Promise<void> {
    const producers = [...this.#producers.values()];
    this.#producers.clear();
    this.#ready = undefined;
    await Promise.allSettled(producers.map(async (producer) => await (await producer).close()));
  }

  #tellOfRetry(error: ConnectorError): void {
    const { backoff, events } = this.#context;
    events.reconnecting?.(this.name, error, backoffDelay(backoff, this.#attempt + 1, 0));
  }

  async #pause(): Promise<void> {
    const { backoff, clock, signal } = this.#context;
    await clock.sleep(backoffDelay(backoff, ++this.#attempt, clock.random()), signal);
  }

  /** Resolves when the client has given back, or had acknowledged, all it was given. */
  #idle(): Promise<void> {
    if (this.#inFlight === 0) return Promise.resolve();
    return new Promise((resolve) => {
      this.#whenIdle = () => {
        this.#whenIdle = undefined;
        resolve();
      };
    });
  }
}

function byPlace(a: Outgoing, b: Outgoing): number {
  return a.place - b.place;
}
