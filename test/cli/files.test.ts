import assert from "node:assert/strict";
import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test, type TestContext } from "node:test";
import { runCli } from "../servers/cli.ts";
import { commands } from "../../src/cli/commands.ts";
import { ORDERS_HOOK } from "../../src/cli/templates.ts";

async function folder(t: TestContext): Promise<string> {
  const path = await mkdtemp(join(tmpdir(), "kinesis-pulsar-"));
  t.after(() => rm(path, { recursive: true }));
  return path;
}

const plain = { AWS_REGION: undefined, AWS_DEFAULT_REGION: undefined, PULSAR_URL: undefined };

test("cli init: what it writes validates, without warnings", async (t) => {
  const cwd = await folder(t);
  const init = await runCli(["init"], { cwd });
  assert.equal(init.code, 0, init.stderr);
  assert.match(init.stdout, /^wrote connector\.toml\nwrote hooks\/orders\.mts\n/);
  const { code, stdout, stderr } = await runCli(["validate", "connector.toml"], { cwd, env: plain });
  assert.equal(stderr, "");
  assert.equal(code, 0);
  assert.match(stdout, /connector\.toml is valid\./);
});

test("cli init: never overwrites, not even half of it", async (t) => {
  const cwd = await folder(t);
  await mkdir(join(cwd, "hooks"));
  await writeFile(join(cwd, "hooks", "orders.mts"), "mine");
  const { code, stdout, stderr } = await runCli(["init", cwd]);
  assert.equal(code, 2);
  assert.equal(stdout, "");
  assert.match(stderr, /nothing written, because these exist already: .*orders\.mts\n$/);
  assert.equal(await readFile(join(cwd, "hooks", "orders.mts"), "utf8"), "mine");
  await assert.rejects(readFile(join(cwd, "connector.toml")), { code: "ENOENT" });
});

test("cli init: makes the folder it is told", async (t) => {
  const cwd = await folder(t);
  assert.equal((await runCli(["init", "a/b"], { cwd })).code, 0);
  assert.equal(await readFile(join(cwd, "a", "b", "hooks", "orders.mts"), "utf8"), ORDERS_HOOK);
});

test("cli init: a folder that is a file is an error that names the path", async (t) => {
  const cwd = await folder(t);
  await writeFile(join(cwd, "file"), "");
  const init = commands.find((command) => command.name === "init")!;
  await assert.rejects(init.run({ args: [join(cwd, "file")], options: {}, verbose: false }), {
    code: "CONFIG_INVALID",
    message: /connector\.toml cannot be written: E/,
  });
});

test("cli validate: says what would run, what it costs, and where leases live", async (t) => {
  const cwd = await folder(t);
  await writeFile(
    join(cwd, "c.json"),
    JSON.stringify({
      awsKinesisStreamName: "orders",
      awsRegion: "eu-west-1",
      applicationName: "app",
      initialPositionInStream: "AT_TIMESTAMP",
      startAtTime: "2026-09-01",
      awsCredentialPluginParam: '{"accessKey":"AKIAKEY","secretKey":"VERYSECRET"}',
      pulsar: { serviceUrl: "pulsar://localhost:6650", topic: "orders" },
    }),
  );
  const { code, stdout, stderr } = await runCli(["validate", "c.json"], { cwd, env: plain });
  assert.equal(code, 0, stderr);
  assert.match(stdout, /stream +orders \(eu-west-1\)/);
  assert.match(stdout, /AT_TIMESTAMP: 2026-09-01T00:00:00\.000Z/);
  assert.match(stdout, /enhanced fan-out, as consumer "app"; it costs: AWS charges/);
  assert.match(stdout, /DynamoDB table "app" \(eu-west-1\)/);
  assert.match(stdout, /persistent:\/\/public\/default\/orders/);
  assert.equal(stderr, "");
  assert.ok(!`${stdout}${stderr}`.includes("VERYSECRET"));
  assert.ok(!`${stdout}${stderr}`.includes("AKIAKEY"));
});

test("cli validate: lists all problems with line and column, and what is not yet there; exit code 2", async (t) => {
  const cwd = await folder(t);
  await writeFile(
    join(cwd, "c.yaml"),
    "awsKinesisStreamName: orders\ncheckpointInterval: often\npulsr:\n  topic: x\n" +
      "pulsar:\n  serviceUrl: pulsar://h\n  topic: t\nleases:\n  store: file\n",
  );
  const { code, stdout, stderr } = await runCli(["validate", "c.yaml"], { cwd, env: plain });
  assert.equal(code, 2);
  assert.equal(stdout, "");
  assert.match(
    stderr,
    /^c\.yaml:2:1: checkpointInterval = "often": must be an integer from 1 to 2147483647$/m,
  );
  assert.match(stderr, /^c\.yaml:3:1: unknown key pulsr: did you mean "pulsar"\?$/m);
  assert.match(stderr, /^c\.yaml: awsRegion is missing/m);
  assert.match(stderr, /^c\.yaml:9:3: leases\.store = "file": not yet in this version$/m);
  assert.match(stderr, /cannot be run: 3 problems, 1 option that this version does not have yet\.\n$/);
});

test("cli validate: a hook script that is not there is found, at its line", async (t) => {
  const cwd = await folder(t);
  await writeFile(
    join(cwd, "c.toml"),
    'awsKinesisStreamName = "s"\nawsRegion = "eu-west-1"\nuseEnhancedFanOut = false\napplicationName = "app"\n' +
      '[pulsar]\nserviceUrl = "pulsar://h"\ntopic = "t"\n[[hooks]]\npath = "./gone.mts"\n',
  );
  const { code, stderr } = await runCli(["validate", "c.toml"], { cwd, env: plain });
  assert.equal(code, 2);
  assert.match(stderr, /^c\.toml:9:1: hooks\[0\]\.path: there is no file .*gone\.mts$/m);
});
