// The configuration's JSON Schema (draft-07, what TOML and YAML editors know), made from the schema's tree.

import { configTree, type FieldNode, type SchemaNode, type TableNode } from "./describe.ts";

type Json = Readonly<Record<string, unknown>>;

/** What editors check and complete connector.toml, .yaml and .json with. */
export function jsonSchema(): Json {
  const own = properties(configTree);
  return {
    $schema: "http://json-schema.org/draft-07/schema#",
    title: "kinesis-pulsar configuration",
    description: "Copies an Amazon Kinesis data stream into Apache Pulsar topics.",
    type: "object",
    additionalProperties: false,
    properties: { $schema: { type: "string" }, ...own, ...sourceFileKeys(own) },
  };
}

// The outer keys of a Pulsar IO source file; its own flat keys then stand inside `configs`.
function sourceFileKeys(own: Json): Json {
  const name = (description: string) => ({ type: "string", description });
  return {
    configs: {
      type: "object",
      description: "The keys of a Pulsar IO source file.",
      additionalProperties: false,
      properties: own,
    },
    tenant: name("Of a Pulsar IO source file; not used."),
    namespace: name("Of a Pulsar IO source file; not used."),
    name: name("Of a Pulsar IO source file; not used."),
    topicName: name("Of a Pulsar IO source file: `pulsar.topic` where that is not given."),
    parallelism: { type: "integer", description: "Of a Pulsar IO source file; not used." },
    producerConfig: {
      type: "object",
      description: "Of a Pulsar IO source file; `maxPendingMessages` is used.",
    },
  };
}

function properties(table: TableNode): Json {
  return Object.fromEntries(Object.entries(table.entries).map(([key, node]) => [key, convert(node)]));
}

function convert(node: SchemaNode): Json {
  switch (node.type) {
    case "field":
      return { ...field(node), description: node.info.help, ...constantDefault(node) };
    case "table":
      return { ...table(node), description: node.help };
    case "list":
      return { type: "array", description: node.help, items: table(node.item) };
    case "variant":
      return {
        description: node.help,
        oneOf: Object.entries(node.options).map(([type, option]) => {
          const schema = table(option);
          return { ...schema, properties: { ...schema["properties"] as Json, type: { const: type } } };
        }),
      };
  }
}

function table(node: TableNode): Json {
  return {
    type: "object",
    additionalProperties: false,
    properties: properties(node),
    ...node.required.length === 0 ? {} : { required: node.required },
  };
}

function constantDefault(node: FieldNode): Json {
  return node.default === undefined ? {} : { default: node.default };
}

// In every string "" means "not given", and ${VAR} may stand in it.
const OPEN = "^\\s*$|\\$\\{";

function field({ info }: FieldNode): Json {
  switch (info.kind) {
    case "integer":
      return {
        type: ["integer", "string"],
        minimum: info.min,
        ...info.max === Number.MAX_SAFE_INTEGER ? {} : { maximum: info.max },
        pattern: `^\\s*\\d+\\s*$|${OPEN}`,
      };
    case "boolean":
      return { type: ["boolean", "string"], pattern: `^\\s*([Tt]rue|TRUE|[Ff]alse|FALSE)\\s*$|${OPEN}` };
    case "choice":
      return { anyOf: [{ enum: info.values }, { type: "string", pattern: OPEN }] };
    case "list":
      return { type: ["array", "string"], items: { type: "string" } };
    case "time":
      return { type: ["string", "integer"] };
    case "options":
      return { type: "object" };
    case "text":
      return { type: "string" };
  }
}
