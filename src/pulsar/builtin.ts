// The builtin Pulsar producer: our own speaker of Pulsar's binary protocol behind the port of sink.ts. Here is
// what concerns all topics together: room (G6), the batch delay, the bound on producers, faults that end it all.

import type { Backoff } from "../core/backoff.ts";
import type { Clock } from "../core/clock.ts";
import { ConnectorError } from "../core/errors.ts";
import { type Logger, silentLogger } from "../core/log.ts";
import type { SinkMessage } from "../core/record.ts";
import { withoutPartition } from "../core/topic-name.ts";
import { type AuthSupplier, noAuth } from "./auth/supplier.ts";
import { BatchTimer } from "./batch-timer.ts";
import type { BatchBuilder } from "./batcher.ts";
import { ConnectionPool } from "./connection-pool.ts";
import { DeduplicationProofs } from "./deduplication-proof.ts";
import { ClientIds } from "./ids.ts";
import { Lookup } from "./lookup.ts";
import { Permits } from "./permits.ts";
import { ProducerSlots } from "./producer-slots.ts";
import type { HashingScheme } from "./routing.ts";
import type { Delivery, MessageSink, SinkEvents } from "./sink.ts";
import type { TopicContext } from "./topic.ts";
import { Topics } from "./topics.ts";
import type { TlsOptions } from "./tls-files.ts";
import { pulsarTransport } from "./tls-transport.ts";
import type { TransportFactory } from "./transport.ts";
import { BufferPool } from "./wire/buffer-pool.ts";
import type { Codec } from "./wire/codec.ts";

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
  /**
   * "key-based": each entry holds messages of one key only, which consumers of Key_Shared subscriptions need; order
   * (G2) then holds per key. Not for messages under effectively once. @default "default"
   */
  readonly batchBuilder?: BatchBuilder | undefined;
  /** Under "effectively-once" {@link MessageSink.open} only looks: producers belong to shards. @default "at-least-once" */
  readonly delivery?: "at-least-once" | "effectively-once" | undefined;
  /** @default "Murmur3_32Hash" */
  readonly hashingScheme?: HashingScheme | undefined;
  /**
   * Producers (topics without partitions, and partitions) at a time. One more takes the place of the one that was
   * used longest ago and has nothing pending; while all have, messages wait for operationTimeoutMs, then they are
   * refused (TOO_MANY_TOPICS). @default 1000
   */
  readonly maxProducers?: number | undefined;
  /** Compresses entries that get smaller by it: see loadCodec() in codecs/load.ts. @default none */
  readonly codec?: Codec | undefined;
  /** Whether messages that are larger than the broker takes go in chunks; else they are refused. @default true */
  readonly chunking?: boolean | undefined;
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
  /** How long credentials may be refused once a broker has taken them, until that is fatal. @default 60000 */
  readonly refusalPatienceMs?: number | undefined;
  /** Between attempts to reach a broker. @default 100 … 15000, jitter 0.2 */
  readonly backoff?: Backoff | undefined;
}

/** Beside what Pulsar's own clients do: a connection nobody used for so long is closed. */
const IDLE_CONNECTION_MS = 180_000;
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
  readonly #events: SinkEvents;
  readonly #isOnce: boolean;
  readonly #permits: Permits;
  readonly #auth: AuthSupplier;
  readonly #pool: ConnectionPool;
  readonly #batchTimer: BatchTimer;
  readonly #topics: Topics;
  readonly #closing = new AbortController();
  #pending = 0;

  constructor(options: BuiltinSinkOptions) {
    const { clock, events, serviceUrl, listenerName } = options;
    this.#clock = clock;
    this.#events = events;
    this.#isOnce = options.delivery === "effectively-once";
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
      refusalPatienceMs: options.refusalPatienceMs ?? 60_000,
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
    const maxProducers = options.maxProducers ?? 1000;
    const slots = new ProducerSlots({
      max: maxProducers,
      patienceMs: options.operationTimeoutMs ?? 30_000,
      clock,
      signal,
      exempt: options.deadLetterTopic,
      onDefect: this.#fatal,
    });
    const context: TopicContext = {
      clock,
      events: { ...events, fatal: this.#fatal },
      ids,
      buffers: new BufferPool(batchMaxBytes),
      backoff: options.backoff ?? BACKOFF,
      batchMaxMessages: options.batchMaxMessages ?? 1000,
      batchMaxBytes,
      batchBuilder: options.batchBuilder ?? "default",
      proofs: new DeduplicationProofs(),
      hashingScheme: options.hashingScheme ?? "Murmur3_32Hash",
      isChunked: (topic) =>
        topic.startsWith("persistent://") &&
        (options.chunking !== false || withoutPartition(topic) === options.deadLetterTopic),
      codec: options.codec,
      signal,
      lookup,
      finished: (count) => this.#finished(count),
      batchOpened: (producer) => this.#batchTimer.opened(producer),
      batchClosed: (producer) => this.#batchTimer.closed(producer),
      idle: () => slots.idle(),
      slots,
    };
    this.#topics = new Topics(context, 2 * maxProducers, options.log ?? silentLogger);
  }

  get pending(): number {
    return this.#pending;
  }

  async open(topic: string, signal: AbortSignal): Promise<void> {
    const ends = AbortSignal.any([signal, this.#closing.signal]);
    await (this.#isOnce ? this.#topics.look(topic, ends) : this.#topics.open(topic, ends));
  }

  send(message: SinkMessage, delivery: Delivery, ordinal: number, sequenceId?: number): void {
    this.#pending++;
    this.#topics.send(message, delivery, ordinal, sequenceId);
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
    this.#topics.flush();
  }

  drop(delivery: Delivery): void {
    this.#topics.drop(delivery);
  }

  async close(): Promise<void> {
    this.#closing.abort(new ConnectorError("the Pulsar sink is closed", { code: "PULSAR_UNREACHABLE" }));
    this.#permits.close();
    const goodbye = new AbortController();
    await Promise.race([
      this.#topics.close(),
      this.#clock.sleep(GOODBYE_MS, goodbye.signal),
    ]);
    goodbye.abort();
    this.#auth.close?.();
    await this.#pool.close();
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
}
