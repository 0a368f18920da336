// Gathers one producer's messages into batches and says when a batch is full. Invariants: messages leave in the
// order in which they came; one with a delivery time is alone (the time stands in the entry's metadata).

import type { SinkMessage } from "../core/record.ts";
import { Batch } from "./batch.ts";
import type { Delivery } from "./sink.ts";
import { type BufferSource, Entry, messageBound } from "./wire/entry.ts";

/** What a batcher needs. */
export interface BatcherOptions {
  readonly buffers: BufferSource;
  readonly maxMessages: number;
  /** A batch was opened where none was. */
  opened(): void;
  /** None is open any more. */
  closed(): void;
  /** Takes a batch that is complete. */
  complete(batch: Batch): void;
}

/** One producer's. */
export class Batcher {
  readonly #options: BatcherOptions;
  #open: Batch | undefined;
  /** Size of the last batch: probably the next one's. */
  #expected = 0;
  /** Bytes in a batch at most, the messages' metadata included. */
  maxBytes: number;

  constructor(options: BatcherOptions, maxBytes: number) {
    this.#options = options;
    this.maxBytes = maxBytes;
  }

  /** Whether messages are being gathered. */
  get isOpen(): boolean {
    return this.#open !== undefined;
  }

  /** Copies a message into the open batch, or a new one. */
  add(message: SinkMessage, sequenceId: number, delivery: Delivery, ordinal: number): void {
    const { buffers, maxMessages, opened } = this.#options;
    const bound = messageBound(message);
    const isAlone = message.deliverAt !== undefined;
    let batch = this.#open;
    if (batch !== undefined && (isAlone || batch.entry.bytes + bound > this.maxBytes)) {
      this.close();
      batch = undefined;
    }
    if (batch === undefined) {
      const expected = isAlone ? 0 : this.#expected;
      batch = this.#open = new Batch(new Entry(buffers, message, expected, message.deliverAt));
      opened();
    }
    batch.add(message, bound, sequenceId, delivery, ordinal);
    if (isAlone || batch.count >= maxMessages || batch.entry.bytes >= this.maxBytes) this.close();
  }

  /** Takes no more messages into what is open. */
  close(): void {
    const batch = this.#open;
    if (batch === undefined) return;
    this.#open = undefined;
    this.#options.closed();
    if (batch.entry.deliverAt === undefined) this.#expected = batch.entry.bytes;
    batch.entry.trim();
    this.#options.complete(batch);
  }

  /** Takes a party's messages out; returns how many. */
  remove(delivery: Delivery): number {
    const removed = this.#open?.remove(delivery) ?? 0;
    if (this.#open?.count === 0) this.discard();
    return removed;
  }

  /** Gives up what is open. */
  discard(): void {
    if (this.#open === undefined) return;
    this.#open.entry.release();
    this.#open = undefined;
    this.#options.closed();
  }

  /** Adds to the sequence ids of what is open. */
  renumber(by: number): void {
    this.#open?.entry.renumber(by);
  }
}
