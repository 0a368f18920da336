// The installed package, run as users run it: by npx, and by Deno.

import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test, type TestContext } from "node:test";
import pkg from "../../package.json" with { type: "json" };
import { openTopicReader, startLocalBroker, startLocalKinesis } from "../../src/local/mod.ts";
import { installedPackage, output, ROOT } from "../servers/installed-package.ts";

const DENO = join(ROOT, "node_modules", ".bin", "deno");

/** What README says is enough in place of -A. */
const PERMISSIONS = /^`(--allow-[a-z -]+)`/m.exec(readFileSync(join(ROOT, "README.md"), "utf8"))![1]!.split(
  " ",
);

/** The ways to call the installed program. */
const WAYS = {
  npx: ["npx", "kinesis-pulsar"],
  deno: [DENO, "run", "-A", "npm:kinesis-pulsar"],
  "deno with README's permissions": [DENO, "run", "--no-prompt", ...PERMISSIONS, "npm:kinesis-pulsar"],
} as const;
const ways = Object.keys(WAYS) as (keyof typeof WAYS)[];

/** A folder of the test's own that sees the installed package. */
async function folder(t: TestContext): Promise<string> {
  const path = mkdtempSync(join((await installedPackage()).folder, "test-"));
  t.after(() => rmSync(path, { recursive: true }));
  return path;
}

async function run(way: keyof typeof WAYS, cwd: string, ...args: string[]): Promise<string> {
  const [command, ...rest] = WAYS[way];
  return await output(command, [...rest, ...args], cwd);
}

test("package: holds what users need, and neither sources nor tests", async () => {
  const { files } = await installedPackage();
  const wanted = ["README.md", "CHANGELOG.md", "LICENSE", "package.json"].concat(
    ["cli.js", "mod.js", "mod.d.ts", "local.js", "local.d.ts", "schema.json"].map((name) => `dist/${name}`),
  );
  assert.deepEqual(wanted.filter((name) => !files.includes(name)), []);
  const others = files.filter((name) => !wanted.includes(name));
  assert.deepEqual(others.filter((name) => !/^dist\/[\w-]+\.(js|d\.ts)$/.test(name)), []);
});

test("package: carries its version inside and reads no package.json", async () => {
  const installed = await installedPackage();
  for (const name of installed.files.filter((name) => name.endsWith(".js"))) {
    const code = readFileSync(join(installed.folder, "node_modules", "kinesis-pulsar", name), "utf8");
    assert.doesNotMatch(code, /(from|import\() ?["'][^"']*package\.json/, name);
  }
});

test("package: npx and deno print its version, from any folder", async (t) => {
  const cwd = await folder(t);
  assert.equal(await run("npx", cwd, "--version"), `${pkg.version}\n`);
  assert.equal(await run("deno", cwd, "--version"), `${pkg.version}\n`);
});

for (const way of ["npx", "deno"] as const) {
  test(`package: by ${way} the demo shows orders that arrive`, async (t) => {
    const words = await run(way, await folder(t), "demo", "--seconds", "2");
    assert.match(words, /→ \S+ +\{.*"total":"[\d.]+"\}/);
    assert.match(words, /Every order arrived\./);
  });

  test(`package: by ${way} what init writes is valid`, async (t) => {
    const cwd = await folder(t);
    await run(way, cwd, "init");
    assert.match(await run(way, cwd, "validate", "connector.toml"), /orders/);
  });
}

for (const way of ways) {
  test(`package: by ${way} a stream is copied with a TypeScript hook`, async (t) => {
    const cwd = await folder(t);
    const kinesis = await startLocalKinesis();
    t.after(() => kinesis.close());
    const broker = await startLocalBroker();
    t.after(() => broker.close());
    kinesis.createStream("orders", { shards: 2 });
    for (let id = 0; id < 100; id++) {
      const data = JSON.stringify({ id, country: id % 2 === 0 ? "DE" : "FR" });
      kinesis.putRecord("orders", { data, partitionKey: `key-${id}` });
    }
    writeFileSync(join(cwd, "connector.toml"), CONNECTOR(kinesis.url, broker.url));
    writeFileSync(
      join(cwd, "countries.ts"),
      'export type Country = "DE" | "FR";\nexport const GERMANY: Country = "DE";\n',
    );
    writeFileSync(join(cwd, "orders.ts"), HOOK);

    await run(way, cwd, "run", "connector.toml", "--until", "now");

    const reader = await openTopicReader({ serviceUrl: broker.url, topic: "orders" });
    t.after(() => reader.close());
    const ids = new Set<number>();
    while (ids.size < 50) {
      const message = (await reader.next())!;
      const order = JSON.parse(message.data.toString());
      assert.deepEqual([order.country, message.key, order.shape], ["DE", `order-${order.id}`, "shaped"]);
      assert.equal(message.properties["kinesis.partition.key"], `key-${order.id}`);
      ids.add(order.id);
    }
    assert.equal(broker.stats("orders").messages, 50);
  });
}

function CONNECTOR(kinesis: string, broker: string): string {
  return `
awsKinesisStreamName = "orders"
awsRegion = "us-east-1"
awsEndpoint = "${kinesis}"
awsCredentialPluginParam = '{"accessKey": "a", "secretKey": "b"}'
initialPositionInStream = "TRIM_HORIZON"
useEnhancedFanOut = false

[leases]
store = "memory"

[metrics]
cloudwatch = "none"

[pulsar]
serviceUrl = "${broker}"
topic = "orders"

[[hooks]]
path = "./orders.ts"
options = { shape = "shaped" }
`;
}

const HOOK = `
import type { Hooks } from "kinesis-pulsar";
import { defineHooks } from "kinesis-pulsar";
import { type Country, GERMANY } from "./countries.ts";

interface Order {
  readonly id: number;
  readonly country: Country;
}

export default defineHooks<{ shape: string }>({
  onRecord(record, { options }) {
    const order = record.json<Order>();
    if (order.country !== GERMANY) return null;
    return { ...record.message, key: "order-" + order.id, data: { ...order, shape: options.shape } };
  },
}) satisfies Hooks<{ shape: string }>;
`;

test("package: TypeScript users compile against its types, strictly", async (t) => {
  const cwd = await folder(t);
  await run("npx", cwd, "init");
  writeFileSync(
    join(cwd, "countries.ts"),
    'export type Country = "DE" | "FR";\nexport const GERMANY: Country = "DE";\n',
  );
  writeFileSync(join(cwd, "orders.ts"), HOOK);
  writeFileSync(
    join(cwd, "program.ts"),
    `
import { type Connector, ConnectorError, createConnector, type Hooks, loadConfigFile } from "kinesis-pulsar";
import { type LocalKinesis, startLocalBroker, startLocalKinesis } from "kinesis-pulsar/local";

export async function start(hooks: Hooks): Promise<Connector> {
  const kinesis: LocalKinesis = await startLocalKinesis({ limits: true });
  const broker = await startLocalBroker({ partitions: { orders: 4 } });
  const given = await loadConfigFile("connector.toml", {});
  const connector = createConnector({ awsEndpoint: kinesis.url, pulsar: { serviceUrl: broker.url, topic: given.pulsar.topic } }, { hooks });
  connector.on("checkpoint", ({ sequenceNumber }) => void sequenceNumber.length);
  const { error } = await connector.finished;
  if (error instanceof ConnectorError && error.code === "STREAM_GONE") throw error;
  // @ts-expect-error there is no such hook
  createConnector({}, { hooks: { onRecrod() {} } });
  return connector;
}
`,
  );
  const compilerOptions = {
    strict: true,
    noEmit: true,
    target: "ES2022",
    module: "NodeNext",
    allowImportingTsExtensions: true,
    exactOptionalPropertyTypes: true,
    skipLibCheck: false,
    types: ["node"],
    typeRoots: [join(ROOT, "node_modules", "@types")],
  };
  writeFileSync(
    join(cwd, "tsconfig.json"),
    JSON.stringify({ compilerOptions, include: ["**/*.ts", "**/*.mts"] }),
  );
  writeFileSync(join(cwd, "package.json"), '{ "type": "module" }\n');
  await output("node", [join(ROOT, "node_modules", "typescript", "bin", "tsc"), "-p", cwd], cwd);
});
