// The builtin Pulsar producer: our own speaker of Pulsar's binary protocol behind the port of sink.ts. Here is
// what concerns all topics together: room (G6), the batch delay, the bound on producers, faults that end it all.

import type { Backoff } from "../core/backoff.ts";
import type { Clock } from "../core/clock.ts";
import { ConnectorError } from "../core/errors.ts";
import { type Logger, silentLogger } from "../core/log.ts";
import type { SinkMessage } from "../core/record.ts";
import { orAborted } from "../core/until-aborted.ts";
import { type AuthSupplier, noAuth } from "./auth/supplier.ts";
import { BatchTimer } from "./batch-timer.ts";
import { ConnectionPool } from "./connection-pool.ts";
import { ClientIds } from "./ids.ts";
import { Lookup } from "./lookup.ts";
import { Permits } from "./permits.ts";
import type { HashingScheme } from "./routing.ts";
import type { Delivery, MessageSink, SinkEvents } from "./sink.ts";
import { Topic, type TopicContext } from "./topic.ts";
import { fullTopicName } from "./topic-name.ts";
import type { TlsOptions } from "./tls-files.ts";
import { pulsarTransport } from "./tls-transport.ts";
import type { TransportFactory } from "./transport.ts";
import { BufferPool } from "./wire/buffer-pool.ts";

/** Options of {@link createBuiltinSink}. Times in milliseconds, sizes in bytes. */
export interface BuiltinSinkOptions {
  /** pulsar://host:6650, or several hosts: pulsar://h1:6650,h2. */
  readonly serviceUrl: string;
  readonly clock: Clock;
  readonly events: SinkEvents;
  /** Shown in the topic's stats: kinesis-pulsar/VERSION. */
  readonly clientVersion: string;
  readonly log?: Logger | undefined;
  /** Over all topics. @default 10000 */
  readonly maxPendingMessages?: number | undefined;
  /** @default 1000 */
  readonly batchMaxMessages?: number | undefined;
  /** @default 131072 */
  readonly batchMaxBytes?: number | undefined;
  /** @default 10 */
  readonly batchMaxDelayMs?: number | undefined;
  /** @default "Murmur3_32Hash" */
  readonly hashingScheme?: HashingScheme | undefined;
  /** Producers (topics without partitions, and partitions) at a time. @default 1000 */
  readonly maxProducers?: number | undefined;
  /**
   * Full name of the topic for dead letters: its producers open beyond `maxProducers`, and its messages are chunked
   * whatever `chunking` says, for what went there because of either must not be refused there again. @default none
   */
  readonly deadLetterTopic?: string | undefined;
  /** Which of a broker's advertised addresses to use. */
  readonly listenerName?: string | undefined;
  /** @default none */
  readonly auth?: AuthSupplier | undefined;
  /** For pulsar+ssl://. */
  readonly tls?: TlsOptions | undefined;
  /** @default TCP, with TLS for pulsar+ssl:// */
  readonly transport?: TransportFactory | undefined;
  /** Connecting and handshake. @default 10000 */
  readonly connectTimeoutMs?: number | undefined;
  /** A request's answer. @default 30000 */
  readonly operationTimeoutMs?: number | undefined;
  /** Between PINGs; twice that without an answer is a lost connection. @default 30000 */
  readonly keepAliveMs?: number | undefined;
  /** Between attempts to reach a broker. @default 100 … 15000, jitter 0.2 */
  readonly backoff?: Backoff | undefined;
}

/** Beside what Pulsar's own clients do: a connection nobody used for so long is closed. */
const IDLE_CONNECTION_MS = 180_000;
/** How often partitions are counted anew and failures forgotten. */
const SWEEP_MS = 60_000;
/** Sweeps without a message after which a topic's producers are closed. */
const IDLE_SWEEPS = 10;
/** How long close() waits for brokers to say goodbye. */
const GOODBYE_MS = 2_000;
const BACKOFF: Backoff = { firstMs: 100, maxMs: 15_000, jitter: 0.2 };

/**
 * A sink that publishes with the builtin producer. Connects when the first message of a topic comes.
 * Throws CONFIG_INVALID for a service URL that cannot be used.
 */
export function createBuiltinSink(options: BuiltinSinkOptions): MessageSink {
  return new BuiltinSink(options);
}

class BuiltinSink implements MessageSink {
  readonly #clock: Clock;
  readonly #log: Logger;
  readonly #events: SinkEvents;
  readonly #maxProducers: number;
  readonly #deadLetterTopic: string | undefined;
  readonly #permits: Permits;
  readonly #auth: AuthSupplier;
  readonly #pool: ConnectionPool;
  readonly #batchTimer: BatchTimer;
  readonly #context: TopicContext;
  readonly #closing = new AbortController();
  /** By full name. */
  readonly #topics = new Map<string, Topic>();
  /** By the names that messages gave, which may be short. */
  readonly #byGivenName = new Map<string, Topic>();
  readonly #idleSweeps = new Map<Topic, number>();
  #producers = 0;
  #pending = 0;

  constructor(options: BuiltinSinkOptions) {
    const { clock, events, serviceUrl, listenerName } = options;
    this.#clock = clock;
    this.#events = events;
    this.#log = options.log ?? silentLogger;
    this.#maxProducers = options.maxProducers ?? 1000;
    this.#deadLetterTopic = options.deadLetterTopic;
    this.#permits = new Permits(options.maxPendingMessages ?? 10_000);
    const { signal } = this.#closing;
    this.#batchTimer = new BatchTimer(clock, options.batchMaxDelayMs ?? 10, signal, this.#fatal);
    this.#auth = options.auth ?? noAuth;
    this.#pool = new ConnectionPool({
      transport: options.transport ?? pulsarTransport(options.tls ?? {}, clock),
      auth: this.#auth,
      clientVersion: options.clientVersion,
      clock,
      connectTimeoutMs: options.connectTimeoutMs ?? 10_000,
      requestTimeoutMs: options.operationTimeoutMs ?? 30_000,
      keepAliveMs: options.keepAliveMs ?? 30_000,
      idleMs: IDLE_CONNECTION_MS,
      onDefect: this.#fatal,
      onRefused: this.#fatal,
    });
    const ids = new ClientIds();
    const pool = this.#pool;
    const random = (): number => clock.random();
    const lookups = new Map<string, Lookup>();
    const lookup = (url: string = serviceUrl): Lookup => {
      const known = lookups.get(url) ?? new Lookup({ serviceUrl: url, pool, ids, listenerName, random });
      lookups.set(url, known);
      return known;
    };
    lookup();
    const batchMaxBytes = options.batchMaxBytes ?? 128 * 1024;
    this.#context = {
      clock,
      events: { ...events, fatal: this.#fatal },
      ids,
      buffers: new BufferPool(batchMaxBytes),
      backoff: options.backoff ?? BACKOFF,
      batchMaxMessages: options.batchMaxMessages ?? 1000,
      batchMaxBytes,
      hashingScheme: options.hashingScheme ?? "Murmur3_32Hash",
      signal,
      lookup,
      finished: (count) => this.#finished(count),
      batchOpened: (producer) => this.#batchTimer.opened(producer),
      batchClosed: (producer) => this.#batchTimer.closed(producer),
      admitProducer: (topic) => this.#admitProducer(topic),
      producerClosed: () => this.#producers--,
    };
    this.#sweep().catch(this.#fatal);
  }

  get pending(): number {
    return this.#pending;
  }

  async open(givenName: string, signal: AbortSignal): Promise<void> {
    const ends = AbortSignal.any([signal, this.#closing.signal]);
    const name = fullTopicName(givenName);
    let topic = this.#topics.get(name);
    if (topic === undefined) {
      const partitions = await orAborted(this.#context.lookup().partitions(name), ends);
      const added = this.#topics.get(name) ?? this.#addTopic(name, partitions);
      if (!(added instanceof Topic)) throw added;
      topic = added;
    }
    await orAborted(topic.open(), ends);
  }

  send(message: SinkMessage, delivery: Delivery, ordinal: number): void {
    this.#pending++;
    const topic = this.#byGivenName.get(message.topic) ?? this.#openTopic(message.topic);
    const refusal = topic instanceof Topic ? topic.send(message, delivery, ordinal) : topic;
    if (refusal === undefined) return;
    // Later, as every other refusal: the caller need not expect an answer while it is still asking.
    queueMicrotask(() => {
      this.#finished(1);
      delivery.refused(ordinal, refusal);
    });
  }

  reserve(count: number, signal: AbortSignal): true | Promise<boolean> {
    return this.#permits.reserve(count, signal);
  }

  reserveAtOnce(count: number): void {
    this.#permits.take(count);
  }

  unreserve(count: number): void {
    this.#permits.release(count);
  }

  flush(): void {
    for (const topic of this.#topics.values()) topic.flush();
  }

  drop(delivery: Delivery): void {
    for (const topic of this.#topics.values()) topic.drop(delivery);
  }

  async close(): Promise<void> {
    this.#closing.abort(new ConnectorError("the Pulsar sink is closed", { code: "PULSAR_UNREACHABLE" }));
    this.#permits.close();
    const goodbye = new AbortController();
    await Promise.race([
      Promise.all(Array.from(this.#topics.values(), (topic) => topic.close())),
      this.#clock.sleep(GOODBYE_MS, goodbye.signal),
    ]);
    goodbye.abort();
    this.#auth.close?.();
    await this.#pool.close();
  }

  /** The topic, or why there can be none. */
  #openTopic(givenName: string): Topic | ConnectorError {
    try {
      const name = fullTopicName(givenName);
      const topic = this.#topics.get(name) ?? this.#addTopic(name);
      if (topic instanceof Topic) this.#byGivenName.set(givenName, topic);
      return topic;
    } catch (error) {
      if (error instanceof ConnectorError) return error;
      throw error;
    }
  }

  #addTopic(name: string, partitions?: number): Topic | ConnectorError {
    if (this.#topics.size >= this.#maxProducers && name !== this.#deadLetterTopic) return this.#tooMany(name);
    const topic = new Topic(name, this.#context, partitions);
    this.#topics.set(name, topic);
    return topic;
  }

  #admitProducer(topic: string): ConnectorError | undefined {
    if (this.#producers >= this.#maxProducers && topic !== this.#deadLetterTopic) return this.#tooMany(topic);
    this.#producers++;
    return undefined;
  }

  #tooMany(topic: string): ConnectorError {
    return new ConnectorError(
      `no producer for topic ${topic}: there are ${this.#maxProducers} already (topics and their partitions). ` +
        "Raise pulsar.maxProducers, or check whether a hook makes topic names without end",
      { code: "TOO_MANY_TOPICS", where: { topic } },
    );
  }

  #finished(count: number): void {
    this.#pending -= count;
    this.#permits.release(count);
  }

  /** Once: what ends one thing ends all, and the reasons that follow say nothing new. */
  readonly #fatal = (error: ConnectorError): void => {
    if (this.#closing.signal.aborted) return;
    this.#closing.abort(error);
    this.#permits.close();
    this.#events.fatal(error);
  };

  async #sweep(): Promise<void> {
    const { signal } = this.#closing;
    for (;;) {
      await this.#clock.sleep(SWEEP_MS, signal);
      if (signal.aborted) return;
      for (const topic of [...this.#topics.values()]) {
        topic.forgetFailures();
        const idle = topic.takeUsed() || topic.pending > 0 ? 0 : (this.#idleSweeps.get(topic) ?? 0) + 1;
        this.#idleSweeps.set(topic, idle);
        if (idle >= IDLE_SWEEPS) await this.#closeTopic(topic);
        else await this.#refresh(topic);
      }
    }
  }

  async #refresh(topic: Topic): Promise<void> {
    try {
      await topic.refreshPartitions();
    } catch (error) {
      this.#log.debug("partitions of a topic could not be counted", { topic: topic.name, error });
    }
  }

  async #closeTopic(topic: Topic): Promise<void> {
    this.#topics.delete(topic.name);
    this.#idleSweeps.delete(topic);
    for (const [name, known] of this.#byGivenName) if (known === topic) this.#byGivenName.delete(name);
    await topic.close();
  }
}
