// From a file or an object to a Config. The steps: parse → replace ${VAR} → take the Pulsar IO wrapper off → check
// against the schema → rules over several keys. Problems of all steps but the first are reported together.

import { readFile } from "node:fs/promises";
import { ConnectorError } from "../core/errors.ts";
import { checkSettings } from "./check.ts";
import { parseDocument } from "./document.ts";
import { Findings } from "./findings.ts";
import { listNotYet } from "./not-yet.ts";
import { resolveConfig } from "./resolve.ts";
import type { ConfigInput } from "./schema.ts";
import { unwrapSourceFile } from "./source-file.ts";
import type { Config } from "./types.ts";
import { type Environment, isTable, replaceVariables } from "./variables.ts";

/** Options of {@link parseConfig}. */
export interface ParseConfigOptions {
  /** What `${VAR}` and `AWS_REGION` are looked up in. */
  readonly env: Environment;
  /** Path of the file the object came from: paths in it are relative to its folder. @default the current folder */
  readonly source?: string | undefined;
}

/**
 * Reads and checks a configuration file (.toml, .yaml, .yml, .json).
 * @throws ConnectorError CONFIG_INVALID with all problems, each with line and column.
 */
export async function loadConfigFile(path: string, env: Environment): Promise<Config> {
  const { value, places } = await parseDocument(path, await readText(path));
  return usable(build(value, env, new Findings(path, places)));
}

/** All that can be said about a configuration file. */
export interface Inspection {
  /** Complete only when there are no problems; keys with problems have their defaults. */
  readonly config: Config;
  /** `file:line:column: what is wrong`. */
  readonly problems: readonly string[];
  /** What is right, but not in this version: {@link listNotYet}. */
  readonly notYet: readonly string[];
  readonly warnings: readonly string[];
}

/**
 * Reads and checks a configuration file without refusing it.
 * @throws ConnectorError CONFIG_INVALID when it cannot be read or parsed.
 */
export async function inspectConfigFile(path: string, env: Environment): Promise<Inspection> {
  const { value, places } = await parseDocument(path, await readText(path));
  const { config, findings } = build(value, env, new Findings(path, places));
  return { config, problems: findings.lines(), notYet: listNotYet(config), warnings: findings.warnings };
}

/**
 * Checks a configuration object, for those who embed the connector. It may have any shape that a file may have.
 * @throws ConnectorError CONFIG_INVALID with all problems.
 */
export function parseConfig(
  input: ConfigInput | Record<string, unknown>,
  options: ParseConfigOptions,
): Config {
  return usable(build(input, options.env, new Findings(options.source)));
}

function usable(built: { config: Config; findings: Findings }): Config {
  if (built.findings.problems.length > 0) throw built.findings.toError();
  return built.config;
}

function build(value: unknown, env: Environment, findings: Findings): { config: Config; findings: Findings } {
  if (!isTable(value)) {
    const where = findings.source === undefined ? "the configuration" : findings.source;
    throw new ConnectorError(`${where} must be a table of keys, like awsKinesisStreamName = "orders"`, {
      code: "CONFIG_INVALID",
      where: { file: findings.source },
    });
  }
  const replaced = replaceVariables(value, env, findings) as Record<string, unknown>;
  const flat = unwrapSourceFile(replaced, findings);
  warnOfBlankProperties(flat, findings);
  return { config: resolveConfig(checkSettings(flat, findings), env, findings), findings };
}

// The one key where the Java connector took an empty string for something else than "not given".
function warnOfBlankProperties(input: Record<string, unknown>, findings: Findings): void {
  const { kinesisRecordProperties: names } = input;
  if (typeof names === "string" && names.trim() === "") {
    findings.warn(
      "kinesisRecordProperties is empty, which means the four default properties here; write [] for none",
    );
  }
}

async function readText(path: string): Promise<string> {
  try {
    return await readFile(path, "utf8");
  } catch (cause) {
    const code = (cause as { code?: unknown }).code;
    const why = code === "ENOENT"
      ? "there is no such file (`kinesis-pulsar init` writes one)"
      : code === "EISDIR"
      ? "this is a folder, not a file"
      : code === "EACCES"
      ? "the file may not be read by this user"
      : `the file cannot be read (${String(code)})`;
    throw new ConnectorError(`${path}: ${why}`, { code: "CONFIG_INVALID", cause, where: { file: path } });
  }
}
