// A small topic reader, for trials and tests: all partitions of a topic, from the earliest message or from now on.
// It needs no authentication. Invariant: at most `queueSize` messages per partition (and the last batch) are on their
// way or wait to be taken.

import { Buffer } from "node:buffer";
import { randomUUID } from "node:crypto";
import { ConnectorError } from "../core/errors.ts";
import { loadDecoders } from "../pulsar/codecs/decoders.ts";
import {
  type Command,
  type CommandOf,
  LOOKUP_CONNECT,
  LOOKUP_FAILED,
  METADATA_FAILED,
  POSITION_EARLIEST,
  POSITION_LATEST,
  SUBSCRIBE_EXCLUSIVE,
} from "../pulsar/wire/commands.ts";
import { decodePayload } from "../pulsar/wire/frames.ts";
import { serverErrorName } from "../pulsar/wire/server-error.ts";
import { EntryReader, type TopicMessage } from "./broker/message.ts";
import { concreteTopics, fullTopicName, partitionOf } from "./broker/topic-name.ts";
import { connectWireClient, hostsOf, type WireClient } from "./wire-client.ts";

/** What to read. */
export interface TopicReaderOptions {
  /** `pulsar://host:port`, several hosts separated by commas. */
  readonly serviceUrl: string;
  /** Short or in full; a partitioned topic is read whole. */
  readonly topic: string;
  /** Where to start. @default "earliest" */
  readonly from?: "earliest" | "latest" | undefined;
  /** Messages asked for ahead, per partition. @default 1000 */
  readonly queueSize?: number | undefined;
}

interface Partition {
  readonly topic: string;
  readonly client: WireClient;
  readonly entries: EntryReader;
  taken: number;
}

/** Redirects that a lookup follows. */
const MAX_REDIRECTS = 20;

/** A reader that is subscribed: `for await (const message of reader)`. Throws when its connection is lost. */
export class TopicReader implements AsyncIterable<TopicMessage> {
  readonly #options: TopicReaderOptions;
  readonly #clients = new Map<string, WireClient>();
  readonly #partitions: Partition[] = [];
  readonly #queue: { readonly message: TopicMessage; readonly consumerId: number }[] = [];
  #taken = 0;
  #wake: (() => void) | undefined;
  #error: ConnectorError | undefined;
  #closed = false;

  /** Use {@link openTopicReader}. */
  constructor(options: TopicReaderOptions) {
    this.#options = options;
  }

  /** Used by {@link openTopicReader}. */
  async open(): Promise<void> {
    const decoders = await loadDecoders();
    const service = await this.#anyHost();
    const topic = fullTopicName(this.#options.topic);
    const metadata = await service.request("PARTITIONED_METADATA", { topic }) as CommandOf<
      "PARTITIONED_METADATA_RESPONSE"
    >;
    if (metadata.response === METADATA_FAILED) throw refused(topic, "partitions", metadata);
    for (const concrete of concreteTopics(topic, metadata.partitions ?? 0)) {
      const client = await this.#lookUp(service, concrete);
      const entries = new EntryReader(decoders);
      const consumerId = this.#partitions.push({ topic: concrete, client, entries, taken: 0 }) - 1;
      await client.request("SUBSCRIBE", {
        topic: concrete,
        subscription: `reader-${randomUUID()}`,
        subType: SUBSCRIBE_EXCLUSIVE,
        consumerId,
        durable: false,
        initialPosition: this.#options.from === "latest" ? POSITION_LATEST : POSITION_EARLIEST,
      });
      client.send("FLOW", { consumerId, messagePermits: this.#queueSize });
    }
  }

  /** The next message; `undefined` once the reader is closed. Throws when the connection is lost. */
  async next(): Promise<TopicMessage | undefined> {
    for (;;) {
      const message = this.poll();
      if (message) return message;
      if (this.#closed) return undefined;
      if (this.#error) throw this.#error;
      await new Promise<void>((resolve) => this.#wake = resolve);
    }
  }

  /** The next message if one is here. */
  poll(): TopicMessage | undefined {
    const item = this.#queue[this.#taken];
    if (!item) return undefined;
    this.#taken++;
    if (this.#taken >= 1024 || this.#taken === this.#queue.length) {
      this.#queue.splice(0, this.#taken);
      this.#taken = 0;
    }
    this.#used(item.consumerId);
    return item.message;
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<TopicMessage> {
    for (let message = await this.next(); message; message = await this.next()) yield message;
  }

  /** Ends the iteration and closes the connections. Messages that wait are given up. */
  close(): void {
    this.#closed = true;
    this.#queue.length = this.#taken = 0;
    for (const client of this.#clients.values()) client.close();
    this.#wake?.();
  }

  /** Asks for more when half of what was allowed is used up. */
  #used(consumerId: number): void {
    const partition = this.#partitions[consumerId]!;
    if (++partition.taken * 2 < this.#queueSize) return;
    partition.client.send("FLOW", { consumerId, messagePermits: partition.taken });
    partition.taken = 0;
  }

  get #queueSize(): number {
    return this.#options.queueSize ?? 1000;
  }

  async #anyHost(): Promise<WireClient> {
    let last: unknown;
    for (const host of hostsOf(this.#options.serviceUrl)) {
      try {
        return await this.#client(host);
      } catch (error) {
        last = error;
      }
    }
    throw last;
  }

  async #client(url: string): Promise<WireClient> {
    const known = this.#clients.get(url);
    if (known) return known;
    const client = await connectWireClient(url, {
      command: (command, frame) => this.#receive(command, frame),
      lost: (error) => {
        if (this.#clients.has(url)) this.#fail(error); // else this host was only tried
      },
    });
    this.#clients.set(url, client);
    return client;
  }

  async #lookUp(service: WireClient, topic: string): Promise<WireClient> {
    let client = service;
    let authoritative = false;
    for (let redirect = 0; redirect < MAX_REDIRECTS; redirect++) {
      const answer = await client.request("LOOKUP", { topic, authoritative }) as CommandOf<"LOOKUP_RESPONSE">;
      if (answer.response === LOOKUP_FAILED) throw refused(topic, "broker", answer);
      // behind a proxy the broker itself cannot be reached; one's own service connection is good enough then
      if (!answer.proxyThroughServiceUrl && answer.brokerServiceUrl) {
        client = await this.#client(answer.brokerServiceUrl);
      }
      if (answer.response === LOOKUP_CONNECT) return client;
      authoritative = answer.authoritative;
    }
    throw refused(topic, "broker", { message: `more than ${MAX_REDIRECTS} redirects` });
  }

  #receive(command: Command, frame: Buffer): void {
    if (this.#closed) return;
    if (command.name === "CLOSE_CONSUMER") {
      const topic = this.#partitions[command.consumerId]?.topic ?? this.#options.topic;
      return this.#fail(refused(topic, "reader", { message: "the broker closed it" }));
    }
    if (command.name !== "MESSAGE") return;
    const { consumerId, messageId: { ledgerId, entryId } } = command;
    const partition = this.#partitions[consumerId];
    if (partition === undefined) return;
    const { topic, entries } = partition;
    try {
      const payload = decodePayload(frame);
      if (!payload) return;
      const bytes = Buffer.from(payload.headersAndPayload); // the frame is only valid during this call
      const messages = entries.read(bytes, { topic, partition: partitionOf(topic), ledgerId, entryId });
      for (const message of messages) this.#queue.push({ message, consumerId });
      if (messages.length === 0) this.#used(consumerId); // a chunk
    } catch (error) {
      this.#fail(error as ConnectorError);
    }
    this.#wake?.();
  }

  #fail(error: ConnectorError): void {
    this.#error ??= error;
    this.#wake?.();
  }
}

/** Connects and subscribes; messages that are published afterwards are read, whatever `from` says. */
export async function openTopicReader(options: TopicReaderOptions): Promise<TopicReader> {
  const reader = new TopicReader(options);
  try {
    await reader.open();
  } catch (error) {
    reader.close();
    throw error;
  }
  return reader;
}

function refused(
  topic: string,
  what: string,
  answer: { readonly error?: number | undefined; readonly message?: string | undefined },
): ConnectorError {
  const why = [answer.error === undefined ? "" : serverErrorName(answer.error), answer.message ?? ""];
  return new ConnectorError(`cannot read ${topic} (${what}): ${why.filter(Boolean).join(": ")}`, {
    code: "PULSAR_UNAVAILABLE",
    retryable: true,
    where: { topic },
  });
}
