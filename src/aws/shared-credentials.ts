// One set of credentials for all clients of this process: fetched once, renewed before it ends. A renewal that fails
// is no failure while the old credentials are still valid.

import type { Clock } from "../core/clock.ts";
import { messageOf } from "../core/errors.ts";
import type { Logger } from "../core/log.ts";
import type { CredentialProvider, Credentials } from "./credentials.ts";

// As the SDK does: clients refuse credentials that end within five minutes and ask again.
const RENEW_BEFORE_MS = 5 * 60_000;
const RETRY_AFTER_MS = 10_000;

/** A provider that keeps what `fetch` gave until five minutes before its end. */
export function shareCredentials(
  fetch: CredentialProvider,
  options: { readonly clock: Clock; readonly log: Logger },
): CredentialProvider {
  const { clock, log } = options;
  let current: Credentials | undefined;
  let pending: Promise<Credentials> | undefined;
  let notBefore = -Infinity;

  const validFor = () =>
    current === undefined ? -1 : (current.expiration?.getTime() ?? Infinity) - clock.now();

  const renew = async (): Promise<Credentials> => {
    try {
      current = await fetch();
      return current;
    } catch (error) {
      if (current === undefined || validFor() <= 0) throw error;
      notBefore = clock.monotonic() + RETRY_AFTER_MS;
      log.warn(`AWS credentials could not be renewed, the old ones are still used: ${messageOf(error)}`);
      return current;
    } finally {
      pending = undefined;
    }
  };

  return () => {
    const left = validFor();
    if (current !== undefined && (left > RENEW_BEFORE_MS || (left > 0 && clock.monotonic() < notBefore))) {
      return Promise.resolve(current);
    }
    return pending ??= renew();
  };
}
