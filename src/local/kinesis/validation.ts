// Checks a request's shape before any operation sees it, with the service's own words:
// SerializationException for a wrong JSON type, ValidationException with up to ten violated constraints.
// Invariant: an operation may trust the types and ranges that its shape declares.

import { KinesisError, validationError } from "./errors.ts";

/** What one field may hold. */
export interface Rule {
  readonly type: "string" | "integer" | "boolean" | "timestamp" | "blob" | "list" | "structure" | "map";
  readonly required?: boolean;
  /** Smallest number, or length of a string, list or decoded blob. */
  readonly min?: number;
  readonly max?: number;
  /** Regular expression for the whole string. */
  readonly pattern?: string;
  readonly values?: readonly string[];
  readonly member?: Rule;
  readonly fields?: Shape;
}

/** The fields of a structure. */
export type Shape = Readonly<Record<string, Rule>>;

const MAX_COMPLAINTS = 10;
const BASE64 = /^[A-Za-z0-9+/]*={0,2}$/;
const compiled = new Map<string, RegExp>();

/** @throws KinesisError SerializationException, ValidationException */
export function validate(input: Readonly<Record<string, unknown>>, shape: Shape): void {
  const complaints: string[] = [];
  checkFields(input, shape, "", complaints);
  if (complaints.length === 0) return;
  throw validationError(
    `${complaints.length} validation error${complaints.length > 1 ? "s" : ""} detected: ${
      complaints.join("; ")
    }`,
  );
}

/** Bytes that a base64 text decodes to. */
export function decodedLength(base64: string): number {
  const padding = base64.endsWith("==") ? 2 : base64.endsWith("=") ? 1 : 0;
  return base64.length / 4 * 3 - padding;
}

function checkFields(
  input: Readonly<Record<string, unknown>>,
  shape: Shape,
  path: string,
  complaints: string[],
): void {
  for (const name in shape) {
    const at = path + name[0]!.toLowerCase() + name.slice(1);
    check(input[name], shape[name]!, at, complaints);
  }
}

function check(value: unknown, rule: Rule, at: string, complaints: string[]): void {
  if (complaints.length >= MAX_COMPLAINTS) return;
  if (value === undefined || value === null) {
    if (rule.required) complain(complaints, "null", at, "Member must not be null");
    return;
  }
  requireType(value, rule, at);
  const size = sizeOf(value, rule);
  const kind = rule.type === "integer" ? "value" : "length";
  const shown = () => `'${show(value, rule)}'`;
  if (rule.min !== undefined && size < rule.min) {
    complain(complaints, shown(), at, `Member must have ${kind} greater than or equal to ${rule.min}`);
  }
  if (rule.max !== undefined && size > rule.max) {
    complain(complaints, shown(), at, `Member must have ${kind} less than or equal to ${rule.max}`);
  }
  if (rule.pattern !== undefined && !matches(rule.pattern, value as string)) {
    complain(complaints, shown(), at, `Member must satisfy regular expression pattern: ${rule.pattern}`);
  }
  if (rule.values && !rule.values.includes(value as string)) {
    complain(complaints, shown(), at, `Member must satisfy enum value set: [${rule.values.join(", ")}]`);
  }
  if (rule.fields) checkFields(value as Record<string, unknown>, rule.fields, at + ".", complaints);
  if (rule.member) {
    for (const [i, member] of (value as unknown[]).entries()) {
      check(member, rule.member, `${at}.${i + 1}.member`, complaints);
    }
  }
}

function requireType(value: unknown, rule: Rule, at: string): void {
  const isRight = rule.type === "integer" || rule.type === "timestamp"
    ? typeof value === "number"
    : rule.type === "boolean"
    ? typeof value === "boolean"
    : rule.type === "list"
    ? Array.isArray(value)
    : rule.type === "structure" || rule.type === "map"
    ? typeof value === "object" && !Array.isArray(value)
    : typeof value === "string";
  if (!isRight) {
    throw new KinesisError("SerializationException", `${at}: a value of type ${rule.type} was expected`);
  }
  if (rule.type === "blob" && ((value as string).length % 4 !== 0 || !BASE64.test(value as string))) {
    throw new KinesisError("SerializationException", `${at}: the value is not valid base64`);
  }
}

function sizeOf(value: unknown, rule: Rule): number {
  if (rule.type === "integer") return value as number;
  if (rule.type === "blob") return decodedLength(value as string);
  return typeof value === "string" || Array.isArray(value) ? value.length : 0;
}

function matches(pattern: string, value: string): boolean {
  let expression = compiled.get(pattern);
  if (!expression) compiled.set(pattern, expression = new RegExp(`^(?:${pattern})$`));
  return expression.test(value);
}

// Blobs and lists are told by their size: nobody wants a record's data in an error.
function show(value: unknown, rule: Rule): string {
  if (rule.type === "blob") {
    const length = decodedLength(value as string);
    return `java.nio.HeapByteBuffer[pos=0 lim=${length} cap=${length}]`;
  }
  if (rule.type === "list") return `[${(value as unknown[]).length} members]`;
  return String(value);
}

function complain(complaints: string[], value: string, at: string, constraint: string): void {
  complaints.push(`Value ${value} at '${at}' failed to satisfy constraint: ${constraint}`);
}
