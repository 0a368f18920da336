// How a failure ends the program: one line on stderr (with --verbose its causes too) and an exit code.

import { type ConnectorError, type ErrorCode, messageOf, toConnectorError } from "../core/errors.ts";
import { hideUserInfo } from "../config/secrets.ts";

/** Exit codes of all commands (design §10). */
export const EXIT = { done: 0, failed: 1, usage: 2, deadLettered: 3, interrupted: 75 } as const;

// What only a change of the configuration (or of what it names) cures: a restart would fail in the same way.
const USAGE_CODES: ReadonlySet<ErrorCode> = new Set<ErrorCode>([
  "CONFIG_INVALID",
  "NOT_YET",
  "HOOK_LOAD_FAILED",
  "LEASE_TABLE_CHOICE",
]);

/** The exit code that a failure ends the program with. */
export function exitCodeOf(error: unknown): number {
  return USAGE_CODES.has(toConnectorError(error).code) ? EXIT.usage : EXIT.failed;
}

/**
 * A failure for stderr: `error [CODE] what happened` (several problems of a configuration take a line each), and with
 * `verbose` the chain of causes with their stacks.
 */
export function errorText(error: unknown, verbose: boolean): string {
  const known = toConnectorError(error);
  const lines = [`error [${known.code}] ${known.message}`];
  if (verbose) lines.push(...causes(known));
  else if (known.code === "INTERNAL") lines[0] += " (a defect of this program; --verbose shows where)";
  return hideUserInfo(lines.join("\n"));
}

function causes(error: ConnectorError): string[] {
  const lines: string[] = [];
  const seen = new Set<unknown>([error]);
  const where = Object.entries(error.where).filter(([, value]) => value !== undefined);
  if (where.length > 0) lines.push(`  where: ${where.map(([key, value]) => `${key}=${value}`).join(" ")}`);
  for (let cause = error.cause; cause !== undefined && !seen.has(cause); cause = (cause as Error).cause) {
    seen.add(cause);
    lines.push(`  caused by: ${stackOf(cause)}`);
    if (!(cause instanceof Error)) break;
    if (cause instanceof AggregateError) lines.push(...cause.errors.map((one) => `    ${messageOf(one)}`));
  }
  return lines;
}

function stackOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const stack = error.stack ?? `${error.name}: ${error.message}`;
  return stack.includes(error.message) ? stack : `${error.name}: ${error.message}\n${stack}`;
}
