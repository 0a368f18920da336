// The public face of the local broker: how it is started, and what a test may see and do without a client.
// It speaks Pulsar's binary protocol, enough for producers and readers. Invariant: listens on loopback only.

import { type AddressInfo, createServer, type Server, type Socket } from "node:net";
import { ConnectorError, messageOf } from "../../core/errors.ts";
import { type Logger, silentLogger } from "../../core/log.ts";
import { type Decoders, loadDecoders } from "../../pulsar/codecs/decoders.ts";
import type { CommandName } from "../../pulsar/wire/commands.ts";
import { DEFAULT_MAX_MESSAGE_SIZE, FRAME_PADDING } from "../../pulsar/wire/frames.ts";
import { Broker, type ReceivedCommand } from "./broker.ts";
import { Connection } from "./connection.ts";
import type { InjectedFault } from "../counted-faults.ts";
import type { BrokerFault } from "./faults.ts";
import { EntryReader, type TopicMessage } from "./message.ts";
import { Session } from "./session.ts";
import { concreteTopics, fullTopicName } from "./topic-name.ts";

/** How a local broker is started. */
export interface LocalBrokerOptions {
  /** 0 takes a free one. @default 0 */
  readonly port?: number | undefined;
  /** Partitioned topics: name → number of partitions. Others are plain. @default {} */
  readonly partitions?: Readonly<Record<string, number>> | undefined;
  /** Largest message, bytes; clients are told. @default 5 MiB, as on brokers */
  readonly maxMessageSize?: number | undefined;
  /** A topic (each partition) keeps no more; its oldest messages go, which the log and `stats` say. @default 64 MiB */
  readonly maxBytesPerTopic?: number | undefined;
  /** Whether messages are dropped whose producer sent the same sequence id already. @default false, as on brokers */
  readonly deduplication?: boolean | undefined;
  /** A PING to each client so often, milliseconds. @default 30 000 */
  readonly keepAliveMs?: number | undefined;
  /** @default none */
  readonly log?: Logger | undefined;
  /** Called for each command of a client before it takes effect. */
  readonly onCommand?: ((command: ReceivedCommand) => void) | undefined;
}

/** What a topic holds. */
export interface LocalTopicStats {
  /** Messages that are kept, and those that had to make room. */
  readonly messages: number;
  readonly dropped: number;
  readonly bytes: number;
  /** Names of the connected producers. */
  readonly producers: readonly string[];
  readonly consumers: number;
}

/** A running broker. Topics may be given short or in full; a partitioned name means all its partitions. */
export class LocalBroker {
  readonly #broker: Broker;
  readonly #options: LocalBrokerOptions;
  readonly #connections = new Set<Connection>();
  #server: Server | undefined;
  #decoders: Decoders = new Map();
  #port = 0;
  #reading = true;

  /** Use {@link startLocalBroker}. */
  constructor(options: LocalBrokerOptions) {
    this.#options = options;
    this.#broker = new Broker({
      maxMessageSize: options.maxMessageSize ?? DEFAULT_MAX_MESSAGE_SIZE,
      maxBytesPerTopic: options.maxBytesPerTopic ?? 64 * 1024 * 1024,
      deduplication: options.deduplication ?? false,
      log: options.log ?? silentLogger,
      onCommand: options.onCommand,
    });
    for (const [topic, count] of Object.entries(options.partitions ?? {})) this.setPartitions(topic, count);
  }

  /** Service URL for clients: pulsar://127.0.0.1:port */
  get url(): string {
    return this.#broker.url;
  }

  /** Connections that are open. */
  get connections(): number {
    return this.#connections.size;
  }

  /** Stops listening and cuts all connections. What the topics hold can still be asked for. */
  async close(): Promise<void> {
    const server = this.#server;
    this.#server = undefined;
    this.cutConnections();
    if (server) await new Promise<void>((resolve) => server.close(() => resolve()));
  }

  /** Listens again after {@link close}, on the same port, with all it held: a broker's restart. */
  async reopen(): Promise<void> {
    if (!this.#server) await this.listen(this.#port);
  }

  /** Names of the topics that were used, in full, partitions one by one. */
  topics(): string[] {
    return [...this.#broker.topics.keys()];
  }

  /** Sets how many partitions a topic has; 0 makes it a plain one. Clients see it when they ask next. */
  setPartitions(topic: string, partitions: number): void {
    if (!Number.isInteger(partitions) || partitions < 0) {
      throw new ConnectorError(
        `topic ${topic} cannot have ${partitions} partitions: give a whole number ≥ 0`,
        {
          code: "CONFIG_INVALID",
          where: { topic },
        },
      );
    }
    this.#broker.setPartitions(topic, partitions);
  }

  /**
   * The messages that a topic holds, partition after partition, each in its order.
   * @throws ConnectorError PULSAR_TOPIC_NOT_FOUND, PULSAR_PROTOCOL for what cannot be decompressed
   */
  messages(topic: string): TopicMessage[] {
    return this.#broker.usedTopics(topic).flatMap((one) => {
      const reader = new EntryReader(this.#decoders);
      return [...one.log.entries()].flatMap((entry) => reader.read(entry.bytes, one.position(entry.entryId)));
    });
  }

  /** Waits until a topic was sent so many messages, dropped ones included. Rejects when the signal aborts. */
  async received(topic: string, count: number, signal?: AbortSignal): Promise<void> {
    const topics = this.#concrete(topic).map((name) => this.#broker.topic(name));
    const total = () => topics.reduce((sum, one) => sum + one.log.messages + one.log.dropped, 0);
    const ends: (() => void)[] = [];
    try {
      await new Promise<void>((resolve, reject) => {
        const look = () => {
          if (total() >= count) resolve();
        };
        const abort = () => reject(signal?.reason);
        if (signal?.aborted) return abort();
        signal?.addEventListener("abort", abort);
        ends.push(
          () => signal?.removeEventListener("abort", abort),
          ...topics.map((one) => one.onAppend(look)),
        );
        look();
      });
    } finally {
      for (const end of ends) end();
    }
  }

  /** @throws ConnectorError PULSAR_TOPIC_NOT_FOUND */
  stats(topic: string): LocalTopicStats {
    const topics = this.#broker.usedTopics(topic);
    const sum = (value: (one: (typeof topics)[number]) => number) =>
      topics.reduce((total, one) => total + value(one), 0);
    return {
      messages: sum((one) => one.log.messages),
      dropped: sum((one) => one.log.dropped),
      bytes: sum((one) => one.log.bytes),
      producers: topics.flatMap((one) => [...one.producers.keys()]),
      consumers: sum((one) => one.consumers.size),
    };
  }

  /** How often clients sent this command. */
  calls(command: CommandName): number {
    return this.#broker.calls(command);
  }

  /** Lets something go wrong. Throws ConnectorError CONFIG_INVALID for a fault that contradicts itself. */
  inject(fault: BrokerFault): InjectedFault {
    return this.#broker.faults.inject(fault);
  }

  /** Ends all injected faults. */
  clearFaults(): void {
    this.#broker.faults.clear();
  }

  /** Cuts every connection, without a word. */
  cutConnections(): void {
    for (const connection of [...this.#connections]) connection.cut();
  }

  /** Cuts the connection that brings the byte after the next `bytes` received ones, in the middle of its frame. */
  cutAfterReceiving(bytes: number): void {
    this.#broker.cutAfterReceiving(bytes);
  }

  /** Reads nothing more from any client, so that their sockets fill up: a slow broker. */
  stopReading(): void {
    this.#reading = false;
    for (const connection of this.#connections) connection.pauseReading();
  }

  /** Goes on after {@link stopReading}. */
  startReading(): void {
    this.#reading = true;
    for (const connection of this.#connections) connection.resumeReading();
  }

  /** Switches deduplication on or off; connected producers notice at their next opening. */
  setDeduplication(isOn: boolean): void {
    this.#broker.setDeduplication(isOn);
  }

  /** Closes a topic's producers, as when a broker hands the topic to another one; `to` is its service URL. */
  unload(topic: string, to?: string): void {
    for (const one of this.#broker.usedTopics(topic)) {
      for (const producer of [...one.producers.values()]) producer.close(to);
    }
  }

  /** The topic (each of its present partitions) takes no larger messages; chunks are not counted, as on brokers. */
  setMaxMessageSize(topic: string, bytes: number = Infinity): void {
    for (const name of this.#concrete(topic)) this.#broker.topic(name).maxMessageSize = bytes;
  }

  /** Nothing can be published to the topic any more. */
  terminate(topic: string): void {
    for (const name of this.#concrete(topic)) {
      const one = this.#broker.topic(name);
      one.terminated = true;
      for (const consumer of one.consumers) consumer.dispatch();
    }
  }

  /** Used by {@link startLocalBroker}. */
  async listen(port: number): Promise<void> {
    this.#decoders = await loadDecoders(); // now, so that messages() need not wait
    const server = createServer((socket) => this.#accept(socket));
    await new Promise<void>((resolve, reject) => {
      server.once("error", (cause) => {
        reject(
          new ConnectorError(
            `the local broker cannot listen on 127.0.0.1:${port}: ${
              messageOf(cause)
            }. Give another port, or 0 for a ` +
              "free one.",
            { code: "CONFIG_INVALID", cause },
          ),
        );
      });
      server.listen(port, "127.0.0.1", resolve);
    });
    this.#server = server;
    this.#port = (server.address() as AddressInfo).port;
    this.#broker.url = `pulsar://127.0.0.1:${this.#port}`;
  }

  #accept(socket: Socket): void {
    const broker = this.#broker;
    const connection: Connection = new Connection(socket, {
      maxFrameSize: broker.maxMessageSize + FRAME_PADDING,
      keepAliveMs: this.#options.keepAliveMs ?? 30_000,
    }, {
      frame: (frame) => session.handle(frame),
      drained: () => session.drained(),
      admit: (bytes) => broker.admit(bytes),
      closed: (reason) => {
        this.#connections.delete(connection);
        session.end();
        if (reason) broker.noteBrokenClient(reason);
      },
    });
    const session = new Session(broker, connection);
    this.#connections.add(connection);
    if (!this.#reading) connection.pauseReading();
  }

  #concrete(topic: string): string[] {
    const partitions = this.#broker.partitions(topic);
    return concreteTopics(fullTopicName(topic), partitions);
  }
}

/** Starts a broker without topics. Throws ConnectorError CONFIG_INVALID for a port that is taken. */
export async function startLocalBroker(options: LocalBrokerOptions = {}): Promise<LocalBroker> {
  const broker = new LocalBroker(options);
  await broker.listen(options.port ?? 0);
  return broker;
}
