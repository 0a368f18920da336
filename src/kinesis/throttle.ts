// What follows a throttle: `backoffTime`, doubling to ten times of it, unless the onThrottle hook says otherwise.
// One throttle of the service is one call of the hook.

import { type Backoff, backoffDelay } from "../core/backoff.ts";
import type { Clock } from "../core/clock.ts";
import { ConnectorError, messageOf } from "../core/errors.ts";
import type { Logger } from "../core/log.ts";
import type { OnThrottle, ThrottleEvent } from "./source.ts";

/** What is needed to wait after a throttle. */
export interface ThrottleScope {
  /** Milliseconds. */
  readonly backoffTimeMs: number;
  readonly onThrottle?: OnThrottle | undefined;
  readonly clock: Clock;
  readonly log: Logger;
}

/** Of a call without which nothing goes on; at the default `backoffTime` about every two minutes. */
const SAY_EVERY_ATTEMPTS = 5;

/** Waits of `backoffTime` or a little more: many shards that were throttled together come back apart. */
export function throttleBackoff(backoffTimeMs: number): Backoff {
  return { firstMs: backoffTimeMs * 1.25, maxMs: backoffTimeMs * 10, jitter: 0.2 };
}

/** Without a pause, a `backoffTime` of 0 or such an answer of the hook would call as fast as the machine can. */
const SHORTEST_MS = 100;

/** Tells the hook; resolves with the delay to keep, milliseconds: at least 100. */
export async function delayAfterThrottle(
  throttle: Omit<ThrottleEvent, "service" | "delayMs">,
  { backoffTimeMs, onThrottle, clock, log }: ThrottleScope,
): Promise<number> {
  const delayMs = backoffDelay(throttleBackoff(backoffTimeMs), throttle.attempt, clock.random());
  log.debug(`Kinesis throttled ${throttle.operation}`, { ...throttle, delayMs });
  let wanted: unknown;
  try {
    wanted = await onThrottle?.({ service: "kinesis", ...throttle, delayMs });
  } catch (error) {
    log.warn(`onThrottle failed: ${messageOf(error)}`);
  }
  const usable = typeof wanted === "number" && wanted >= 0 && Number.isFinite(wanted);
  return Math.max(usable ? wanted as number : delayMs, SHORTEST_MS);
}

/**
 * The result of a call that is repeated while it is throttled; other failures pass. Rejects after an abort: with the
 * throttling that it waited for, so that who set the time can say why it was not enough.
 */
export async function whileThrottled<T>(
  call: () => Promise<T>,
  scope: ThrottleScope,
  signal: AbortSignal,
): Promise<T> {
  signal.throwIfAborted();
  for (let attempt = 1;; attempt++) {
    try {
      return await call();
    } catch (error) {
      if (!(error instanceof ConnectorError) || error.code !== "THROTTLED") throw error;
      const { operation = "", shardId } = error.where;
      const delayMs = await delayAfterThrottle({ operation, shardId, attempt }, scope);
      if (attempt % SAY_EVERY_ATTEMPTS === 1) {
        scope.log.warn(`${error.message}; it is tried again until it succeeds`, {
          shardId,
          attempt,
          delayMs,
        });
      }
      await scope.clock.sleep(delayMs, signal);
      if (signal.aborted) throw error;
    }
  }
}
