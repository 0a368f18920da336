// Options of the documented configuration that this version does not do. They are refused by name, all at once,
// never ignored: somebody who asks for encryption must not get a plain connection. Lines leave as features arrive.

import { configError } from "./findings.ts";
import type { Config } from "./types.ts";

/** Lines `file:line:column: key = value: …` of what this version does not do. */
export function listNotYet(config: Config): string[] {
  const { leases, given } = config;
  const lines: string[] = [];
  const refuse = (key: string, what: string) => {
    const place = given[key] ?? "";
    lines.push(`${place === "" ? "" : `${place}: `}${key}${what}: not yet in this version`);
  };
  if (leases.store === "file") refuse("leases.store", ' = "file"');
  return lines;
}

/**
 * Refuses what this version does not do.
 * @throws ConnectorError NOT_YET with all of it.
 */
export function refuseNotYet(config: Config): void {
  const lines = listNotYet(config);
  if (lines.length > 0) {
    throw configError("NOT_YET", lines, "options that are not in this version yet", { file: config.source });
  }
}
