// The driver "pulsar-client" as it is chosen in a configuration; the package is a stand-in that hands on the double.

import assert from "node:assert/strict";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test, type TestContext } from "node:test";
import { createConnector } from "../../mod.ts";
import { startLocalKinesis } from "../../src/local/mod.ts";
import { ClientDouble } from "../pulsar/native/double.ts";
import { eventually, randomName } from "./kit.ts";

const RECORDS = 500;

async function world(t: TestContext) {
  const kinesis = await startLocalKinesis();
  t.after(() => kinesis.close());
  const streamName = randomName("native");
  kinesis.createStream(streamName, { shards: 2 });
  const config = {
    awsKinesisStreamName: streamName,
    awsRegion: "eu-west-1",
    awsEndpoint: kinesis.url,
    awsCredentialPluginParam: JSON.stringify({ accessKey: "a", secretKey: "b" }),
    applicationName: streamName,
    initialPositionInStream: "TRIM_HORIZON",
    useEnhancedFanOut: false,
    leases: { store: "memory" },
    pulsar: { serviceUrl: "pulsar://localhost", topic: "native", driver: "pulsar-client" },
  };
  return { kinesis, streamName, config };
}

test("e2e native driver: records arrive through the package that PULSAR_CLIENT_DIR names, checkpoints follow", async (t) => {
  const { kinesis, streamName, config } = await world(t);
  const double = new ClientDouble();
  const slot = randomName("double");
  (globalThis as Record<string, unknown>)[slot] = double.module;
  t.after(() => delete (globalThis as Record<string, unknown>)[slot]);
  const folder = await mkdtemp(join(tmpdir(), "kinesis-pulsar-native-"));
  t.after(() => rm(folder, { recursive: true }));
  await writeFile(join(folder, "package.json"), '{ "type": "commonjs" }'); // Deno asks for it outside of node_modules
  await writeFile(join(folder, "index.js"), `module.exports = globalThis[${JSON.stringify(slot)}];`);
  kinesis.putRecords(
    streamName,
    Array.from({ length: RECORDS }, (_, i) => ({ partitionKey: `key ${i}`, data: `${i}` })),
  );
  const connector = createConnector({ ...config, checkpointInterval: 100 }, {
    env: { PULSAR_CLIENT_DIR: folder },
  });
  t.after(() => connector.stop());
  let checkpointed = 0;
  connector.on("checkpoint", ({ records }) => void (checkpointed += records));
  await connector.start();
  await eventually(() => checkpointed === RECORDS, "all records are checkpointed");
  await connector.stop();
  const messages = double.messages("persistent://public/default/native");
  assert.deepEqual(
    messages.map(({ data }) => Number(data)).sort((a, b) => a - b),
    [...Array(RECORDS).keys()],
  );
  for (const { data, partitionKey } of messages) assert.equal(partitionKey, `key ${data}`);
  assert.equal(double.closedClients, 1);
});

test("e2e native driver: a package that is not there ends the start with what to do", async (t) => {
  const { config } = await world(t);
  const connector = createConnector(config);
  t.after(() => connector.stop());
  await assert.rejects(connector.start(), {
    code: "CONFIG_INVALID",
    message:
      /^pulsar\.driver = "pulsar-client": the package is not installed: run "npm install pulsar-client" in /,
  });
});
