// Gathers one producer's messages into batches and says when one is full. Invariants: messages leave in the order in
// which they came, with key-based batches at least those of one key; the sequence ids of no two batches interleave, or
// a broker that deduplicates would drop one; a message with a delivery time is alone (the time stands in the entry's
// metadata).

import type { SinkMessage } from "../core/record.ts";
import { Batch } from "./batch.ts";
import type { Delivery } from "./sink.ts";
import { type BufferSource, Entry, messageBound } from "./wire/entry.ts";

/** How messages are gathered: all together, or by key, which Key_Shared consumers need (`batchBuilder` in Java). */
export type BatchBuilder = "default" | "key-based";

/** What a batcher needs. */
export interface BatcherOptions {
  readonly buffers: BufferSource;
  readonly maxMessages: number;
  /** A batch was opened where none was. */
  opened(): void;
  /** Takes a batch that is complete. */
  complete(batch: Batch): void;
  /** None is open any more, and each that was is completed or given up. May call back. */
  closed(): void;
}

/** One producer's. */
export interface Batcher {
  /** Whether messages are being gathered. */
  readonly isOpen: boolean;
  /** Bytes in all open batches together at most, the messages' metadata included. */
  maxBytes: number;
  /** Copies a message into an open batch, or a new one. Ids rise; without gaps where batches are by key. */
  add(message: SinkMessage, sequenceId: number, delivery: Delivery, ordinal: number): void;
  /** Takes no more messages into what is open. */
  close(): void;
  /** Takes a party's messages out; returns how many. */
  remove(delivery: Delivery): number;
  /** Gives up what is open. */
  discard(): void;
  /** Adds to the sequence ids of what is open. */
  renumber(by: number): void;
}

/** One batch for all messages. */
export class CommonBatcher implements Batcher {
  readonly #options: BatcherOptions;
  #open: Batch | undefined;
  /** Size of the last batch: probably the next one's. */
  #expected = 0;
  maxBytes: number;

  constructor(options: BatcherOptions, maxBytes: number) {
    this.#options = options;
    this.maxBytes = maxBytes;
  }

  get isOpen(): boolean {
    return this.#open !== undefined;
  }

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

  close(): void {
    const batch = this.#open;
    if (batch === undefined) return;
    this.#open = undefined;
    if (batch.entry.deliverAt === undefined) this.#expected = Math.min(batch.entry.bytes, this.maxBytes);
    batch.entry.trim();
    this.#options.complete(batch);
    this.#options.closed();
  }

  remove(delivery: Delivery): number {
    const removed = this.#open?.remove(delivery) ?? 0;
    if (this.#open?.count === 0) this.discard();
    return removed;
  }

  discard(): void {
    if (this.#open === undefined) return;
    this.#open.entry.release();
    this.#open = undefined;
    this.#options.closed();
  }

  renumber(by: number): void {
    this.#open?.entry.renumber(by);
  }
}
