// The README's reference tables, made from the schema's tree.

import { configTree, type FieldNode, type SchemaNode, type TableNode } from "./describe.ts";

/** All keys of the configuration as markdown: one table for the top level and one per TOML table. */
export function configTables(): string {
  const flat = Object.entries(configTree.entries).filter(([, node]) => node.type === "field");
  const tables = Object.entries(configTree.entries).filter(([, node]) => node.type !== "field");
  return [
    "### Top level\n\n" + rows(Object.fromEntries(flat), [], ""),
    ...tables.map(([name, node]) => section(name, node)),
  ].join("\n\n");
}

function section(name: string, node: SchemaNode): string {
  const title = node.type === "list" ? `[[${name}]]` : `[${name}]`;
  const table = node.type === "list" ? node.item : node as TableNode;
  return `### \`${title}\`\n\n${table.help}\n\n${rows(table.entries, table.required, "")}`;
}

function rows(
  entries: Readonly<Record<string, SchemaNode>>,
  required: readonly string[],
  prefix: string,
): string {
  return [
    "| Key | Type | Default | What it does |",
    "|---|---|---|---|",
    ...keyRows(entries, required, prefix),
  ].join(
    "\n",
  );
}

function keyRows(
  entries: Readonly<Record<string, SchemaNode>>,
  required: readonly string[],
  prefix: string,
): string[] {
  return Object.entries(entries).flatMap(([key, node]) => {
    const name = `${prefix}${key}`;
    if (node.type === "field") {
      return [row(name, typeOf(node), defaultOf(node, required.includes(key)), node.info.help)];
    }
    const head = row(name, "table", "", node.help);
    if (node.type === "variant") return [head, ...variantRows(name, node.options)];
    const inner = node.type === "list" ? node.item : node;
    return [head, ...keyRows(inner.entries, inner.required, `${name}.`)];
  });
}

// One row for `type`, then each type's own keys, told apart by the type's name.
function variantRows(name: string, options: Readonly<Record<string, TableNode>>): string[] {
  const types = Object.keys(options).map((type) => `\`${type}\``).join(", ");
  const rest = Object.entries(options).flatMap(([type, { entries, required }]) => {
    const { type: _, ...keys } = entries;
    return keyRows(keys, required, `${name}.`).map((line) =>
      line.replace(/\| ([^|]*) \|$/, `| Type \`${type}\`: $1 |`)
    );
  });
  return [row(`${name}.type`, types, "`none`", "Chooses the other keys."), ...rest];
}

function row(...cells: string[]): string {
  const [name, ...rest] = cells;
  return `| \`${name}\` | ${rest.map((cell) => cell.replaceAll("|", "\\|")).join(" | ")} |`;
}

function typeOf({ info }: FieldNode): string {
  if (info.kind === "choice") return info.values!.map((value) => `\`${value}\``).join(", ");
  if (info.kind === "integer") {
    return info.min === 0 || info.min === undefined ? "integer" : `integer ≥ ${info.min}`;
  }
  return {
    boolean: "boolean",
    text: "text",
    list: "list of names",
    time: "time",
    options: "table",
  }[info.kind];
}

function defaultOf(node: FieldNode, isRequired: boolean): string {
  if (isRequired) return "required";
  if (node.info.otherwise !== undefined) return node.info.otherwise;
  if (node.default === undefined) return "";
  return Array.isArray(node.default)
    ? node.default.map((item) => `\`${item}\``).join(", ")
    : `\`${String(node.default)}\``;
}
