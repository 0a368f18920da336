// Stand-ins that every room's tests share: a clock that only moves when told, a log that remembers.
// No real time passes in a test that uses them, so what waits for ever is seen as waiting, not as slow.

import { setImmediate } from "node:timers";
import type { Clock } from "../src/core/clock.ts";
import type { LogFields, Logger } from "../src/core/log.ts";

interface Sleeper {
  readonly due: number;
  readonly wake: () => void;
}

/** How a {@link FakeClock} begins. */
export interface FakeClockOptions {
  /** Wall clock at the start, epoch milliseconds. @default 2026-01-01T00:00Z */
  readonly now?: number;
  /** @default always 0.5 */
  readonly random?: () => number;
}

/** A clock that stands still until {@link FakeClock.advance} moves it. */
export class FakeClock implements Clock {
  readonly random: () => number;
  #wallAtStart: number;
  #elapsed = 0;
  #sleepers: Sleeper[] = [];

  constructor(options: FakeClockOptions = {}) {
    this.#wallAtStart = options.now ?? Date.UTC(2026, 0, 1);
    this.random = options.random ?? (() => 0.5);
  }

  now(): number {
    return this.#wallAtStart + this.#elapsed;
  }

  monotonic(): number {
    return this.#elapsed;
  }

  /** How many sleeps are waiting now: 0 after a clean close. */
  get sleeping(): number {
    return this.#sleepers.length;
  }

  sleep(ms: number, signal?: AbortSignal): Promise<void> {
    if (signal?.aborted) return Promise.resolve();
    return new Promise((resolve) => {
      const sleeper: Sleeper = {
        due: this.#elapsed + Math.max(0, ms),
        wake: () => {
          signal?.removeEventListener("abort", sleeper.wake);
          this.#sleepers = this.#sleepers.filter((other) => other !== sleeper);
          resolve();
        },
      };
      this.#sleepers.push(sleeper);
      signal?.addEventListener("abort", sleeper.wake, { once: true });
    });
  }

  /**
   * Lets `ms` pass: every sleep that falls due wakes at its own moment, in order, and all promises that
   * follow from it are settled before the next one wakes (as far as they need no real I/O).
   */
  async advance(ms: number): Promise<void> {
    const end = this.#elapsed + ms;
    for (;;) {
      await settle();
      const next = this.#earliest();
      if (next === undefined || next.due > end) break;
      this.#elapsed = Math.max(this.#elapsed, next.due);
      next.wake();
    }
    this.#elapsed = Math.max(this.#elapsed, end);
    await settle();
  }

  /**
   * Advances in steps until the condition holds and returns the milliseconds that passed.
   * Throws when it does not hold after `withinMs`.
   */
  async advanceUntil(condition: () => boolean, withinMs: number, stepMs = 10): Promise<number> {
    const start = this.#elapsed;
    await settle();
    while (!condition()) {
      if (this.#elapsed - start >= withinMs) {
        throw new Error(`the condition does not hold after ${withinMs} ms: ${condition}`);
      }
      await this.advance(Math.min(stepMs, start + withinMs - this.#elapsed));
    }
    return this.#elapsed - start;
  }

  /** Time passes while the process is stopped (SIGSTOP): nobody wakes until the next `advance`. */
  freeze(ms: number): void {
    this.#elapsed += ms;
  }

  #earliest(): Sleeper | undefined {
    let earliest: Sleeper | undefined;
    for (const sleeper of this.#sleepers) {
      if (earliest === undefined || sleeper.due < earliest.due) earliest = sleeper;
    }
    return earliest;
  }
}

/** Resolves after every promise that needs no I/O has settled. */
export function settle(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

/** One remembered log line. */
export interface LogEntry {
  readonly level: "debug" | "info" | "warn" | "error";
  readonly message: string;
  readonly fields: LogFields;
}

/** A log that keeps its lines. */
export class RecordingLogger implements Logger {
  readonly entries: LogEntry[] = [];

  debug(message: string, fields: LogFields = {}): void {
    this.entries.push({ level: "debug", message, fields });
  }
  info(message: string, fields: LogFields = {}): void {
    this.entries.push({ level: "info", message, fields });
  }
  warn(message: string, fields: LogFields = {}): void {
    this.entries.push({ level: "warn", message, fields });
  }
  error(message: string, fields: LogFields = {}): void {
    this.entries.push({ level: "error", message, fields });
  }

  /** The messages of one level, in order. */
  messages(level: LogEntry["level"]): string[] {
    return this.entries.filter((entry) => entry.level === level).map((entry) => entry.message);
  }
}
