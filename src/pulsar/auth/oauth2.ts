// OAuth2 client credentials (RFC 6749 §4.4): one access token for all connections, fetched by one request at a time
// and renewed at 80 to 90 % of its life, so that an issuer may be away for a while. Brokers see method "token".
// Invariant: nobody waits for a renewal while the present token is valid, and no expired one is given.

import { Buffer } from "node:buffer";
import { type Backoff, backoffDelay } from "../../core/backoff.ts";
import type { Clock } from "../../core/clock.ts";
import { messageOf } from "../../core/errors.ts";
import type { Logger } from "../../core/log.ts";
import { type AccessToken, type OAuth2Client, requestToken } from "./issuer.ts";
import type { AuthSupplier } from "./supplier.ts";

/** How to get tokens. */
export interface OAuth2Options {
  readonly issuerUrl: string;
  readonly audience?: string | undefined;
  readonly scope?: string | undefined;
  /** Where id and secret come from, for errors. */
  readonly source: string;
  /** Asked for each token. */
  readonly client: () => Promise<OAuth2Client>;
}

/** What it needs of the world. */
export interface OAuth2Surroundings {
  readonly clock: Clock;
  readonly log: Logger;
  /** @default the runtime's */
  readonly fetch?: typeof fetch | undefined;
}

const RENEW_AT = { from: 0.8, to: 0.9 };
const RETRY: Backoff = { firstMs: 1000, maxMs: 60_000, jitter: 0.2 };

/** A supplier of access tokens; nothing is asked before the first one is needed. */
export function oauth2Supplier(options: OAuth2Options, surroundings: OAuth2Surroundings): AuthSupplier {
  const tokens = new AccessTokens(options, surroundings);
  return {
    method: "token",
    source: `the OAuth2 issuer ${options.issuerUrl} (with ${options.source})`,
    authData: async () => Buffer.from(await tokens.get()),
    refused: () => tokens.forget(),
    close: () => tokens.close(),
  };
}

interface Held {
  readonly token: string;
  /** Monotonic milliseconds. */
  readonly expiresAt: number;
}

class AccessTokens {
  readonly #options: OAuth2Options;
  readonly #surroundings: OAuth2Surroundings;
  readonly #closing = new AbortController();
  #held: Held | undefined;
  #fetching: Promise<Held> | undefined;
  #renewal = new AbortController();

  constructor(options: OAuth2Options, surroundings: OAuth2Surroundings) {
    this.#options = options;
    this.#surroundings = surroundings;
  }

  async get(): Promise<string> {
    const held = this.#held;
    if (held !== undefined && this.#surroundings.clock.monotonic() < held.expiresAt) return held.token;
    return (await this.#fetch()).token;
  }

  forget(): void {
    this.#held = undefined;
    this.#renewal.abort();
  }

  close(): void {
    this.#closing.abort();
    this.forget();
  }

  #fetch(): Promise<Held> {
    return this.#fetching ??= this.#request().finally(() => this.#fetching = undefined);
  }

  async #request(): Promise<Held> {
    const { clock } = this.#surroundings;
    const sentAt = clock.monotonic();
    const answer = await requestToken(await this.#options.client(), this.#options, this.#surroundings);
    const { token, lifetimeMs = 0 } = answer; // a life that nobody told: asked anew each time
    const held = { token, expiresAt: sentAt + lifetimeMs };
    this.#held = held;
    this.#renewal.abort();
    if (lifetimeMs > 0 && !this.#closing.signal.aborted) this.#renewAhead(sentAt, answer, held);
    return held;
  }

  #renewAhead(sentAt: number, { lifetimeMs = 0 }: AccessToken, held: Held): void {
    const { clock } = this.#surroundings;
    this.#renewal = new AbortController();
    const { from, to } = RENEW_AT;
    const at = sentAt + lifetimeMs * (from + (to - from) * clock.random());
    void this.#renew(at, held, this.#renewal.signal); // catches everything itself
  }

  /** Until there is a new token (which aborts the signal), or the present one is over: then who needs one asks. */
  async #renew(at: number, held: Held, signal: AbortSignal): Promise<void> {
    const { clock, log } = this.#surroundings;
    await clock.sleep(at - clock.monotonic(), signal);
    for (let attempt = 1; !signal.aborted && clock.monotonic() < held.expiresAt; attempt++) {
      try {
        await this.#fetch();
        return;
      } catch (error) {
        if (signal.aborted) return;
        const delayMs = backoffDelay(RETRY, attempt, clock.random());
        const left = Math.round((held.expiresAt - clock.monotonic()) / 1000);
        log.warn(
          `the OAuth2 access token could not be renewed, the present one is valid for ${left} s more: ${
            messageOf(error)
          }`,
          { attempt, delayMs },
        );
        await clock.sleep(delayMs, signal);
      }
    }
  }
}
