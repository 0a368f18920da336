// The real clock, for local servers whose user gives none.

import { setTimeout as delay } from "node:timers/promises";
import type { Clock } from "../core/clock.ts";

/** Wall and monotonic clock of this machine. */
export const localClock: Clock = {
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
