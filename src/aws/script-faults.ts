// What goes wrong with a credential script, said with its name and without what it was given.

import { awsFailure } from "../core/aws-failure.ts";
import { ConnectorError, type ErrorCode } from "../core/errors.ts";
import { safeCause, safeWords } from "../core/secrets.ts";

/** `awsCredentialPluginName` as a script. */
export interface CredentialScript {
  /** Absolute. */
  readonly path: string;
  /** `awsCredentialPluginParam`: given to the script as parsed JSON, or as it is when it is none. */
  readonly param?: string | undefined;
}

/** The errors of one script: they name it, and hide what it was given. */
export class ScriptFaults {
  /** "credential script /path". */
  readonly name: string;
  readonly #where: { readonly file: string; readonly key: string };
  readonly #secrets: readonly string[];

  constructor(script: CredentialScript) {
    this.name = `credential script ${script.path}`;
    this.#where = { file: script.path, key: "awsCredentialPluginName" };
    this.#secrets = script.param === undefined ? [] : [script.param, ...texts(parsedParam(script.param))];
  }

  /** What `work` gives; its failure is `code`, or may be tried again where somebody it asked did not answer. */
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

  /** What the script gives is no credentials. */
  shape(fault: string): ConnectorError {
    return new ConnectorError(
      `${this.name} ${fault}; its default export must give { accessKeyId, secretAccessKey, sessionToken?, ` +
        "expiration? }: as such, by a function, or as a credential provider of the AWS SDK",
      { code: "CONFIG_INVALID", where: this.#where },
    );
  }
}

/** `awsCredentialPluginParam` as a script gets it: parsed where it is JSON. */
export function parsedParam(param: string | undefined): unknown {
  if (param === undefined) return undefined;
  try {
    return JSON.parse(param);
  } catch {
    return param; // any text is allowed; what the parser says of it could quote a secret
  }
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
