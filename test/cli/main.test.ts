import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test, type TestContext } from "node:test";
import pkg from "../../package.json" with { type: "json" };
import { runCli, spawnCli } from "../servers/cli.ts";

async function folder(t: TestContext): Promise<string> {
  const path = await mkdtemp(join(tmpdir(), "kinesis-pulsar-"));
  t.after(() => rm(path, { recursive: true }));
  return path;
}

test("cli: --version prints the version of package.json, in any folder", async (t) => {
  assert.deepEqual(await runCli(["--version"], { cwd: await folder(t) }), {
    code: 0,
    stdout: `${pkg.version}\n`,
    stderr: "",
  });
});

test("cli: --help shows all commands and examples on stdout", async () => {
  const { code, stdout, stderr } = await runCli(["--help"]);
  assert.equal(code, 0);
  assert.equal(stderr, "");
  for (
    const word of [
      "demo",
      "init [DIR]",
      "validate FILE",
      "run FILE",
      "schema",
      "Examples",
      "Exit codes",
      "README.md",
    ]
  ) {
    assert.ok(stdout.includes(word), word);
  }
});

test("cli: without a command help goes to stderr and the exit code is 2", async () => {
  const { code, stdout, stderr } = await runCli([]);
  assert.equal(code, 2);
  assert.equal(stdout, "");
  assert.match(stderr, /Usage\n {2}kinesis-pulsar <command>/);
});

test("cli: an unknown command is one line and exit code 2", async () => {
  const { code, stdout, stderr } = await runCli(["validat", "x.toml"]);
  assert.deepEqual({ code, stdout }, { code: 2, stdout: "" });
  assert.equal(stderr, 'kinesis-pulsar: unknown command "validat": did you mean "validate"?\n');
});

test("cli: an error is one line, and with --verbose the chain of its causes", async () => {
  const [short, long] = await Promise.all([
    runCli(["validate", "nowhere.toml"]),
    runCli(["--verbose", "validate", "nowhere.toml"]),
  ]);
  assert.equal(short.code, 2);
  assert.equal(
    short.stderr,
    "error [CONFIG_INVALID] nowhere.toml: there is no such file (`kinesis-pulsar init` writes one)\n",
  );
  assert.equal(long.code, 2);
  assert.match(
    long.stderr,
    /^error \[CONFIG_INVALID\] nowhere\.toml: .*\n {2}where: file=nowhere\.toml\n {2}caused by: /,
  );
  assert.match(long.stderr, /ENOENT/);
});

test("cli: schema prints a JSON Schema with all names", async () => {
  const { code, stdout } = await runCli(["schema"]);
  assert.equal(code, 0);
  const schema = JSON.parse(stdout);
  assert.equal(schema.properties.checkpointInterval.default, 60_000);
  assert.equal(schema.properties.pulsar.properties.maxPendingMessages.default, 10_000);
});

test("cli: the spawn helper reports a signal as a shell does", async (t) => {
  const cli = spawnCli(["schema"]);
  t.after(() => cli.kill("SIGKILL"));
  cli.kill("SIGKILL");
  assert.equal(await cli.exitCode, 128 + 9);
});
