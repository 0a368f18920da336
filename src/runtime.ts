// The only file that knows the process around us: clock, signals, environment, runtime name.

import { clearTimeout, setTimeout } from "node:timers";
import process from "node:process";
import type { Clock } from "./core/clock.ts";

/** "node" or "deno". */
export const runtimeName: "node" | "deno" = "Deno" in globalThis ? "deno" : "node";

/** The real clock. `monotonic` does not jump with the wall clock and goes on while a process is stopped. */
export const systemClock: Clock = {
  now: () => Date.now(),
  monotonic: () => performance.now(),
  random: () => Math.random(),
  // By hand: node:timers/promises makes an error for every sleep that is cut short.
  sleep: (ms, signal) =>
    new Promise((resolve) => {
      if (signal?.aborted) return resolve();
      const done = (): void => {
        clearTimeout(timer);
        signal?.removeEventListener("abort", done);
        resolve();
      };
      const timer = setTimeout(done, Math.max(0, ms)); // Node warns of a moment that has just passed
      signal?.addEventListener("abort", done);
    }),
};

/** The environment's variables. */
export function environment(): Readonly<Record<string, string | undefined>> {
  return process.env;
}

/** What this process needs, and since when it runs. */
export function processUsage(): { residentBytes: number; cpuSeconds: number; startedAt: number } {
  const { user, system } = process.cpuUsage();
  return {
    residentBytes: process.memoryUsage().rss,
    cpuSeconds: (user + system) / 1e6,
    startedAt: performance.timeOrigin,
  };
}
