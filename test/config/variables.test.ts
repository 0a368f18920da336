import assert from "node:assert/strict";
import { test } from "node:test";
import { fileProblems, load, parse, problems, small } from "./kit.ts";

test("config variables: ${VAR} and ${VAR:-default} are replaced inside any string value", () => {
  const config = parse(
    {
      ...small,
      awsRegion: "${REGION}",
      checkpointInterval: "${INTERVAL:-500}",
      pulsar: { serviceUrl: "pulsar://${HOST}:${PORT:-6650}", topic: "${EMPTY:-orders}" },
      hooks: [{ path: "./a.mts", options: { country: "${COUNTRY}", deep: [{ a: "x${COUNTRY}y" }], n: 3 } }],
    },
    { REGION: "us-west-2", HOST: "broker", COUNTRY: "DE", EMPTY: "" },
  );
  assert.equal(config.awsRegion, "us-west-2");
  assert.equal(config.checkpointInterval, 500);
  assert.equal(config.pulsar.serviceUrl, "pulsar://broker:6650");
  assert.equal(config.pulsar.topic, "persistent://public/default/orders");
  assert.deepEqual(config.hooks[0]!.options, { country: "DE", deep: [{ a: "xDEy" }], n: 3 });
});

test("config variables: an undefined one is an error that names the key, and no other error follows from it", () => {
  assert.deepEqual(problems({ ...small, awsRegion: "${NOPE}", numRetries: "${NO_NUMBER}" }), [
    "awsRegion: the environment variable NOPE is not set (set it, or write `${NOPE:-default}`)",
    "numRetries: the environment variable NO_NUMBER is not set (set it, or write `${NO_NUMBER:-default}`)",
  ]);
  const auth = { type: "token", token: "${PULSAR_TOKEN}" };
  assert.deepEqual(problems({ ...small, pulsar: { ...small.pulsar, auth } }), [
    "pulsar.auth.token: the environment variable PULSAR_TOKEN is not set " +
    "(set it, or write `${PULSAR_TOKEN:-default}`)",
  ]);
});

test("config variables: an empty one means not given; $${ stands for ${", () => {
  assert.equal(parse({ ...small, backoffTime: "${EMPTY}" }, { EMPTY: "" }).backoffTime, 3000);
  const options = { template: "Hello $${name}", price: "$5 {x}" };
  const { hooks } = parse({ ...small, hooks: [{ path: "./a.mts", options }] });
  assert.deepEqual(hooks[0]!.options, { template: "Hello ${name}", price: "$5 {x}" });
  assert.match(problems({ ...small, applicationName: "${}" })[0]!, /must be followed by a variable's name/);
});

test("config variables: a value cannot change the shape of the file, and keys are left alone", async (t) => {
  const text = 'awsKinesisStreamName = "s"\nawsRegion = "eu-west-1"\napplicationName = "${APP}"\n' +
    '[pulsar]\nserviceUrl = "pulsar://h"\ntopic = "t"\n[[hooks]]\npath = "./a.mts"\noptions = { "${APP}" = 1 }\n';
  const config = await load(t, "c.toml", text, { APP: 'x"\nnumRetries = 9 #' });
  assert.equal(config.applicationName, 'x"\nnumRetries = 9 #');
  assert.equal(config.numRetries, 3);
  assert.deepEqual(config.hooks[0]!.options, { "${APP}": 1 });
});

test("config variables: in a file the error has line and column", async (t) => {
  const text = "configs:\n  awsRegion: eu-west-1\n  awsKinesisStreamName: ${STREAM}\n" +
    "pulsar:\n  serviceUrl: pulsar://h\n  topic: t\n";
  assert.deepEqual(await fileProblems(t, "c.yaml", text), [
    "file:3:3: configs.awsKinesisStreamName: the environment variable STREAM is not set " +
    "(set it, or write `${STREAM:-default}`)",
  ]);
});
