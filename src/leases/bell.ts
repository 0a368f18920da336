// Waiting for a time or for news, whichever comes first. A ring between the look and the wait is not missed:
// whoever waits says which version it has seen.

import type { Clock } from "../core/clock.ts";

/** Something that several loops may wait for, many times. */
export class Bell {
  readonly #clock: Clock;
  readonly #waiting = new Set<() => void>();
  #version = 0;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Counts the rings. */
  get version(): number {
    return this.#version;
  }

  /** Wakes all who wait. */
  ring(): void {
    this.#version++;
    for (const wake of this.#waiting) wake();
  }

  /** Resolves when it has rung since `version`, after `ms`, or when a signal aborts; leaves nothing behind. */
  async wait(version: number, ms: number, ...signals: readonly AbortSignal[]): Promise<void> {
    if (this.#version !== version || signals.some((signal) => signal.aborted)) return;
    const over = new AbortController();
    const wake = () => over.abort();
    this.#waiting.add(wake);
    for (const signal of signals) signal.addEventListener("abort", wake, { once: true });
    await this.#clock.sleep(ms, over.signal);
    this.#waiting.delete(wake);
    for (const signal of signals) signal.removeEventListener("abort", wake);
  }
}
