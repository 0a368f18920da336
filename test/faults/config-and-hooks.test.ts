import { test } from "node:test";
import type { TestContext } from "node:test";
import assert from "node:assert/strict";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { stringify } from "smol-toml";
import { createConnector, loadConfigFile } from "../../mod.ts";
import { toConnectorError } from "../../src/core/errors.ts";
import { assertWords, type Changes, faultWorld, keysParam, merge, SECRET_KEY } from "./kit.ts";

const CONFIG = {
  awsRegion: "us-east-1",
  awsKinesisStreamName: "orders",
  awsCredentialPluginParam: keysParam(),
  useEnhancedFanOut: false,
  leases: { store: "memory" },
  pulsar: { serviceUrl: "pulsar://127.0.0.1:6650", topic: "orders" },
};

/** A folder of one test. */
async function folder(t: TestContext): Promise<string> {
  const path = await mkdtemp(join(tmpdir(), "kinesis-pulsar-faults-"));
  t.after(() => rm(path, { recursive: true, force: true }));
  return path;
}

/** What a configuration file with these changes is refused with; lines before it may be given. */
async function refusalOf(t: TestContext, changes: Changes, env = {}) {
  const file = join(await folder(t), "connector.toml");
  await writeFile(file, stringify(merge(CONFIG, changes)));
  try {
    await loadConfigFile(file, env);
  } catch (error) {
    return { error: toConnectorError(error), file };
  }
  throw new Error("the file was accepted");
}

test("faults config: an unknown key is refused with file, line, column, and the key that was meant", async (t) => {
  const { error, file } = await refusalOf(t, { checkpointIntervall: 3000, pulsar: { servceUrl: "x" } });
  assertWords(error, {
    code: "CONFIG_INVALID",
    exit: 2,
    words: [
      new RegExp(`${file}:5:1: unknown key checkpointIntervall: did you mean "checkpointInterval"\\?`),
      /:13:1: unknown key pulsar\.servceUrl: did you mean "serviceUrl"\?/,
    ],
  });
});

test("faults config: a wrong type is refused with its value and what is allowed; secrets are not shown", async (t) => {
  const { error, file } = await refusalOf(t, {
    checkpointInterval: "soon",
    numRetries: -1,
    useEnhancedFanOut: "maybe",
    awsCredentialPluginParam: { secretKey: SECRET_KEY },
  });
  assertWords(error, {
    code: "CONFIG_INVALID",
    exit: 2,
    words: [
      new RegExp(`${file}:\\d+:\\d+: checkpointInterval .*"soon"`),
      /numRetries .*-1/,
      /useEnhancedFanOut .*"maybe"/,
      /awsCredentialPluginParam/,
    ],
  });
});

test("faults config: a missing region is refused with all the places it may stand in", async (t) => {
  const { error } = await refusalOf(t, { awsRegion: undefined });
  assertWords(error, { code: "CONFIG_INVALID", exit: 2, words: ["awsRegion", "AWS_REGION"] });
});

test("faults config: AT_TIMESTAMP without a time is refused by both keys", async (t) => {
  const { error } = await refusalOf(t, { initialPositionInStream: "AT_TIMESTAMP" });
  assertWords(error, { code: "CONFIG_INVALID", exit: 2, words: ["startAtTime", "AT_TIMESTAMP"] });
});

test("faults config: a file that is missing or no TOML is named, with the line", async (t) => {
  const missing = join(await folder(t), "nothing.toml");
  await assert.rejects(loadConfigFile(missing, {}), (thrown) => {
    assertWords(toConnectorError(thrown), {
      code: "CONFIG_INVALID",
      exit: 2,
      words: [missing, /no such file|not exist/i],
    });
    return true;
  });
  const broken = join(await folder(t), "broken.toml");
  await writeFile(broken, `awsRegion = "us-east-1"\nawsKinesisStreamName = orders\n`);
  await assert.rejects(loadConfigFile(broken, {}), (thrown) => {
    assertWords(toConnectorError(thrown), {
      code: "CONFIG_INVALID",
      exit: 2,
      words: [new RegExp(`${broken}:2:\\d+`)],
    });
    return true;
  });
});

/** A connector with one hook script, started. */
async function withScript(t: TestContext, text: string | undefined, changes: Changes = {}) {
  const world = await faultWorld(t);
  world.put(3);
  const path = join(await folder(t), "orders.ts");
  if (text !== undefined) await writeFile(path, text);
  const run = world.run({ hooks: [{ path, ...changes }] });
  return { world, run, path };
}

test("faults hooks: a missing script is refused at start with key and path, and nothing is read", async (t) => {
  const { world, run, path } = await withScript(t, undefined);
  assertWords(await run.failure(), {
    code: "HOOK_LOAD_FAILED",
    exit: 2,
    words: [
      `hooks[0].path = "${path}": there is no such file`,
      "Relative paths count from the folder of the configuration",
    ],
  });
  assert.equal(world.kinesis.requests.length, 0, "nothing is asked before the scripts are loaded");
});

const BROKEN = [
  [
    "that is no TypeScript",
    "export default {\n  onRecord(record { return null; },\n};\n",
    /orders\.ts:2(:\d+)?/,
  ],
  [
    "that throws when it is loaded",
    "const a = 1;\nthrow new Error(`no table ${a}`);\n",
    /no table 1.*orders\.ts:2/,
  ],
  [
    "that imports what is not there",
    'import { x } from "./nowhere.ts";\nexport default { onRecord: x };\n',
    /nowhere/,
  ],
  ["with a hook that is no function", "export default { onRecord: 5 };\n", /onRecord/],
  ["with a hook of another name", "export default { onRecrod() {} };\n", /onRecrod.*did you mean "?onRecord/],
  ["without hooks", "const nothing = 1;\n", /hooks|export/],
] as const;
for (const [what, text, words] of BROKEN) {
  test(`faults hooks: a script ${what} is refused at start with file and reason`, async (t) => {
    const { world, run, path } = await withScript(t, text);
    assertWords(await run.failure(), { code: "HOOK_LOAD_FAILED", exit: 2, words: [path, words] });
    assert.equal(world.kinesis.requests.length, 0);
  });
}

test("faults hooks: an onStart that fails ends the start with its words", async (t) => {
  const { world, run, path } = await withScript(
    t,
    `export default { onStart() { throw new Error("no route to the table"); } };\n`,
  );
  assertWords(await run.failure(), {
    code: "HOOK_FAILED",
    exit: 1,
    words: [path, "onStart", "no route to the table"],
  });
  assert.deepEqual(run.started, []);
  assert.equal(world.kinesis.calls("GetRecords").length, 0);
});

test("faults hooks: an onRecord that fails stops by default: script, record and reason, what is before it is kept", async (t) => {
  const { world, run, path } = await withScript(
    t,
    `export default { onRecord(record) { if (record.text() === "record 2") throw new Error("no such country"); } };\n`,
  );
  const records = world.kinesis.records(world.streamName);
  assertWords(await run.failure(), {
    code: "HOOK_FAILED",
    exit: 1,
    words: [
      path,
      "onRecord",
      world.streamName,
      "shardId-000000000000",
      records[2]!.sequenceNumber,
      "no such country",
    ],
  });
  assert.deepEqual(world.published(), ["record 0", "record 1"]);
  assert.equal(run.checkpoints.at(-1)?.sequenceNumber, records[1]!.sequenceNumber);
});

test("faults hooks: the library refuses a configuration by throwing, before anything is started", () => {
  assert.throws(() => createConnector({ ...CONFIG, numRetrys: 3 }, { env: {} }), (thrown) => {
    assertWords(toConnectorError(thrown), {
      code: "CONFIG_INVALID",
      exit: 2,
      words: [/numRetrys.*did you mean "?numRetries/],
    });
    return true;
  });
});
