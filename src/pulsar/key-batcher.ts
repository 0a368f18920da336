// Batches of one key each, for consumers of Key_Shared subscriptions: a broker gives a whole entry to the consumer of
// its first message's key. Each message is put to its key's batch; all are completed together, in the order of their
// first messages. Sequence ids are given out only then, so that those of one batch stand together: ranges that
// interleave, as the Java client sends them, are lost where the broker deduplicates (it looks at the highest only).

import { Buffer } from "node:buffer";
import type { SinkMessage } from "../core/record.ts";
import { Batch } from "./batch.ts";
import type { Batcher, BatcherOptions } from "./batcher.ts";
import type { Delivery } from "./sink.ts";
import { Entry, messageBound } from "./wire/entry.ts";

/** See the file's header. One producer's. */
export class KeyBatcher implements Batcher {
  readonly #options: BatcherOptions;
  /** By key; undefined = no key. As for consumers, the ordering key goes before the key. */
  readonly #byKey = new Map<string | undefined, Batch>();
  readonly #byOrderingKey = new Map<string, Batch>();
  /** In the order of their first messages. */
  #batches: Batch[] = [];
  #count = 0;
  #bytes = 0;
  /** Sequence id of the first message of all. */
  #firstSequenceId = 0;
  maxBytes: number;

  constructor(options: BatcherOptions, maxBytes: number) {
    this.#options = options;
    this.maxBytes = maxBytes;
  }

  get isOpen(): boolean {
    return this.#batches.length > 0;
  }

  add(message: SinkMessage, sequenceId: number, delivery: Delivery, ordinal: number): void {
    const bound = messageBound(message);
    const isAlone = message.deliverAt !== undefined;
    if (isAlone || this.#bytes + bound > this.maxBytes) this.close();
    if (!this.isOpen) {
      this.#firstSequenceId = sequenceId;
      this.#options.opened();
    }
    const batch = this.#batchFor(message);
    batch.add(message, bound, batch.count, delivery, ordinal); // its place, until close() knows its id
    this.#bytes += bound;
    const isFull = ++this.#count >= this.#options.maxMessages || this.#bytes >= this.maxBytes;
    if (isAlone || isFull) this.close();
  }

  close(): void {
    if (!this.isOpen) return;
    const batches = this.#batches;
    let sequenceId = this.#firstSequenceId;
    this.#forget();
    for (const batch of batches) {
      const { entry } = batch;
      const places = entry.lastSequenceId + 1; // also those of messages that were taken out
      if (sequenceId > 0) entry.renumber(sequenceId);
      sequenceId += places;
      entry.trim();
      this.#options.complete(batch);
    }
    this.#options.closed();
  }

  remove(delivery: Delivery): number {
    let removed = 0;
    for (const batch of this.#batches) removed += batch.remove(delivery);
    if (removed === 0) return 0;
    this.#count -= removed;
    if (this.#count === 0) {
      this.discard();
      return removed;
    }
    for (const batches of [this.#byKey, this.#byOrderingKey] as Map<string | undefined, Batch>[]) {
      for (const [key, { count }] of batches) if (count === 0) batches.delete(key);
    }
    for (const batch of this.#batches) if (batch.count === 0) batch.entry.release();
    this.#batches = this.#batches.filter(({ count }) => count > 0);
    return removed;
  }

  discard(): void {
    if (!this.isOpen) return;
    for (const { entry } of this.#batches) entry.release();
    this.#forget();
    this.#options.closed();
  }

  renumber(by: number): void {
    this.#firstSequenceId += by;
  }

  #batchFor(message: SinkMessage): Batch {
    const { key, orderingKey, deliverAt } = message;
    const ordering = orderingKey &&
      Buffer.from(orderingKey.buffer, orderingKey.byteOffset, orderingKey.length).toString("latin1");
    const known = ordering === undefined ? this.#byKey.get(key) : this.#byOrderingKey.get(ordering);
    if (known !== undefined) return known;
    const batch = new Batch(new Entry(this.#options.buffers, message, 0, deliverAt));
    if (ordering === undefined) this.#byKey.set(key, batch);
    else this.#byOrderingKey.set(ordering, batch);
    this.#batches.push(batch);
    return batch;
  }

  #forget(): void {
    this.#batches = [];
    this.#byKey.clear();
    this.#byOrderingKey.clear();
    this.#count = this.#bytes = 0;
  }
}
