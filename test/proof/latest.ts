// LATEST is a promise: what was put after `onShardStart` arrives, also when the worker dies before its first
// checkpoint, and its successor too; effectively once, none of it is there twice.

import assert from "node:assert/strict";
import { randomInt } from "node:crypto";
import { setTimeout as delay } from "node:timers/promises";
import { layRoad } from "../e2e/kit.ts";
import { assertDelivered, judge } from "./judge.ts";
import { Load } from "./load.ts";
import { type DeliveryMode, type Figures, partitionedTopic, type ProofScope, workerConfig } from "./proof.ts";
import { copyRest, killHard, leaseRows, startedShards, until } from "./worker.ts";

const SHARDS = 2;

/** Kills workers before their first checkpoint, each round on a new stream. Throws when something is lost. */
export async function latest(
  scope: ProofScope,
  { rounds, delivery = "at-least-once" }: { readonly rounds: number; readonly delivery?: DeliveryMode },
): Promise<Figures> {
  let [valid, records, duplicates, notPromised] = [0, 0, 0, 0];
  for (let round = 0; round < rounds; round++) {
    const road = await layRoad(scope, { shards: SHARDS, runtime: scope.runtime });
    const rows = await leaseRows(scope, road);
    const topic = await partitionedTopic(2, delivery);
    const config = await workerConfig(road, "worker.toml", {
      initialPositionInStream: "LATEST",
      checkpointInterval: 60_000,
      pulsar: { topic, delivery },
    });
    const first = road.run("run", config);
    const started = new Set<string>();
    const load = new Load({
      kinesis: road.kinesis,
      streamName: road.streamName,
      recordsPerSecond: 300,
      isRequired: (shardId) => {
        if (first && started.size < SHARDS) { for (const id of startedShards(first)) started.add(id); }
        return started.has(shardId);
      },
    });
    load.start();
    scope.after(() => load.stop());
    const [shardsBefore, afterMs] = [randomInt(1, SHARDS + 1), randomInt(0, 500)];
    await until("shards started", () => startedShards(first).length >= shardsBefore, 60_000);
    await delay(afterMs);
    await killHard(first);
    const second = road.run("run", config);
    await second.waitFor(/^record .*\n/m, 60_000);
    await delay(randomInt(0, 300));
    await killHard(second);
    if ((await rows.read()).every(({ checkpoint }) => checkpoint.sequenceNumber === "LATEST")) valid++;
    await load.stop();
    await copyRest(road, config);
    const verdict = await judge(topic, load);
    assertDelivered(verdict, delivery);
    records += verdict.records;
    duplicates += verdict.duplicates;
    notPromised += load.entries.size - verdict.records;
    scope.say?.(
      `${round + 1}: ${shardsBefore} shards started, killed ${afterMs} ms later: ${verdict.records} records`,
    );
  }
  assert.equal(valid, rounds, "a worker had stored a checkpoint before it was killed");
  assert.ok(notPromised > 0, "records before the start show that the kills hit");
  if (delivery === "at-least-once") assert.ok(duplicates > 0, "no duplicate at all: the kills missed");
  return { rounds, valid, records, duplicates, lost: 0 };
}
