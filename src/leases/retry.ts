// What to do after DynamoDB said "not now": wait, say so once, ask the throttle hook. Errors that waiting does not
// cure are passed on untouched.

import { setMaxListeners } from "node:events";
import { type Backoff, backoffDelay } from "../core/backoff.ts";
import type { Clock } from "../core/clock.ts";
import { type ConnectorError, toConnectorError } from "../core/errors.ts";
import type { Logger } from "../core/log.ts";

/** A throttled call to DynamoDB, in the words of `onThrottle` hooks. */
export interface LeaseThrottle {
  readonly service: "dynamodb";
  /** The API's name, e.g. UpdateItem. */
  readonly operation: string;
  readonly shardId?: string | undefined;
  /** Counts from 1; back to 1 after a success. */
  readonly attempt: number;
  /** The delay that will follow, milliseconds. */
  readonly delayMs: number;
}

/** Told of each throttle; a number it returns replaces the delay. */
export type OnLeaseThrottle = (
  throttle: LeaseThrottle,
) => Promise<number | undefined> | number | undefined;

/** Options of {@link Retry}. */
export interface RetryOptions {
  readonly clock: Clock;
  readonly log: Logger;
  readonly onThrottle?: OnLeaseThrottle | undefined;
  /** What waits meanwhile: a sentence for the warnings. @default said by the call */
  readonly waitsFor?: string | undefined;
}

/** So many calls to one table at once, as the KCL's renewals. */
export const PARALLEL_CALLS = 20;

const BACKOFF: Backoff = { firstMs: 100, maxMs: 5000, jitter: 0.5 };
// An outage is said at its beginning and about once a minute.
const WARN_EVERY_ATTEMPTS = 15;

/** Repeats calls that fail for reasons that pass. */
export class Retry {
  readonly #options: RetryOptions;

  constructor(options: RetryOptions) {
    this.#options = options;
  }

  /**
   * The call's result, however often it takes; `undefined` when the signal aborted first.
   * Rejects with the first ConnectorError that is not retryable.
   */
  async run<T>(call: () => Promise<T>, signal: AbortSignal): Promise<T | undefined> {
    setMaxListeners(0, signal); // twenty calls may wait on one
    for (let attempt = 1; !signal.aborted; attempt++) {
      try {
        const result = await call();
        if (attempt > 1) this.#options.log.info(`DynamoDB answers again after ${attempt} attempts`);
        return result;
      } catch (thrown) {
        if (signal.aborted) return undefined;
        await this.#options.clock.sleep(await this.delayAfter(toConnectorError(thrown), attempt), signal);
      }
    }
    return undefined;
  }

  /**
   * How long to wait after a failure; throws the error back when waiting is no cure.
   * @param quiet others have failed in the same way at the same time, and it has been said
   */
  async delayAfter(error: ConnectorError, attempt: number, quiet = false): Promise<number> {
    if (!error.retryable) throw error;
    const { log, clock, onThrottle, waitsFor } = this.#options;
    const delayMs = backoffDelay(BACKOFF, attempt, clock.random());
    const fields = { code: error.code, attempt, delayMs, ...error.where };
    const message = `${error.message}; it is tried again until it succeeds` +
      (waitsFor === undefined ? "" : `: ${waitsFor}`);
    if (!quiet && attempt % WARN_EVERY_ATTEMPTS === 1) log.warn(message, fields);
    else log.debug(message, fields);
    if (error.code !== "THROTTLED" || onThrottle === undefined) return delayMs;
    const { operation = "UpdateItem", shardId } = error.where;
    return await onThrottle({ service: "dynamodb", operation, shardId, attempt, delayMs }) ?? delayMs;
  }
}

/** Runs `work` for every item, at most `limit` at once; waits for all that began, then rejects with the first failure. */
export async function forEachBounded<T>(
  items: Iterable<T>,
  limit: number,
  work: (item: T) => Promise<void>,
): Promise<void> {
  const rest = items[Symbol.iterator]();
  let failed: { readonly error: unknown } | undefined;
  const worker = async () => {
    for (let next = rest.next(); !next.done && failed === undefined; next = rest.next()) {
      try {
        await work(next.value);
      } catch (error) {
        failed ??= { error };
      }
    }
  };
  await Promise.all(Array.from({ length: limit }, worker));
  if (failed !== undefined) throw failed.error;
}
