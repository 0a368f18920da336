// An answer that never comes must not be waited for: whoever asks others bounds it here.

import type { Clock } from "./clock.ts";

/**
 * What `work` gives, if it does so in time; what it does later is ignored.
 * @param ms the limit, milliseconds
 * @param late the error that is thrown when it is late
 */
export async function withinTime<T>(
  clock: Clock,
  ms: number,
  work: (signal: AbortSignal) => Promise<T>,
  late: () => Error,
): Promise<T> {
  const done = new AbortController();
  const limit = clock.sleep(ms, done.signal).then(() => {
    if (done.signal.aborted) return undefined as never; // the race is over
    throw late();
  });
  try {
    return await Promise.race([work(done.signal), limit]);
  } finally {
    done.abort();
  }
}
