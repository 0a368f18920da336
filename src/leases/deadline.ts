// One attempt of a call that ends in time, whatever hangs: the socket, the name service or a credential provider.

import type { Clock } from "../core/clock.ts";

/** Bounds of {@link withDeadline}. */
export interface DeadlineOptions {
  readonly timeoutMs: number;
  /** The caller's own reason to give up. */
  readonly signal?: AbortSignal | undefined;
}

/**
 * What `send` gives, if it does so in time; its signal is aborted when it is not wanted any more.
 * Rejects with an error named TimeoutError when it is late, and with the signal's reason when that aborts.
 */
export async function withDeadline<T>(
  clock: Clock,
  options: DeadlineOptions,
  send: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  options.signal?.throwIfAborted();
  const giveUp = new AbortController();
  const timer = new AbortController();
  const onAbort = () => timer.abort();
  options.signal?.addEventListener("abort", onAbort, { once: true });
  let answered = false;
  const late = clock.sleep(options.timeoutMs, timer.signal).then(() => {
    if (answered) return undefined as never;
    giveUp.abort();
    options.signal?.throwIfAborted();
    throw Object.assign(new Error(`no answer within ${options.timeoutMs} ms`), { name: "TimeoutError" });
  });
  try {
    return await Promise.race([send(giveUp.signal), late]);
  } finally {
    answered = true;
    options.signal?.removeEventListener("abort", onAbort);
    timer.abort();
  }
}
