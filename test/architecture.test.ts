// The rules of the house (ARCHITECTURE.md), read from the sources: imports go one way, each dependency has one room,
// the core is pure, files are small.

import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";

const SRC = fileURLToPath(new URL("../src", import.meta.url));

/** What each room, or file directly in src/, may import of others; `type` = its types only. */
const ARROWS: Readonly<Record<string, readonly string[]>> = {
  core: [],
  config: ["core"],
  kinesis: ["core"],
  aws: ["core"],
  leases: ["core"],
  pulsar: ["core"],
  hooks: ["core"],
  metrics: ["core"],
  local: ["core", "pulsar/wire", "pulsar/codecs"],
  "runtime.ts": ["core"],
  pipeline: ["core", "kinesis", "leases", "pulsar", "hooks", "metrics"],
  "aws-access.ts": ["aws", "leases", "type config", "type core", "hooks"],
  "create-connector.ts": ["core", "config", "aws", "kinesis", "leases", "pulsar", "hooks", "metrics"].concat(
    ["pipeline", "aws-access.ts", "runtime.ts"],
  ),
  "open-leases.ts": ["type core", "core", "type config", "kinesis", "pipeline", "aws-access.ts"],
  cli: [
    "core",
    "config",
    "create-connector.ts",
    "open-leases.ts",
    "pipeline",
    "local",
    "runtime.ts",
    "type hooks",
  ],
};

/** The rooms that may use a package. AWS's and Pulsar's are each named in one room. */
const PACKAGES: Readonly<Record<string, readonly string[]>> = {
  "@aws-sdk/client-cloudwatch": ["metrics"],
  "@aws-sdk/client-dynamodb": ["leases"],
  "@aws-sdk/client-kinesis": ["kinesis"],
  "@aws-sdk/core": ["kinesis"],
  "@aws-sdk/credential-providers": ["aws"],
  "@smithy/node-http-handler": ["aws"],
  "pulsar-client": ["pulsar"],
  "@bokuweb/zstd-wasm": ["pulsar"],
  "snappyjs": ["pulsar"],
  "cac": ["cli"],
  "pino": ["cli"],
  "smol-toml": ["config"],
  "valibot": ["config"],
  "yaml": ["config"],
  "jiti": ["hooks"],
};

/** Who may use the process: its arguments, streams, signals and environment; others are given what they need. */
const PROCESS = ["cli/", "runtime.ts", "aws/client-config.ts", "aws/default-chain.ts", "leases/worker-id.ts"];

const NODE_IN_CORE = ["node:buffer", "node:crypto", "node:timers"]; // of timers: setImmediate, which is no clock

interface Import {
  readonly file: string;
  readonly target: string;
  readonly isType: boolean;
}

const files: readonly string[] = readdirSync(SRC, { recursive: true, encoding: "utf8" })
  .map((file) => file.replaceAll("\\", "/")).filter((file) => file.endsWith(".ts")).sort();
const sources = new Map(files.map((file) => [file, readFileSync(join(SRC, file), "utf8")]));

/** Import and export … from lines, and import() calls. Relative targets are paths under src/. */
function importsOf(file: string): Import[] {
  const found: Import[] = [];
  const statements = /^(?:import|export)\b([^;"]*?)\bfrom "([^"]+)"|\bimport\("([^"]+)"\)/gm;
  for (const [, names, named, dynamic] of sources.get(file)!.matchAll(statements)) {
    const target = named ?? dynamic!;
    const isType = names !== undefined && (/^\s*type\b/.test(names) || onlyTypes(names));
    found.push({ file, target: target.startsWith(".") ? join(file, "..", target) : target, isType });
  }
  return found;
}

function onlyTypes(names: string): boolean {
  const listed = /^\s*\{([\s\S]*)\}\s*$/.exec(names)?.[1]?.split(",").map((name) => name.trim()).filter(
    Boolean,
  );
  return listed !== undefined && listed.length > 0 && listed.every((name) => name.startsWith("type "));
}

const roomOf = (path: string): string => path.split("/")[0]!;
const inSrc = ({ target }: Import): boolean => sources.has(target);
const packageOf = (target: string): string =>
  target.split("/").slice(0, target.startsWith("@") ? 2 : 1).join("/");
const imports = files.flatMap(importsOf);

test("architecture: every relative import is found, and names a file of src/ or package.json", () => {
  assert.ok(imports.length > 500, `only ${imports.length} imports were read`);
  const lost = imports.filter((one) =>
    !inSrc(one) && (one.target.startsWith(".") || one.target.endsWith(".ts")) &&
    one.target !== "../package.json"
  );
  assert.deepEqual(lost, []);
});

test("architecture: imports go one way, from the command line down to the core", () => {
  const wrong = imports.filter((one) => {
    const [from, to] = [roomOf(one.file), roomOf(one.target)];
    if (!inSrc(one) || from === to) return false;
    const allowed = ARROWS[from];
    return !(allowed?.some((arrow) =>
      one.target === arrow || one.target.startsWith(`${arrow}/`) || (one.isType && arrow === `type ${to}`)
    ));
  });
  assert.deepEqual(wrong.map(({ file, target }) => `${file} → ${target}`), []);
});

test("architecture: every room has its arrows, and no arrow leads nowhere", () => {
  const rooms = new Set(files.map(roomOf));
  assert.deepEqual([...rooms].sort(), Object.keys(ARROWS).sort());
  for (const arrow of Object.values(ARROWS).flat()) {
    assert.ok(rooms.has(roomOf(arrow.replace("type ", ""))), arrow);
  }
});

test("architecture: each package is used in its own room only", () => {
  const wrong = imports.filter((one) =>
    !inSrc(one) && !one.target.startsWith("node:") && one.target !== "../package.json" &&
    packageOf(one.target) !== "kinesis-pulsar" && // inside the hook that init writes
    !PACKAGES[packageOf(one.target)]?.includes(roomOf(one.file))
  );
  assert.deepEqual(wrong.map(({ file, target }) => `${file} → ${target}`), []);
});

test("architecture: the core has no clock, no randomness, no process and no I/O", () => {
  const core = files.filter((file) => file.startsWith("core/"));
  const outside = core.flatMap(importsOf).filter((one) => !inSrc(one) && !NODE_IN_CORE.includes(one.target));
  assert.deepEqual(outside, []);
  const impure = /\b(Date\.now|new Date\(\)|performance\.|Math\.random|setTimeout|setInterval|fetch\()/;
  assert.deepEqual(core.filter((file) => impure.test(withoutComments(file))), []);
});

test("architecture: only runtime.ts knows Node from Deno, and few files know the process", () => {
  const runtimes = /\bDeno\b|process\.versions|\bnavigator\b/;
  const knowing = files.filter((file) => runtimes.test(withoutComments(file)));
  assert.deepEqual(knowing, ["runtime.ts"]);
  const users = imports.filter(({ target }) => target === "node:process").map(({ file }) => file);
  assert.deepEqual(users.filter((file) => !PROCESS.some((known) => file.startsWith(known))), []);
});

test("architecture: nothing writes to the console", () => {
  assert.deepEqual(files.filter((file) => /\bconsole\s*\./.test(withoutComments(file))), []);
});

test("architecture: files are small: none over 400 lines, half of them at most 120", () => {
  const sizes = files.map((file) => ({ file, lines: sources.get(file)!.trimEnd().split("\n").length }));
  assert.deepEqual(sizes.filter(({ lines }) => lines > 400), []);
  const median = sizes.map(({ lines }) => lines).sort((a, b) => a - b)[sizes.length >> 1]!;
  assert.ok(median <= 120, `the median is ${median} lines`);
});

test("architecture: files are named in kebab-case and begin with what they decide", () => {
  assert.deepEqual(
    files.filter((file) => !/^([a-z0-9]+(-[a-z0-9]+)*\/)*[a-z0-9]+(-[a-z0-9]+)*\.ts$/.test(file)),
    [],
  );
  const silent = files.filter((file) => !/^(#!.*\n)?\/\/ \S/.test(sources.get(file)!));
  assert.deepEqual(silent, []);
});

function withoutComments(file: string): string {
  return sources.get(file)!.replace(/\/\*[\s\S]*?\*\//g, "").replace(/(^|\s)\/\/.*$/gm, "$1");
}
