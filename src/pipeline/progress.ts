// Waiting for what is in flight: conditions that are looked at after each receipt, so that a receipt costs nothing
// while nobody waits.

interface Waiter {
  readonly holds: () => boolean;
  readonly resolve: () => void;
}

/** The progress of one shard's records, until its end. */
export class Progress {
  #waiters: Waiter[] = [];
  readonly #over = new AbortController();

  /** Aborted when nothing more will come: what was in flight is given up. */
  get over(): AbortSignal {
    return this.#over.signal;
  }

  /** Resolves when the condition holds, the end has come, or the signal aborted. Never rejects. */
  until(holds: () => boolean, signal?: AbortSignal): Promise<void> {
    if (holds() || this.over.aborted || signal?.aborted) return Promise.resolve();
    return new Promise((resolve) => {
      const end = (): void => {
        signal?.removeEventListener("abort", end);
        this.#waiters = this.#waiters.filter((one) => one !== waiter);
        resolve();
      };
      const waiter = { holds, resolve: end };
      this.#waiters.push(waiter);
      signal?.addEventListener("abort", end, { once: true });
    });
  }

  /** Something was finished, or can never be. */
  look(): void {
    if (this.#waiters.length === 0) return;
    for (const { holds, resolve } of this.#waiters) if (holds()) resolve();
  }

  /** Nothing more will come. */
  end(): void {
    this.#over.abort();
    for (const { resolve } of this.#waiters) resolve();
  }
}
