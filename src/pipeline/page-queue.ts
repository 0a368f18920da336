// Pages between a shard's reader and its publisher, so that the next read goes on while the last page is published.
// How much may wait in it is decided before a read is made (read-budget.ts), not here.

/** A queue with one producer and one consumer. */
export class PageQueue<T> {
  readonly #items: T[] = [];
  #wake: (() => void) | undefined;
  #closed = false;

  /** @param replaces whether the last item that waits has nothing to say beside this one; then this takes its place */
  push(item: T, replaces: (last: T) => boolean = () => false): void {
    const last = this.#items.at(-1);
    if (last !== undefined && replaces(last)) this.#items.pop();
    this.#items.push(item);
    this.#wake?.();
  }

  /** No more items will come; those in it are still given out. */
  close(): void {
    this.#closed = true;
    this.#wake?.();
  }

  get isClosed(): boolean {
    return this.#closed;
  }

  /** The next item; undefined when the queue is closed and empty. */
  async take(): Promise<T | undefined> {
    while (this.#items.length === 0 && !this.#closed) {
      await new Promise<void>((resolve) => this.#wake = resolve);
    }
    return this.#items.shift();
  }

  /** What was taken and not worked on is first again. */
  putBack(item: T): void {
    this.#items.unshift(item);
  }

  /** Takes out all that wait. */
  clear(): T[] {
    return this.#items.splice(0);
  }
}
