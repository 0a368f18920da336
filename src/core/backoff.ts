// How long to wait before the next attempt.

/** A growing delay with a cap. */
export interface Backoff {
  /** Delay before the first retry, milliseconds. */
  readonly firstMs: number;
  /** Upper bound, milliseconds. */
  readonly maxMs: number;
  /** Part of the delay that is random, 0…1: the delay lies in [d × (1 − jitter), d]. @default 0 */
  readonly jitter?: number;
}

/**
 * Delay before retry number `attempt` (1 = the first retry): doubles from `firstMs` to `maxMs`.
 * @param random uniform in [0, 1)
 */
export function backoffDelay(backoff: Backoff, attempt: number, random: number): number {
  const doubled = backoff.firstMs * 2 ** Math.min(attempt - 1, 30);
  const capped = Math.min(doubled, backoff.maxMs);
  return Math.round(capped * (1 - (backoff.jitter ?? 0) * random));
}
