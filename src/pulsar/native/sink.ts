// The driver "pulsar-client": the official client behind the port of sink.ts, at-least-once only. Here is what
// concerns all topics together: the client, room (G6), the bound on topics, idle ones. Retries and order: topic.ts.

import type { Backoff } from "../../core/backoff.ts";
import type { Clock } from "../../core/clock.ts";
import { ConnectorError, messageOf, toConnectorError } from "../../core/errors.ts";
import type { SinkMessage } from "../../core/record.ts";
import { untilAborted } from "../../core/until-aborted.ts";
import { Permits } from "../permits.ts";
import type { Delivery, MessageSink, SinkEvents } from "../sink.ts";
import { fullTopicName } from "../topic-name.ts";
import type { PulsarClient, PulsarClientModule } from "./api.ts";
import {
  clientConfig,
  type NativeClientOptions,
  type NativeProducerOptions,
  producerConfig,
} from "./options.ts";
import { NativeTopic, type NativeTopicContext } from "./topic.ts";

/** Options of {@link createNativeSink}: those of the builtin producer, where the official client can do the same. */
export interface NativeSinkOptions extends NativeClientOptions, NativeProducerOptions {
  readonly clock: Clock;
  readonly events: SinkEvents;
  /** Over all topics. @default 10000 */
  readonly maxPendingMessages?: number | undefined;
  /** Topics at a time, each with all its partitions. @default 1000 */
  readonly maxProducers?: number | undefined;
  /** Full name of the topic that opens beyond `maxProducers` and whose messages are always chunked. @default none */
  readonly deadLetterTopic?: string | undefined;
  /** Between attempts to open a producer. @default 100 … 15000, jitter 0.2 */
  readonly backoff?: Backoff | undefined;
}

const SWEEP_MS = 60_000;
/** Sweeps without a message after which a topic's producers are closed. */
const IDLE_SWEEPS = 10;
/** How long close() waits for the client. */
const GOODBYE_MS = 2_000;
const BACKOFF: Backoff = { firstMs: 100, maxMs: 15_000, jitter: 0.2 };

/**
 * A sink that publishes with the official client. Connects when the first topic is opened.
 * @param module what `loadPulsarClient` gave
 * @throws ConnectorError CONFIG_INVALID when the client refuses its options
 */
export async function createNativeSink(
  module: PulsarClientModule,
  options: NativeSinkOptions,
): Promise<MessageSink> {
  const config = await clientConfig(module, options);
  try {
    return new NativeSink(new module.Client(config), options);
  } catch (error) {
    throw new ConnectorError(`pulsar-client refuses its configuration: ${messageOf(error)}`, {
      code: "CONFIG_INVALID",
      cause: error,
      where: { key: "pulsar" },
    });
  }
}

class NativeSink implements MessageSink {
  readonly #client: PulsarClient;
  readonly #options: NativeSinkOptions;
  readonly #permits: Permits;
  readonly #context: NativeTopicContext;
  readonly #closing = new AbortController();
  /** By full name. */
  readonly #topics = new Map<string, NativeTopic>();
  /** By the names that messages gave, which may be short. */
  readonly #byGivenName = new Map<string, NativeTopic>();
  readonly #idleSweeps = new Map<NativeTopic, number>();
  #pending = 0;

  constructor(client: PulsarClient, options: NativeSinkOptions) {
    this.#client = client;
    this.#options = options;
    this.#permits = new Permits(options.maxPendingMessages ?? 10_000);
    this.#context = {
      clock: options.clock,
      events: { ...options.events, fatal: this.#fatal },
      backoff: options.backoff ?? BACKOFF,
      signal: this.#closing.signal,
      createProducer: (topic, isLone) => {
        const chunking = options.chunking !== false || topic === options.deadLetterTopic;
        return client.createProducer(producerConfig(topic, options, isLone, chunking));
      },
      notAuthenticated: (error) => {
        options.auth?.refused?.();
        this.#fatal(error);
      },
      finished: (count) => {
        this.#pending -= count;
        this.#permits.release(count);
      },
    };
    this.#sweep().catch((error: unknown) => this.#fatal(toConnectorError(error)));
  }

  get pending(): number {
    return this.#pending;
  }

  async open(givenName: string, signal: AbortSignal): Promise<void> {
    const ends = AbortSignal.any([signal, this.#closing.signal]);
    const topic = this.#topic(givenName);
    if (topic instanceof ConnectorError) throw topic;
    await untilAborted(topic.open(), ends);
    ends.throwIfAborted();
  }

  send(message: SinkMessage, delivery: Delivery, ordinal: number): void {
    this.#pending++;
    const topic = this.#byGivenName.get(message.topic) ?? this.#topic(message.topic);
    const refusal = topic instanceof NativeTopic ? topic.send(message, delivery, ordinal) : topic;
    if (refusal === undefined) return;
    // Later, as every other refusal: the caller need not expect an answer while it is still asking.
    queueMicrotask(() => {
      this.#context.finished(1);
      delivery.refused(ordinal, refusal)?.catch(() => {}); // by contract it never rejects
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
    this.#options.auth?.close?.();
    this.#closing.abort(new ConnectorError("the Pulsar sink is closed", { code: "PULSAR_UNREACHABLE" }));
    this.#permits.close();
    const goodbye = new AbortController();
    const closed = Promise.allSettled([
      ...Array.from(this.#topics.values(), (topic) => topic.close()),
      this.#client.close(), // also ends what is being opened
    ]);
    await Promise.race([closed, this.#options.clock.sleep(GOODBYE_MS, goodbye.signal)]);
    goodbye.abort();
  }

  /** The topic, or why there can be none. */
  #topic(givenName: string): NativeTopic | ConnectorError {
    try {
      const name = fullTopicName(givenName);
      const topic = this.#topics.get(name) ?? this.#addTopic(name);
      if (topic instanceof NativeTopic) this.#byGivenName.set(givenName, topic);
      return topic;
    } catch (error) {
      if (error instanceof ConnectorError) return error;
      throw error;
    }
  }

  #addTopic(name: string): NativeTopic | ConnectorError {
    const { maxProducers = 1000, deadLetterTopic } = this.#options;
    if (this.#topics.size >= maxProducers && name !== deadLetterTopic) {
      return new ConnectorError(
        `no producer for topic ${name}: there are ${maxProducers} topics already. Raise pulsar.maxProducers, or ` +
          "check whether a hook makes topic names without end",
        { code: "TOO_MANY_TOPICS", where: { topic: name } },
      );
    }
    const topic = new NativeTopic(name, this.#context);
    this.#topics.set(name, topic);
    return topic;
  }

  readonly #fatal = (error: ConnectorError): void => {
    if (this.#closing.signal.aborted) return;
    this.#closing.abort(error);
    this.#permits.close();
    this.#options.events.fatal(error);
  };

  /** Closes topics that nobody used for ten minutes. */
  async #sweep(): Promise<void> {
    const { signal } = this.#closing;
    for (;;) {
      await this.#options.clock.sleep(SWEEP_MS, signal);
      if (signal.aborted) return;
      for (const topic of [...this.#topics.values()]) {
        const idle = topic.takeUsed() || topic.pending > 0 ? 0 : (this.#idleSweeps.get(topic) ?? 0) + 1;
        this.#idleSweeps.set(topic, idle);
        if (idle < IDLE_SWEEPS) continue;
        this.#topics.delete(topic.name);
        this.#idleSweeps.delete(topic);
        for (const [name, known] of this.#byGivenName) if (known === topic) this.#byGivenName.delete(name);
        await topic.close();
      }
    }
  }
}
