// The schema as a plain tree: what the JSON Schema, the README tables, the unknown-key check and the list of secrets
// are made from. Knows valibot's insides (optional, pipe, strict_object, array, variant, literal), nothing else does.

import type { FieldInfo } from "./fields.ts";
import { configSchema } from "./schema.ts";

/** A table: its keys in the order of the schema. */
export interface TableNode {
  readonly type: "table";
  readonly help: string;
  readonly entries: Readonly<Record<string, SchemaNode>>;
  /** Keys that must be given. */
  readonly required: readonly string[];
}

/** A list of tables (`[[hooks]]`). */
export interface ListNode {
  readonly type: "list";
  readonly help: string;
  readonly item: TableNode;
}

/** A table whose `type` key chooses its other keys (`pulsar.auth`). */
export interface VariantNode {
  readonly type: "variant";
  readonly help: string;
  /** By the value of `type`. */
  readonly options: Readonly<Record<string, TableNode>>;
}

/** A key with a value. */
export interface FieldNode {
  readonly type: "field";
  readonly info: FieldInfo;
  readonly default?: unknown;
}

export type SchemaNode = TableNode | ListNode | VariantNode | FieldNode;

// What is read of valibot's schema objects.
interface Raw {
  readonly type: string;
  readonly wrapped?: Raw;
  readonly default?: unknown;
  readonly pipe?: readonly {
    readonly type: string;
    readonly description?: string;
    readonly metadata?: unknown;
  }[];
  readonly entries?: Readonly<Record<string, Raw>>;
  readonly item?: Raw;
  readonly options?: readonly Raw[];
  readonly literal?: string;
}

/** The whole configuration as a tree. */
export const configTree: TableNode = describeTable(configSchema as unknown as Raw);

function describe(schema: Raw): SchemaNode {
  if (schema.type === "optional") {
    const node = describe(schema.wrapped!);
    return node.type === "field" && schema.default !== undefined
      ? { ...node, default: schema.default }
      : node;
  }
  switch (schema.type) {
    case "strict_object":
      return describeTable(schema);
    case "array": {
      const item = describeTable(schema.item!);
      return { type: "list", help: item.help, item };
    }
    case "variant": {
      const options = schema.options!.map((
        option,
      ) => [option.entries!["type"]!.literal!, describeTable(option)]);
      return { type: "variant", help: helpOf(schema), options: Object.fromEntries(options) };
    }
    case "literal":
      return {
        type: "field",
        info: {
          kind: "choice",
          help: "Chooses the other keys.",
          allowed: `"${schema.literal}"`,
          values: [schema.literal!],
        },
      };
    default: {
      const info = schema.pipe?.find((action) => action.type === "metadata")?.metadata as
        | FieldInfo
        | undefined;
      if (info === undefined) throw new Error(`a field of the configuration schema has no FieldInfo`);
      return { type: "field", info };
    }
  }
}

function describeTable(schema: Raw): TableNode {
  const entries = Object.entries(schema.entries!);
  return {
    type: "table",
    help: helpOf(schema),
    entries: Object.fromEntries(entries.map(([key, entry]) => [key, describe(entry)])),
    required: entries.filter(([, entry]) => entry.type !== "optional").map(([key]) => key),
  };
}

function helpOf(schema: Raw): string {
  return schema.pipe?.find((action) => action.type === "description")?.description ?? "";
}

/** The keys of a node that holds keys, given the value there (a variant's keys depend on its `type`). */
export function entriesOf(
  node: SchemaNode,
  value: unknown,
): Readonly<Record<string, SchemaNode>> | undefined {
  if (node.type === "table") return node.entries;
  if (node.type !== "variant") return undefined;
  const type = (value as { type?: unknown } | null | undefined)?.type;
  return typeof type === "string" && Object.hasOwn(node.options, type)
    ? node.options[type]!.entries
    : undefined;
}
