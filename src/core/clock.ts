// Time and randomness as values, so that decisions can be tested without waiting.

/** What a loop needs of time. Real: `systemClock` in src/runtime.ts; tests: test/fakes.ts. */
export interface Clock {
  /** Wall clock, epoch milliseconds. Never used to judge a lease. */
  now(): number;
  /** Monotonic milliseconds since an arbitrary moment. */
  monotonic(): number;
  /** Resolves after `ms`, or at once when the signal aborts (it never rejects). */
  sleep(ms: number, signal?: AbortSignal): Promise<void>;
  /** Uniform in [0, 1). */
  random(): number;
}
