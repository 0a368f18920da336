import assert from "node:assert/strict";
import { test } from "node:test";
import { parse, problems, small } from "./kit.ts";

const pulsar = (extra: Record<string, unknown>) => ({ ...small, pulsar: { ...small.pulsar, ...extra } });

test("config values: times and counts are integers of their range", () => {
  const wrong: [Record<string, unknown>, string][] = [
    [{ checkpointInterval: 0 }, "checkpointInterval = 0: must be an integer from 1 to 2147483647"],
    [{ checkpointInterval: "1e3" }, 'checkpointInterval = "1e3": must be an integer from 1 to 2147483647'],
    [{ receiveQueueSize: 0 }, "receiveQueueSize = 0: must be an integer of at least 1"],
    [{ backoffTime: -1 }, "backoffTime = -1: must be an integer from 0 to 2147483647"],
    [{ backoffTime: 2 ** 31 }, "backoffTime = 2147483648: must be an integer from 0 to 2147483647"],
    [{ numRetries: 1.5 }, "numRetries = 1.5: must be an integer from 0 to 1000000"],
    [{ numRetries: true }, "numRetries = true: must be an integer from 0 to 1000000"],
    [{ shutdownTimeoutMs: "soon" }, 'shutdownTimeoutMs = "soon": must be an integer from 0 to 2147483647'],
    [
      { leases: { failoverTimeMs: 999 } },
      "leases.failoverTimeMs = 999: must be an integer from 1000 to 2147483647",
    ],
    [{ kinesis: { maxBufferedBytes: 0 } }, "kinesis.maxBufferedBytes = 0: must be an integer of at least 1"],
    [{ http: { port: 65536 } }, "http.port = 65536: must be an integer from 0 to 65535"],
  ];
  for (const [input, message] of wrong) assert.deepEqual(problems({ ...small, ...input }), [message]);
  assert.equal(parse({ ...small, backoffTime: 0, numRetries: 0 }).backoffTime, 0);
});

test("config values: words that are not known are refused with what is allowed, and the nearest", () => {
  assert.deepEqual(problems({ ...small, initialPositionInStream: "trim_horizon" }), [
    'initialPositionInStream = "trim_horizon": must be "LATEST", "TRIM_HORIZON" or "AT_TIMESTAMP" ' +
    '(did you mean "TRIM_HORIZON"?)',
  ]);
  assert.deepEqual(problems({ ...small, messageKeyMode: 3 }), [
    'messageKeyMode = 3: must be "PARTITION_KEY" or "SHARD_ID"',
  ]);
  assert.deepEqual(problems({ ...small, useEnhancedFanOut: "yes" }), [
    'useEnhancedFanOut = "yes": must be true or false',
  ]);
  assert.deepEqual(problems(pulsar({ delivery: "exactly-once" })), [
    'pulsar.delivery = "exactly-once": must be "at-least-once" or "effectively-once"',
  ]);
});

test("config values: text must be text, tables must be tables, hooks a list", () => {
  assert.deepEqual(problems({ ...small, applicationName: 7 }), [
    "applicationName = 7: must be text (in quotes)",
  ]);
  assert.deepEqual(problems({ ...small, leases: "memory" }), ['leases = "memory": must be a table of keys']);
  assert.deepEqual(problems({ ...small, hooks: { path: "a" } }), [
    "hooks = (hidden): must be a list of tables (in TOML each begins with [[hooks]])",
  ]);
  assert.deepEqual(problems({ ...small, hooks: ["./a.mts"] }), [
    "hooks[0] = (hidden): must be a table of keys",
  ]);
  assert.deepEqual(problems({ ...small, hooks: [{}] }), [
    "hooks[0].path is missing: it must be text (in quotes)",
  ]);
  assert.deepEqual(problems({ ...small, deadLetter: {} }), [
    "deadLetter.topic is missing: it must be text (in quotes)",
  ]);
  assert.deepEqual(problems({ ...small, kinesisRecordProperties: [1] }), [
    "kinesisRecordProperties = [1]: must be names separated by commas, or a list of names",
  ]);
});

test("config values: unknown keys are errors with the nearest name, or with the place where they belong", () => {
  const lines: [Record<string, unknown>, string][] = [
    [{ checkpointIntervall: 1 }, 'unknown key checkpointIntervall: did you mean "checkpointInterval"?'],
    [{ aws_region: "x" }, 'unknown key aws_region: did you mean "awsRegion"?'],
    [{ serviceUrl: "x" }, "unknown key serviceUrl: did you mean pulsar.serviceUrl?"],
    [{ failoverTimeMs: 1 }, "unknown key failoverTimeMs: did you mean leases.failoverTimeMs?"],
    [{ zzzzzz: 1 }, "unknown key zzzzzz"],
    [{ zzzzzz: "" }, "unknown key zzzzzz"],
    [
      pulsar({ backoffTime: 1 }),
      'unknown key pulsar.backoffTime: "backoffTime" belongs to the top level; in TOML that is above the first [table]',
    ],
    [
      pulsar({ auth: { type: "token", tokn: "s3cr3t", token: "t" } }),
      'unknown key pulsar.auth.tokn: did you mean "token"?',
    ],
    [{ hooks: [{ path: "./a.mjs", pth: 1 }] }, 'unknown key hooks[0].pth: did you mean "path"?'],
    [{ "odd key": 1 }, 'unknown key "odd key"'],
  ];
  for (const [input, message] of lines) assert.deepEqual(problems({ ...small, ...input }), [message]);
  assert.deepEqual(problems({ ...small, ...JSON.parse('{"__proto__": 1, "constructor": 2}') }), [
    "unknown key __proto__",
    "unknown key constructor",
  ]);
});

test("config values: all problems are told at once, also those of rules over several keys", () => {
  const found = problems({
    checkpointInterval: "often",
    nope: 1,
    initialPositionInStream: "AT_TIMESTAMP",
    pulsar: { serviceUrl: "http://x", delivery: "effectively-once", auth: { type: "tokn" } },
    leases: { store: "memory" },
    hooks: [{ path: "./a.mjs", retries: -1 }],
  });
  for (
    const part of [
      "checkpointInterval",
      "unknown key nope",
      "startAtTime must be specified",
      "pulsar.serviceUrl",
      "pulsar.topic is missing",
      'pulsar.auth.type = "tokn": must be "none", "token", "oauth2", "basic" or "tls"',
      "effectively-once",
      "hooks[0].retries",
      "awsKinesisStreamName is missing",
      "awsRegion is missing",
    ]
  ) assert.ok(found.some((line) => line.includes(part)), `${part} in\n${found.join("\n")}`);
  assert.equal(found.length, 10);
});

test("config values: what is missing is named once, with what it is for", () => {
  assert.deepEqual(problems({}), [
    "awsKinesisStreamName is missing: it names the stream to read (or give kinesis.streamArn)",
    "awsRegion is missing: give the stream's AWS region, or set AWS_REGION, or give all three endpoints " +
    "(awsEndpoint, dynamoEndpoint, cloudwatchEndpoint not given)",
    'pulsar.serviceUrl is missing: it says where Pulsar is, like "pulsar://localhost:6650"',
    'pulsar.topic is missing: it names the topic that messages go to, like "orders"',
  ]);
});

test("config values: new tables have their defaults", () => {
  const config = parse(small);
  assert.equal(config.shutdownTimeoutMs, 25_000);
  assert.deepEqual(config.pulsar, {
    serviceUrl: "pulsar://localhost:6650",
    topic: "persistent://public/default/orders",
    auth: { type: "none" },
    delivery: "at-least-once",
    driver: "builtin",
    compression: "none",
    eventTime: "arrival",
    hashingScheme: "Murmur3_32Hash",
    chunking: true,
    maxPendingMessages: 10_000,
    batchMaxMessages: 1000,
    batchMaxBytes: 131_072,
    batchMaxDelayMs: 10,
    batchBuilder: "default",
    maxProducers: 1000,
  });
  assert.deepEqual(config.kinesis, {
    region: "eu-west-1",
    http2: false,
    maxBufferedBytes: 64 * 1024 * 1024,
    maxReadsPerSecond: 5,
    maxReadBytesPerSecond: 2 * 1024 * 1024,
    stallTimeoutMs: 300_000,
    idlePollMs: 1000,
  });
  assert.deepEqual(config.leases, { region: "eu-west-1", store: "dynamodb", failoverTimeMs: 10_000 });
  assert.deepEqual(config.metrics, { region: "eu-west-1", cloudwatch: "summary" });
  assert.deepEqual(config.log, { level: "info", format: "auto" });
  assert.deepEqual(config.hooks, []);
  assert.equal(config.http, undefined);
  assert.equal(config.deadLetter, undefined);
  assert.deepEqual(parse({ ...small, http: {} }).http, { host: "127.0.0.1", port: 9464 });
  assert.deepEqual(config.warnings, []);
});
