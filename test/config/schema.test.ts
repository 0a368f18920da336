import assert from "node:assert/strict";
import { existsSync, readFileSync } from "node:fs";
import { test } from "node:test";
import { configTables, jsonSchema } from "../../src/config/mod.ts";
import { configTree, type SchemaNode } from "../../src/config/describe.ts";
import { pathOf, withConfigTables } from "../generate.ts";
import { parse, small } from "./kit.ts";

const JAVA_NAMES =
  ("initialPositionInStream startAtTime applicationName checkpointInterval backoffTime numRetries " +
    "receiveQueueSize dynamoEndpoint cloudwatchEndpoint useEnhancedFanOut awsEndpoint awsRegion awsKinesisStreamName " +
    "awsCredentialPluginName awsCredentialPluginParam kinesisRecordProperties messageKeyMode").split(" ");

function fields(node: SchemaNode): { help: string; allowed: string }[] {
  switch (node.type) {
    case "field":
      return [node.info];
    case "list":
      return fields(node.item);
    case "variant":
      return Object.values(node.options).flatMap(fields);
    case "table":
      return Object.values(node.entries).flatMap(fields);
  }
}

test("config schema: the flat keys are the Java connector's, and one of ours", () => {
  const flat = Object.entries(configTree.entries).filter(([, node]) => node.type === "field").map(([key]) =>
    key
  );
  assert.deepEqual(flat.sort(), [...JAVA_NAMES, "shutdownTimeoutMs"].sort());
});

test("config schema: every key has a help text and says what is allowed", () => {
  const all = fields(configTree);
  assert.ok(all.length > 60);
  for (const { help, allowed } of all) assert.ok(help.length > 5 && allowed.length > 2);
});

test("config schema: the JSON Schema has every key, with help, default and limits", () => {
  // deno-lint-ignore no-explicit-any
  const schema = JSON.parse(JSON.stringify(jsonSchema())) as any;
  for (const name of JAVA_NAMES) {
    assert.ok(schema.properties[name].description, name);
    assert.ok(schema.properties.configs.properties[name], name);
  }
  assert.equal(schema.additionalProperties, false);
  assert.equal(schema.properties.checkpointInterval.minimum, 1);
  assert.deepEqual(schema.properties.checkpointInterval.type, ["integer", "string"]);
  assert.deepEqual(schema.properties.initialPositionInStream.anyOf[0].enum, [
    "LATEST",
    "TRIM_HORIZON",
    "AT_TIMESTAMP",
  ]);
  assert.deepEqual(schema.properties.hooks.items.required, ["path"]);
  assert.deepEqual(
    schema.properties.pulsar.properties.auth.oneOf.map((one: { properties: { type: unknown } }) =>
      one.properties.type
    ),
    ["none", "token", "oauth2", "basic", "tls"].map((type) => ({ const: type })),
  );
  for (const [key, property] of Object.entries<{ pattern?: string; default?: unknown }>(schema.properties)) {
    if (property.pattern === undefined || property.default === undefined) continue;
    assert.match(String(property.default), new RegExp(property.pattern), key);
    assert.match("${VAR}", new RegExp(property.pattern), key);
  }
});

test("config schema: every default in the tables is what an empty configuration has", () => {
  const config = parse(small) as unknown as Record<string, Record<string, unknown>>;
  for (const [key, node] of Object.entries(configTree.entries)) {
    const inner = node.type === "table"
      ? Object.entries(node.entries).map(([name, one]) => [[key, name], one] as const)
      : [];
    for (const [path, field] of [[[key], node] as const, ...inner]) {
      if (field.type !== "field" || field.default === undefined || path[0] === "http") continue;
      if (path[0]! in small) continue;
      const value = path.length === 1 ? config[key] : config[key]![path[1]!];
      assert.deepEqual(value, field.default, path.join("."));
    }
  }
});

test("config schema: the README tables name every key, its values and its default", () => {
  const tables = configTables();
  for (const name of JAVA_NAMES) assert.ok(tables.includes(`| \`${name}\` |`), name);
  assert.match(tables, /\| `checkpointInterval` \| integer ≥ 1 \| `60000` \|/);
  assert.match(tables, /### `\[pulsar\]`/);
  assert.match(tables, /### `\[\[hooks\]\]`/);
  assert.match(tables, /\| `auth\.token` \| text \| {2}\| Type `token`: /);
  assert.match(tables, /\| `auth\.password` \| text \| required \| Type `basic`: /);
  for (const line of tables.split("\n").filter((one) => one.startsWith("|"))) {
    assert.equal(line.replaceAll("\\|", "").split("|").length, 6, line);
  }
});

test("config schema: the generated block of README.md is fresh (npm run build writes it)", () => {
  const stale = "# x\n<!-- generated:config -->\nold\n<!-- /generated -->\ny\n";
  const fresh = withConfigTables(stale);
  assert.ok(fresh.startsWith("# x\n<!-- generated:config -->\n\n### Top level\n"));
  assert.ok(fresh.endsWith("\n<!-- /generated -->\ny\n"));
  assert.equal(withConfigTables(fresh), fresh);
  assert.throws(() => withConfigTables("# x"), /lacks the lines <!-- generated:config -->/);
  if (!existsSync(pathOf("README.md"))) return; // not written yet
  const readme = readFileSync(pathOf("README.md"), "utf8");
  assert.equal(
    readme,
    withConfigTables(readme),
    "README.md is stale: run node --import tsx test/generate.ts",
  );
});
