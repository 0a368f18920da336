import assert from "node:assert/strict";
import { test } from "node:test";
import { fileProblems, load, parse, problems, small } from "./kit.ts";

const { pulsar, ...flat } = small;

test("config source file: tenant, name, topicName and parallelism around configs need no word", () => {
  const config = parse({
    tenant: "acme",
    namespace: "prod",
    name: "kinesis",
    topicName: "orders",
    parallelism: 2,
    configs: flat,
    pulsar: { serviceUrl: pulsar.serviceUrl },
  });
  assert.equal(config.pulsar.topic, "persistent://public/default/orders");
  assert.equal(config.awsKinesisStreamName, "orders");
  assert.deepEqual(config.warnings, []);
});

test("config source file: pulsar.topic wins over topicName", () => {
  const config = parse({ topicName: "other", configs: flat, pulsar });
  assert.equal(config.pulsar.topic, "persistent://public/default/orders");
});

test("config source file: outer keys that mean nothing here get one warning", () => {
  const { warnings } = parse({
    archive: "connectors/pulsar-io-kinesis.nar",
    className: "org.apache.pulsar.io.kinesis.KinesisSource",
    resources: { cpu: 1 },
    processingGuarantees: "ATLEAST_ONCE",
    secrets: { awsCredentialPluginParam: { path: "x" } },
    configs: flat,
    pulsar,
  });
  assert.equal(warnings.length, 1);
  assert.match(
    warnings[0]!,
    /^archive, className, resources, processingGuarantees, secrets: these keys of a Pulsar IO file mean nothing here/,
  );
  assert.match(warnings[0]!, /write secrets as \$\{VARIABLES\}/);
});

test("config source file: the same table beside configs and inside it is an error", () => {
  assert.deepEqual(problems({ configs: { ...flat, pulsar }, pulsar }), [
    "pulsar: the same table stands beside configs and inside it; keep one of the two",
  ]);
  const config = parse({
    configs: { ...flat, pulsar, leases: { table: "abc" } },
    kinesis: { idlePollMs: 5 },
  });
  assert.equal(config.leaseTable, "abc");
  assert.equal(config.kinesis.idlePollMs, 5);
});

test("config source file: our flat keys belong into configs, and unknown outer keys are errors", () => {
  assert.deepEqual(problems({ configs: flat, pulsar, awsRegion: "x", topicNam: "y" }), [
    "unknown key awsRegion: it belongs into configs",
    'unknown key topicNam: did you mean "topicName"?',
  ]);
  assert.deepEqual(problems({ configs: { ...flat, awsRegionn: "x" }, pulsar }), [
    'unknown key configs.awsRegionn: did you mean "awsRegion"?',
  ]);
});

test("config source file: problems are placed where the key stands in the file", async (t) => {
  const text =
    "tenant: public\ntopicName: a/b\nconfigs:\n  awsKinesisStreamName: s\n  awsRegion: eu-west-1\n" +
    "  numRetries: x\n  leases:\n    store: disk\npulsar:\n  serviceUrl: pulsar://h\n";
  assert.deepEqual(await fileProblems(t, "source.yaml", text), [
    'file:2:1: topicName = "a/b": must be a topic like "orders", "tenant/namespace/orders" or ' +
    '"persistent://tenant/namespace/orders"',
    'file:6:3: configs.numRetries = "x": must be an integer from 0 to 1000000',
    'file:8:5: configs.leases.store = "disk": must be "dynamodb", "memory" or "file"',
  ]);
});

test("config source file: producerConfig gives maxPendingMessages; what is ignored is said, encryption is refused", async (t) => {
  const text =
    "topicName: t\nconfigs:\n  awsKinesisStreamName: s\n  awsRegion: eu-west-1\n  applicationName: app\n" +
    "  useEnhancedFanOut: false\nproducerConfig:\n  maxPendingMessages: 77\n  compressionType: LZ4\n" +
    "  batchBuilder: KEY_BASED\npulsar:\n  serviceUrl: pulsar://h\n";
  const config = await load(t, "source.yaml", text);
  assert.equal(config.pulsar.maxPendingMessages, 77);
  assert.equal(config.pulsar.compression, "none");
  assert.equal(config.warnings.length, 2);
  assert.match(
    config.warnings[0]!,
    /producerConfig\.compressionType is ignored: messages are sent uncompressed/,
  );
  assert.match(config.warnings[1]!, /producerConfig: batchBuilder: ignored/);
  assert.match(
    problems({ configs: flat, pulsar, producerConfig: { cryptoConfig: { x: 1 } } })[0]!,
    /^producerConfig\.cryptoConfig: end-to-end encryption is not supported/,
  );
});

test("config source file: configs that is no table is refused", () => {
  assert.ok(problems({ configs: "x", pulsar })[0]!.startsWith("configs: must be a table of keys"));
});
