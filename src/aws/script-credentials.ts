// Credentials from a script, the extension point that takes the place of Java's plugin classes. What it gives is
// checked each time, so that a wrong shape is named here and not as a signature that AWS refuses.

import { pathToFileURL } from "node:url";
import { ConnectorError, messageOf } from "../core/errors.ts";
import type { CredentialProvider, Credentials } from "./credentials.ts";

/** `awsCredentialPluginName` as a script. */
export interface CredentialScript {
  /** Absolute. */
  readonly path: string;
  /** `awsCredentialPluginParam`: given to the script as parsed JSON, or as it is when it is none. */
  readonly param?: string | undefined;
}

/**
 * The provider that a script's default export gives: credentials (`{ accessKeyId, secretAccessKey, … }`), a function
 * that gives them (every provider of the AWS SDK is one), or a function that makes such a provider. The function
 * gets `param`. Rejects with CONFIG_INVALID when the script does not load or gives something else.
 */
export async function scriptCredentials(
  script: CredentialScript,
  importScript: (path: string) => Promise<unknown> = nativeImport,
): Promise<CredentialProvider> {
  const { path } = script;
  const exported = defaultExport(await attempt(path, "does not load", () => importScript(path)));
  if (typeof exported !== "function") {
    const fixed = checked(exported, path);
    return () => Promise.resolve(fixed);
  }
  const param = parsed(script.param);
  const call = () => attempt<unknown>(path, "failed", () => exported(param));
  const first = await call();
  if (typeof first === "function") {
    return async () => checked(await attempt(path, "failed", () => first()), path);
  }
  let unused: Credentials | undefined = checked(first, path);
  return async () => {
    const credentials = unused ?? checked(await call(), path);
    unused = undefined;
    return credentials;
  };
}

function nativeImport(path: string): Promise<unknown> {
  return import(pathToFileURL(path).href);
}

function defaultExport(module: unknown): unknown {
  const exported = (module as { default?: unknown }).default;
  // A CommonJS script that was compiled from ESM nests its default export.
  return (exported as { default?: unknown } | undefined)?.default ?? exported;
}

async function attempt<T>(path: string, what: string, work: () => Promise<T> | T): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (error instanceof ConnectorError) throw error;
    throw new ConnectorError(`credential script ${path} ${what}: ${messageOf(error)}`, {
      code: what === "failed" ? "CREDENTIALS_INVALID" : "CONFIG_INVALID",
      where: { file: path, key: "awsCredentialPluginName" },
      cause: error,
    });
  }
}

function parsed(param: string | undefined): unknown {
  if (param === undefined) return undefined;
  try {
    return JSON.parse(param);
  } catch {
    return param; // any text is allowed; what the parser says of it could quote a secret
  }
}

function checked(value: unknown, path: string): Credentials {
  const given = (typeof value === "object" && value !== null ? value : {}) as Partial<Credentials>;
  const missing = (["accessKeyId", "secretAccessKey"] as const).filter((key) =>
    typeof given[key] !== "string" || given[key].trim() === ""
  );
  if (missing.length > 0) {
    throw new ConnectorError(
      `credential script ${path}: its default export gives no ${missing.join(" and no ")}; it must be ` +
        "{ accessKeyId, secretAccessKey, sessionToken?, expiration? }, a function that gives this, or a credential " +
        "provider of the AWS SDK",
      { code: "CONFIG_INVALID", where: { file: path, key: "awsCredentialPluginName" } },
    );
  }
  if (given.expiration === undefined) return given as Credentials;
  const expiration = new Date(given.expiration);
  if (Number.isNaN(expiration.getTime())) {
    throw new ConnectorError(`credential script ${path}: its expiration is no date`, {
      code: "CONFIG_INVALID",
      where: { file: path, key: "awsCredentialPluginName" },
    });
  }
  return { ...given as Credentials, expiration };
}
