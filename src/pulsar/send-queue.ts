// The closed batches of one producer in order: which were given to the present connection, which wait. Invariants:
// a frame is sealed once and then always the same, unless a party that lost its lease has to come out of it (G5)
// or a broker takes smaller messages; whoever is told something may call back, so the queue is in order before.

import type { Buffer } from "node:buffer";
import type { ConnectorError } from "../core/errors.ts";
import type { Batch } from "./batch.ts";
import { messageTooLarge } from "./errors.ts";
import type { Delivery } from "./sink.ts";
import type { Entry, EntryHeader } from "./wire/entry.ts";

/** One producer's. */
export class SendQueue {
  readonly #topic: string;
  readonly #finished: (count: number) => void;
  readonly #batches: Batch[] = [];
  /** The first so many were given to the present connection. */
  #given = 0;

  /** @param finished is told how many messages ended */
  constructor(topic: string, finished: (count: number) => void) {
    this.#topic = topic;
    this.#finished = finished;
  }

  get isEmpty(): boolean {
    return this.#batches.length === 0;
  }

  /** The oldest entry without a receipt, if the present connection was given it. */
  get head(): Entry | undefined {
    return this.#given > 0 ? this.#batches[0]!.entry : undefined;
  }

  add(batch: Batch): void {
    this.#batches.push(batch);
  }

  /** The connection is gone: all from the first again. */
  rewind(): void {
    this.#given = 0;
  }

  /** Seals what comes next, up to `maxBytes`: costs time, so it is done before parties are asked. */
  prepare(header: EntryHeader, maxBytes: number): number {
    let bytes = 0;
    for (let at = this.#given; at < this.#batches.length && bytes < maxBytes; at++) {
      const { entry } = this.#batches[at]!;
      if (!entry.sealed) entry.seal(header);
      bytes += entry.frame.length;
    }
    return bytes;
  }

  /** The next frame, of parties that are alive at this moment. */
  take(header: EntryHeader, maxMessageSize: number): Buffer | undefined {
    for (;;) {
      const at = this.#given;
      const batch = this.#batches[at];
      if (batch === undefined) return undefined;
      const removed = batch.removeDead();
      this.#finished(removed);
      if (this.#batches[at] !== batch) continue; // a party that was asked has dropped it
      if (batch.count === 0) {
        this.#batches.splice(at, 1);
        continue;
      }
      const { entry } = batch;
      if (!entry.sealed) {
        entry.seal(header);
        if (removed > 0) continue; // asked again: sealing took time
      }
      if (entry.messageSize <= maxMessageSize) {
        this.#given++;
        return entry.frame;
      }
      if (batch.count > 1) this.#batches.splice(at + 1, 0, batch.split());
      else this.#refuse(at, messageTooLarge(this.#topic, entry.messageSize, maxMessageSize));
    }
  }

  /**
   * A receipt: for the oldest entry, for one that had its receipt before ("stale"), or for a later one ("ahead"),
   * which means that one got lost.
   */
  receipt(sequenceId: number): "done" | "stale" | "ahead" {
    const entry = this.head;
    if (entry === undefined || sequenceId < entry.firstSequenceId) return "stale";
    if (sequenceId > entry.lastSequenceId) return "ahead";
    const batch = this.#batches.shift()!;
    this.#given--;
    entry.release(); // the broker has the bytes, so no socket needs them
    this.#finished(batch.count);
    batch.acknowledged();
    return "done";
  }

  /** The oldest entry was refused for good. */
  refuseHead(error: ConnectorError): void {
    this.#given--;
    this.#refuse(0, error);
  }

  /** All of them. */
  refuseAll(error: ConnectorError): void {
    this.#given = 0;
    while (!this.isEmpty) this.#refuse(0, error);
  }

  /** See MessageSink.drop. */
  drop(delivery: Delivery): void {
    for (let at = this.#batches.length - 1; at >= 0; at--) {
      const batch = this.#batches[at]!;
      if (at < this.#given) {
        batch.forget(delivery);
        continue;
      }
      const removed = batch.remove(delivery);
      if (batch.count === 0) this.#batches.splice(at, 1);
      this.#finished(removed);
    }
  }

  /** Adds to all sequence ids; before anything was sealed. */
  renumber(by: number): void {
    for (const batch of this.#batches) batch.entry.renumber(by);
  }

  /** Gives everything up, without a word to anybody. */
  clear(): void {
    this.#given = 0;
    this.#batches.length = 0;
  }

  /** Its buffer is not used again: a socket may still be reading it. */
  #refuse(at: number, error: ConnectorError): void {
    const [batch] = this.#batches.splice(at, 1);
    this.#finished(batch!.count);
    batch!.refused(error);
  }
}
