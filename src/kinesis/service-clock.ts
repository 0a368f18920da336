// Kinesis' clock, as its answers' dates tell it. Never ahead of the service: the date was written before the answer
// came, and what has passed since is measured here. So a LATEST start remembered by it misses nothing.

import type { Clock } from "../core/clock.ts";

/** Kinesis' time. Before the first answer, and where answers have no date, it is the machine's. */
export class ServiceClock {
  readonly #clock: Clock;
  #date: number | undefined;
  #seenAt = 0;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Takes note of an answer's Date header. */
  observe(dateHeader: string | undefined): void {
    const date = dateHeader === undefined ? NaN : Date.parse(dateHeader);
    if (Number.isNaN(date)) return;
    this.#date = date;
    this.#seenAt = this.#clock.monotonic();
  }

  /** Epoch milliseconds, rounded down to the second. */
  now(): number {
    const now = this.#date === undefined
      ? this.#clock.now()
      : this.#date + (this.#clock.monotonic() - this.#seenAt);
    return Math.floor(now / 1000) * 1000;
  }
}
