// The Java connector's own files must work (its documentation, "Kinesis source connector", Pulsar 2.7.0).

import assert from "node:assert/strict";
import { test } from "node:test";
import { load, parse, small } from "./kit.ts";

const FLAT = {
  awsEndpoint: "https://some.endpoint.aws",
  awsRegion: "us-east-1",
  awsKinesisStreamName: "my-stream",
  awsCredentialPluginParam: '{"accessKey":"myKey","secretKey":"my-Secret"}',
  applicationName: "My test application",
  checkpointInterval: "30000",
  backoffTime: "4000",
  numRetries: "3",
  receiveQueueSize: 2000,
  initialPositionInStream: "TRIM_HORIZON",
  startAtTime: "2019-03-05T19:28:58.000Z",
};

const YAML = `configs:
    awsEndpoint: "https://some.endpoint.aws"
    awsRegion: "us-east-1"
    awsKinesisStreamName: "my-stream"
    awsCredentialPluginParam: "{\\"accessKey\\":\\"myKey\\",\\"secretKey\\":\\"my-Secret\\"}"
    applicationName: "My test application"
    checkpointInterval: 30000
    backoffTime: 4000
    numRetries: 3
    receiveQueueSize: 2000
    initialPositionInStream: "TRIM_HORIZON"
    startAtTime: "2019-03-05T19:28:58.000Z"
`;

test("config java: the flat JSON of the documentation loads with endpoints and a Pulsar table added", async (t) => {
  const text = JSON.stringify({
    ...FLAT,
    dynamoEndpoint: "http://127.0.0.1:8000",
    cloudwatchEndpoint: "http://127.0.0.1:8001",
    pulsar: { serviceUrl: "pulsar://localhost:6650", topic: "out" },
  });
  const config = await load(t, "kinesis.json", text);
  assert.equal(config.checkpointInterval, 30_000);
  assert.equal(config.backoffTime, 4000);
  assert.equal(config.numRetries, 3);
  assert.equal(config.receiveQueueSize, 2000);
  assert.equal(config.initialPositionInStream, "TRIM_HORIZON");
  assert.equal(config.startAtTime, Date.UTC(2019, 2, 5, 19, 28, 58));
  assert.equal(config.kinesis.endpoint, "https://some.endpoint.aws");
  assert.equal(config.leases.endpoint, "http://127.0.0.1:8000");
  assert.equal(config.metrics.endpoint, "http://127.0.0.1:8001");
  assert.equal(config.leaseTable, "My-test-application");
  assert.deepEqual(config.awsCredentials, {
    type: "static",
    accessKeyId: "myKey",
    secretAccessKey: "my-Secret",
  });
});

test("config java: the YAML of the documentation loads, with the Pulsar table beside configs or inside it", async (t) => {
  const beside = await load(
    t,
    "a.yaml",
    `${YAML}pulsar:\n    serviceUrl: pulsar://localhost:6650\n    topic: out\n`,
  );
  const inside = await load(
    t,
    "b.yml",
    `${YAML}    pulsar:\n        serviceUrl: pulsar://localhost:6650\n        topic: out\n`,
  );
  const { source: _a, given: _b, ...one } = beside;
  const { source: _c, given: _d, ...other } = inside;
  assert.deepEqual(one, other);
  assert.equal(beside.awsKinesisStreamName, "my-stream");
  assert.equal(beside.checkpointInterval, 30_000);
});

test("config java: every property has the Java connector's default", () => {
  const { applicationName: _, useEnhancedFanOut: __, ...rest } = small;
  const config = parse(rest);
  assert.equal(config.initialPositionInStream, "LATEST");
  assert.equal(config.startAtTime, undefined);
  assert.equal(config.applicationName, "Pulsar IO connector");
  assert.equal(config.applicationNameGiven, false);
  assert.equal(config.checkpointInterval, 60_000);
  assert.equal(config.backoffTime, 3000);
  assert.equal(config.numRetries, 3);
  assert.equal(config.receiveQueueSize, 1000);
  assert.equal(config.useEnhancedFanOut, true);
  assert.equal(config.messageKeyMode, "PARTITION_KEY");
  assert.deepEqual(config.kinesisRecordProperties, [
    "kinesis.arrival.timestamp",
    "kinesis.encryption.type",
    "kinesis.partition.key",
    "kinesis.sequence.number",
  ]);
  assert.deepEqual(config.awsCredentials, { type: "default" });
});

test("config java: numbers and booleans may be strings, and properties a comma list (KCL scenario 24)", () => {
  const config = parse({
    ...small,
    checkpointInterval: "200",
    numRetries: "0",
    backoffTime: " 5 ",
    receiveQueueSize: "1",
    useEnhancedFanOut: "False",
    shutdownTimeoutMs: "7",
    kinesisRecordProperties: " kinesis.shard.id ,, kinesis.millis.behind.latest",
    messageKeyMode: "SHARD_ID",
    leases: { failoverTimeMs: "1000" },
    pulsar: { ...small.pulsar, chunking: "true", maxPendingMessages: "5" },
  });
  assert.equal(config.checkpointInterval, 200);
  assert.equal(config.numRetries, 0);
  assert.equal(config.backoffTime, 5);
  assert.equal(config.receiveQueueSize, 1);
  assert.equal(config.useEnhancedFanOut, false);
  assert.equal(config.shutdownTimeoutMs, 7);
  assert.deepEqual(config.kinesisRecordProperties, ["kinesis.shard.id", "kinesis.millis.behind.latest"]);
  assert.equal(config.messageKeyMode, "SHARD_ID");
  assert.equal(config.leases.failoverTimeMs, 1000);
  assert.equal(config.pulsar.chunking, true);
  assert.equal(config.pulsar.maxPendingMessages, 5);
  assert.deepEqual(config.warnings, []);
});

test("config java: an empty or blank string, or null, means not given for every optional key", () => {
  const config = parse({
    ...small,
    initialPositionInStream: "",
    startAtTime: " ",
    checkpointInterval: "",
    backoffTime: null,
    numRetries: "",
    receiveQueueSize: "",
    dynamoEndpoint: "",
    cloudwatchEndpoint: "",
    awsEndpoint: " ",
    awsCredentialPluginName: "",
    awsCredentialPluginParam: "",
    messageKeyMode: "",
    shutdownTimeoutMs: "",
    kinesis: { streamArn: "", consumerName: "", maxBufferedBytes: "" },
    leases: { table: "", store: "" },
    pulsar: { ...small.pulsar, listenerName: "", compression: "", auth: "" },
    deadLetter: "",
    http: null,
  });
  const { given, ...bare } = config;
  const { given: _, ...wanted } = parse(small);
  assert.deepEqual(bare, wanted);
  assert.equal("checkpointInterval" in given, false);
});

test("config java: an empty kinesisRecordProperties means the default, which a warning says; [] means none", () => {
  const config = parse({ ...small, kinesisRecordProperties: "" });
  assert.equal(config.kinesisRecordProperties.length, 4);
  assert.match(config.warnings.join(), /kinesisRecordProperties is empty.*write \[\] for none/);
  assert.deepEqual(parse({ ...small, kinesisRecordProperties: [] }).kinesisRecordProperties, []);
});

test("config java: an unknown record property is a warning, a new one of ours is known", () => {
  const names = ["kinesis.subsequence.number", "kinesis.stream.name", "kinesis.shardid", "kinesis.colour"];
  const { warnings, kinesisRecordProperties } = parse({ ...small, kinesisRecordProperties: names });
  assert.deepEqual(kinesisRecordProperties, names.slice(0, 2));
  assert.equal(warnings.length, 2);
  assert.equal(
    warnings[0],
    'kinesisRecordProperties: "kinesis.shardid" is not known and is left out; did you mean "kinesis.shard.id"?',
  );
  assert.match(warnings[1]!, /"kinesis\.colour" is not known and is left out; known are kinesis\.arrival/);
});
