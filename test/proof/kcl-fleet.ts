// A fleet of one worker of the real KCL for Java and two of ours, under load: six leases settle at two each, and stay
// there. Rules of balancing that differ would pass leases to and fro for ever.

import assert from "node:assert/strict";
import { setTimeout as delay } from "node:timers/promises";
import { leaderOf } from "../../src/leases/leader.ts";
import type { Row } from "../e2e/judge.ts";
import { layKclRoad, leaseCounts } from "../e2e/kcl-kit.ts";
import { stopped } from "../e2e/kit.ts";
import type { Figures, ProofScope } from "./proof.ts";
import { until } from "./worker.ts";

/** Each worker takes one lease of another per 20 s; each of ours needs two. Three times as long. */
const SETTLED_WITHIN_MS = 120_000;

/** Watches the owners for so long once the leases are even. Throws on any change of owner, and on any loss. */
export async function kclFleet(
  scope: ProofScope,
  { steadyMs }: { readonly steadyMs: number },
): Promise<Figures> {
  const road = await layKclRoad(scope, { shards: 6, runtime: scope.runtime });
  const shards = road.kinesis.openShardIds(road.streamName);
  await road.prepareTable(Object.fromEntries(shards.map((shardId) => [shardId, {}])));
  const java = await road.java({ checkpointEvery: 5 });
  await java.until("all shards", () => java.told("init").length === shards.length);
  const load = road.load();
  const ours = [await road.ours(), await road.ours()];
  const startedAt = performance.now();

  let counts = new Map<string, number>();
  const isEven = async () => {
    counts = leaseCounts(await road.rows());
    return counts.size === 3 && [...counts.values()].every((count) => count === 2);
  };
  await until("two leases each", isEven, SETTLED_WITHIN_MS).catch((error: unknown) => {
    const words = ours.map((cli) => cli.stderr.slice(-2000)).join("\n");
    throw new Error(`${error}: ${JSON.stringify([...counts])}\n${words}`, { cause: error });
  });
  const settledMs = performance.now() - startedAt;
  scope.say?.(`two leases each after ${(settledMs / 1000).toFixed(0)} s`);

  const ids = [...counts.keys()];
  assert.deepEqual(await java.leaders(ids), [leaderOf(ids)], "the KCL elects whom we elect");

  const settled = ownersOf(await road.rows());
  for (const end = performance.now() + steadyMs; performance.now() < end;) {
    await delay(250);
    assert.deepEqual(ownersOf(await road.rows()), settled, "no lease changes hands");
  }

  await load.stop();
  const all = new Set(road.known.map(({ text }) => text));
  await until("all records are read", async () => {
    await java.refresh();
    return new Set([...road.published(), ...road.read(java)]).size === all.size;
  }, 60_000);
  for (const cli of ours) await stopped(cli);
  const duplicates = road.judge(ours, [java]);
  const steady = (steadyMs / 1000).toFixed(0);
  return {
    records: road.known.length,
    duplicates,
    lost: 0,
    remark: `even after ${(settledMs / 1000).toFixed(0)} s, and for ${steady} s no change of owner`,
  };
}

function ownersOf(rows: ReadonlyMap<string, Row>): Record<string, string | undefined> {
  return Object.fromEntries([...rows].map(([shardId, row]) => [shardId, row["leaseOwner"]?.S]).sort());
}
