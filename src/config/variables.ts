// `${VAR}` and `${VAR:-default}` in string values, after parsing, so that a value can never change the file's shape.

import type { Findings } from "./findings.ts";
import type { KeyPath } from "./paths.ts";

/** The environment's variables. */
export type Environment = Readonly<Record<string, string | undefined>>;

const REFERENCE = /(\$?)\$\{([^}]*)\}/g;
const INSIDE = /^([A-Za-z_][A-Za-z0-9_]*)(?::-(.*))?$/s;

/**
 * A copy of `value` with the references in its strings replaced. `${VAR:-default}` takes the default when VAR is
 * undefined or empty, as in a shell; `$${` stands for `${`. Reports undefined variables at their keys.
 */
export function replaceVariables(
  value: unknown,
  env: Environment,
  findings: Findings,
  path: KeyPath = [],
): unknown {
  if (typeof value === "string") return replaceInText(value, env, findings, path);
  if (Array.isArray(value)) {
    return value.map((item, index) => replaceVariables(item, env, findings, [...path, index]));
  }
  if (!isTable(value)) return value;
  return Object.fromEntries(
    Object.entries(value).map((
      [key, inner],
    ) => [key, replaceVariables(inner, env, findings, [...path, key])]),
  );
}

function replaceInText(text: string, env: Environment, findings: Findings, path: KeyPath): string {
  return text.replace(REFERENCE, (whole, escape: string, inside: string) => {
    if (escape !== "") return whole.slice(1);
    const match = INSIDE.exec(inside);
    if (!match) {
      findings.problem(
        path,
        ": a `${` must be followed by a variable's name and `}` (write `$${` for `${` itself)",
      );
      return "";
    }
    const [, name = "", otherwise] = match;
    const value = env[name];
    if (otherwise !== undefined) return value === undefined || value === "" ? otherwise : value;
    if (value === undefined) {
      findings.problem(
        path,
        `: the environment variable ${name} is not set (set it, or write \`\${${name}:-default}\`)`,
      );
    }
    return value ?? "";
  });
}

/** A table: an object with keys, not a list, a date or an instance of something. */
export function isTable(value: unknown): value is Record<string, unknown> {
  if (typeof value !== "object" || value === null) return false;
  const prototype = Object.getPrototypeOf(value);
  return prototype === null || prototype === Object.prototype;
}
