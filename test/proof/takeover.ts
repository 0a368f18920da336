// Two workers share a stream, half each, and one is killed: the other takes its shards over within the failover time
// and two seconds, and nothing is lost.

import assert from "node:assert/strict";
import { randomInt } from "node:crypto";
import { setTimeout as delay } from "node:timers/promises";
import { layRoad } from "../e2e/kit.ts";
import type { CliProcess } from "../servers/cli.ts";
import { assertIntact, judge } from "./judge.ts";
import { Load } from "./load.ts";
import { type Figures, type ProofScope, workerConfig } from "./proof.ts";
import { copyRest, leaseRows, ownedShards, startedShards, stopWell, until } from "./worker.ts";

const SHARDS = 4;
const FAILOVER_MS = 2000;
const TAKEN_WITHIN_MS = FAILOVER_MS + 2000;
/** How many times as long a busy machine may take; what it took is printed beside the promise. */
const SLACK = 3;

/** Kills one of two workers; a new one takes its place for the next round. Throws on any loss or delay. */
export async function takeover(scope: ProofScope, { rounds }: { readonly rounds: number }): Promise<Figures> {
  const road = await layRoad(scope, { shards: SHARDS, runtime: scope.runtime });
  const config = await workerConfig(road, "worker.toml", {
    failoverTimeMs: FAILOVER_MS,
    checkpointInterval: 300,
  });
  const load = new Load({ kinesis: road.kinesis, streamName: road.streamName });
  load.start();
  scope.after(() => load.stop());
  const rows = await leaseRows(scope, road);
  let pair: [CliProcess, CliProcess] = [road.run("run", config), road.run("run", config)];
  let slowest = 0;
  for (let round = 0; round < rounds; round++) {
    await until("each has its half", async () => {
      const leases = await rows.read();
      return pair.every((worker) => ownedShards(worker, leases).length === SHARDS / 2);
    }, 60_000);
    await delay(randomInt(200, 1200));
    const [victim, other] = randomInt(2) === 0 ? pair : pair.toReversed();
    const shards = ownedShards(victim!, await rows.read());
    assert.ok(shards.length > 0, "no worker reads");
    const since = other!.stdout.length;
    const killedAt = performance.now();
    victim!.kill("SIGKILL");
    const isTaken = () => shards.every((shardId) => startedShards(other!, since).includes(shardId));
    await until(`takeover of ${shards.length} shards`, isTaken, SLACK * TAKEN_WITHIN_MS);
    const ms = performance.now() - killedAt;
    slowest = Math.max(slowest, ms);
    scope.say?.(`${round + 1}: ${shards.length} shards taken over within ${ms.toFixed(0)} ms`);
    if (round < rounds - 1) pair = [other!, road.run("run", config)];
    else pair = [other!, other!];
  }
  await load.stop();
  await stopWell(pair[0]);
  await copyRest(road, config);
  const verdict = await judge(road.topic, load);
  assertIntact(verdict);
  const { records, duplicates } = verdict;
  const remark = `slowest takeover ${slowest.toFixed(0)} ms of ${TAKEN_WITHIN_MS}`;
  return { rounds, valid: rounds, records, duplicates, lost: 0, remark };
}
