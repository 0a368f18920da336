// A clean stop under load: SIGTERM drains, checkpoints and releases, so that the next start goes on exactly behind it.

import assert from "node:assert/strict";
import { randomInt } from "node:crypto";
import { setTimeout as delay } from "node:timers/promises";
import { layRoad } from "../e2e/kit.ts";
import { assertIntact, judge } from "./judge.ts";
import { Load } from "./load.ts";
import { type Figures, type ProofScope, workerConfig } from "./proof.ts";
import { copyRest, leaseRows } from "./worker.ts";

/** Stops and starts so often, with splits and merges in between. Throws on any loss and any duplicate. */
export async function cleanStop(
  scope: ProofScope,
  { rounds }: { readonly rounds: number },
): Promise<Figures> {
  const road = await layRoad(scope, { shards: 4, runtime: scope.runtime });
  const rows = await leaseRows(scope, road);
  // An interval that does not come: all that is stored is stored by the stop. Nor may a busy machine cost a lease.
  const settings = { checkpointInterval: 60_000, failoverTimeMs: 10_000 };
  const config = await workerConfig(road, "worker.toml", settings);
  const load = new Load({ kinesis: road.kinesis, streamName: road.streamName });
  load.start();
  scope.after(() => load.stop());
  for (let round = 0; round < rounds; round++) {
    const worker = road.run("run", config);
    await worker.waitFor(/^record .*\n/m, 60_000);
    await delay(randomInt(100, 1000));
    if (round % 2 === 1) {
      load.reshard();
      await delay(randomInt(0, 700));
    }
    const stopAt = performance.now();
    worker.kill("SIGTERM");
    const code = await worker.exitCode;
    assert.equal(code, 0, `a clean stop ended with ${code}:\n${worker.stderr.slice(-4000)}`);
    const owners = (await rows.read()).filter(({ leaseOwner }) => leaseOwner !== undefined);
    assert.deepEqual(owners, [], "a clean stop releases its leases");
    scope.say?.(`${round + 1}: stopped within ${(performance.now() - stopAt).toFixed(0)} ms`);
  }
  await load.stop();
  await copyRest(road, config);
  const verdict = await judge(road.topic, load);
  assertIntact(verdict);
  assert.equal(verdict.duplicates, 0, `${verdict.duplicates} duplicates after clean stops`);
  return { rounds, valid: rounds, records: verdict.records, duplicates: 0, lost: 0 };
}
