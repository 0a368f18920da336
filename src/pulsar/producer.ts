// A producer of one concrete topic (a topic without partitions, or one partition): batches messages and sees to
// it that a broker takes them. Invariants: frames go out in order, and again in order, byte for byte, after every
// reconnect before anything new; a message ends in exactly one of acknowledged, refused, dropped.

import type { Buffer } from "node:buffer";
import { type Backoff, backoffDelay } from "../core/backoff.ts";
import type { Clock } from "../core/clock.ts";
import { ConnectorError, toConnectorError } from "../core/errors.ts";
import type { SinkMessage } from "../core/record.ts";
import { Batch } from "./batch.ts";
import type { Connection, ProducerPort } from "./connection.ts";
import { brokerError } from "./errors.ts";
import type { ClientIds } from "./ids.ts";
import type { Lookup } from "./lookup.ts";
import { isRequestTimeout } from "./requests.ts";
import { SendQueue } from "./send-queue.ts";
import { type SessionEnd, sessionEnd } from "./session.ts";
import type { Delivery, SinkEvents } from "./sink.ts";
import type { CommandOf } from "./wire/commands.ts";
import { type BufferSource, Entry, type EntryHeader, messageBound } from "./wire/entry.ts";
import { protocolError } from "./wire/protobuf.ts";
import { serverErrorName } from "./wire/server-error.ts";

/** What all producers of a sink share. */
export interface ProducerContext {
  readonly clock: Clock;
  readonly events: SinkEvents;
  readonly ids: ClientIds;
  readonly buffers: BufferSource;
  readonly backoff: Backoff;
  readonly batchMaxMessages: number;
  readonly batchMaxBytes: number;
  /** Aborted when the sink closes. */
  readonly signal: AbortSignal;
  /** Lookups at a service URL; the configured one when none is given. */
  lookup(serviceUrl?: string): Lookup;
  /** This many messages are not pending any more. */
  finished(count: number): void;
  /** A batch was opened: it is to be sealed after the batch delay. */
  batchOpened(producer: Producer): void;
  /** …or before. */
  batchClosed(producer: Producer): void;
}

/** Room that a batch leaves for its header below the broker's largest message. */
const HEADER_ROOM = 2048;

/** See the file's header. Starts to look for its broker when made. */
export class Producer implements ProducerPort {
  readonly topic: string;
  readonly producerId: number;
  readonly #context: ProducerContext;
  readonly #closing = new AbortController();
  readonly #queue: SendQueue;
  #open: Batch | undefined;
  #openBytes = 0;
  #pending = 0;
  #nextSequenceId = 0;
  #name: string | undefined;
  #epoch = 0;
  /** Set while the broker takes frames. */
  #connection: Connection | undefined;
  #maxBatchBytes: number;
  #endSession: ((end: SessionEnd) => void) | undefined;
  /** Attempts since the last receipt, or since a session that lasted. */
  #attempt = 0;
  #readyAt = Infinity;
  #lookup: Lookup;
  #failure: ConnectorError | undefined;
  #openers: { resolve(): void; reject(error: ConnectorError): void }[] = [];

  constructor(topic: string, context: ProducerContext) {
    this.topic = topic;
    this.#context = context;
    this.producerId = context.ids.nextProducerId();
    this.#queue = new SendQueue(topic, (count) => this.#finish(count));
    this.#maxBatchBytes = context.batchMaxBytes;
    this.#lookup = context.lookup();
    this.#run().catch((error: unknown) => context.events.fatal(toConnectorError(error)));
  }

  /** Messages that are neither acknowledged nor refused. */
  get pending(): number {
    return this.#pending;
  }
  /** Whether messages are being gathered. */
  get isBatching(): boolean {
    return this.#open !== undefined;
  }
  /** Why it takes no messages any more. */
  get failure(): ConnectorError | undefined {
    return this.#failure;
  }

  /** Resolves when the broker takes messages; rejects when the present attempt, or the next, fails. */
  opened(): Promise<void> {
    if (this.#failure !== undefined) return Promise.reject(this.#failure);
    if (this.#connection !== undefined) return Promise.resolve();
    return new Promise((resolve, reject) => this.#openers.push({ resolve, reject }));
  }

  /** Queues a message. Not after a {@link failure}. */
  send(message: SinkMessage, delivery: Delivery, ordinal: number): void {
    const bound = messageBound(message);
    const { buffers, batchMaxMessages } = this.#context;
    const isAlone = message.deliverAt !== undefined; // the time stands in the entry's metadata
    let batch = this.#open;
    if (batch !== undefined && (isAlone || batch.entry.bytes + bound > this.#maxBatchBytes)) {
      this.closeBatch();
      batch = undefined;
    }
    if (batch === undefined) {
      const expected = isAlone ? 0 : this.#openBytes;
      batch = this.#open = new Batch(new Entry(buffers, message, expected, message.deliverAt));
      this.#context.batchOpened(this);
    }
    batch.add(message, bound, this.#nextSequenceId++, delivery, ordinal);
    this.#pending++;
    const isFull = batch.count >= batchMaxMessages || batch.entry.bytes >= this.#maxBatchBytes;
    if (isAlone || isFull) this.closeBatch();
  }

  /** The batch's time has come; while there is no broker it may as well grow. */
  batchDue(): void {
    if (this.#connection !== undefined) this.closeBatch();
  }

  /** Takes no more messages into the open batch. */
  closeBatch(): void {
    const batch = this.#open;
    if (batch === undefined) return;
    this.#open = undefined;
    this.#context.batchClosed(this);
    if (batch.entry.deliverAt === undefined) this.#openBytes = batch.entry.bytes;
    batch.entry.trim();
    this.#queue.add(batch);
    this.#connection?.wantsToWrite(this);
  }

  /** See MessageSink.drop. */
  drop(delivery: Delivery): void {
    if (this.#open !== undefined) {
      this.#finish(this.#open.remove(delivery));
      if (this.#open.count === 0) this.#discardOpen();
    }
    this.#queue.drop(delivery);
  }

  /** Gives everything up and says goodbye to the broker. */
  async close(): Promise<void> {
    this.#closing.abort();
    const connection = this.#connection;
    this.#disconnect();
    this.#giveUp();
    if (connection === undefined || connection.closedBy !== undefined) return;
    const requestId = this.#context.ids.nextRequestId();
    await connection.request("CLOSE_PRODUCER", { producerId: this.producerId, requestId }).catch(() => {
      // The broker forgets the producer with its connection at the latest.
    });
  }

  // --- what the connection calls -----------------------------------------------------------------------------

  prepareFrames(maxBytes: number): number {
    return this.#connection === undefined ? 0 : this.#queue.prepare(this.#header(), maxBytes);
  }

  takeFrame(): Buffer | undefined {
    const connection = this.#connection;
    return connection && this.#queue.take(this.#header(), connection.maxMessageSize);
  }

  receipt(sequenceId: number): void {
    const connection = this.#connection;
    if (connection === undefined) return;
    const expected = this.#queue.head?.firstSequenceId;
    switch (this.#queue.receipt(sequenceId)) {
      case "done":
        this.#attempt = 0;
        return;
      case "ahead":
        return connection.close(
          new ConnectorError(
            `lost the broker ${connection.name}: a receipt for message ${sequenceId} of topic ${this.topic} ` +
              `came before the one for ${expected}; what has no receipt is sent again`,
            { code: "PULSAR_PROTOCOL", retryable: true, where: { topic: this.topic } },
          ),
        );
    }
  }

  sendError(command: CommandOf<"SEND_ERROR">): void {
    const connection = this.#connection;
    if (connection === undefined) return;
    const error = brokerError(command.error, command.message, {
      operation: "SEND",
      topic: this.topic,
      broker: connection.name,
    });
    const head = this.#queue.head;
    const isHead = head !== undefined && command.sequenceId >= head.firstSequenceId &&
      command.sequenceId <= head.lastSequenceId;
    switch (serverErrorName(command.error)) {
      case "TopicTerminatedError":
      case "ProducerFenced":
        return this.#fail(error);
      case "NotAllowedError":
        if (!isHead) break;
        return this.#queue.refuseHead(isAboutSize(command.message) ? tooLargeForTopic(error) : error);
      case "ChecksumError":
        if (!isHead || head!.intact) break; // damaged on its way: the same bytes again
        return this.#queue.refuseHead(
          new ConnectorError(`a frame for topic ${this.topic} was damaged in memory before it was sent`, {
            code: "INTERNAL",
            cause: error,
          }),
        );
    }
    this.#end({ error, closeFirst: true });
  }

  closedByBroker(command: CommandOf<"CLOSE_PRODUCER">): void {
    const error = new ConnectorError(
      `the broker ${this.#connection?.name ?? ""} closed the producer of topic ${this.topic} ` +
        "(the topic moves or is unloaded); it is opened again",
      { code: "PULSAR_UNAVAILABLE", retryable: true, where: { topic: this.topic } },
    );
    const assignedBroker = command.assignedBrokerServiceUrl || undefined;
    this.#end({ error, atOnce: true, assignedBroker });
  }

  migrated(command: CommandOf<"TOPIC_MIGRATED">): void {
    if (command.brokerServiceUrl) this.#lookup = this.#context.lookup(command.brokerServiceUrl);
  }

  connectionLost(error: ConnectorError): void {
    this.#end({ error });
  }

  /** At once deaf for the present connection: receipts behind a gap would be called out of order. */
  #end(end: SessionEnd): void {
    this.#disconnect();
    this.#endSession?.(end);
  }

  // --- finding a broker, and keeping it ----------------------------------------------------------------------

  async #run(): Promise<void> {
    const { clock, backoff, events } = this.#context;
    const signal = AbortSignal.any([this.#context.signal, this.#closing.signal]);
    let assignedBroker: string | undefined;
    while (!signal.aborted) {
      let end: SessionEnd;
      try {
        end = await this.#session(assignedBroker, signal);
      } catch (error) {
        if (!signal.aborted && !(error instanceof ConnectorError)) throw error; // a defect
        end = { error: toConnectorError(error) };
      }
      this.#disconnect();
      for (const { reject } of this.#openers.splice(0)) reject(end.error);
      if (signal.aborted) return;
      if (!end.error.retryable) return this.#fail(end.error);
      if (clock.monotonic() - this.#readyAt >= backoff.maxMs) this.#attempt = 0;
      this.#readyAt = Infinity;
      assignedBroker = end.assignedBroker;
      const isFirst = this.#attempt++ === 0;
      const delay = isFirst && end.atOnce ? 0 : backoffDelay(backoff, this.#attempt, clock.random());
      events.reconnecting?.(this.topic, end.error, delay);
      if (delay > 0) await clock.sleep(delay, signal);
    }
  }

  /** Opens the producer at its broker; resolves when the broker does not serve it any more. */
  async #session(assignedBroker: string | undefined, signal: AbortSignal): Promise<SessionEnd> {
    const connection = assignedBroker === undefined
      ? await this.#lookup.broker(this.topic)
      : await this.#lookup.assigned(assignedBroker);
    signal.throwIfAborted();
    const session = sessionEnd();
    const abort = (): void =>
      session.end({ error: toConnectorError(signal.reason), closeFirst: this.#failure !== undefined });
    signal.addEventListener("abort", abort, { once: true });
    this.#endSession = session.end;
    connection.register(this);
    try {
      await this.#openProducer(connection);
      if (!session.ended && !signal.aborted) this.#ready(connection);
      const end = await session.whenEnded;
      if (end.closeFirst) await this.#closeProducer(connection);
      return end;
    } finally {
      connection.unregister(this);
      signal.removeEventListener("abort", abort);
      this.#endSession = undefined;
    }
  }

  async #openProducer(connection: Connection): Promise<void> {
    try {
      const answer = await connection.request("PRODUCER", {
        topic: this.topic,
        producerId: this.producerId,
        requestId: this.#context.ids.nextRequestId(),
        producerName: this.#name,
        userProvidedProducerName: false,
        epoch: this.#epoch++,
      });
      if (answer.name !== "PRODUCER_SUCCESS") throw protocolError(`${answer.name} as answer to PRODUCER`);
      if (this.#name === undefined) {
        this.#name = answer.producerName;
        this.#startAfter(answer.lastSequenceId);
      }
    } catch (error) {
      // The broker may have opened it all the same, and would call the next attempt busy.
      if (isRequestTimeout(error)) await this.#closeProducer(connection);
      throw error;
    }
  }

  async #closeProducer(connection: Connection): Promise<void> {
    connection.unregister(this);
    if (connection.closedBy !== undefined) return;
    const requestId = this.#context.ids.nextRequestId();
    try {
      await connection.request("CLOSE_PRODUCER", { producerId: this.producerId, requestId });
    } catch (error) {
      connection.close(toConnectorError(error)); // no state that we know: start from none
    }
  }

  /** Ids go on where the broker says that this producer's name ended. */
  #startAfter(lastSequenceId: number): void {
    const by = lastSequenceId + 1;
    if (by <= 0) return;
    this.#nextSequenceId += by;
    this.#queue.renumber(by);
    this.#open?.entry.renumber(by);
  }

  #ready(connection: Connection): void {
    this.#connection = connection;
    this.#readyAt = this.#context.clock.monotonic();
    this.#maxBatchBytes = Math.min(this.#context.batchMaxBytes, connection.maxMessageSize - HEADER_ROOM);
    this.#context.events.connected?.(this.topic, connection.name);
    for (const { resolve } of this.#openers.splice(0)) resolve();
    if (!this.#queue.isEmpty) connection.wantsToWrite(this);
    this.closeBatch();
  }

  #disconnect(): void {
    this.#connection?.unregister(this);
    this.#connection = undefined;
    this.#queue.rewind();
  }

  /** Refused for good: this and every further message. */
  #fail(error: ConnectorError): void {
    this.#failure = error;
    for (const { reject } of this.#openers.splice(0)) reject(error);
    this.#closing.abort();
    this.#disconnect();
    this.closeBatch();
    this.#queue.refuseAll(error);
  }

  #header(): EntryHeader {
    return { producerId: this.producerId, producerName: this.#name!, publishTime: this.#context.clock.now() };
  }

  #discardOpen(): void {
    this.#open?.entry.release();
    this.#open = undefined;
    this.#context.batchClosed(this);
  }

  #giveUp(): void {
    if (this.#open !== undefined) this.#discardOpen();
    this.#queue.clear();
    this.#finish(this.#pending);
  }

  #finish(count: number): void {
    if (count === 0) return;
    this.#pending -= count;
    this.#context.finished(count);
  }
}

/** Topics may have a lower limit than their broker; its name for that is NotAllowedError. */
function isAboutSize(message: string): boolean {
  return /exceed.*(size|length)/i.test(message);
}

function tooLargeForTopic(error: ConnectorError): ConnectorError {
  return new ConnectorError(
    `${error.message} If single messages are smaller than the topic's limit, set pulsar.batchMaxBytes below it.`,
    { code: "MESSAGE_TOO_LARGE", cause: error, where: error.where },
  );
}
