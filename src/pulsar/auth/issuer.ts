// What is asked of an OAuth2 issuer: where its token endpoint is (OpenID Connect Discovery 1.0 §4), and a token for a
// client (RFC 6749 §4.4). Invariants: every request ends within 10 s; id and secret go into the request's body only,
// never along a redirect, and into no error.

import type { Clock } from "../../core/clock.ts";
import { ConnectorError, messageOf } from "../../core/errors.ts";
import { hideSecrets } from "../../core/secrets.ts";
import { withinTime } from "../../core/time-limit.ts";

/** Who asks. */
export interface OAuth2Client {
  readonly clientId: string;
  readonly clientSecret: string;
}

/** For what. */
export interface TokenRequest {
  readonly issuerUrl: string;
  readonly audience?: string | undefined;
  readonly scope?: string | undefined;
}

/** What came. */
export interface AccessToken {
  readonly token: string;
  /** Milliseconds; undefined when the issuer did not say. */
  readonly lifetimeMs?: number;
}

/** How long one request may take. */
const LIMIT_MS = 10_000;
const DISCOVERY = "/.well-known/openid-configuration";

/**
 * Asks for an access token.
 * @throws ConnectorError PULSAR_NOT_AUTHORIZED: retryable when the issuer does not answer, or answers 429 or 5xx
 */
export async function requestToken(
  client: OAuth2Client,
  { issuerUrl, audience, scope }: TokenRequest,
  surroundings: { readonly clock: Clock; readonly fetch?: typeof fetch | undefined },
): Promise<AccessToken> {
  const issuer = new Issuer(issuerUrl, [client.clientSecret], surroundings);
  const configuration = await issuer.ask(`${issuerUrl.replace(/\/+$/, "")}${DISCOVERY}`, {});
  const endpoint = issuer.endpoint(configuration["token_endpoint"]);
  const form = new URLSearchParams({
    grant_type: "client_credentials",
    client_id: client.clientId,
    client_secret: client.clientSecret,
    ...audience === undefined ? {} : { audience },
    ...scope === undefined ? {} : { scope },
  });
  const answer = await issuer.ask(endpoint, { method: "POST", body: form, redirect: "error" });
  const { access_token: token, expires_in: seconds } = answer;
  if (typeof token !== "string" || token.trim() === "") {
    throw issuer.fault("its answer holds no access_token", false);
  }
  const lifetimeMs = Number(seconds) * 1000; // some write it as a text
  return { token: token.trim(), ...lifetimeMs > 0 ? { lifetimeMs } : {} };
}

class Issuer {
  readonly #url: string;
  readonly #secrets: readonly string[];
  readonly #clock: Clock;
  readonly #fetch: typeof fetch;

  constructor(
    url: string,
    secrets: readonly string[],
    { clock, fetch }: { readonly clock: Clock; readonly fetch?: typeof globalThis.fetch | undefined },
  ) {
    this.#url = url;
    this.#secrets = secrets;
    this.#clock = clock;
    this.#fetch = fetch ?? globalThis.fetch;
  }

  /** The JSON object that it answers. */
  ask(url: string, init: RequestInit): Promise<Record<string, unknown>> {
    return withinTime(
      this.#clock,
      LIMIT_MS,
      async (signal) => {
        const request = { ...init, headers: { accept: "application/json" }, signal };
        let status: number, text: string;
        try {
          const response = await this.#fetch(url, request);
          [status, text] = [response.status, await response.text()];
        } catch (error) {
          throw this.fault(`${url} cannot be reached: ${networkWords(error)}`, true);
        }
        const value = parsed(text);
        if (status === 200 && value !== undefined) return value;
        const said = value === undefined ? "" : words(value);
        const isBusy = status === 429 || status >= 500;
        const what = status === 200 ? "with what is no JSON object" : `${status}${said}`;
        throw this.fault(`${url} answers ${what}`, isBusy);
      },
      () => this.fault(`${url} did not answer within ${LIMIT_MS / 1000} s`, true),
    );
  }

  /** A secret that was asked to be sent encrypted is not sent in the clear. */
  endpoint(value: unknown): string {
    const isUrl = typeof value === "string" && /^https?:\/\//i.test(value);
    if (!isUrl) throw this.fault("its configuration names no token_endpoint", false);
    if (/^https:/i.test(this.#url) && !/^https:/i.test(value)) {
      throw this.fault("its token_endpoint is not encrypted (http), the issuer's URL is", false);
    }
    return value;
  }

  fault(what: string, retryable: boolean): ConnectorError {
    const advice = retryable
      ? ""
      : ". Check pulsar.auth: issuerUrl, the client's id and secret, audience and scope";
    return new ConnectorError(
      `no access token from the OAuth2 issuer ${this.#url}: ${hideSecrets(what, this.#secrets)}${advice}`,
      { code: "PULSAR_NOT_AUTHORIZED", retryable, where: { key: "pulsar.auth" } },
    );
  }
}

/** RFC 6749 §5.2. */
function words({ error, error_description: description }: Record<string, unknown>): string {
  const said = [error, description].filter((one) => typeof one === "string");
  return said.length === 0 ? "" : ` (${said.join(": ").slice(0, 300)})`;
}

function parsed(text: string): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === "object" && value !== null ? value as Record<string, unknown> : undefined;
  } catch {
    return undefined;
  }
}

/** Node says only "fetch failed" and gives the reason as cause. */
function networkWords(error: unknown): string {
  const cause = error instanceof Error ? error.cause : undefined;
  const { code } = (cause ?? {}) as { code?: string };
  const words = messageOf(cause ?? error).split("\n", 1)[0]!;
  return words === "" ? code ?? "no reason given" : words;
}
