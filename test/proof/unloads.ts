// A topic that is unloaded again and again under load, as a cluster does when it balances: its producers are closed and
// opened anew, nothing is lost, every shard is in order, and under effectively-once nothing is there twice.

import assert from "node:assert/strict";
import { randomInt } from "node:crypto";
import { setTimeout as delay } from "node:timers/promises";
import { layRoad } from "../e2e/kit.ts";
import { pulsarAdmin } from "../servers/admin.ts";
import { pulsarBroker } from "../servers/broker.ts";
import { assertDelivered, judge } from "./judge.ts";
import { Load } from "./load.ts";
import { type DeliveryMode, type Figures, partitionedTopic, type ProofScope, workerConfig } from "./proof.ts";
import { startPulsarProxy } from "./pulsar-proxy.ts";
import { copyRest, nextCheckpoint, stopWell, until, untilWorker } from "./worker.ts";

const PARTITIONS = 3;
/** Receipts come so late that an unload nearly always finds some owed. */
const RECEIPT_DELAY_MS = 20;

/** Options of {@link unloads}. */
export interface UnloadsOptions {
  readonly rounds: number;
  readonly delivery: DeliveryMode;
}

/** Unloads so many times, now one partition, now all. Throws on loss, wrong order, and duplicates that must not be. */
export async function unloads(scope: ProofScope, { rounds, delivery }: UnloadsOptions): Promise<Figures> {
  const { serviceUrl } = await pulsarBroker();
  const pulsar = await startPulsarProxy(scope, { serviceUrl, answerDelayMs: RECEIPT_DELAY_MS });
  const road = await layRoad(scope, { shards: 4, runtime: scope.runtime });
  const topic = await partitionedTopic(PARTITIONS, delivery);
  const settings = { serviceUrl: pulsar.serviceUrl, checkpointInterval: 300, failoverTimeMs: 10_000 };
  const config = await workerConfig(road, "worker.toml", { ...settings, pulsar: { delivery, topic } });
  const load = new Load({ kinesis: road.kinesis, streamName: road.streamName });
  load.start();
  scope.after(() => load.stop());
  const worker = road.run("run", config);
  await nextCheckpoint(worker);

  let valid = 0;
  const admin = pulsarAdmin();
  for (let round = 0; round < rounds; round++) {
    await delay(randomInt(20, 300));
    await untilWorker(worker, "receipts are on their way", () => pulsar.heldReceipts > 0);
    const closed = reopened(worker.stderr);
    await admin.unload(round % 4 === 3 ? topic : `${topic}-partition-${randomInt(PARTITIONS)}`);
    await until("a producer is closed", () => reopened(worker.stderr) > closed, 2000)
      .then(() => valid++, () => {}); // none is open yet after the last unload
  }
  scope.say?.(`${rounds} unloads, ${valid} of them under load; ${reopened(worker.stderr)} producers closed`);
  await load.stop();
  await stopWell(worker);
  await copyRest(road, config);
  const verdict = await judge(topic, load);
  assertDelivered(verdict, delivery);
  assert.ok(valid >= 0.6 * rounds, `only ${valid} of ${rounds} unloads closed a producer under load`);
  const { records, duplicates } = verdict;
  const inVain = delivery === "at-least-once" ? "" : `, ${pulsar.duplicateReceipts} frames were sent in vain`;
  return { rounds, valid, inFlight: valid, records, duplicates, lost: 0, remark: `${delivery}${inVain}` };
}

function reopened(log: string): number {
  return log.match(/closed the producer of topic/g)?.length ?? 0;
}
