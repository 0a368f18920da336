// The broker's state, without sockets: topics, partitions, faults, counts. Sessions act on it.

import type { Logger } from "../../core/log.ts";
import type { Command, CommandName } from "../../pulsar/wire/commands.ts";
import { BrokerFaults, type CommandTarget } from "./faults.ts";
import type { StoredEntry } from "./topic-log.ts";
import { concreteTopics, fullTopicName } from "./topic-name.ts";
import { Topic, unknownTopic } from "./topic.ts";

/** A command that a client sent. */
export interface ReceivedCommand extends CommandTarget {
  readonly name: CommandName;
  /** SEND and CLOSE_PRODUCER: the client's number of the producer; SEND: its sequence id. */
  readonly producerId?: number | undefined;
  readonly sequenceId?: number | undefined;
}

/** What the broker's state is made of. */
export interface BrokerSettings {
  readonly maxMessageSize: number;
  readonly maxBytesPerTopic: number;
  readonly deduplication: boolean;
  readonly log: Logger;
  readonly onCommand: ((command: ReceivedCommand) => void) | undefined;
}

/** See the top of this file. */
export class Broker {
  /** Set when the port is known. */
  url = "";
  readonly maxMessageSize: number;
  #deduplication: boolean;
  readonly faults = new BrokerFaults();
  readonly topics = new Map<string, Topic>();
  readonly #settings: BrokerSettings;
  readonly #partitions = new Map<string, number>();
  readonly #calls = new Map<CommandName, number>();
  #names = 0;
  /** Bytes that may still be received before a connection is cut. */
  #receivable = Infinity;

  constructor(settings: BrokerSettings) {
    this.#settings = settings;
    this.maxMessageSize = settings.maxMessageSize;
    this.#deduplication = settings.deduplication;
  }

  get deduplication(): boolean {
    return this.#deduplication;
  }

  /** As on brokers, what was remembered is forgotten when it is switched off. */
  setDeduplication(isOn: boolean): void {
    this.#deduplication = isOn;
    if (!isOn) { for (const topic of this.topics.values()) topic.lastSequenceIds.clear(); }
  }

  /** How many partitions a topic has, 0 for a plain one. */
  partitions(topic: string): number {
    return this.#partitions.get(fullTopicName(topic)) ?? 0;
  }

  setPartitions(topic: string, partitions: number): void {
    this.#partitions.set(fullTopicName(topic), partitions);
  }

  /** The concrete topic of this name; made when it is used for the first time. */
  topic(name: string): Topic {
    const full = fullTopicName(name);
    let topic = this.topics.get(full);
    if (!topic) {
      topic = new Topic(full, this.topics.size + 1, this.#settings.maxBytesPerTopic);
      this.topics.set(full, topic);
    }
    return topic;
  }

  /** The concrete topics behind a name, as far as they were used. Throws PULSAR_TOPIC_NOT_FOUND for none. */
  usedTopics(name: string): Topic[] {
    const full = fullTopicName(name);
    const used = concreteTopics(full, this.partitions(full)).flatMap((one) => this.topics.get(one) ?? []);
    if (used.length === 0 && !this.#partitions.has(full)) throw unknownTopic(full);
    return used;
  }

  append(topic: Topic, bytes: Uint8Array, entry: Omit<StoredEntry, "entryId" | "bytes">): StoredEntry {
    const droppedNothing = topic.log.dropped === 0;
    const stored = topic.append(bytes, entry);
    if (droppedNothing && topic.log.dropped > 0) {
      this.#settings.log.warn(
        "the local broker now drops this topic's oldest messages: it keeps no more bytes",
        {
          topic: topic.name,
          maxBytesPerTopic: this.#settings.maxBytesPerTopic,
        },
      );
    }
    return stored;
  }

  newProducerName(): string {
    return `local-${this.#names++}`;
  }

  /** How often clients sent this command. */
  calls(name: CommandName): number {
    return this.#calls.get(name) ?? 0;
  }

  noteCommand(command: Command, target: CommandTarget): void {
    const { name } = command;
    this.#calls.set(name, (this.#calls.get(name) ?? 0) + 1);
    this.#settings.onCommand?.({
      name,
      ...target,
      ...("producerId" in command ? { producerId: command.producerId } : {}),
      ...("sequenceId" in command ? { sequenceId: command.sequenceId } : {}),
    });
  }

  /** The connection that brings the byte after the next `bytes` is cut before it. */
  cutAfterReceiving(bytes: number): void {
    this.#receivable = bytes;
  }

  /** How many of the received bytes come before a cut. */
  admit(bytes: number): number {
    if (bytes <= this.#receivable) {
      this.#receivable -= bytes;
      return bytes;
    }
    const admitted = this.#receivable;
    this.#receivable = Infinity;
    return admitted;
  }

  /** A refused client's reason, for the log. */
  noteBrokenClient(reason: Error): void {
    this.#settings.log.warn("the local broker closed a connection", { reason: reason.message });
  }
}
