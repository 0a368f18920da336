import { test } from "node:test";
import type { TestContext } from "node:test";
import assert from "node:assert/strict";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { stringify } from "smol-toml";
import { type CliProcess, spawnCli } from "../servers/cli.ts";
import { startFaultyDynamoDb } from "./dynamodb.ts";
import {
  ACCESS_KEY,
  assertNoSecret,
  type Changes,
  faultWorld,
  KEYS,
  keysParam,
  merge,
  SECRET_KEY,
  soon,
  until,
  type World,
} from "./kit.ts";

// Starting the program takes a second, and a busy machine many times that.
const PATIENCE_MS = 120_000;

/** Starts `kinesis-pulsar` with a configuration file; killed with the test. */
async function program(
  t: TestContext,
  config: Changes,
  words = (file: string): string[] => ["run", file],
): Promise<CliProcess> {
  const folder = await mkdtemp(join(tmpdir(), "kinesis-pulsar-faults-"));
  t.after(() => rm(folder, { recursive: true, force: true }));
  const file = join(folder, "connector.toml");
  await writeFile(file, stringify(config));
  const cli = spawnCli(words(file), { cwd: folder, env: { AWS_REGION: undefined } });
  t.after(async () => {
    cli.kill("SIGKILL");
    await cli.exitCode;
  });
  return cli;
}

/** Its end and all it wrote, which shows no secret. */
async function end(cli: CliProcess): Promise<{ readonly code: number; readonly stderr: string }> {
  const code = await soon(cli.exitCode, "the program's end", PATIENCE_MS);
  assertNoSecret(cli.stdout, cli.stderr);
  return { code, stderr: cli.stderr };
}

/** The program while it reads, with two records in flight that a silent broker never acknowledges. */
async function stuckProgram(t: TestContext, changes: Changes): Promise<{ world: World; cli: CliProcess }> {
  const dynamoDb = await startFaultyDynamoDb(t);
  const world = await faultWorld(t, { dynamoEndpoint: dynamoDb.url });
  const hang = world.broker.inject({ command: "SEND", times: Infinity, hang: true });
  const cli = await program(t, merge(world.config, changes));
  await cli.waitFor(/reading shard/, PATIENCE_MS);
  world.put(2);
  await until(() => hang.hits > 0, "a message on its way", PATIENCE_MS);
  return { world, cli };
}

test("faults program: a wrong configuration ends with 2 and all its problems, in run and in validate", async (t) => {
  const world = await faultWorld(t);
  const config = merge(world.config, {
    awsRegion: undefined,
    checkpointIntervall: 1,
    numRetries: "three",
    initialPositionInStream: "AT_TIMESTAMP",
    awsCredentialPluginParam: JSON.stringify({ accessKey: ACCESS_KEY, secretKey: [SECRET_KEY] }),
  });
  for (const command of ["run", "validate"]) {
    const { code, stderr } = await end(await program(t, config, (file) => [command, file, "--verbose"]));
    assert.equal(code, 2, stderr);
    for (
      const words of [
        /connector\.toml:\d+:\d+: unknown key checkpointIntervall: did you mean "checkpointInterval"\?/,
        /numRetries .*"three"/,
        /AT_TIMESTAMP.*startAtTime|startAtTime.*AT_TIMESTAMP/s,
        /awsRegion/,
        /awsCredentialPluginParam/,
      ]
    ) assert.match(stderr, words);
  }
  assert.equal(world.kinesis.requests.length, 0);
});

test("faults program: a missing hook script ends with 2, a missing stream with 1, each in words", async (t) => {
  const world = await faultWorld(t);
  const hook = await end(await program(t, merge(world.config, { hooks: [{ path: "./nowhere.ts" }] })));
  assert.equal(hook.code, 2, hook.stderr);
  assert.match(hook.stderr, /HOOK_LOAD_FAILED.*hooks\[0\]\.path.*nowhere\.ts.*there is no such file/s);
  const stream = await end(await program(t, merge(world.config, { awsKinesisStreamName: "nowhere" })));
  assert.equal(stream.code, 1, stream.stderr);
  assert.match(stream.stderr, /STREAM_NOT_FOUND/);
  assert.match(stream.stderr, /stream \\?"nowhere\\?" does not exist in region us-east-1/);
});

test("G8 secrets stay secret: refused credentials end with 1, and no log level shows them", async (t) => {
  const world = await faultWorld(t, { credentials: [KEYS] });
  const config = merge(world.config, {
    awsCredentialPluginParam: keysParam({ secretKey: `${SECRET_KEY}-wrong` }),
    log: { level: "debug" },
  });
  const { code, stderr } = await end(await program(t, config, (file) => ["run", file, "--verbose"]));
  assert.equal(code, 1, stderr);
  assert.match(stderr, /CREDENTIALS_INVALID/);
  assert.match(stderr, /the secret key does not fit the access key/);
});

test("faults program: a drain that does not finish in shutdownTimeoutMs ends with 75, names the shard, loses nothing", async (t) => {
  const { world, cli } = await stuckProgram(t, { shutdownTimeoutMs: 700 });
  cli.kill("SIGTERM");
  const { code, stderr } = await end(cli);
  assert.equal(code, 75, stderr);
  assert.match(stderr, /SIGTERM: stopping; a second signal ends at once/);
  assert.match(
    stderr,
    /not everything of shardId-000000000000 was acknowledged .* in time; the next start reads it again/,
  );
  world.broker.clearFaults();
  const again = await program(t, world.config);
  await soon(world.broker.received(world.topic, 2), "both records", PATIENCE_MS);
  again.kill("SIGTERM");
  assert.equal((await end(again)).code, 0);
  assert.deepEqual(world.published().slice(-2), ["record 0", "record 1"]);
});

test("faults program: a second signal ends at once with 75, long before shutdownTimeoutMs", async (t) => {
  const { cli } = await stuckProgram(t, { shutdownTimeoutMs: 600_000 });
  cli.kill("SIGTERM");
  await cli.waitFor(/SIGTERM: stopping/, PATIENCE_MS);
  await new Promise((resolve) => setTimeout(resolve, 200));
  cli.kill("SIGTERM");
  assert.equal((await end(cli)).code, 75);
});

test("faults program: a bounded run that a signal interrupts ends with 75 also when it drained", async (t) => {
  const dynamoDb = await startFaultyDynamoDb(t);
  const world = await faultWorld(t, { dynamoEndpoint: dynamoDb.url });
  const cli = await program(t, world.config, (file) => ["run", file, "--until", "2099-01-01T00:00Z"]);
  await cli.waitFor(/reading shard/, PATIENCE_MS);
  cli.kill("SIGTERM");
  const { code, stderr } = await end(cli);
  assert.equal(code, 75, stderr);
  assert.match(stderr, /stopped \(signal\)/);
});
