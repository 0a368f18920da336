// The only file that knows the process around us: clock, signals, environment, runtime name.

import { setTimeout as delay } from "node:timers/promises";
import process from "node:process";
import type { Clock } from "./core/clock.ts";

/** "node" or "deno". */
export const runtimeName: "node" | "deno" = "Deno" in globalThis ? "deno" : "node";

/** The real clock. `monotonic` does not jump with the wall clock and goes on while a process is stopped. */
export const systemClock: Clock = {
  now: () => Date.now(),
  monotonic: () => performance.now(),
  random: () => Math.random(),
  async sleep(ms, signal) {
    if (signal?.aborted) return;
    try {
      await delay(ms, undefined, signal ? { signal } : {});
    } catch (error) {
      if (!signal?.aborted) throw error;
    }
  },
};

/** The environment's variables. */
export function environment(): Readonly<Record<string, string | undefined>> {
  return process.env;
}
