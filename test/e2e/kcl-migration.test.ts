// README's steps from the Java connector to this program and back, as they stand there: its file, its commands in
// their order, with a worker of the real KCL for Java in the connector's place. Both read by enhanced fan-out, the
// default of both, as the same consumer.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import type { CliProcess } from "../servers/cli.ts";
import { kclJvm, kclMissing, type KclWorker } from "../servers/kcl-consumer.ts";
import { type KclRoad, layKclRoad } from "./kcl-kit.ts";
import { ended, eventually, stopped } from "./kit.ts";

const skip = kclMissing() ?? false;

const README = readFileSync(new URL("../../README.md", import.meta.url), "utf8");
const SECTION = README.slice(
  README.indexOf("## Moving from"),
  README.indexOf("Keys, properties and payloads"),
);

/** Blocks of a language in the section. */
const blocks = (language: string): string[] =>
  Array.from(
    SECTION.matchAll(new RegExp(`\`\`\`${language}\\n([\\s\\S]*?)\\n\`\`\``, "g")),
    ([, text]) => text!,
  );

/** README's file, with the servers of the test where it says "as before". */
function connectorYaml({ config, streamName, broker, topic }: KclRoad): string {
  const before = Object.entries(config).filter(([key]) =>
    !["pulsar", "awsKinesisStreamName", "useEnhancedFanOut"].includes(key)
  )
    .concat([["checkpointInterval", 500], ["useEnhancedFanOut", true]])
    .map(([key, value]) => `  ${key}: ${JSON.stringify(value)}`);
  return blocks("yaml")[0]!
    .replace("awsKinesisStreamName: orders", `awsKinesisStreamName: ${streamName}`)
    .replace("  # … as before", before.join("\n"))
    .replace("pulsar://pulsar.example.com:6650", broker.url)
    .replace("persistent://public/default/orders", topic);
}

test("kcl: README's steps from the Java connector to ours and back", { skip }, async (t) => {
  await kclJvm();
  const road = await layKclRoad(t, { shards: 2 });
  await road.prepareTable(
    Object.fromEntries(road.kinesis.openShardIds(road.streamName).map((shardId) => [shardId, {}])),
  );
  await road.script("connector.yaml", connectorYaml(road));
  const stored = road.put(20);
  let java: KclWorker = await road.java({ fanOut: true });
  await java.until("the first records", () => road.read(java).length === stored.length);
  await java.checkpoint();
  const again = road.put(5); // read, but not checkpointed: a stop of the connector leaves it so
  await java.until("more records", () => road.read(java).length === stored.length + again.length);

  let ours: CliProcess | undefined;
  const cli = async (...args: string[]): Promise<string> => {
    const process = road.run(...args);
    await ended(process);
    return process.stdout;
  };
  let step = 0;
  /** What each command shows, and what happens before the next one. */
  const steps: readonly [command: string, expect: (args: string[]) => Promise<void>][] = [
    ["npx kinesis-pulsar validate connector.yaml", async (args) => {
      assert.match(await cli(...args), new RegExp(`^leases +DynamoDB table "${road.table}"`, "m"));
    }],
    ["pulsar-admin sources stop --tenant public --namespace default --name orders", () => java.stop()],
    ["npx kinesis-pulsar leases connector.yaml", async (args) => {
      assert.match(await cli(...args), /^0 +silent +2 +0$/m);
    }],
    ["npx kinesis-pulsar run connector.yaml", async (args) => {
      const arrived = road.put(10);
      ours = road.run(...args);
      await ours.waitFor(/took the lease of shard \S+ at \d+, last held by 0"/, 60_000);
      await eventually(
        () => road.published().length >= again.length + arrived.length,
        "all since the checkpoint",
      );
      assert.deepEqual(road.published().sort(), [...again, ...arrived].sort());
    }],
    ["npx kinesis-pulsar leases connector.yaml", async (args) => {
      assert.match(await cli(...args), /^\S+:\d+:\S+ +alive +2 +0$/m);
    }],
    ["npx kinesis-pulsar leases connector.yaml --quick", async (args) => {
      await stopped(ours!);
      assert.match(await cli(...args), /^2 leases \(2 unowned\) of 0 owners$/m);
    }],
    ["pulsar-admin sources start --tenant public --namespace default --name orders", async () => {
      const arrived = road.put(10);
      java = await road.java({ fanOut: true });
      await java.until("what came since", () => road.read(java).length >= arrived.length);
      assert.deepEqual(road.read(java).sort(), arrived.sort(), "no gap, nothing twice");
    }],
  ];
  const commands = blocks("sh").flatMap((block) => block.split("\n"));
  assert.deepEqual(commands, steps.map(([command]) => command));
  for (const [command, expect] of steps) {
    t.diagnostic(`${++step}: ${command}`);
    await expect(command.split(" ").slice(2));
  }
});
