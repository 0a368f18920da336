// One set of credentials for all clients of this process: fetched once, renewed before it ends. Invariant: nobody waits
// for a renewal, or fails by it, while the old credentials are valid: a lease has to be renewed in the meantime.

import type { Clock } from "../core/clock.ts";
import { messageOf } from "../core/errors.ts";
import type { Logger } from "../core/log.ts";
import type { CredentialProvider, Credentials } from "./credentials.ts";
import { withinLimit } from "./time-limit.ts";

// The SDK's clients ask again at every call from five minutes before the end. Credentials that live for less than ten
// minutes are renewed at half their life, else every call would fetch some.
const RENEW_BEFORE_MS = 5 * 60_000;
const RETRY_AFTER_MS = 10_000;
// With a clock that is ahead all credentials look expired: they are good enough for this long, then asked for anew.
const GRACE_MS = 1000;

/** Options of {@link shareCredentials}. */
export interface ShareOptions {
  readonly clock: Clock;
  readonly log: Logger;
  /** Who is asked, for errors and log: "credential script /path". */
  readonly source: string;
}

/** A provider that keeps what `fetch` gave until it has to be renewed. Rejects as `fetch` does. */
export function shareCredentials(fetch: CredentialProvider, options: ShareOptions): CredentialProvider {
  const { clock, log, source } = options;
  let current: Credentials | undefined;
  let renewFrom = -Infinity;
  let pending: Promise<Credentials> | undefined;
  let notBefore = -Infinity;
  let fetchedAt = -Infinity;

  const isValid = () =>
    current !== undefined && (endOf(current) > clock.now() || clock.monotonic() < fetchedAt + GRACE_MS);

  const renew = async (): Promise<Credentials> => {
    try {
      current = await withinLimit(clock, source, fetch);
      fetchedAt = clock.monotonic();
      const lifetime = endOf(current) - clock.now();
      renewFrom = clock.now() + Math.max(GRACE_MS, lifetime - Math.min(RENEW_BEFORE_MS, lifetime / 2));
      return current;
    } catch (error) {
      notBefore = clock.monotonic() + RETRY_AFTER_MS;
      if (current === undefined) throw error;
      const still = isValid() ? ", the old ones are still valid" : "";
      log.warn(`AWS credentials could not be renewed${still}: ${messageOf(error)}`, { source });
      if (isValid()) return current;
      throw error;
    } finally {
      pending = undefined;
    }
  };

  return () => {
    if (current === undefined || !isValid()) return pending ??= renew();
    if (clock.now() >= renewFrom && clock.monotonic() >= notBefore && pending === undefined) {
      pending = renew();
      pending.catch(() => {}); // logged above; whoever needs new credentials asks again and gets the error
    }
    return Promise.resolve(current);
  };
}

function endOf(credentials: Credentials): number {
  return credentials.expiration?.getTime() ?? Infinity;
}
