// The building blocks of the configuration schema. Each field carries its own documentation (FieldInfo, kept as
// valibot metadata), from which error texts, the JSON Schema, the README tables and the list of secrets are made.

import * as v from "valibot";
import { parseTime } from "./times.ts";

/** What a field is, for people and for generators. */
export interface FieldInfo {
  readonly kind: "integer" | "boolean" | "text" | "choice" | "list" | "time" | "options";
  readonly help: string;
  /** What is allowed, as an error says it after "must be". */
  readonly allowed: string;
  /** Its value appears in no output. */
  readonly secret?: boolean;
  readonly min?: number;
  readonly max?: number;
  readonly values?: readonly string[];
  /** Default in words, where it is not a constant. */
  readonly otherwise?: string;
}

/** Timers hold at most 2^31 − 1 ms (24.8 days); a longer one would fire at once. */
export const MAX_MS = 2_147_483_647;

function documented<S extends v.GenericSchema>(schema: S, info: FieldInfo) {
  return v.pipe(schema, v.description(info.help), v.metadata({ ...info }));
}

/** Limits of an {@link integer}. */
export interface IntegerLimits {
  /** @default 0 */
  readonly min?: number;
  /** @default 2^53 − 1 */
  readonly max?: number;
}

/** An integer, as a number or as digits in a string. */
export function integer(help: string, limits: IntegerLimits = {}) {
  const { min = 0, max = Number.MAX_SAFE_INTEGER } = limits;
  const allowed = max === Number.MAX_SAFE_INTEGER
    ? `an integer of at least ${min}`
    : `an integer from ${min} to ${max}`;
  const fits = (value: unknown) => {
    const number = typeof value === "string" && /^\s*[+-]?\d+\s*$/.test(value) ? Number(value) : value;
    return Number.isSafeInteger(number) && (number as number) >= min && (number as number) <= max;
  };
  return documented(v.pipe(v.custom<number | string>(fits), v.transform(Number)), {
    kind: "integer",
    help,
    allowed,
    min,
    max,
  });
}

/** Milliseconds: an integer that a timer can hold. */
export function milliseconds(help: string, min = 0) {
  return integer(help, { min, max: MAX_MS });
}

/** true or false, also as a string. */
export function flag(help: string) {
  const fits = (value: unknown) =>
    typeof value === "boolean" || typeof value === "string" && /^\s*(true|false)\s*$/i.test(value);
  return documented(
    v.pipe(
      v.custom<boolean | string>(fits),
      v.transform((value) => String(value).trim().toLowerCase() === "true"),
    ),
    { kind: "boolean", help, allowed: "true or false" },
  );
}

/** Text that is not blank. */
export function text(help: string, info: { otherwise?: string; allowed?: string; pattern?: RegExp } = {}) {
  const { pattern, allowed = "text (in quotes)", otherwise } = info;
  const fits = (value: unknown) =>
    typeof value === "string" && value.trim() !== "" && (pattern === undefined || pattern.test(value));
  return documented(v.custom<string>(fits), {
    kind: "text",
    help,
    allowed,
    ...otherwise === undefined ? {} : { otherwise },
  });
}

/** Text that appears in no output. */
export function secret(help: string) {
  return documented(v.custom<string>((value) => typeof value === "string" && value.trim() !== ""), {
    kind: "text",
    help,
    allowed: "text (in quotes)",
    secret: true,
  });
}

/** One of a few words. */
export function choice<const Values extends readonly [string, ...string[]]>(
  values: Values,
  help: string,
  otherwise?: string,
) {
  return documented(v.custom<Values[number]>((value) => values.includes(value as string)), {
    kind: "choice",
    help,
    allowed: oneOf(values),
    values,
    ...otherwise === undefined ? {} : { otherwise },
  });
}

/** A list of words, as an array or separated by commas. */
export function wordList(help: string) {
  const fits = (value: unknown) =>
    typeof value === "string" || Array.isArray(value) && value.every((word) => typeof word === "string");
  return documented(
    v.pipe(
      v.custom<string | readonly string[]>(fits),
      v.transform((value): readonly string[] => {
        const words = typeof value === "string" ? value.split(",") : value;
        return words.map((word) => word.trim()).filter((word) => word !== "");
      }),
    ),
    { kind: "list", help, allowed: "names separated by commas, or a list of names" },
  );
}

/** A moment, as epoch milliseconds. */
export function time(help: string) {
  return documented(
    v.pipe(
      v.custom<string | number | Date>((value) => parseTime(value) !== undefined),
      v.transform((value) => parseTime(value) as number),
    ),
    {
      kind: "time",
      help,
      allowed: "a time: ISO-8601 (2026-09-01T00:00:00Z; without a zone it is UTC), a date (2026-09-01), " +
        "epoch milliseconds, or RFC-1123",
    },
  );
}

/** Any table; what is in it is not ours, so it is treated as secret. */
export function freeTable(help: string) {
  const fits = (value: unknown) =>
    typeof value === "object" && value !== null && !Array.isArray(value) && !(value instanceof Date);
  return documented(v.custom<Record<string, unknown>>(fits), {
    kind: "options",
    help,
    allowed: "a table",
    secret: true,
  });
}

/** `"a", "b" or "c"`. */
export function oneOf(values: readonly string[]): string {
  const quoted = values.map((value) => `"${value}"`);
  return quoted.length < 2 ? quoted.join("") : `${quoted.slice(0, -1).join(", ")} or ${quoted.at(-1)}`;
}
