// Which asynchronous calls of a script have run out of time. All have the same limit, so they expire in the order in
// which they began, and one sleep serves them all instead of a timer for each call.

import type { Clock } from "../core/clock.ts";

/** A call that is being waited for. */
export interface TimedCall {
  /** Monotonic milliseconds. */
  readonly due: number;
  readonly expire: () => void;
}

/** The running calls of one script. */
export class Deadlines {
  readonly #clock: Clock;
  readonly #limitMs: number;
  readonly #signal: AbortSignal;
  readonly #calls = new Set<TimedCall>(); // in order of insertion
  #watching = false;

  constructor(clock: Clock, limitMs: number, signal: AbortSignal) {
    this.#clock = clock;
    this.#limitMs = limitMs;
    this.#signal = signal;
  }

  /**
   * Waits for a call that began at `start` (monotonic, never before the last one's): `expire` is called once, unless
   * {@link Deadlines.end} comes first or the signal aborts.
   */
  begin(start: number, expire: () => void): TimedCall {
    const call = { due: start + this.#limitMs, expire };
    this.#calls.add(call);
    if (!this.#watching) void this.#watch();
    return call;
  }

  end(call: TimedCall): void {
    this.#calls.delete(call);
  }

  async #watch(): Promise<void> {
    this.#watching = true;
    for (const call of this.#calls) {
      const wait = call.due - this.#clock.monotonic();
      if (wait > 0) await this.#clock.sleep(wait, this.#signal);
      if (this.#signal.aborted) break;
      if (this.#calls.delete(call)) call.expire();
    }
    this.#watching = false;
  }
}
