// Ends the wait of batches that are not full: one timer for all producers, because they wait equally long and so
// become due in the order in which they were opened.

import type { Clock } from "../core/clock.ts";
import { type ConnectorError, toConnectorError } from "../core/errors.ts";

/** Something with an open batch. */
export interface Batching {
  batchDue(): void;
}

/** One per sink. */
export class BatchTimer {
  readonly #clock: Clock;
  readonly #delayMs: number;
  readonly #signal: AbortSignal;
  readonly #onDefect: (error: ConnectorError) => void;
  /** When each was opened, monotonic, oldest first. */
  readonly #opened = new Map<Batching, number>();
  #isRunning = false;

  constructor(clock: Clock, delayMs: number, signal: AbortSignal, onDefect: (error: ConnectorError) => void) {
    this.#clock = clock;
    this.#delayMs = delayMs;
    this.#signal = signal;
    this.#onDefect = onDefect;
  }

  opened(batching: Batching): void {
    this.#opened.set(batching, this.#clock.monotonic());
    if (this.#isRunning) return;
    this.#isRunning = true;
    this.#run().catch((error: unknown) => this.#onDefect(toConnectorError(error)));
  }

  closed(batching: Batching): void {
    this.#opened.delete(batching);
  }

  async #run(): Promise<void> {
    let delay = this.#delayMs;
    while (!this.#signal.aborted) {
      await this.#clock.sleep(delay, this.#signal);
      const now = this.#clock.monotonic();
      delay = -1;
      for (const [batching, openedAt] of this.#opened) {
        const left = openedAt + this.#delayMs - now;
        if (left > 0.5) { // timers may fire a little early
          delay = left;
          break;
        }
        this.#opened.delete(batching);
        batching.batchDue();
      }
      if (delay < 0) break;
    }
    this.#isRunning = false;
  }
}
