// Credentials from a script, the extension point that takes the place of Java's plugin classes. What it gives is
// checked each time, so that a wrong shape is named here and not as a signature that AWS refuses.

import { pathToFileURL } from "node:url";
import type { Clock } from "../core/clock.ts";
import { awsFailure } from "../core/aws-failure.ts";
import { ConnectorError, type ErrorCode } from "../core/errors.ts";
import type { CredentialProvider, Credentials } from "./credentials.ts";
import { safeCause, safeWords } from "./secrets.ts";
import { withinLimit } from "./time-limit.ts";

/** `awsCredentialPluginName` as a script. */
export interface CredentialScript {
  /** Absolute. */
  readonly path: string;
  /** `awsCredentialPluginParam`: given to the script as parsed JSON, or as it is when it is none. */
  readonly param?: string | undefined;
}

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
  const param = parsed(script.param);
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

/** The errors of one script: they name it, and hide what it was given. */
class ScriptFaults {
  /** "credential script /path". */
  readonly name: string;
  readonly #where: { readonly file: string; readonly key: string };
  readonly #secrets: readonly string[];

  constructor(script: CredentialScript) {
    this.name = `credential script ${script.path}`;
    this.#where = { file: script.path, key: "awsCredentialPluginName" };
    this.#secrets = script.param === undefined ? [] : [script.param, ...texts(parsed(script.param))];
  }

  async catch<T>(code: ErrorCode, what: string, work: () => Promise<T> | T): Promise<T> {
    try {
      return await work();
    } catch (error) {
      const retryable = code === "CREDENTIALS_INVALID" && isTransient(error);
      throw new ConnectorError(`${this.name} ${what}: ${safeWords(error, this.#secrets)}`, {
        code: retryable ? "AWS_UNAVAILABLE" : code,
        retryable,
        where: this.#where,
        cause: safeCause(error, this.#secrets),
      });
    }
  }

  shape(fault: string): ConnectorError {
    return new ConnectorError(
      `${this.name} ${fault}; its default export must give { accessKeyId, secretAccessKey, sessionToken?, ` +
        "expiration? }: as such, by a function, or as a credential provider of the AWS SDK",
      { code: "CONFIG_INVALID", where: this.#where },
    );
  }
}

// The default export (nested once more in a CommonJS script that was compiled from ESM), else the named ones.
function exported(module: unknown): unknown {
  if (!isObject(module)) return module;
  const value = module["default"] ?? module;
  return isObject(value) ? value["default"] ?? value : value;
}

function parsed(param: string | undefined): unknown {
  if (param === undefined) return undefined;
  try {
    return JSON.parse(param);
  } catch {
    return param; // any text is allowed; what the parser says of it could quote a secret
  }
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

/** Whether a script failed because somebody it asked did not answer. */
function isTransient(error: unknown): boolean {
  const failure = error instanceof SyntaxError ? "unknown" : awsFailure(error);
  return failure === "unavailable" || failure === "throttled" || failure === "clock-skew";
}

/** Every text inside of a value. */
function texts(value: unknown): string[] {
  if (typeof value === "string") return [value];
  return typeof value === "object" && value !== null ? Object.values(value).flatMap(texts) : [];
}

function isWord(value: unknown): value is string {
  return typeof value === "string" && value.trim() !== "";
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null;
}
