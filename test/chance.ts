// Chance from a seed: the same numbers on every machine and runtime, so that a seed is a story that can be told again.

/** Pseudo-random choices (mulberry32). */
export class Chance {
  #state: number;

  constructor(seed: number) {
    this.#state = seed | 0;
  }

  #next(): number {
    this.#state = (this.#state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(this.#state ^ (this.#state >>> 15), 1 | this.#state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return (mixed ^ (mixed >>> 14)) >>> 0;
  }

  /** 0 … below − 1 */
  int(below: number): number {
    return this.#next() % below;
  }

  /** Uniform in [0, 1). */
  fraction(): number {
    return this.#next() / 2 ** 32;
  }

  pick<T>(...choices: readonly T[]): T {
    return choices[this.int(choices.length)]!;
  }

  /** True so many times in a hundred. */
  percent(of: number): boolean {
    return this.int(100) < of;
  }
}
