// G5 with a hook that never lets go: a busy loop longer than the failover time. Another worker takes the shard over;
// when the loop ends, nothing of the page is published and nothing is checkpointed under the lost lease.

import assert from "node:assert/strict";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { layRoad } from "../e2e/kit.ts";
import { pulsarBroker } from "../servers/broker.ts";
import { startDynamoDbProxy } from "./dynamodb-proxy.ts";
import { assertIntact, judge } from "./judge.ts";
import { Load } from "./load.ts";
import { type Figures, type ProofScope, workerConfig } from "./proof.ts";
import { startPulsarProxy } from "./pulsar-proxy.ts";
import { copyRest, startedShards, stopWell, until } from "./worker.ts";

/** How long the hook loops at least: it goes on until the other worker has the shard, which a busy machine may delay. */
export interface BusyOptions {
  readonly loopMs: number;
  readonly failoverTimeMs: number;
}

/** One: of two it would rightly take its share again when the loop ends, and read on. */
const SHARDS = 1;
const WATCHED_MS = 1500;

/** Throws when a worker with such a hook publishes or checkpoints under a lost lease, or anything is lost. */
export async function busyHook(scope: ProofScope, { loopMs, failoverTimeMs }: BusyOptions): Promise<Figures> {
  const road = await layRoad(scope, { shards: SHARDS, runtime: scope.runtime });
  const { serviceUrl } = await pulsarBroker();
  const pulsar = await startPulsarProxy(scope, { serviceUrl, record: true });
  const dynamoDb = await startDynamoDbProxy(scope, road.dynamoUrl);
  const settings = { failoverTimeMs, checkpointInterval: 300 };
  const taken = join(road.folder, "taken");
  await road.script(
    "busy.mjs",
    `import { existsSync, writeSync } from "node:fs";
     let count = 0;
     export const onRecord = () => {
       if (++count !== 2000) return;
       writeSync(1, "busy\\n");
       const end = performance.now() + ${loopMs};
       while (performance.now() < end || !existsSync(${
      JSON.stringify(taken)
    }) && performance.now() < end + 60_000);
       writeSync(1, "free\\n");
     };`,
  );
  const busy = road.run(
    "run",
    await workerConfig(road, "busy.toml", {
      ...settings,
      dynamoDbUrl: dynamoDb.url,
      serviceUrl: pulsar.serviceUrl,
      hooks: [{ path: join(road.folder, "progress.mjs") }, { path: join(road.folder, "busy.mjs") }],
    }),
  );
  await until("all shards read", () => startedShards(busy).length === SHARDS, 60_000);
  const other = road.run("run", await workerConfig(road, "other.toml", settings));
  await other.waitFor(/copying stream/, 60_000);
  const load = new Load({ kinesis: road.kinesis, streamName: road.streamName });
  load.start();
  scope.after(() => load.stop());

  await busy.waitFor(/^busy$/m, 60_000);
  const busyAt = performance.now();
  await until("the other took the shards over", () => startedShards(other).length === SHARDS, 60_000);
  await writeFile(taken, "");
  await busy.waitFor(/^free$/m, loopMs + 60_000);
  await delay(WATCHED_MS);
  assert.deepEqual(startedShards(other).sort(), startedShards(busy).sort(), "the shards that this one had");
  // While it loops the process sends nothing: after half of the loop all that its sockets had has arrived.
  const settledAt = busyAt + loopMs / 2;
  const late = pulsar.sent.filter(({ at }) => at >= settledAt);
  assert.deepEqual(late.slice(0, 5), [], `${late.length} messages were sent under a lost lease`);
  const writes = dynamoDb.calls.filter(({ at, operation }) => at >= settledAt && operation === "UpdateItem");
  // One that was being made may still go out: its condition fails.
  const stored = writes.filter(({ status }) => status === 200);
  assert.deepEqual(stored, [], "it wrote to a row that is not its own any more");
  await busy.waitFor(/lost the lease of shard/);

  await load.stop();
  for (const worker of [busy, other]) {
    await stopWell(worker);
  }
  await copyRest(road, await workerConfig(road, "last.toml", settings));
  const verdict = await judge(road.topic, load);
  assertIntact(verdict);
  const { records, duplicates } = verdict;
  return { rounds: 1, valid: 1, records, duplicates, lost: 0, remark: `a loop of ${loopMs} ms` };
}
