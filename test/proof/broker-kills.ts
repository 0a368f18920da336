// A broker that is killed under load and started again on its data, over and over, while one worker goes on
// (in every third round it dies as well, and another begins): nothing is lost, every shard is in order, and under effectively-once nothing is there twice.

import assert from "node:assert/strict";
import { randomInt } from "node:crypto";
import { setTimeout as delay } from "node:timers/promises";
import { layRoad } from "../e2e/kit.ts";
import { pulsarAdmin } from "../servers/admin.ts";
import { brokersOnOneFolder } from "../servers/broker.ts";
import { assertDelivered, judge } from "./judge.ts";
import { Load } from "./load.ts";
import { type DeliveryMode, type Figures, type ProofScope, workerConfig } from "./proof.ts";
import { startPulsarProxy } from "./pulsar-proxy.ts";
import {
  anotherRound,
  copyRest,
  killHard,
  leaseRows,
  leastValid,
  nextCheckpoint,
  remains,
  stopWell,
  untilWorker,
} from "./worker.ts";

/** Receipts come so late that a killed broker always owes some. */
const RECEIPT_DELAY_MS = 50;

/** Options of {@link brokerKills}. */
export interface BrokerKillsOptions {
  readonly rounds: number;
  readonly delivery: DeliveryMode;
}

/** Kills a broker so many times. Throws when something is lost, out of order, or there twice where it must not be. */
export async function brokerKills(
  scope: ProofScope,
  { rounds, delivery }: BrokerKillsOptions,
): Promise<Figures> {
  const brokers = brokersOnOneFolder(scope, delivery === "effectively-once" ? ["--dedup"] : []);
  let broker = await brokers.start();
  const pulsar = await startPulsarProxy(scope, {
    serviceUrl: broker.serviceUrl,
    answerDelayMs: RECEIPT_DELAY_MS,
  });
  const road = await layRoad(scope, { shards: 4, runtime: scope.runtime, serviceUrl: broker.serviceUrl });
  await pulsarAdmin(broker.adminUrl).createPartitionedTopic(road.topic, 3);
  const rows = await leaseRows(scope, road);
  const settings = { serviceUrl: pulsar.serviceUrl, checkpointInterval: 300, failoverTimeMs: 5000 };
  const config = await workerConfig(road, "worker.toml", { ...settings, pulsar: { delivery } });
  const load = new Load({ kinesis: road.kinesis, streamName: road.streamName });
  load.start();
  scope.after(() => load.stop());
  let worker = road.run("run", config);

  let valid = 0;
  let slowestMs = 0;
  let round = 0;
  for (; anotherRound(round, valid, rounds); round++) {
    await nextCheckpoint(worker);
    await delay(randomInt(100, 1000));
    await untilWorker(worker, "receipts are on their way", () => pulsar.heldReceipts > 0);
    const owed = pulsar.heldReceipts;
    pulsar.silence(); // a JVM takes its time to die
    await broker.crash();
    const left = remains(worker, await rows.read());
    if (owed > 0 && left.inFlight > 0) valid++;
    await delay(randomInt(0, 2000));
    if (round % 3 === 2) {
      await killHard(worker);
      worker = road.run("run", config); // it waits for the broker
    }
    broker = await brokers.start();
    const backAt = performance.now();
    await nextCheckpoint(worker);
    slowestMs = Math.max(slowestMs, performance.now() - backAt);
    scope.say?.(`${round + 1}: killed with ${owed} receipts owed, ${left.inFlight} shards in flight`);
  }
  await load.stop();
  // a producer may still wait for its next attempt, longer than a stop waits for receipts
  const caughtUp = async () => remains(worker, await rows.read()).inFlight === 0;
  await untilWorker(worker, "all that was read is acknowledged", caughtUp, 120_000);
  await stopWell(worker);
  await copyRest(road, config);
  const verdict = await judge(road.topic, load, { serviceUrl: broker.serviceUrl });
  assertDelivered(verdict, delivery);
  assert.ok(valid >= leastValid(rounds), `only ${valid} of ${round} kills hit frames without receipt`);
  const { records, duplicates } = verdict;
  const { duplicateReceipts } = pulsar;
  const repeats = delivery === "at-least-once" ? duplicates : duplicateReceipts;
  assert.ok(repeats > 0, "nothing was sent twice: the kills missed");
  const inVain = delivery === "at-least-once" ? "" : `, ${duplicateReceipts} frames were sent in vain`;
  const remark = `${delivery}${inVain}; next checkpoint at most ${
    (slowestMs / 1000).toFixed(1)
  } s after the broker is back`;
  return { rounds: round, valid, inFlight: valid, records, duplicates, lost: 0, remark };
}
