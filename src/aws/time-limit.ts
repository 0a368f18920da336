// A provider of credentials that never answers (a script, a credential process) must not hold every call for ever.

import type { Clock } from "../core/clock.ts";
import { ConnectorError } from "../core/errors.ts";
import { withinTime } from "../core/time-limit.ts";

const LIMIT_MS = 30_000;

/**
 * What `work` gives, if it does so within 30 s; what it does later is ignored.
 * @param source Who is asked, for the error: "credential script /path".
 * @throws ConnectorError AWS_UNAVAILABLE (retryable) when it is late
 */
export function withinLimit<T>(clock: Clock, source: string, work: () => Promise<T>): Promise<T> {
  return withinTime(
    clock,
    LIMIT_MS,
    work,
    () =>
      new ConnectorError(`${source} gave no AWS credentials within ${LIMIT_MS / 1000} s`, {
        code: "AWS_UNAVAILABLE",
        retryable: true,
      }),
  );
}
