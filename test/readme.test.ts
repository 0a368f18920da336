// What README.md shows is tried: its examples run, its tables are complete.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test, type TestContext } from "node:test";
import { inspectConfigFile } from "../src/config/mod.ts";
import { GENERATION_REASONS } from "../src/core/generation.ts";
import { startLocalBroker, startLocalKinesis } from "../src/local/mod.ts";
import { installedPackage, output, ROOT } from "./servers/installed-package.ts";

const README = readFileSync(join(ROOT, "README.md"), "utf8");
const RUNTIMES = { node: ["node"], deno: [join(ROOT, "node_modules", ".bin", "deno"), "run", "-A"] } as const;

/** The first block of a language after a text. */
function block(language: string, after: string): string {
  const start = README.indexOf(after);
  const found = new RegExp(`\`\`\`${language}\\n([\\s\\S]*?)\\n\`\`\``).exec(README.slice(start));
  assert.ok(start >= 0 && found, `README.md has no ${language} block after "${after}"`);
  return found[1]!;
}

function folder(t: TestContext, parent: string): string {
  const path = mkdtempSync(join(parent, "readme-"));
  t.after(() => rmSync(path, { recursive: true }));
  return path;
}

test("readme: its table of errors has exactly the codes that exist", () => {
  const union = /export type ErrorCode =([\s\S]*?);/.exec(
    readFileSync(join(ROOT, "src/core/errors.ts"), "utf8"),
  )![1]!;
  const codes = [...union.matchAll(/\| "([A-Z_]+)"/g)].map(([, code]) => code);
  const rows = [...README.matchAll(/^\| `([A-Z_]{5,})` \|/gm)].map(([, code]) => code);
  assert.ok(codes.length > 20);
  assert.deepEqual(rows, codes);
});

test("readme: its table of reasons for a new producer name has exactly those that exist", () => {
  const table = README.slice(README.indexOf("| Reason | A new name begins because"));
  const rows = table.slice(0, table.indexOf("\n\n")).matchAll(/^\| `([a-z-]+)` \|/gm);
  assert.deepEqual(Array.from(rows, ([, reason]) => reason), Object.keys(GENERATION_REASONS));
});

test("readme: its smallest connector.toml and its hook belong together and are valid", async (t) => {
  const path = folder(t, tmpdir());
  const file = join(path, "connector.toml");
  mkdirSync(join(path, "hooks"));
  writeFileSync(join(path, "hooks", "orders.mts"), block("ts", "## Hooks"));
  writeFileSync(file, `${block("toml", "The smallest")}\n\n${block("toml", "satisfies Hooks")}\n`);
  const { problems, notYet, warnings } = await inspectConfigFile(file, {});
  assert.deepEqual({ problems, notYet, warnings }, { problems: [], notYet: [], warnings: [] });
});

test("readme: a Java connector's YAML with Pulsar beside it is valid", async (t) => {
  const file = join(folder(t, tmpdir()), "connector.yaml");
  writeFileSync(file, block("yaml", "## Moving"));
  const { problems, notYet } = await inspectConfigFile(file, { AWS_REGION: "eu-west-1" });
  assert.deepEqual({ problems, notYet }, { problems: [], notYet: [] });
});

for (const runtime of ["node", "deno"] as const) {
  const [command, ...args] = RUNTIMES[runtime];

  test(`readme: the example of local servers runs on ${runtime}`, async (t) => {
    const cwd = folder(t, (await installedPackage()).folder);
    writeFileSync(join(cwd, "local.mjs"), block("js", "<!-- test:local -->"));
    assert.equal(await output(command, [...args, "local.mjs"], cwd), "anna hello\n");
  });

  test(`readme: the example of embedding runs on ${runtime}`, async (t) => {
    const cwd = folder(t, (await installedPackage()).folder);
    const kinesis = await startLocalKinesis();
    t.after(() => kinesis.close());
    const broker = await startLocalBroker();
    t.after(() => broker.close());
    kinesis.createStream("orders", { shards: 1 });
    kinesis.putRecord("orders", { data: "hello", partitionKey: "anna" });
    writeFileSync(join(cwd, "connector.toml"), CONNECTOR(kinesis.url, broker.url));
    writeFileSync(join(cwd, "embedding.mjs"), block("js", "<!-- test:embedding -->"));
    const child = spawn(command, [...args, "embedding.mjs"], { cwd, stdio: ["ignore", "pipe", "inherit"] });
    t.after(() => child.kill("SIGKILL"));
    let words = "";
    child.stdout.setEncoding("utf8").on("data", (text: string) => words += text);
    const code = new Promise((resolve) => child.once("close", resolve));

    await broker.received("orders", 1, AbortSignal.timeout(120_000));
    child.kill("SIGTERM");
    await code;

    assert.match(words, /^shardId-000000000000: 1 more records are safe$/m);
    assert.match(words, /^ended: stop$/m);
    const [message] = broker.messages("orders");
    assert.equal(message?.properties["via"], "my-program");
    assert.equal(message?.properties["kinesis.partition.key"], "anna");
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
leases = { store = "memory" }
pulsar = { serviceUrl = "${broker}", topic = "orders" }
`;
}
