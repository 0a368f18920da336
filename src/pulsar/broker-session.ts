// Keeps one producer open at the broker that serves its topic: finds the broker, opens the producer, opens it again
// wherever the topic goes, and closes it. Invariant: what it says when it ends is heard at once, so that nothing of
// the old session (a receipt, a frame) is taken for the new one's.

import { backoffDelay } from "../core/backoff.ts";
import { ConnectorError, toConnectorError } from "../core/errors.ts";
import type { Connection, ProducerPort } from "./connection.ts";
import type { Lookup } from "./lookup.ts";
import type { ProducerContext } from "./producer-context.ts";
import { RepeatedTrouble } from "./repeated-trouble.ts";
import { isRequestTimeout } from "./requests.ts";
import { type SessionEnd, sessionEnd } from "./session.ts";
import { protocolError } from "./wire/protobuf.ts";

/** The producer, as its session knows it. */
export interface SessionUser extends ProducerPort {
  readonly topic: string;
  /**
   * The producer was opened: what the broker says is the last sequence id of its name, −1 for none. Before
   * {@link ready}. Throws what makes going on impossible.
   */
  answered(lastSequenceId: number, isFirst: boolean): void;
  /** The broker takes frames. */
  ready(connection: Connection): void;
  /** It takes none any more: what has no receipt is to be sent again. */
  gone(): void;
  /** No broker will take anything: refused for good. */
  fail(error: ConnectorError): void;
}

/** See the file's header. */
export class BrokerSession {
  readonly #user: SessionUser;
  readonly #context: ProducerContext;
  readonly #closing = new AbortController();
  /** Chosen by us; otherwise the broker chooses. */
  readonly #ownName: string | undefined;
  #name: string | undefined;
  #epoch = 0;
  #connection: Connection | undefined;
  #end: ((end: SessionEnd) => void) | undefined;
  /** To a connection on which the broker closed the producer. */
  #stopListening = (): void => {};
  /** Attempts since the last receipt, or since a session that lasted. */
  #attempt = 0;
  #readyAt = Infinity;
  readonly #trouble = new RepeatedTrouble();
  #lookup: Lookup;
  #failure: ConnectorError | undefined;
  #openers: { resolve(): void; reject(error: ConnectorError): void }[] = [];

  /** @param ownName what the producer shall be called; otherwise the broker finds a name */
  constructor(user: SessionUser, context: ProducerContext, ownName?: string) {
    this.#user = user;
    this.#ownName = ownName;
    this.#context = context;
    this.#lookup = context.lookup();
  }

  /** Set while the broker takes frames. */
  get connection(): Connection | undefined {
    return this.#connection;
  }
  /** Under which name the broker knows the producer. Known when a connection is. */
  get producerName(): string {
    return this.#name!;
  }

  /** Looks for the broker, in the background, until closed. */
  start(): void {
    this.#run().catch((error: unknown) => this.#context.events.fatal(toConnectorError(error)));
  }

  /** Resolves when the broker takes messages; rejects when the present attempt, or the next, fails. */
  opened(): Promise<void> {
    if (this.#failure !== undefined) return Promise.reject(this.#failure);
    if (this.#connection !== undefined) return Promise.resolve();
    return new Promise((resolve, reject) => this.#openers.push({ resolve, reject }));
  }

  /** The broker does what it should: the next trouble is the first. */
  lasts(): void {
    this.#attempt = 0;
  }

  /** At once deaf for the present connection: receipts behind a gap would be called out of order. */
  end(end: SessionEnd): void {
    this.#disconnect();
    this.#end?.(end);
  }

  /**
   * The broker has closed the producer. What it says afterwards of frames in flight is still heard: Pulsar 4.0.7 tells
   * of a terminated topic by that alone, and answers every later opening with ServiceNotReady.
   */
  closedByBroker(end: SessionEnd): void {
    const connection = this.#connection;
    this.end(end);
    if (connection === undefined) return;
    const user = this.#user;
    const listener: ProducerPort = {
      producerId: user.producerId,
      sendError: (error) => user.sendError(error),
      prepareFrames: () => 0,
      takeFrame: () => 0,
      receipt() {},
      closedByBroker() {},
      migrated() {},
      connectionLost() {},
    };
    connection.register(listener);
    this.#stopListening = () => connection.unregister(listener);
  }

  /** Closes the producer and opens it again, to hear what the broker remembers of it. */
  reopen(): void {
    this.end({ error: REOPENED, closeFirst: true, isPlanned: true });
  }

  /** From now on the topic is looked up there. */
  migrated(serviceUrl: string): void {
    this.#lookup = this.#context.lookup(serviceUrl);
  }

  /** For good; the producer is closed at its broker in the background. */
  fail(error: ConnectorError): void {
    this.#failure = error;
    for (const { reject } of this.#openers.splice(0)) reject(error);
    this.#closing.abort();
    this.#stopListening();
    this.#disconnect();
  }

  /** Says goodbye to the broker. */
  async close(): Promise<void> {
    this.#closing.abort();
    this.#stopListening();
    const connection = this.#connection;
    this.#disconnect();
    if (connection === undefined || connection.closedBy !== undefined) return;
    const { producerId } = this.#user;
    const requestId = this.#context.ids.nextRequestId();
    await connection.request("CLOSE_PRODUCER", { producerId, requestId }).catch(() => {
      // The broker forgets the producer with its connection at the latest.
    });
  }

  async #run(): Promise<void> {
    const { clock, backoff, events } = this.#context;
    const signal = AbortSignal.any([this.#context.signal, this.#closing.signal]);
    let last: SessionEnd | undefined;
    while (!signal.aborted) {
      let end: SessionEnd;
      try {
        end = await this.#session(last, signal);
      } catch (error) {
        if (!signal.aborted && !(error instanceof ConnectorError)) throw error; // a defect
        end = { error: toConnectorError(error) };
      }
      this.#disconnect();
      for (const { reject } of this.#openers.splice(0)) reject(end.error);
      if (signal.aborted) return;
      last = end;
      if (end.isPlanned) continue;
      if (!this.#canPass(end.error)) return this.#user.fail(end.error);
      if (clock.monotonic() - this.#readyAt >= backoff.maxMs) this.#attempt = 0;
      this.#readyAt = Infinity;
      const isFirst = this.#attempt++ === 0;
      const delay = isFirst && end.atOnce ? 0 : backoffDelay(backoff, this.#attempt, clock.random());
      if (this.#trouble.isToTell(end.error, clock.monotonic())) {
        events.reconnecting?.(this.#user.topic, end.error, delay);
      }
      if (delay > 0) await clock.sleep(delay, signal);
    }
  }

  /**
   * Whether waiting may cure it. A right that was there before may be granted again (as Pulsar's Java client does:
   * it gives up only at a producer's first opening).
   */
  #canPass({ retryable, code }: ConnectorError): boolean {
    return retryable || (code === "PULSAR_NOT_AUTHORIZED" && this.#name !== undefined);
  }

  /** Opens the producer at its broker; resolves when the broker does not serve it any more. */
  async #session(last: SessionEnd | undefined, signal: AbortSignal): Promise<SessionEnd> {
    const user = this.#user;
    if (last?.forgetsName) this.#name = undefined;
    const connection = last?.assignedBroker === undefined
      ? await this.#lookup.broker(user.topic)
      : await this.#lookup.assigned(last.assignedBroker);
    signal.throwIfAborted();
    const session = sessionEnd();
    const abort = (): void => {
      // close() says goodbye itself, but not to a broker that has not answered yet
      const closeFirst = this.#failure !== undefined || this.#connection === undefined;
      session.end({ error: toConnectorError(signal.reason), closeFirst });
    };
    signal.addEventListener("abort", abort, { once: true });
    this.#end = session.end;
    connection.register(user);
    try {
      await this.#open(connection, signal);
      if (!session.ended && !signal.aborted) this.#ready(connection, last?.isPlanned === true);
      const end = await session.whenEnded;
      if (end.closeFirst) await this.#closeProducer(connection);
      return end;
    } finally {
      connection.unregister(user);
      signal.removeEventListener("abort", abort);
      this.#end = undefined;
    }
  }

  async #open(connection: Connection, signal: AbortSignal): Promise<void> {
    try {
      const answer = await connection.request("PRODUCER", {
        topic: this.#user.topic,
        producerId: this.#user.producerId,
        requestId: this.#context.ids.nextRequestId(),
        producerName: this.#ownName ?? this.#name,
        userProvidedProducerName: this.#ownName !== undefined,
        epoch: this.#epoch++,
      });
      if (answer.name !== "PRODUCER_SUCCESS") throw protocolError(`${answer.name} as answer to PRODUCER`);
      if (signal.aborted) return;
      const isFirst = this.#name === undefined;
      this.#name ??= answer.producerName;
      this.#user.answered(answer.lastSequenceId, isFirst);
    } catch (error) {
      // The broker may have opened it all the same, and would call the next attempt busy.
      if (isRequestTimeout(error)) await this.#closeProducer(connection);
      throw error;
    }
  }

  #ready(connection: Connection, isAgain: boolean): void {
    const { clock, events } = this.#context;
    this.#stopListening();
    this.#connection = connection;
    this.#readyAt = clock.monotonic();
    if (!isAgain) events.connected?.(this.#user.topic, connection.name);
    for (const { resolve } of this.#openers.splice(0)) resolve();
    this.#user.ready(connection);
  }

  async #closeProducer(connection: Connection): Promise<void> {
    connection.unregister(this.#user);
    if (connection.closedBy !== undefined) return;
    const { producerId } = this.#user;
    const requestId = this.#context.ids.nextRequestId();
    try {
      await connection.request("CLOSE_PRODUCER", { producerId, requestId });
    } catch (error) {
      connection.close(toConnectorError(error)); // no state that we know: start from none
    }
  }

  #disconnect(): void {
    this.#connection?.unregister(this.#user);
    this.#connection = undefined;
    this.#user.gone();
  }
}

const REOPENED = new ConnectorError("the producer is opened again", {
  code: "PULSAR_UNAVAILABLE",
  retryable: true,
});
