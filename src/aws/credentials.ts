// Where AWS credentials come from: fixed keys, the SDK's default chain, an assumed role, or a script. Invariant: an
// error about credentials says what is missing or refused and never shows a key, a token or a parameter.

import type { Clock } from "../core/clock.ts";
import type { Logger } from "../core/log.ts";
import { assumeRole, type Role } from "./assume-role.ts";
import { defaultChain } from "./default-chain.ts";
import { scriptCredentials } from "./script-credentials.ts";
import { shareCredentials } from "./shared-credentials.ts";
import type { UserAgent } from "./user-agent.ts";

export { assumeRole, type Role };

/** A key pair as the SDK takes it. */
export interface Credentials {
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
  readonly sessionToken?: string;
  /** When a new one is needed; never when absent. */
  readonly expiration?: Date;
}

/**
 * Gives credentials that are valid now. Rejects with ConnectorError CREDENTIALS_INVALID, ACCESS_DENIED,
 * AWS_UNAVAILABLE (retryable), or CONFIG_INVALID for a script.
 */
export type CredentialProvider = () => Promise<Credentials>;

/** What the configuration chose. */
export type CredentialChoice =
  /** The SDK's default chain: environment, profile, SSO, web identity, container, instance. */
  | { readonly type: "default" }
  | {
    readonly type: "static";
    readonly accessKeyId: string;
    readonly secretAccessKey: string;
    readonly sessionToken?: string | undefined;
  }
  /** On top of the default chain. */
  | { readonly type: "assume-role" } & Role
  /** What a script gives; `param` is `awsCredentialPluginParam`. */
  | { readonly type: "script"; readonly path: string; readonly param?: string | undefined };

/** What all ways to credentials need. */
export interface CredentialOptions {
  /** Where STS is asked. Its endpoint is the region's own unless given (or in AWS_ENDPOINT_URL_STS). */
  readonly sts: { readonly region: string; readonly endpoint?: string | undefined };
  readonly userAgent: UserAgent;
  readonly clock: Clock;
  readonly log: Logger;
  /** Imports a script by absolute path and gives its module. @default the runtime's import() */
  readonly importScript?: ((path: string) => Promise<unknown>) | undefined;
}

/**
 * The provider of a choice. A script is loaded and run here, so that its faults show at start; nothing is asked of AWS
 * before the provider is called.
 */
export async function openCredentials(
  choice: CredentialChoice,
  options: CredentialOptions,
): Promise<CredentialProvider> {
  switch (choice.type) {
    case "static": {
      const { accessKeyId, secretAccessKey, sessionToken } = choice;
      const keys = { accessKeyId, secretAccessKey, ...sessionToken ? { sessionToken } : {} };
      return () => Promise.resolve(keys);
    }
    case "default":
      return await defaultChain(options);
    case "assume-role":
      return await assumeRole(choice, await defaultChain(options), options);
    case "script": {
      const source = `credential script ${choice.path}`;
      return shareCredentials(await scriptCredentials(choice, options), { ...options, source });
    }
  }
}
