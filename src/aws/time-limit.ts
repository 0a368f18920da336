// A provider of credentials that never answers (a script, a credential process) must not hold every call for ever.

import type { Clock } from "../core/clock.ts";
import { ConnectorError } from "../core/errors.ts";

const LIMIT_MS = 30_000;

/**
 * What `work` gives, if it does so within 30 s; what it does later is ignored.
 * @param source Who is asked, for the error: "credential script /path".
 * @throws ConnectorError AWS_UNAVAILABLE (retryable) when it is late
 */
export async function withinLimit<T>(clock: Clock, source: string, work: () => Promise<T>): Promise<T> {
  const done = new AbortController();
  const late = clock.sleep(LIMIT_MS, done.signal).then(() => {
    if (done.signal.aborted) return undefined as never; // the race is over
    throw new ConnectorError(`${source} gave no AWS credentials within ${LIMIT_MS / 1000} s`, {
      code: "AWS_UNAVAILABLE",
      retryable: true,
    });
  });
  try {
    return await Promise.race([work(), late]);
  } finally {
    done.abort();
  }
}
