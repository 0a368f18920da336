// A producer of one concrete topic (a topic without partitions, or one partition): batches messages and sees to
// it that a broker takes them. Invariants: frames go out in order, and again in order, byte for byte, after every
// reconnect before anything new; a message ends in exactly one of acknowledged, refused, dropped. Under effectively
// once it has its party's name, takes the ids that it is given, and asks once-guard.ts before each frame.

import type { Buffer } from "node:buffer";
import { ConnectorError } from "../core/errors.ts";
import type { SinkMessage } from "../core/record.ts";
import type { Batching } from "./batch-timer.ts";
import type { Batch } from "./batch.ts";
import { type Batcher, CommonBatcher } from "./batcher.ts";
import { BrokerSession, type SessionUser } from "./broker-session.ts";
import type { Connection } from "./connection.ts";
import { KeyBatcher } from "./key-batcher.ts";
import { OnceGuard } from "./once-guard.ts";
import type { OnceProducer, ProducerContext } from "./producer-context.ts";
import { limitLowered, overtaken, refusalOf } from "./refusals.ts";
import { type FrameTarget, SendQueue } from "./send-queue.ts";
import { brokerAddress } from "./service-url.ts";
import type { Delivery } from "./sink.ts";
import type { CommandOf } from "./wire/commands.ts";
import type { EntryHeader } from "./wire/entry.ts";

/** Room that a batch leaves for its header below the broker's largest message. */
const HEADER_ROOM = 2048;

/** See the file's header. Starts to look for its broker when made. */
export class Producer implements SessionUser, Batching {
  readonly topic: string;
  readonly producerId: number;
  readonly #context: ProducerContext;
  readonly #batcher: Batcher;
  readonly #queue: SendQueue;
  readonly #session: BrokerSession;
  /** Set under effectively once. */
  readonly #once: OnceGuard | undefined;
  #pending = 0;
  #usedAt: number;
  #nextSequenceId = 0;
  #failure: ConnectorError | undefined;
  /** The last one that took frames, for errors. */
  #broker = "";
  /** A receipt is being told: under effectively once it may mean that nothing more is given in this session. */
  #isTelling = false;
  /** See FrameTarget. */
  #chunkMark = "";

  constructor(topic: string, context: ProducerContext, once?: OnceProducer) {
    this.topic = topic;
    this.#context = context;
    this.producerId = context.ids.nextProducerId();
    this.#usedAt = context.clock.monotonic();
    const write = (): void => {
      if (!this.#queue.isEmpty) this.#session.connection?.wantsToWrite(this);
    };
    this.#queue = new SendQueue(topic, {
      finished: (count) => this.#finish(count),
      duplicates: (count) => context.events.duplicates?.(topic, count),
      resumed: write,
    });
    const options = {
      buffers: context.buffers,
      maxMessages: context.batchMaxMessages,
      opened: () => {
        this.#usedAt = context.clock.monotonic();
        context.batchOpened(this);
      },
      complete: (batch: Batch) => this.#queue.add(batch),
      closed: () => {
        context.batchClosed(this);
        write();
      },
    };
    const isByKey = context.batchBuilder === "key-based" && once === undefined;
    this.#batcher = new (isByKey ? KeyBatcher : CommonBatcher)(options, context.batchMaxBytes);
    this.#once = once && new OnceGuard(topic, once, context.proofs, write);
    this.#session = new BrokerSession(this, context, once?.producerName);
    this.#session.start();
  }

  /** Messages that are neither acknowledged nor refused. */
  get pending(): number {
    return this.#pending;
  }
  /** Nothing is pending, and nobody has still to do something about a refusal. */
  get isIdle(): boolean {
    return this.#pending === 0 && this.#queue.isSettled;
  }
  /** When a batch was opened last, monotonic milliseconds. */
  get usedAt(): number {
    return this.#usedAt;
  }
  /** Whether messages are being gathered. */
  get isBatching(): boolean {
    return this.#batcher.isOpen;
  }
  /** Why it takes no messages any more. */
  get failure(): ConnectorError | undefined {
    return this.#failure;
  }

  /** Resolves when the broker takes messages; rejects when the present attempt, or the next, fails. */
  opened(): Promise<void> {
    return this.#session.opened();
  }

  /**
   * Queues a message. Not after a {@link failure}. The error of one that cannot be: a defect of this program.
   * @param sequenceId under effectively once
   */
  send(
    message: SinkMessage,
    delivery: Delivery,
    ordinal: number,
    sequenceId?: number,
  ): ConnectorError | undefined {
    const defect = this.#once?.admit(sequenceId);
    if (defect !== undefined) {
      this.#context.events.fatal(defect);
      return defect;
    }
    this.#pending++;
    const id = this.#once === undefined ? this.#nextSequenceId++ : sequenceId!;
    this.#batcher.add(message, id, delivery, ordinal);
    return undefined;
  }

  /** The batch's time has come; while there is no broker it may as well grow. */
  batchDue(): void {
    if (this.#session.connection !== undefined) this.closeBatch();
  }

  /** Takes no more messages into the open batch. */
  closeBatch(): void {
    this.#batcher.close();
  }

  /** See MessageSink.drop. */
  drop(delivery: Delivery): void {
    this.#finish(this.#batcher.remove(delivery));
    this.#queue.drop(delivery);
  }

  /** Gives everything up and says goodbye to the broker. */
  async close(): Promise<void> {
    const closed = this.#session.close();
    this.#once?.close();
    this.#batcher.discard();
    this.#queue.clear();
    this.#finish(this.#pending);
    await closed;
  }

  // --- what the connection calls -----------------------------------------------------------------------------

  prepareFrames(maxBytes: number): number {
    const { connection } = this.#session;
    return connection === undefined ? 0 : this.#queue.prepare(this.#target(connection), maxBytes);
  }

  takeFrame(frames: Buffer[]): number {
    const { connection } = this.#session;
    // A fault that has just ended everything: what waits here does not leave any more.
    if (connection === undefined || this.#context.signal.aborted) return 0;
    if (this.#once !== undefined && (this.#isTelling || !this.#once.mayGive(this.#queue.given))) return 0;
    const bytes = this.#queue.take(this.#target(connection), frames);
    if (bytes === 0) this.#once?.gaveNothing(this.#queue.given);
    return bytes;
  }

  receipt(sequenceId: number, isDuplicate: boolean): void {
    const { connection } = this.#session;
    if (connection === undefined) return;
    const { head } = this.#queue;
    this.#isTelling = true;
    const answer = this.#queue.receipt(sequenceId, isDuplicate);
    this.#isTelling = false;
    switch (answer) {
      case "done":
        this.#session.lasts();
        if (this.#once?.receipt(head!.lastSequenceId, isDuplicate)) this.#session.reopen();
        else if (this.#once !== undefined && !this.#queue.isEmpty) connection.wantsToWrite(this);
        return;
      case "chunk": // the next one may have been asked for while nothing was given
        if (this.#once !== undefined) connection.wantsToWrite(this);
        return;
      case "ahead":
        return this.#passedOver(sequenceId, isDuplicate, connection);
    }
  }

  sendError(command: CommandOf<"SEND_ERROR">): void {
    const { sequenceId } = command;
    const entry = this.#queue.inFlight(sequenceId);
    const { action, error } = refusalOf(command, { topic: this.topic, broker: this.#broker, entry });
    if (action === "fail") return this.fail(error);
    // Of a session that is over only the end of the topic matters.
    if (action === "ignore" || this.#session.connection === undefined) return;
    if (action === "refuse") this.#queue.refuse(sequenceId, error);
    else if (action === "damaged") {
      const forgetsName = !this.#queue.isLastGiven(sequenceId);
      if (this.#once === undefined || !forgetsName) {
        return this.#session.end({ error, closeFirst: true, forgetsName });
      }
      this.#queue.refuse(sequenceId, overtaken(this.topic, "SEND", error));
    } else if (action === "again") return this.#session.end({ error, closeFirst: true });
    else if (!this.#queue.refuseSize(sequenceId, error)) {
      return this.#session.end({ error: limitLowered(error), closeFirst: true, forgetsName: true });
    }
    this.#once?.gaveNothing(this.#queue.given);
  }

  closedByBroker(command: CommandOf<"CLOSE_PRODUCER">): void {
    const error = new ConnectorError(
      `the broker ${this.#broker} closed the producer of topic ${this.topic} ` +
        "(the topic moves or is unloaded); it is opened again",
      { code: "PULSAR_UNAVAILABLE", retryable: true, where: { topic: this.topic } },
    );
    const connection = this.#session.connection;
    const assigned = connection?.ownKind(
      command.assignedBrokerServiceUrl,
      command.assignedBrokerServiceUrlTls,
    );
    this.#session.closedByBroker({ error, atOnce: true, assignedBroker: connection?.wayTo(assigned) });
  }

  migrated(command: CommandOf<"TOPIC_MIGRATED">): void {
    const url = this.#session.connection?.ownKind(command.brokerServiceUrl, command.brokerServiceUrlTls);
    if (url !== undefined && brokerAddress(url) !== undefined) this.#session.migrated(url);
  }

  connectionLost(error: ConnectorError): void {
    this.#session.end({ error });
  }

  // --- what the session calls --------------------------------------------------------------------------------

  answered(lastSequenceId: number, isFirst: boolean): void {
    if (this.#once !== undefined) {
      const error = this.#once.opened(lastSequenceId);
      if (error === undefined) return;
      this.#context.events.fatal(error);
      throw error;
    }
    const by = lastSequenceId + 1;
    if (by <= 0 || !isFirst) return;
    this.#nextSequenceId += by;
    this.#queue.renumber(by);
    this.#batcher.renumber(by);
  }

  ready(connection: Connection): void {
    this.#broker = connection.name;
    this.#chunkMark = Math.floor(this.#context.clock.random() * 2 ** 53).toString(36);
    this.#batcher.maxBytes = Math.min(this.#context.batchMaxBytes, connection.maxMessageSize - HEADER_ROOM);
    if (!this.#queue.isEmpty) connection.wantsToWrite(this);
    this.closeBatch();
  }

  gone(): void {
    this.#queue.rewind();
  }

  /** Refused for good: this and every further message. */
  fail(error: ConnectorError): void {
    if (this.#failure !== undefined) return;
    this.#failure = error;
    this.#session.fail(error);
    this.#once?.close();
    this.closeBatch();
    this.#queue.refuseAll(error);
  }

  /** A receipt came for a later entry than the oldest: whether the broker has that is not known. */
  #passedOver(sequenceId: number, isDuplicate: boolean, connection: Connection): void {
    const { head } = this.#queue;
    const error = new ConnectorError(
      `a receipt for message ${sequenceId} of topic ${this.topic} came before the one for ` +
        `${head?.firstSequenceId} (broker ${connection.name}).`,
      { code: "PULSAR_PROTOCOL", retryable: true, where: { topic: this.topic } },
    );
    if (this.#once === undefined) {
      this.#session.end({ error, forgetsName: true });
      return connection.close(error);
    }
    for (
      let first = head;
      first !== undefined && first.lastSequenceId < sequenceId;
      first = this.#queue.head
    ) {
      this.#queue.refuse(first.lastSequenceId, overtaken(this.topic, "SEND", error));
    }
    this.receipt(sequenceId, isDuplicate);
  }

  #target({ maxMessageSize }: Connection): FrameTarget {
    return {
      header: this.#header(),
      maxMessageSize,
      chunking: this.#context.isChunked(this.topic),
      chunkMark: this.#chunkMark,
      lastSequenceId: this.#once?.lastSequenceId ?? -1,
    };
  }

  #header(): EntryHeader {
    const { producerName } = this.#session;
    const { clock, codec } = this.#context;
    return { producerId: this.producerId, producerName, publishTime: clock.now(), codec };
  }

  #finish(count: number): void {
    if (count === 0) return;
    this.#pending -= count;
    this.#context.finished(count);
    if (this.#pending === 0) this.#context.idle();
  }
}
