// One concrete topic: its entries, who publishes to it, who reads it. Invariants: one producer per name; the ids
// that deduplication knows only grow; a subscription has at most one consumer.

import { ConnectorError } from "../../core/errors.ts";
import type { CommandFields } from "../../pulsar/wire/commands.ts";
import type { Consumer } from "./consumer.ts";
import type { EntryPosition } from "./message.ts";
import { type StoredEntry, TopicLog } from "./topic-log.ts";
import { partitionOf } from "./topic-name.ts";

/** A connected producer, as its session knows it. */
export interface ConnectedProducer {
  readonly producerId: number;
  readonly name: string;
  readonly epoch: number;
  readonly topic: Topic;
  /** Tells the client that it must look for its topic again, and forgets the producer. */
  close(assignedBrokerServiceUrl?: string): void;
}

/** A subscription that outlives its consumers: what of the topic was acknowledged. */
export class Cursor {
  /** Every entry before this one is acknowledged. */
  next: number;
  readonly #acknowledged = new Set<number>();

  constructor(next: number) {
    this.next = next;
  }

  /** Acknowledges one entry, or all up to it. */
  acknowledge(entryId: number, cumulative: boolean): void {
    if (cumulative) this.next = Math.max(this.next, entryId + 1);
    else this.#acknowledged.add(entryId);
    while (this.#acknowledged.delete(this.next)) this.next++;
  }

  reset(next: number): void {
    this.next = next;
    this.#acknowledged.clear();
  }
}

/** See the top of this file. */
export class Topic {
  /** In full, with its partition. */
  readonly name: string;
  readonly partition: number;
  readonly ledgerId: number;
  readonly log: TopicLog;
  readonly producers = new Map<string, ConnectedProducer>();
  readonly consumers = new Set<Consumer>();
  readonly cursors = new Map<string, Cursor>();
  /** Producer name → the highest sequence id it published; only kept with deduplication. */
  readonly lastSequenceIds = new Map<string, number>();
  terminated = false;
  /** The topic's own limit (policy maxMessageSize), bytes. */
  maxMessageSize = Infinity;
  readonly #onAppend = new Set<() => void>();

  constructor(name: string, ledgerId: number, maxBytes: number) {
    this.name = name;
    this.partition = partitionOf(name);
    this.ledgerId = ledgerId;
    this.log = new TopicLog(maxBytes);
  }

  /** Stores an entry and hands it to the consumers. */
  append(bytes: Uint8Array, entry: Omit<StoredEntry, "entryId" | "bytes">): StoredEntry {
    const stored = this.log.append(bytes, entry);
    for (const consumer of this.consumers) consumer.dispatch();
    for (const told of this.#onAppend) told();
    return stored;
  }

  /** Calls `told` after each new entry, until the returned function is called. */
  onAppend(told: () => void): () => void {
    this.#onAppend.add(told);
    return () => this.#onAppend.delete(told);
  }

  position(entryId: number): EntryPosition {
    return { topic: this.name, partition: this.partition, ledgerId: this.ledgerId, entryId };
  }

  /** The entry that a reader gets first which asks to start behind this id; a batch is always given whole. */
  startAfter(id: { ledgerId: number; entryId: number; batchIndex?: number | undefined }): number {
    const { firstEntryId, nextEntryId } = this.log;
    if (id.ledgerId !== this.ledgerId) return id.ledgerId < this.ledgerId ? firstEntryId : nextEntryId;
    return Math.min(nextEntryId, Math.max(0, id.entryId + ((id.batchIndex ?? -1) >= 0 ? 0 : 1)));
  }

  /** The first entry that was published at or after this time. */
  startAt(publishTime: number): number {
    for (const entry of this.log.entries()) if (entry.publishTime >= publishTime) return entry.entryId;
    return this.log.nextEntryId;
  }

  /** Id of the newest message; −1:−1 when there is none. */
  lastMessageId(): CommandFields<"GET_LAST_MESSAGE_ID_RESPONSE">["lastMessageId"] {
    const last = this.log.get(this.log.nextEntryId - 1);
    if (!last) return { ledgerId: -1, entryId: -1, partition: this.partition };
    return {
      ledgerId: this.ledgerId,
      entryId: last.entryId,
      partition: this.partition,
      ...(last.batched ? { batchIndex: last.messages - 1 } : {}),
    };
  }
}

/** A topic that was never used. */
export function unknownTopic(topic: string): ConnectorError {
  return new ConnectorError(`the local broker has no topic ${topic}: nobody published to it or read it yet`, {
    code: "PULSAR_TOPIC_NOT_FOUND",
    where: { topic },
  });
}
