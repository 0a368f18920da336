// Where a token comes from: the configuration, a file or a variable, both read again each time. Tokens are trimmed:
// files end with a line break.

import { readFile } from "node:fs/promises";
import { ConnectorError } from "../../core/errors.ts";

/** A place that gives tokens. */
export interface TokenSource {
  /** For errors: `pulsar.auth.file (/run/token)`. */
  readonly source: string;
  /** @throws ConnectorError CONFIG_INVALID, or as the place says */
  token(): string | Promise<string>;
}

/** `pulsar.auth.token`, also as Java writes it, `token:…`. */
export function fixedToken(text: string): TokenSource {
  const source = "pulsar.auth.token";
  return {
    source,
    token: () => checkedToken(text.replace(/^\s*token:/, ""), source, "pulsar.auth.token"),
  };
}

/** `pulsar.auth.file`. */
export function fileToken(path: string): TokenSource {
  const key = "pulsar.auth.file";
  const source = `${key} (${path})`;
  return {
    source,
    async token() {
      let text: string;
      try {
        text = await readFile(path, "utf8");
      } catch (error) {
        const { code = "no reason given" } = error as { code?: string };
        const what = code === "ENOENT" ? "there is no such file" : `it cannot be read (${code})`;
        throw new ConnectorError(`no token from ${source}: ${what}`, {
          code: "CONFIG_INVALID",
          where: { file: path, key },
        });
      }
      return checkedToken(text, source, key, path);
    },
  };
}

/** `pulsar.auth.env`. */
export function environmentToken(
  name: string,
  env: Readonly<Record<string, string | undefined>>,
): TokenSource {
  const key = "pulsar.auth.env";
  const source = `${key} (the variable ${name})`;
  return {
    source,
    token() {
      const text = env[name];
      if (text !== undefined) return checkedToken(text, source, key);
      throw new ConnectorError(`no token from ${source}: it is not set`, {
        code: "CONFIG_INVALID",
        where: { key },
      });
    },
  };
}

/** The token without white space around it. Throws CONFIG_INVALID for what cannot be one. */
export function checkedToken(text: string, source: string, key: string, file?: string): string {
  const token = text.trim();
  const fault = token === ""
    ? "it is empty"
    : /[\s\0]/.test(token)
    ? "it holds white space: there must be the token alone"
    : undefined;
  if (fault === undefined) return token;
  throw new ConnectorError(`no token from ${source}: ${fault}`, {
    code: "CONFIG_INVALID",
    where: { key, file },
  });
}
