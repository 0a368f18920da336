// An object against the schema: all faults at once, and the settings as far as they can be told, so that the rules
// over several keys (resolve.ts) can add theirs to the same report.

import * as v from "valibot";
import { configTree, entriesOf, type SchemaNode, type TableNode } from "./describe.ts";
import { oneOf } from "./fields.ts";
import type { Findings } from "./findings.ts";
import { type KeyPath, pathText } from "./paths.ts";
import { configSchema, type Settings } from "./schema.ts";
import { nearest } from "../core/suggest.ts";
import { isTable } from "./variables.ts";

/** Result of {@link checkSettings}. */
export interface CheckedSettings {
  /** Wrong keys have their defaults here. */
  readonly settings: Settings;
  /** Paths of all keys that were given (and not empty). */
  readonly given: readonly KeyPath[];
}

/** Checks names and values, reports to `findings`. */
export function checkSettings(input: Record<string, unknown>, findings: Findings): CheckedSettings {
  const { $schema: _, ...named } = input; // editors' own key
  const known = dropEmpty(dropUnknown(named, configTree, [], findings), configTree) as Record<
    string,
    unknown
  >;
  const given = listGiven(known, configTree, []);
  // Each round takes out what is wrong, so that the rest gets its say; two rounds are enough for our schema.
  for (let round = 0; round < 10; round++) {
    const result = v.safeParse(configSchema, known);
    if (result.success) return { settings: result.output, given };
    for (const issue of result.issues) {
      const path = (issue.path ?? []).map((item) => item.key as string | number);
      if (round === 0) report(path, valueAt(known, path), issue.received === "undefined", known, findings);
      takeOut(known, path);
    }
  }
  throw new Error("the configuration schema does not accept its own defaults");
}

function report(path: KeyPath, value: unknown, isMissing: boolean, input: unknown, findings: Findings): void {
  const node = nodeAt(path, input);
  const allowed = allowedAt(node, path);
  if (findings.isReported(path)) return;
  if (isMissing && value === undefined) {
    findings.problem(path, ` is missing: it must be ${allowed}`);
    return;
  }
  const values = node?.type === "field" ? node.info.values : undefined;
  const near = typeof value === "string" && values ? nearest(value, values) : undefined;
  findings.wrongValue(path, value, near === undefined ? allowed : `${allowed} (did you mean "${near}"?)`);
}

function allowedAt(node: SchemaNode | undefined, path: KeyPath): string {
  switch (node?.type) {
    case "field":
      return node.info.allowed;
    case "list":
      return `a list of tables (in TOML each begins with [[${path.at(-1)}]])`;
    default:
      return "a table of keys";
  }
}

/** The schema's node for a path; for the `type` of a variant a field that allows all types. */
function nodeAt(path: KeyPath, input: unknown): SchemaNode | undefined {
  let node: SchemaNode | undefined = configTree;
  let value = input;
  for (const part of path) {
    if (node === undefined) return undefined;
    if (node.type === "list") node = node.item;
    else if (node.type === "variant" && part === "type") node = typeField(Object.keys(node.options));
    else node = entriesOf(node, value)?.[String(part)];
    value = valueAt(value, [part]);
  }
  return node;
}

function typeField(values: readonly string[]): SchemaNode {
  return { type: "field", info: { kind: "choice", help: "", allowed: oneOf(values), values } };
}

function valueAt(value: unknown, path: KeyPath): unknown {
  let at = value;
  for (const part of path) at = (at as Record<string | number, unknown> | null | undefined)?.[part];
  return at;
}

// Takes out the wrong value, or where it is missing or inside a list or a variant, the table around it.
function takeOut(input: Record<string, unknown>, path: KeyPath): void {
  const [first, second] = path as [string, string | undefined];
  const table = input[first];
  if (second === undefined || !isTable(table) || !(second in table)) delete input[first];
  else input[first] = Object.fromEntries(Object.entries(table).filter(([key]) => key !== second));
}

/** Without the keys whose value is empty: "" and null mean "not given" (Java's files are full of them). */
function dropEmpty(value: unknown, node: SchemaNode | undefined): unknown {
  if (node?.type === "field") return value;
  if (Array.isArray(value)) {
    return value.map((item) => dropEmpty(item, node?.type === "list" ? node.item : undefined));
  }
  if (!isTable(value)) return value;
  const entries = entriesOf(node ?? configTree, value) ?? {};
  return Object.fromEntries(
    Object.entries(value)
      .filter(([, inner]) =>
        inner !== null && inner !== undefined && !(typeof inner === "string" && inner.trim() === "")
      )
      .map(([key, inner]) => [key, dropEmpty(inner, entries[key])]),
  );
}

/** Reports unknown keys (valibot would name one of them only) and goes on without them. */
function dropUnknown(value: unknown, node: SchemaNode, path: KeyPath, findings: Findings): unknown {
  if (node.type === "list" && Array.isArray(value)) {
    return value.map((item, index) => dropUnknown(item, node.item, [...path, index], findings));
  }
  const entries = entriesOf(node, value);
  if (!isTable(value) || entries === undefined) return value;
  return Object.fromEntries(
    Object.entries(value).flatMap(([key, inner]) => {
      if (!Object.hasOwn(entries, key)) {
        findings.unknownKey([...path, key], hintFor(key, path, Object.keys(entries)));
        return [];
      }
      return [[key, dropUnknown(inner, entries[key]!, [...path, key], findings)]];
    }),
  );
}

function hintFor(key: string, path: KeyPath, siblings: readonly string[]): string {
  if (path.length > 0 && Object.hasOwn(configTree.entries, key)) {
    return `"${key}" belongs to the top level; in TOML that is above the first [table]`;
  }
  const homes = Object.entries(configTree.entries)
    .filter(([, node]) => node.type === "table" && Object.hasOwn(node.entries, key))
    .map(([table]) => pathText([table, key]));
  const near = nearest(key, siblings);
  if (near !== undefined) return `did you mean "${near}"?`;
  if (homes.length > 0) return `did you mean ${homes.join(" or ")}?`;
  const everywhere = Object.keys(configTree.entries);
  const above = path.length > 0 ? nearest(key, everywhere) : undefined;
  return above === undefined ? "" : `did you mean "${above}" on the top level?`;
}

function listGiven(value: unknown, node: TableNode | SchemaNode | undefined, path: KeyPath): KeyPath[] {
  const inner = Array.isArray(value)
    ? value.flatMap((item, index) =>
      listGiven(item, node?.type === "list" ? node.item : undefined, [...path, index])
    )
    : isTable(value) && node !== undefined && node.type !== "field"
    ? Object.entries(value).flatMap(([key, item]) =>
      listGiven(item, entriesOf(node, value)?.[key], [...path, key])
    )
    : [];
  return path.length === 0 ? inner : [path, ...inner];
}
