// `pulsar.auth`: from what the configuration chose to a supplier of credentials. Invariant: each error names the key,
// and the file, variable, script or issuer behind it, never a value.

import { Buffer } from "node:buffer";
import type { Clock } from "../../core/clock.ts";
import type { Logger } from "../../core/log.ts";
import { keyFileSource } from "./key-file.ts";
import { type OAuth2Options, oauth2Supplier } from "./oauth2.ts";
import { scriptToken } from "./script-token.ts";
import { type AuthSupplier, noAuth } from "./supplier.ts";
import { environmentToken, fileToken, fixedToken, type TokenSource } from "./token.ts";

/** What the configuration chose. Files and scripts are paths. */
export type AuthChoice =
  | { readonly type: "none" }
  /** One of the four. */
  | {
    readonly type: "token";
    readonly token?: string | undefined;
    readonly file?: string | undefined;
    readonly env?: string | undefined;
    readonly script?: string | undefined;
  }
  /** `clientId` and `clientSecret`, or `keyFile`. */
  | {
    readonly type: "oauth2";
    readonly issuerUrl: string;
    readonly clientId?: string | undefined;
    readonly clientSecret?: string | undefined;
    readonly keyFile?: string | undefined;
    readonly audience?: string | undefined;
    readonly scope?: string | undefined;
  }
  | { readonly type: "basic"; readonly user: string; readonly password: string }
  /** The client's certificate; the transport shows it. */
  | { readonly type: "tls"; readonly certFile: string; readonly keyFile: string };

/** What the ways to credentials need. */
export interface AuthOptions {
  readonly clock: Clock;
  readonly log: Logger;
  /** Where variables are looked up. */
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Imports a script by absolute path and gives its module. */
  readonly importScript: (path: string) => Promise<unknown>;
}

/**
 * The supplier of a choice. A script is loaded here, so that its faults show at start; nothing else is read or asked
 * before the first connection.
 * @throws ConnectorError CONFIG_INVALID for a script that does not load
 */
export async function openAuth(choice: AuthChoice, options: AuthOptions): Promise<AuthSupplier> {
  switch (choice.type) {
    case "none":
      return noAuth;
    case "token":
      return tokenSupplier(await tokenSource(choice, options));
    case "oauth2":
      return oauth2Supplier({ ...choice, ...clientOf(choice) }, options);
    case "basic": {
      const data = Buffer.from(`${choice.user}:${choice.password}`);
      return {
        method: "basic",
        source: "pulsar.auth.user and password",
        authData: () => Promise.resolve(data),
      };
    }
    case "tls":
      return {
        method: "tls",
        source: `pulsar.auth.certFile (${choice.certFile})`,
        authData: () => Promise.resolve(undefined),
      };
  }
}

async function tokenSource(
  { token, file, env, script }: Extract<AuthChoice, { type: "token" }>,
  options: AuthOptions,
): Promise<TokenSource> {
  if (file !== undefined) return fileToken(file);
  if (env !== undefined) return environmentToken(env, options.env);
  if (script !== undefined) return await scriptToken(script, options);
  return fixedToken(token ?? "");
}

function tokenSupplier({ source, token }: TokenSource): AuthSupplier {
  return { method: "token", source, authData: async () => Buffer.from(await token()) };
}

function clientOf(choice: Extract<AuthChoice, { type: "oauth2" }>): Pick<OAuth2Options, "source" | "client"> {
  const { keyFile, clientId = "", clientSecret = "" } = choice;
  if (keyFile !== undefined) return keyFileSource(keyFile);
  return {
    source: "pulsar.auth.clientId and clientSecret",
    client: () => Promise.resolve({ clientId, clientSecret }),
  };
}
