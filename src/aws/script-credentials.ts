// Credentials from a script, the extension point that takes the place of Java's plugin classes. What it gives is
// checked each time, so that a wrong shape is named here and not as a signature that AWS refuses.

import { pathToFileURL } from "node:url";
import type { Clock } from "../core/clock.ts";
import type { CredentialProvider, Credentials } from "./credentials.ts";
import { type CredentialScript, parsedParam, ScriptFaults } from "./script-faults.ts";
import { withinLimit } from "./time-limit.ts";

/** What running a script needs. */
export interface ScriptOptions {
  readonly clock: Clock;
  /** Imports a script by absolute path and gives its module. @default the runtime's import() */
  readonly importScript?: ((path: string) => Promise<unknown>) | undefined;
}

// Module → function that makes a provider → provider → credentials; an object around one of them adds a step.
const MOST_STEPS = 5;

/**
 * The provider that a script gives by its default export: credentials (`{ accessKeyId, secretAccessKey, … }`), a
 * function that gives them (every provider of the AWS SDK is one), a function that makes such a provider, or an object
 * with one of these as `credentials`. Functions get `param`. The script runs once here, so that its faults show at
 * start.
 * @throws ConnectorError CONFIG_INVALID when it does not load or gives something else, CREDENTIALS_INVALID when it
 * fails, AWS_UNAVAILABLE (retryable) when it gets no answer, or gives none within 30 s
 */
export async function scriptCredentials(
  script: CredentialScript,
  options: ScriptOptions,
): Promise<CredentialProvider> {
  const faults = new ScriptFaults(script);
  const param = parsedParam(script.param);
  const importScript = options.importScript ?? ((path) => import(pathToFileURL(path).href));
  let source: unknown;

  const fetch = async (): Promise<Credentials> => {
    let value = source;
    for (let step = 0; step < MOST_STEPS; step++) {
      if (typeof value === "function") {
        const call = value as (param: unknown) => unknown;
        value = await faults.catch("CREDENTIALS_INVALID", "failed", () => call(param));
      } else if (isObject(value) && !("accessKeyId" in value) && value["credentials"] !== undefined) {
        value = value["credentials"];
      } else break;
      // What makes a provider is called once; the provider is asked again.
      if (typeof value === "function") source = value;
    }
    return checked(value, faults);
  };

  return await withinLimit(options.clock, faults.name, async () => {
    source = exported(await faults.catch("CONFIG_INVALID", "does not load", () => importScript(script.path)));
    let first: Credentials | undefined = await fetch();
    return async () => {
      const credentials = first ?? await fetch();
      first = undefined;
      return credentials;
    };
  });
}

// The default export (nested once more in a CommonJS script that was compiled from ESM), else the named ones.
function exported(module: unknown): unknown {
  if (!isObject(module)) return module;
  const value = module["default"] ?? module;
  return isObject(value) ? value["default"] ?? value : value;
}

function checked(value: unknown, faults: ScriptFaults): Credentials {
  if (!isObject(value)) {
    throw faults.shape(`gives ${value === null ? "null" : typeof value}, no credentials`);
  }
  const missing = ["accessKeyId", "secretAccessKey"].filter((key) => !isWord(value[key]));
  if (missing.length > 0) {
    const keys = Object.keys(value).join(", ");
    throw faults.shape(
      `gives no text as ${missing.join(" and ")} (${keys === "" ? "it is empty" : `it has ${keys}`})`,
    );
  }
  const { sessionToken, expiration: end, ...keys } = value;
  if (!isAbsent(sessionToken) && !isWord(sessionToken)) {
    throw faults.shape("gives a sessionToken that is no text");
  }
  const expiration = isAbsent(end) ? undefined : new Date(end as string);
  if (expiration !== undefined && Number.isNaN(expiration.getTime())) {
    throw faults.shape("gives an expiration that is no date");
  }
  return {
    ...keys as unknown as Credentials,
    ...isWord(sessionToken) ? { sessionToken } : {},
    ...expiration === undefined ? {} : { expiration },
  };
}

function isAbsent(value: unknown): boolean {
  return value === undefined || value === null;
}

function isWord(value: unknown): value is string {
  return typeof value === "string" && value.trim() !== "";
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null;
}
