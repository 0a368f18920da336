// Which keys hold secrets (from the schema), and copies of a configuration that may be printed (G8).

import { configTree, type SchemaNode } from "./describe.ts";
import type { KeyPath } from "./paths.ts";

/** What is shown in place of a secret. */
export const HIDDEN = "(hidden)";

/** Key paths of secrets; `[]` stands for any item of a list. */
export const secretPaths: readonly string[] = [...new Set(collect(configTree, []))];

function collect(node: SchemaNode, path: readonly string[]): string[] {
  switch (node.type) {
    case "field":
      return node.info.secret ? [path.join(".")] : [];
    case "list":
      return collect(node.item, [...path.slice(0, -1), `${path.at(-1)}[]`]);
    case "variant":
      return Object.values(node.options).flatMap((option) => collect(option, path));
    case "table":
      return Object.entries(node.entries).flatMap(([key, entry]) => collect(entry, [...path, key]));
  }
}

/** Whether what stands at `path` is a secret, is inside one, or may hold one. */
export function mayHoldSecret(path: KeyPath): boolean {
  const text = path.reduce<string>(
    (left, part) => typeof part === "number" ? `${left}[]` : left === "" ? part : `${left}.${part}`,
    "",
  );
  return secretPaths.some((secret) => within(text, secret) || within(secret, text));
}

function within(path: string, outer: string): boolean {
  return path === outer || path.startsWith(`${outer}.`) || path.startsWith(`${outer}[`);
}

/** A value as an error may show it: short, without the user and password of a URL. */
export function showValue(path: KeyPath, value: unknown): string {
  if (mayHoldSecret(path)) return HIDDEN;
  const text = value instanceof Date ? String(value) : JSON.stringify(value) ?? String(value);
  return hideUserInfo(text.length > 100 ? `${text.slice(0, 97)}…` : text);
}

/** Hides `user:password@` in URLs, and what is inside of `data:` URLs (an OAuth2 key file may be one). */
export function hideUserInfo(text: string): string {
  return text.replace(/(\/\/)[^/\s"]*@/g, `$1${HIDDEN}@`).replace(
    /\bdata:[\w/+.-]*[;,][^]*/i,
    `data:${HIDDEN}`,
  );
}

/**
 * A copy of a configuration (a `Config`, or the object it was made from) that may be printed: every secret is
 * replaced, hook options by the names of their keys.
 */
export function redact(config: object): Record<string, unknown> {
  return copy(config, configTree) as Record<string, unknown>;
}

// Beside the schema's own secrets these names of a resolved Config are hidden wherever they stand.
const SECRET_NAMES = new Set(["accessKeyId", "secretAccessKey", "sessionToken", "param"]);

function copy(value: unknown, node: SchemaNode | undefined): unknown {
  if (node?.type === "field" && node.info.secret) {
    return node.info.kind === "options" && typeof value === "object" && value !== null
      ? Object.fromEntries(Object.keys(value).map((key) => [key, HIDDEN]))
      : value === undefined
      ? undefined
      : HIDDEN;
  }
  if (typeof value === "string") return hideUserInfo(value);
  if (typeof value !== "object" || value === null || value instanceof Date) return value;
  if (Array.isArray(value)) {
    return value.map((item) => copy(item, node?.type === "list" ? node.item : undefined));
  }
  return Object.fromEntries(
    Object.entries(value).map(([key, inner]) => [
      key,
      SECRET_NAMES.has(key) && typeof inner === "string" ? HIDDEN : copy(inner, childOf(node, key)),
    ]),
  );
}

function childOf(node: SchemaNode | undefined, key: string): SchemaNode | undefined {
  if (node === configTree && key === "configs") return configTree; // a Pulsar IO source file as it was read
  if (node?.type === "table") return node.entries[key];
  if (node?.type !== "variant") return undefined;
  // A key that is a secret in one type is one in all: a file may name the wrong type.
  const children = Object.values(node.options).map((option) => option.entries[key]).filter((child) => child);
  return children.find((child) => child?.type === "field" && child.info.secret) ?? children[0];
}
