// The port by which the pipeline publishes. Implementations: builtin.ts (our producer), native/sink.ts (the official client).

import type { ConnectorError } from "../core/errors.ts";
import type { SinkMessage } from "../core/record.ts";

/**
 * The party whose records are sent: one shard under one lease, from its acquisition to its loss.
 * One object per shard and lease; a sink compares by identity.
 */
export interface Delivery {
  /**
   * Whether this party may still write (G5): asked on its monotonic clock immediately before a frame with its
   * records is given to a socket. Once false, it stays false.
   */
  isAlive(): boolean;
  /**
   * Messages of the records `from` … `to` (consecutive ordinals, inclusive, one message each) were acknowledged.
   * A record with several messages is reported once per message.
   */
  acknowledged(from: number, to: number): void;
  /**
   * A message of this record was refused for good. The sink goes on with the others; a producer that works for this
   * party alone ({@link OnceIdentity}) gives no further frame before a returned promise is settled, which never rejects.
   */
  refused(ordinal: number, error: ConnectorError): void | Promise<void>;
  /** Set under effectively-once: the party has producers of its own, and each message a sequence id. */
  readonly once?: OnceIdentity | undefined;
}

/**
 * By what brokers know a shard's messages again (effectively once). Deduplication keeps, per topic partition and
 * producer name, the highest sequence id.
 */
export interface OnceIdentity {
  /** `{applicationName}/{stream}/{shardId}/{generation}`. */
  readonly producerName: string;
  /** How many partitions the shard's messages of a topic are routed over (0 = none); undefined = not stored yet. */
  partitions(topic: string): number | undefined;
  /** Stores that number, before anything is routed by it. Rejects when the lease is lost or nothing can be stored. */
  storePartitions(topic: string, count: number): Promise<void>;
}

/** Publishes messages. */
export interface MessageSink {
  /**
   * Opens a topic's producers ahead of the first message, so that what is wrong with it is known at the start.
   * One attempt. @throws ConnectorError PULSAR_UNREACHABLE, PULSAR_NOT_AUTHORIZED, PULSAR_TOPIC_NOT_FOUND …
   */
  open(topic: string, signal: AbortSignal): Promise<void>;
  /**
   * Queues one message; its bytes are copied before this returns. The order of calls is the order per topic
   * partition. `ordinal` numbers the records of a delivery from 0 on, without gaps being needed; it rises, but for
   * dead letters of a delivery without {@link Delivery.once}.
   * Call only after {@link MessageSink.reserve} admitted it.
   * @param sequenceId for a delivery with {@link Delivery.once}: the same at every replay, rising per delivery
   */
  send(message: SinkMessage, delivery: Delivery, ordinal: number, sequenceId?: number): void;
  /**
   * Room for `count` messages of one record, which are admitted together, also when more than all room
   * (then when nothing else is pending). Returns true at once, or a promise that gives true when there is room
   * (in the order of asking) and false when the signal aborted first.
   */
  reserve(count: number, signal: AbortSignal): true | Promise<boolean>;
  /**
   * Takes room without waiting, beyond the limit if need be: for a dead letter behind which messages wait that have
   * all the room.
   */
  reserveAtOnce(count: number): void;
  /** Gives back reserved room for messages that will not be sent. */
  unreserve(count: number): void;
  /** Seals open batches now instead of after `batchMaxDelayMs`. */
  flush(): void;
  /**
   * Forgets all messages of a delivery that no socket has yet: takes them out of open batches and out of frames
   * that would be sent again. Nothing more is reported for it, and producers of its own are closed. Called when the
   * lease is lost, and when its shard is finished.
   */
  drop(delivery: Delivery): void;
  /** Messages that were sent or queued and not yet acknowledged. */
  readonly pending: number;
  /** Closes producers and connections; open batches are given up, not flushed. */
  close(): Promise<void>;
}

/** What a sink tells its owner, beside receipts. */
export interface SinkEvents {
  /** The connection of a topic's producer was lost or is being made again; for the log and health. */
  reconnecting?(topic: string, error: ConnectorError, delayMs: number): void;
  /** A broker dropped so many messages, which it had already (effectively once). */
  duplicates?(topic: string, count: number): void;
  /** A producer is ready (again). */
  connected?(topic: string, broker: string): void;
  /** Nothing can be published any more: authentication refused, protocol broken. Ends the connector. */
  fatal(error: ConnectorError): void;
}
