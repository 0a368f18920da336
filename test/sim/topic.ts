// A topic, and the sink by which one process publishes to it: batches go out in order, receipts come back in any
// order. As the product's own sink it asks before bytes leave whether the lease is alive (G5).

import { Buffer } from "node:buffer";
import type { SinkMessage } from "../../src/core/record.ts";
import type { Delivery, MessageSink } from "../../src/pulsar/sink.ts";
import type { Chance } from "../chance.ts";
import type { Process, Timeline } from "./timeline.ts";

/** A message on its way. */
export interface Sent {
  readonly id: string;
  readonly delivery: Delivery;
  readonly ordinal: number;
}

/** Who watches a sink. */
export interface SinkWatch {
  /** The pipeline handed a message on. */
  handedOn(sent: Sent): void;
  /** Its bytes leave. */
  leaves(sent: Sent): void;
  stored(sent: Sent): void;
  /** The pipeline is about to hear of it. */
  acknowledged(sent: Sent): void;
  /** Nothing may be handed on for it any more. */
  dropped(delivery: Delivery): void;
}

/** What a {@link SimSink} is made of. */
export interface SimSinkOptions {
  readonly timeline: Timeline;
  readonly process: Process;
  readonly chance: Chance;
  readonly watch: SinkWatch;
  /** Whether a party may still write. */
  readonly isAlive: (delivery: Delivery) => boolean;
  /** How many messages may be on their way. */
  readonly room: number;
  /** How long no broker takes the next batch, milliseconds; mostly 0. */
  readonly stallMs: () => number;
  /** Receipts take up to so long, milliseconds. */
  readonly receiptsMs: number;
}

/** See the file's header. */
export class SimSink implements MessageSink {
  readonly #options: SimSinkOptions;
  #batch: Sent[] = [];
  /** No socket has them, or no receipt has come; in order. */
  readonly #pending = new Set<Sent>();
  #room: number;
  readonly #waiting: { readonly count: number; readonly admit: () => void }[] = [];
  /** Batches are stored in order. */
  #storedBy = 0;

  constructor(options: SimSinkOptions) {
    this.#options = options;
    this.#room = options.room;
  }

  get pending(): number {
    return this.#pending.size;
  }

  open(_topic: string, _signal: AbortSignal): Promise<void> {
    return Promise.resolve();
  }

  reserve(count: number, signal: AbortSignal): true | Promise<boolean> {
    if (this.#waiting.length === 0 && this.#room >= count) {
      this.#room -= count;
      return true;
    }
    return new Promise((resolve) => {
      const waiter = {
        count,
        admit: () => {
          signal.removeEventListener("abort", abandon);
          resolve(true);
        },
      };
      const abandon = () => {
        this.#waiting.splice(this.#waiting.indexOf(waiter), 1);
        resolve(false);
        this.unreserve(0);
      };
      this.#waiting.push(waiter);
      signal.addEventListener("abort", abandon, { once: true });
    });
  }

  reserveAtOnce(count: number): void {
    this.#room -= count;
  }

  unreserve(count: number): void {
    this.#room += count;
    for (
      let first = this.#waiting[0];
      first !== undefined && this.#room >= first.count;
      first = this.#waiting[0]
    ) {
      this.#waiting.shift();
      this.#room -= first.count;
      first.admit();
    }
  }

  send(message: SinkMessage, delivery: Delivery, ordinal: number): void {
    const { timeline, process, chance, watch, stallMs } = this.#options;
    const sent = { id: Buffer.from(message.data).toString(), delivery, ordinal };
    watch.handedOn(sent);
    this.#pending.add(sent);
    if (this.#batch.push(sent) > 1) return;
    timeline.after(chance.pick(0, 1, 5, 30) + stallMs(), process, () => this.flush());
  }

  flush(): void {
    const { timeline, chance, watch, isAlive } = this.#options;
    const frame = this.#batch.filter((sent) => this.#pending.has(sent) && isAlive(sent.delivery));
    this.#batch = [];
    if (frame.length === 0) return;
    for (const sent of frame) watch.leaves(sent);
    this.#storedBy = Math.max(this.#storedBy, timeline.now + chance.int(20));
    timeline.after(this.#storedBy - timeline.now, undefined, () => this.#store(frame));
  }

  #store(frame: readonly Sent[]): void {
    const { timeline, process, chance, watch, receiptsMs } = this.#options;
    for (const sent of frame) watch.stored(sent);
    // As of several partitions, each with receipts of its own.
    const parts = Array.from({ length: 1 + chance.int(3) }, (): Sent[] => []);
    for (const sent of frame) chance.pick(...parts).push(sent);
    for (const part of parts) {
      if (part.length === 0) continue;
      timeline.after(chance.int(receiptsMs), process, () => this.#receipt(part));
    }
  }

  #receipt(part: readonly Sent[]): void {
    for (const sent of part) {
      if (!this.#pending.delete(sent)) continue;
      this.unreserve(1);
      this.#options.watch.acknowledged(sent);
      sent.delivery.acknowledged(sent.ordinal, sent.ordinal);
    }
  }

  drop(delivery: Delivery): void {
    this.#options.watch.dropped(delivery);
    for (const sent of [...this.#pending]) {
      if (sent.delivery !== delivery) continue;
      this.#pending.delete(sent);
      this.unreserve(1);
    }
  }

  close(): Promise<void> {
    return Promise.resolve();
  }
}
