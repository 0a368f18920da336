// How many messages may be on their way to Pulsar, over all producers together (G6). Room is given in the order
// of asking; one record's messages are admitted together, and more than all room only when nothing else is pending.

interface Waiter {
  readonly count: number;
  readonly admit: (admitted: boolean) => void;
}

/** Counts messages from their reservation to their receipt. */
export class Permits {
  readonly #max: number;
  readonly #waiters: Waiter[] = [];
  #used = 0;

  constructor(max: number) {
    this.#max = max;
  }

  /** Messages reserved or pending. */
  get used(): number {
    return this.#used;
  }

  /** True, or a promise: true when there is room, false when the signal aborted first. */
  reserve(count: number, signal: AbortSignal): true | Promise<boolean> {
    if (this.#waiters.length === 0 && this.#fits(count)) {
      this.#used += count;
      return true;
    }
    if (signal.aborted) return Promise.resolve(false);
    return new Promise((resolve) => {
      const abort = (): void => {
        this.#waiters.splice(this.#waiters.indexOf(waiter), 1);
        resolve(false);
        this.#admit(); // the one behind may be smaller
      };
      const waiter = {
        count,
        admit: (admitted: boolean) => {
          signal.removeEventListener("abort", abort);
          resolve(admitted);
        },
      };
      signal.addEventListener("abort", abort, { once: true });
      this.#waiters.push(waiter);
    });
  }

  /** Takes room without waiting, beyond the limit if need be. */
  take(count: number): void {
    this.#used += count;
  }

  /** Gives room back. */
  release(count: number): void {
    this.#used -= count;
    this.#admit();
  }

  /** Nobody will get room any more. */
  close(): void {
    for (const waiter of this.#waiters.splice(0)) waiter.admit(false);
  }

  #fits(count: number): boolean {
    return this.#used + count <= this.#max || this.#used === 0;
  }

  #admit(): void {
    let next = this.#waiters[0];
    while (next !== undefined && this.#fits(next.count)) {
      this.#waiters.shift();
      this.#used += next.count;
      next.admit(true);
      next = this.#waiters[0];
    }
  }
}
