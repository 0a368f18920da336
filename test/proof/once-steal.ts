// Effectively once with two workers that take a stream from each other: the one that has it is killed, or frozen until
// the other has its shards and woken as a zombie. The topic holds each record once, in order.

import assert from "node:assert/strict";
import { randomInt } from "node:crypto";
import { setTimeout as delay } from "node:timers/promises";
import { layRoad } from "../e2e/kit.ts";
import { pulsarBroker } from "../servers/broker.ts";
import type { CliProcess } from "../servers/cli.ts";
import { assertDelivered, judge } from "./judge.ts";
import { Load } from "./load.ts";
import { FILTERED } from "./made-messages.ts";
import { type Figures, partitionedTopic, type ProofScope, workerConfig } from "./proof.ts";
import { startPulsarProxy } from "./pulsar-proxy.ts";
import {
  anotherRound,
  copyRest,
  killHard,
  leaseRows,
  leastValid,
  nextCheckpoint,
  ownedShards,
  remains,
  startedShards,
  stopWell,
  until,
  untilWorker,
} from "./worker.ts";

const SHARDS = 4;
const FAILOVER_MS = 1000;
const RECEIPT_DELAY_MS = 20;
/** One round in so many is a freeze, from the second on. It takes longer: brokers give a silent producer five seconds. */
const FREEZE_EVERY = 5;
const TAKEN_WITHIN_MS = 60_000;

/** Throws when anything is lost, out of order or there twice, or a zombie goes on. */
export async function onceSteal(
  scope: ProofScope,
  { rounds }: { readonly rounds: number },
): Promise<Figures> {
  const { serviceUrl } = await pulsarBroker();
  const road = await layRoad(scope, { shards: SHARDS, runtime: scope.runtime });
  const topic = await partitionedTopic(3, "effectively-once");
  const pulsar = await startPulsarProxy(scope, { serviceUrl, answerDelayMs: RECEIPT_DELAY_MS });
  const rows = await leaseRows(scope, road);
  const config = await workerConfig(road, "worker.toml", {
    serviceUrl: pulsar.serviceUrl,
    pulsar: { topic, delivery: "effectively-once", compression: "lz4" },
    made: FILTERED,
    failoverTimeMs: FAILOVER_MS,
    checkpointInterval: 300,
  });
  const load = new Load({
    kinesis: road.kinesis,
    streamName: road.streamName,
    messagesOf: FILTERED.messagesOf,
  });
  load.start();
  scope.after(() => load.stop());
  let owner = road.run("run", config);
  await until("all shards read", () => startedShards(owner).length === SHARDS, 60_000);
  let other = road.run("run", config);
  let [valid, inFlight, freezes, zombies] = [0, 0, 0, 0];
  let round = 0;
  for (; anotherRound(round, valid, rounds); round++) {
    await other.waitFor(/copying stream/, 60_000);
    await nextCheckpoint(owner);
    await delay(randomInt(300, 1200));
    await untilWorker(owner, "receipts are on their way", () => pulsar.heldReceipts > 0);
    const isFreeze = round % FREEZE_EVERY === 1;
    const since = other.stdout.length;
    if (isFreeze) owner.kill("SIGSTOP");
    else await killHard(owner);
    const left = remains(owner, await rows.read());
    if (left.inFlight > 0) inFlight++;
    if (left.inFlight > 0 && left.checkpointed > 0) valid++;
    const hurtAt = performance.now();
    const taken = ownedShards(owner, await rows.read());
    const hasAll = () => taken.every((shardId) => startedShards(other, since).includes(shardId));
    await until("the other takes all shards over", hasAll, TAKEN_WITHIN_MS);
    const takenMs = performance.now() - hurtAt;
    if (isFreeze) {
      freezes++;
      await delay(randomInt(0, 7000)); // the broker asks the frozen one for five seconds whether it lives
      const before = lostLeases(owner);
      owner.kill("SIGCONT");
      // On a busy machine it may have lost them before it froze, and then has nothing to say.
      const knows = until("the loss", () => lostLeases(owner) > before, 10_000);
      await knows.then(() => zombies++, () => {});
    }
    scope.say?.(
      `${round + 1}: ${isFreeze ? "frozen" : "killed"}, ${left.inFlight} shards in flight, ` +
        `${left.checkpointed} checkpoints, taken over within ${takenMs.toFixed(0)} ms`,
    );
    [owner, other] = [other, isFreeze ? owner : road.run("run", config)];
  }
  await load.stop();
  for (const worker of [other, owner]) {
    await worker.waitFor(/copying stream/, 60_000);
    await stopWell(worker);
  }
  await copyRest(road, config);
  const verdict = await judge(topic, load);
  assertDelivered(verdict, "effectively-once");
  assert.ok(valid >= leastValid(rounds), `only ${valid} of ${round} hit records in flight`);
  assert.ok(zombies >= freezes / 2, `only ${zombies} of ${freezes} frozen workers woke as zombies`);
  assert.ok(pulsar.duplicateReceipts > 0, "nothing was sent twice: the rounds missed");
  const { records, duplicates } = verdict;
  const remark = `${zombies} of them zombies; ${pulsar.duplicateReceipts} frames were sent in vain`;
  return { rounds: round, valid, inFlight, records, duplicates, lost: 0, remark };
}

function lostLeases(worker: CliProcess): number {
  return worker.stderr.match(/lost the lease of shard/g)?.length ?? 0;
}
