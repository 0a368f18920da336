// `npm test`: every test on Node and on Deno, against one real broker, then compares what passed on each.
//   npm test -- [--node | --deno] [part of a path …]     one runtime, some files

import { spawn } from "node:child_process";
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { compareRuntimes, readJunit, type TestNames } from "./compare-runtimes.ts";
import { brokerMissing, pulsarBroker } from "./servers/broker.ts";
import { kclJvm, kclMissing } from "./servers/kcl-consumer.ts";
import { packAndInstall } from "./servers/installed-package.ts";
import { startKinesisLocal } from "./servers/kinesis-local.ts";
import { pythonMissing, pythonWithPulsar } from "./servers/python.ts";
import { topicReader } from "./servers/topic-reader.ts";
import { knownArguments } from "./usage.ts";

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const NOT_TESTS = new Set(["bench", "proof", "servers/pulsar-standalone"]);
const say = (line: string): void => void process.stdout.write(`${line}\n`);

function testFiles(filters: readonly string[]): string[] {
  const found: string[] = [];
  const walk = (folder: string): void => {
    for (const entry of readdirSync(join(root, "test", folder), { withFileTypes: true })) {
      const path = folder === "" ? entry.name : `${folder}/${entry.name}`;
      if (entry.isDirectory() && !NOT_TESTS.has(path)) walk(path);
      else if (entry.name.endsWith(".test.ts")) found.push(`test/${path}`);
    }
  };
  walk("");
  return found.filter((file) => filters.length === 0 || filters.some((filter) => file.includes(filter)))
    .sort();
}

function run(command: string, args: readonly string[], env: NodeJS.ProcessEnv): Promise<number> {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { cwd: root, env, stdio: ["ignore", "inherit", "inherit"] });
    child.once("error", reject);
    child.once("exit", (code, signal) => resolve(code ?? (signal === null ? 0 : 1)));
  });
}

/** Servers of the whole run, as environment variables that the tests' helpers look for. */
async function startServers(files: readonly string[]): Promise<NodeJS.ProcessEnv> {
  const missing = brokerMissing();
  const kinesisLocal = await startKinesisLocal();
  const env: NodeJS.ProcessEnv = { ...process.env, KINESIS_LOCAL_URL: kinesisLocal.url };
  if (files.some((file) => file.startsWith("test/e2e/kcl-"))) {
    const noKcl = kclMissing();
    if (noKcl === undefined) env.TEST_KCL_URL = (await kclJvm()).url;
    else say(`\n!!! Tests with the Kinesis Client Library for Java are SKIPPED: ${noKcl}. !!!\n`);
  }
  if (missing !== undefined) {
    say(`\n!!! Tests against a real Pulsar broker are SKIPPED: ${missing}. !!!\n`);
    return env;
  }
  const noPython = pythonMissing();
  if (noPython === undefined) await pythonWithPulsar();
  else say(`\n!!! Tests with Pulsar's Python client are SKIPPED: ${noPython}. !!!\n`);
  const broker = await pulsarBroker();
  const reader = await topicReader();
  return {
    ...env,
    TEST_PULSAR_URL: broker.serviceUrl,
    TEST_PULSAR_ADMIN_URL: broker.adminUrl,
    TEST_TOPIC_READER_URL: reader.url,
  };
}

/** Packs and installs the package once for both runtimes; where that fails, the tests of it do it again and say so. */
async function installPackage(files: readonly string[], folder: string): Promise<NodeJS.ProcessEnv> {
  const wanted = files.some((file) => file.startsWith("test/package/") || file === "test/readme.test.ts");
  if (!wanted) return {};
  try {
    await packAndInstall(folder);
    return { TEST_PACKAGE_DIR: folder };
  } catch (error) {
    say(`\nThe package cannot be built, packed or installed: ${error}\n`);
    return {};
  }
}

const RUNTIMES = {
  node: (files: readonly string[], report: string) => [
    process.execPath,
    ...["--import", "tsx", "--test", "--test-concurrency=2", "--test-reporter=spec"],
    ...[
      "--test-reporter-destination=stdout",
      "--test-reporter=junit",
      `--test-reporter-destination=${report}`,
    ],
    ...files,
  ],
  deno: (files: readonly string[], report: string) => [
    join(root, "node_modules", ".bin", "deno"),
    ...["test", "-A", "--parallel", `--junit-path=${report}`, ...files],
  ],
} as const;

const USAGE = `npm test [-- [--node | --deno] [part of a path …]]
All tests on Node and on Deno, against one real Pulsar broker; then what passed on each is compared.
  --node, --deno    one runtime
  part of a path    only the test files whose path has it; of several, those that have one of them`;

async function main(): Promise<number> {
  const args = knownArguments({ text: USAGE, options: /^--(node|deno)$/, words: () => true });
  const runtimes = (["node", "deno"] as const).filter((name) =>
    args.includes(`--${name}`) || !args.some((arg) => arg === "--node" || arg === "--deno")
  );
  const files = testFiles(args.filter((arg) => !arg.startsWith("--")));
  if (files.length === 0) {
    say(`no test file matches ${args.join(" ")}`);
    return 1;
  }
  const folder = mkdtempSync(join(tmpdir(), "kinesis-pulsar-test-"));
  try {
    const env: NodeJS.ProcessEnv = {
      ...(await startServers(files)),
      ...(await installPackage(files, mkdtempSync(join(folder, "package-")))),
      DENO_JOBS: "2",
      NO_COLOR: "1",
    };
    const names = new Map<string, TestNames>();
    let failed = false;
    for (const runtime of runtimes) {
      const report = join(folder, `${runtime}.xml`);
      say(`\n== ${files.length} files on ${runtime}`);
      const [command, ...rest] = RUNTIMES[runtime](files, report);
      const code = await run(command!, rest, env);
      if (code !== 0) failed = true;
      if (existsSync(report)) names.set(runtime, readJunit(readFileSync(report, "utf8")));
      else {say(
          `\nPROBLEM: ${runtime} ended with ${code} and without its report: look above for how it crashed`,
        );}
    }
    return summary(names, failed);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

function summary(names: ReadonlyMap<string, TestNames>, failed: boolean): number {
  say("");
  const [node, deno] = [names.get("node"), names.get("deno")];
  const problems = node && deno ? compareRuntimes(node, deno, process.env.CI === "true") : [];
  for (const problem of problems) say(`PROBLEM: ${problem}`);
  let passed = 0, wrong = problems.length, skipped = 0;
  for (const [runtime, result] of names) {
    say(
      `${runtime}: ${result.passed.size} passed, ${result.failed.size} failed, ${result.skipped.size} skipped`,
    );
    passed += result.passed.size;
    skipped += result.skipped.size;
    if (problems.length === 0) wrong += result.failed.size;
  }
  if (failed && wrong === 0) wrong = 1; // a file that broke outside of a test
  say(`${passed} passed, ${wrong} failed, ${skipped} skipped`);
  return wrong === 0 ? 0 : 1;
}

process.exitCode = await main();
process.exit();
