// Simulated time for several processes: nothing waits, the next event is simply due. A process can be frozen (as by
// SIGSTOP: what falls due for it happens when it is thawed) or killed (it never happens). Each event's promises are
// settled before the next one, so a seed is one story.

import { setImmediate } from "node:timers";
import type { Clock } from "../../src/core/clock.ts";
import type { Chance } from "../chance.ts";

/** Kinesis' clock at the beginning, epoch milliseconds. */
export const EPOCH = Date.UTC(2026, 0, 1);

/** One operating system process. */
export class Process {
  readonly name: string;
  dead = false;
  frozen = false;
  /** What fell due while it was frozen. */
  readonly deferred: Event[] = [];

  constructor(name: string) {
    this.name = name;
  }
}

interface Event {
  due: number;
  order: number;
  readonly run: () => void;
  readonly process: Process | undefined;
  cancelled: boolean;
}

/** All events in the order of their time; those of the same time in the order in which they were made. */
export class Timeline {
  /** Milliseconds since the beginning. */
  now = 0;
  /** Events that happened. */
  events = 0;
  readonly #heap: Event[] = [];
  #orders = 0;

  /**
   * Something will happen in `delayMs`. The returned function takes it back.
   * @param process whose event it is; without one the world's, which nothing stops
   */
  after(delayMs: number, process: Process | undefined, run: () => void): () => void {
    const event: Event = {
      due: this.now + Math.max(0, delayMs),
      order: this.#orders++,
      run,
      process,
      cancelled: false,
    };
    this.#push(event);
    return () => {
      event.cancelled = true;
    };
  }

  /** Lets time pass. */
  async advance(ms: number): Promise<void> {
    const end = this.now + ms;
    for (;;) {
      await settle();
      const event = this.#heap[0];
      if (event === undefined || event.due > end) break;
      this.#pop();
      const { process } = event;
      if (event.cancelled || process?.dead) continue;
      if (process?.frozen) {
        process.deferred.push(event);
        continue;
      }
      this.now = Math.max(this.now, event.due);
      this.events++;
      event.run();
    }
    this.now = end;
  }

  freeze(process: Process): void {
    process.frozen = true;
  }

  /** What fell due meanwhile happens now, in its order. */
  thaw(process: Process): void {
    process.frozen = false;
    for (const event of process.deferred.splice(0)) {
      event.due = this.now;
      event.order = this.#orders++;
      this.#push(event);
    }
  }

  kill(process: Process): void {
    process.dead = true;
    process.deferred.length = 0;
  }

  #push(event: Event): void {
    const heap = this.#heap;
    let at = heap.push(event) - 1;
    for (let up = (at - 1) >> 1; at > 0 && isBefore(event, heap[up]!); up = (at - 1) >> 1) {
      heap[at] = heap[up]!;
      at = up;
    }
    heap[at] = event;
  }

  #pop(): void {
    const heap = this.#heap;
    const last = heap.pop()!;
    if (heap.length === 0) return;
    let at = 0;
    for (;;) {
      let down = 2 * at + 1;
      if (down >= heap.length) break;
      if (down + 1 < heap.length && isBefore(heap[down + 1]!, heap[down]!)) down++;
      if (!isBefore(heap[down]!, last)) break;
      heap[at] = heap[down]!;
      at = down;
    }
    heap[at] = last;
  }
}

function isBefore(a: Event, b: Event): boolean {
  return a.due < b.due || (a.due === b.due && a.order < b.order);
}

/** Resolves after every promise that needs no I/O has settled. */
function settle(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

/** The clock of one process: its own arbitrary zero, and a wall clock that is wrong and may be set. */
export class ProcessClock implements Clock {
  readonly #timeline: Timeline;
  readonly #process: Process;
  readonly #chance: Chance;
  readonly #zero: number;
  #wrongBy: number;

  constructor(timeline: Timeline, process: Process, chance: Chance) {
    this.#timeline = timeline;
    this.#process = process;
    this.#chance = chance;
    this.#zero = chance.int(1_000_000);
    this.#wrongBy = chance.int(120_000) - 60_000;
  }

  now(): number {
    return EPOCH + this.#timeline.now + this.#wrongBy;
  }

  monotonic(): number {
    return this.#zero + this.#timeline.now;
  }

  random(): number {
    return this.#chance.fraction();
  }

  /** Somebody sets the wall clock. */
  setWall(byMs: number): void {
    this.#wrongBy += byMs;
  }

  sleep(ms: number, signal?: AbortSignal): Promise<void> {
    if (signal?.aborted) return Promise.resolve();
    return new Promise((resolve) => {
      const wake = () => {
        cancel();
        signal?.removeEventListener("abort", wake);
        resolve();
      };
      const cancel = this.#timeline.after(ms, this.#process, wake);
      signal?.addEventListener("abort", wake, { once: true });
    });
  }
}
