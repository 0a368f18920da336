// An entry together with whose messages are in it: per party (Delivery) runs of consecutive ordinals, three
// numbers a run, so that a receipt costs nothing per message.

import type { ConnectorError } from "../core/errors.ts";
import type { SinkMessage } from "../core/record.ts";
import type { Delivery } from "./sink.ts";
import type { Entry } from "./wire/entry.ts";

/** Takes the place of a party that wants to hear nothing more; its messages go nowhere they are not already. */
const FORGOTTEN: Delivery = { isAlive: () => false, acknowledged() {}, refused() {} };

/** Messages that go to Pulsar in one frame, from the first one queued to the receipt. */
export class Batch {
  readonly entry: Entry;
  #deliveries: Delivery[] = [];
  /** Per run: index in #deliveries, first ordinal, number of messages; in the entry's order. */
  #runs: number[] = [];
  /** For SendQueue: frames that the present connection was given (chunks, if there are several), … */
  framesGiven = 0;
  /** … their receipts, and the size of the largest. */
  receipts = 0;
  largestFrame = 0;

  constructor(entry: Entry) {
    this.entry = entry;
  }

  /** Messages in it. */
  get count(): number {
    return this.entry.count;
  }

  /** Whether brokers know its messages by sequence ids that are the same at every replay. */
  get isOnce(): boolean {
    return this.#deliveries.some(({ once }) => once !== undefined);
  }

  add(message: SinkMessage, bound: number, sequenceId: number, delivery: Delivery, ordinal: number): void {
    this.entry.append(message, sequenceId, bound);
    const runs = this.#runs;
    const last = runs.length - 3;
    if (
      last >= 0 && this.#deliveries[runs[last]!] === delivery && runs[last + 1]! + runs[last + 2]! === ordinal
    ) {
      runs[last + 2]! += 1;
    } else runs.push(this.#indexOf(delivery), ordinal, 1);
  }

  /** Tells each party of its messages. */
  acknowledged(): void {
    this.#eachRun((delivery, from, count) => delivery.acknowledged(from, from + count - 1));
  }

  /** Tells each party of each of its messages; what they want to be waited for. */
  refused(error: ConnectorError): Promise<void>[] {
    const waitFor: Promise<void>[] = [];
    this.#eachRun((delivery, from, count) => {
      for (let ordinal = from; ordinal < from + count; ordinal++) {
        const settled = delivery.refused(ordinal, error);
        if (settled !== undefined) waitFor.push(settled);
      }
    });
    return waitFor;
  }

  /** No frame of it was given to the connection that comes next. */
  rewind(): void {
    this.framesGiven = this.receipts = this.largestFrame = 0;
  }

  /** Takes out the messages of parties that may not write any more; returns how many. */
  removeDead(): number {
    if (this.#deliveries.every((delivery) => delivery.isAlive())) return 0;
    const dead = this.#deliveries.filter((delivery) => !delivery.isAlive());
    return this.#remove((delivery) => dead.includes(delivery));
  }

  /** Takes out the messages of one party; returns how many. */
  remove(delivery: Delivery): number {
    return this.#deliveries.includes(delivery) ? this.#remove((each) => each === delivery) : 0;
  }

  /** The messages stay (a socket has them), but their party hears nothing more of them. */
  forget(delivery: Delivery): void {
    const index = this.#deliveries.indexOf(delivery);
    if (index >= 0) this.#deliveries[index] = FORGOTTEN;
  }

  /** Moves the messages with higher sequence ids to a batch of their own; there must be some, but not all. */
  splitAfter(sequenceId: number): Batch {
    return this.splitAt(this.entry.countUpTo(sequenceId));
  }

  /** Moves the messages from number `index` on to a batch of their own. */
  splitAt(index: number): Batch {
    const rest = new Batch(this.entry.splitAt(index));
    const runs = this.#runs;
    this.#runs = [];
    let left = index;
    for (let at = 0; at < runs.length; at += 3) {
      const [party, from, count] = [runs[at]!, runs[at + 1]!, runs[at + 2]!];
      const here = Math.min(left, count);
      if (here > 0) this.#runs.push(party, from, here);
      if (here < count) rest.#runs.push(rest.#indexOf(this.#deliveries[party]!), from + here, count - here);
      left -= here;
    }
    return rest;
  }

  #remove(isOut: (delivery: Delivery) => boolean): number {
    const before = this.count;
    const keep: boolean[] = [];
    const deliveries = this.#deliveries;
    const runs = this.#runs;
    this.#deliveries = [];
    this.#runs = [];
    for (let at = 0; at < runs.length; at += 3) {
      const [index, from, count] = [runs[at]!, runs[at + 1]!, runs[at + 2]!];
      const isKept = !isOut(deliveries[index]!);
      for (let i = 0; i < count; i++) keep.push(isKept);
      if (isKept) this.#runs.push(this.#indexOf(deliveries[index]!), from, count);
    }
    this.entry.retain((index) => keep[index]!);
    return before - this.count;
  }

  #eachRun(visit: (delivery: Delivery, from: number, count: number) => void): void {
    for (let at = 0; at < this.#runs.length; at += 3) {
      visit(this.#deliveries[this.#runs[at]!]!, this.#runs[at + 1]!, this.#runs[at + 2]!);
    }
  }

  #indexOf(delivery: Delivery): number {
    const index = this.#deliveries.lastIndexOf(delivery);
    return index >= 0 ? index : this.#deliveries.push(delivery) - 1;
  }
}
