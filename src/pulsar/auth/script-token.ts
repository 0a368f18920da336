// Tokens from a script: its default export is the token, or a function (asynchronous or not) that gives it and is
// called each time. What a script throws is shown without what looks like a token.

import { awsFailure } from "../../core/aws-failure.ts";
import type { Clock } from "../../core/clock.ts";
import { ConnectorError, type ErrorCode } from "../../core/errors.ts";
import { safeCause, safeWords } from "../../core/secrets.ts";
import { withinTime } from "../../core/time-limit.ts";
import { checkedToken, type TokenSource } from "./token.ts";

/** How long a script may take. */
const LIMIT_MS = 30_000;
const KEY = "pulsar.auth.script";

/** What running a script needs. */
export interface ScriptTokenOptions {
  readonly clock: Clock;
  readonly importScript: (path: string) => Promise<unknown>;
}

/**
 * `pulsar.auth.script`, loaded.
 * @throws ConnectorError CONFIG_INVALID when it does not load or gives no text; later PULSAR_NOT_AUTHORIZED when it
 * fails (retryable where somebody it asked did not answer, or it gave nothing within 30 s)
 */
export async function scriptToken(path: string, options: ScriptTokenOptions): Promise<TokenSource> {
  const source = `${KEY} (${path})`;
  const where = { file: path, key: KEY };
  const wrong = (fault: string): ConnectorError =>
    new ConnectorError(
      `no token from ${source}: it ${fault}; its default export must be the token, or a function that gives it`,
      { code: "CONFIG_INVALID", where },
    );
  const failed = (code: ErrorCode, what: string, error: unknown): ConnectorError =>
    new ConnectorError(`no token from ${source}: it ${what}: ${safeWords(error, [])}`, {
      code,
      retryable: code !== "CONFIG_INVALID" && isTransient(error),
      where,
      cause: safeCause(error, []),
    });
  const bounded = <T>(work: () => Promise<T>): Promise<T> =>
    withinTime(
      options.clock,
      LIMIT_MS,
      work,
      () =>
        new ConnectorError(`no token from ${source}: it gave none within ${LIMIT_MS / 1000} s`, {
          code: "PULSAR_NOT_AUTHORIZED",
          retryable: true,
          where,
        }),
    );

  const loaded = await bounded(async () => {
    try {
      return exported(await options.importScript(path));
    } catch (error) {
      throw failed("CONFIG_INVALID", "does not load", error);
    }
  });
  if (typeof loaded !== "string" && typeof loaded !== "function") {
    throw wrong(`exports ${loaded === null ? "null" : typeof loaded}`);
  }
  return {
    source,
    async token() {
      const token = typeof loaded === "string" ? loaded : await bounded(async () => {
        try {
          return await loaded() as unknown;
        } catch (error) {
          throw failed("PULSAR_NOT_AUTHORIZED", "failed", error);
        }
      });
      if (typeof token !== "string") throw wrong(`gives ${token === null ? "null" : typeof token}`);
      return checkedToken(token, source, KEY, path);
    },
  };
}

// The default export, nested once more in a CommonJS script that was compiled from ESM.
function exported(module: unknown): (() => unknown) | string | unknown {
  const value = (module as { default?: unknown } | undefined)?.default;
  return (value as { default?: unknown } | undefined)?.default ?? value;
}

// fetch throws a TypeError, on Node with the network's error as its cause, on Deno with words only.
function isTransient(error: unknown): boolean {
  if (error instanceof TypeError && /^(fetch failed|error sending request)/.test(error.message)) return true;
  return awsFailure(error) === "unavailable"; // the codes of any network failure
}
