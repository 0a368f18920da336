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
    parallelism: 1,
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

test("config source file: producerConfig is honoured; what is ignored is said, encryption is refused", async (t) => {
  const text = "topicName: t\nparallelism: 3\nconfigs:\n  awsKinesisStreamName: s\n  awsRegion: eu-west-1\n" +
    "  applicationName: app\n  useEnhancedFanOut: false\nproducerConfig:\n  maxPendingMessages: 77\n" +
    "  maxPendingMessagesAcrossPartitions: 0\n  useThreadLocalProducers: true\n  compressionType: ZSTD\n" +
    "  batchBuilder: KEY_BASED\n  batchingConfig:\n    enabled: true\n    batchingMaxPublishDelayMs: 20\n" +
    "    batchingMaxMessages: 500\n    batchingMaxBytes: 65536\n" +
    "    roundRobinRouterBatchingPartitionSwitchFrequency: 5\npulsar:\n  serviceUrl: pulsar://h\n";
  const { pulsar: taken, warnings } = await load(t, "source.yaml", text);
  const { compression, maxPendingMessages, batchBuilder, batchMaxMessages, batchMaxBytes, batchMaxDelayMs } =
    taken;
  assert.deepEqual(
    { compression, maxPendingMessages, batchBuilder, batchMaxMessages, batchMaxBytes, batchMaxDelayMs },
    {
      compression: "zstd",
      maxPendingMessages: 77,
      batchBuilder: "key-based",
      batchMaxMessages: 500,
      batchMaxBytes: 65536,
      batchMaxDelayMs: 20,
    },
  );
  assert.deepEqual(warnings, [
    "producerConfig: maxPendingMessagesAcrossPartitions, useThreadLocalProducers, " +
    "batchingConfig.roundRobinRouterBatchingPartitionSwitchFrequency: ignored; the [pulsar] table has its own settings",
    "parallelism = 3: one process reads all shards here; to share them, start this program 3 times with the same " +
    "configuration",
  ]);
  assert.match(
    problems({ configs: flat, pulsar, producerConfig: { cryptoConfig: { x: 1 } } })[0]!,
    /^producerConfig\.cryptoConfig: end-to-end encryption is not supported/,
  );
});

test("config source file: messages are compressed with LZ4 where nothing is said, as the Java framework does", () => {
  assert.equal(parse({ configs: flat, pulsar }).pulsar.compression, "lz4");
  assert.equal(parse({ configs: flat, pulsar, producerConfig: {} }).pulsar.compression, "lz4");
  const producerConfig = { compressionType: "NONE" };
  assert.equal(parse({ configs: flat, pulsar, producerConfig }).pulsar.compression, "none");
  const own = { ...pulsar, compression: "zlib" };
  assert.equal(parse({ configs: flat, pulsar: own, producerConfig }).pulsar.compression, "zlib");
  assert.equal(parse({ ...flat, pulsar }).pulsar.compression, "none", "a file of our own kind");
});

test("config source file: keys of [pulsar] win over producerConfig, zero is Pulsar's default, batching may be off", () => {
  const producerConfig = {
    maxPendingMessages: 0,
    batchBuilder: "DEFAULT",
    batchingConfig: { enabled: false, batchingMaxMessages: 9, batchingMaxBytes: 0 },
  };
  const { pulsar: taken } = parse({ configs: flat, pulsar, producerConfig, batchBuilder: "KEY_BASED" });
  assert.deepEqual(
    [taken.maxPendingMessages, taken.batchMaxMessages, taken.batchMaxBytes, taken.batchBuilder],
    [10_000, 1, 131_072, "key-based"],
  );
  const own = { ...pulsar, batchBuilder: "default", batchMaxMessages: 7 };
  const { pulsar: kept } = parse({ configs: flat, pulsar: own, producerConfig, batchBuilder: "KEY_BASED" });
  assert.deepEqual([kept.batchMaxMessages, kept.batchBuilder], [7, "default"]);
});

test("config source file: what producerConfig may not hold is placed where it stands in the file", async (t) => {
  const text =
    "topicName: t\nconfigs:\n  awsKinesisStreamName: s\n  awsRegion: eu-west-1\npulsar:\n  serviceUrl: pulsar://h\n" +
    "  delivery: effectively-once\nproducerConfig:\n  compressionType: BROTLI\n  batchBuilder: KEY_BASED\n" +
    "  batchingConfig: 3\n";
  assert.deepEqual(await fileProblems(t, "source.yaml", text), [
    'file:9:3: producerConfig.compressionType = "brotli": must be "none", "lz4", "zlib", "zstd" or "snappy"',
    'file:10:3: producerConfig.batchBuilder = "key-based" cannot work with pulsar.delivery = "effectively-once", ' +
    'which needs one order of sequence ids; use "default"',
    "file:11:3: producerConfig.batchingConfig: must be a table of keys",
  ]);
  const allowed = text.replace("BROTLI", "LZ4").replace("  batchingConfig: 3\n", "");
  assert.deepEqual(await fileProblems(t, "source.yaml", allowed), [
    'file:10:3: producerConfig.batchBuilder = "key-based" cannot work with pulsar.delivery = "effectively-once", ' +
    'which needs one order of sequence ids; use "default"',
  ]);
});

test("config source file: configs that is no table is refused", () => {
  assert.ok(problems({ configs: "x", pulsar })[0]!.startsWith("configs: must be a table of keys"));
});
