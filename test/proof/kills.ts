// G1, G2 and G4 under `kill -9`: a worker is killed again and again under load, at moments chosen to hurt, and started
// anew. At the end nothing is lost and every shard is in order. At least once, duplicates show that the kills hit;
// effectively once there are none, though the topic gets one more partition on the way, and the broker's answers show
// that it was sent some.

import assert from "node:assert/strict";
import { randomInt } from "node:crypto";
import { setTimeout as delay } from "node:timers/promises";
import { layRoad } from "../e2e/kit.ts";
import { pulsarAdmin } from "../servers/admin.ts";
import { pulsarBroker } from "../servers/broker.ts";
import type { CliProcess } from "../servers/cli.ts";
import { type DynamoDbProxy, type LeaseCall, startDynamoDbProxy } from "./dynamodb-proxy.ts";
import { assertDelivered, judge } from "./judge.ts";
import { Load } from "./load.ts";
import type { MadeMessages } from "./made-messages.ts";
import { type DeliveryMode, type Figures, partitionedTopic, type ProofScope, workerConfig } from "./proof.ts";
import { startPulsarProxy } from "./pulsar-proxy.ts";
import { anotherRound, copyRest, killHard, leaseRows, leastValid, remains } from "./worker.ts";

/** When a worker is killed. */
type Moment =
  /** Before it reads. */
  | "early"
  /** Right after its first record. */
  | "start"
  | "running"
  /** After a split or a merge. */
  | "shard end"
  /** During the drain after SIGTERM. */
  | "drain"
  /** Pulsar has the records, the checkpoint is on its way. */
  | "receipt";

// What of a start leaves nothing in flight is rare, so that 80 % of the rounds can be valid.
const MOMENTS: readonly Moment[] = [
  ...["running", "receipt", "shard end", "drain", "start", "shard end"] as const,
  ...["receipt", "running", "drain", "start", "shard end", "receipt", "drain", "early"] as const,
];
const PARTITIONS = 3;
// Receipts come so late that some are always on their way.
const RECEIPT_DELAY_MS = 20;

/** Options of {@link kills}. */
export interface KillsOptions {
  readonly rounds: number;
  /** What is put while workers die. @default 600 */
  readonly recordsPerSecond?: number;
  /** @default "at-least-once" */
  readonly delivery?: DeliveryMode;
  /** What a hook makes of the records. @default nothing else */
  readonly made?: MadeMessages;
  /** More of the table `pulsar`. */
  readonly pulsar?: Readonly<Record<string, unknown>>;
}

/** Kills a worker so many times. Throws when something is lost or out of order, or when the kills missed. */
export async function kills(
  scope: ProofScope,
  { rounds, recordsPerSecond = 600, delivery = "at-least-once", made, pulsar: settings = {} }: KillsOptions,
): Promise<Figures> {
  const { say = () => {} } = scope;
  const road = await layRoad(scope, { shards: 4, runtime: scope.runtime });
  const topic = await partitionedTopic(PARTITIONS, delivery);
  const pulsar = await startPulsarProxy(scope, {
    serviceUrl: (await pulsarBroker()).serviceUrl,
    answerDelayMs: RECEIPT_DELAY_MS,
  });
  const dynamoDb = await startDynamoDbProxy(scope, road.dynamoUrl);
  const rows = await leaseRows(scope, road);
  const failoverTimeMs = randomInt(1000, 2000);
  const config = () =>
    workerConfig(road, "worker.toml", {
      serviceUrl: pulsar.serviceUrl,
      pulsar: { ...settings, topic, delivery },
      made,
      dynamoDbUrl: dynamoDb.url,
      failoverTimeMs,
      checkpointInterval: randomInt(200, 500),
    });
  const load = new Load({
    kinesis: road.kinesis,
    streamName: road.streamName,
    recordsPerSecond,
    messagesOf: made?.messagesOf,
  });
  load.start();
  scope.after(() => load.stop());

  let valid = 0;
  let inFlight = 0;
  let round = 0;
  for (; anotherRound(round, valid, rounds); round++) {
    const moment = MOMENTS[round % MOMENTS.length]!;
    if (delivery === "effectively-once" && round === rounds >> 1) {
      await pulsarAdmin().updatePartitions(topic, PARTITIONS + 1); // old shards must not notice
    }
    const worker = road.run("run", await config());
    const how = await killAt(moment, worker, load, dynamoDb);
    const left = remains(worker, await rows.read());
    if (left.inFlight > 0) inFlight++;
    if (left.inFlight > 0 && left.checkpointed > 0) valid++;
    say(
      `${round + 1}: ${moment}, ${how}: ${left.inFlight} shards in flight, ${left.checkpointed} checkpoints`,
    );
  }
  await load.stop();
  await copyRest(road, await config());
  const verdict = await judge(topic, load);
  assertDelivered(verdict, delivery);
  assert.ok(valid >= leastValid(rounds), `only ${valid} of ${round} kills hit records in flight`);
  const { records, duplicates, lost } = verdict;
  const { duplicateReceipts } = pulsar;
  const repeats = delivery === "at-least-once" ? duplicates : duplicateReceipts;
  assert.ok(repeats > 0, "nothing was sent twice: the kills missed");
  const remark = delivery === "at-least-once" ? undefined : `${duplicateReceipts} frames were sent in vain`;
  return { rounds: round, valid, inFlight, records, duplicates, lost: lost.length, remark };
}

/** Waits for the moment and kills; says how. */
async function killAt(
  moment: Moment,
  worker: CliProcess,
  load: Load,
  dynamoDb: DynamoDbProxy,
): Promise<string> {
  if (moment === "early") {
    const afterMs = randomInt(300, 1500);
    await delay(afterMs);
    await killHard(worker);
    return `${afterMs} ms after the start of the process`;
  }
  await worker.waitFor(/^record .*\n/m, 60_000);
  if (moment === "start") return await killAfter(worker, randomInt(0, 150));
  await delay(randomInt(100, 800));
  switch (moment) {
    case "running":
      await worker.waitFor(/^checkpoint/m, 60_000); // the other moments need one that is older than the kill
      return await killAfter(worker, randomInt(0, 800));
    case "drain":
      worker.kill("SIGTERM");
      return await killAfter(worker, randomInt(5, 50));
    case "receipt": {
      const isCheckpoint = (call: LeaseCall) => /^\d+$/.test(call.checkpoint ?? "");
      return await killAtCall(worker, dynamoDb, isCheckpoint);
    }
    case "shard end": {
      const what = load.reshard();
      const dice = randomInt(3);
      const how = dice === 0
        ? await killAfter(worker, randomInt(0, 1500))
        : await killAtCall(worker, dynamoDb, (call) =>
          dice === 1 ? call.operation === "PutItem" : call.checkpoint === "SHARD_END");
      return `${what}, ${how}`;
    }
  }
}

async function killAfter(worker: CliProcess, ms: number): Promise<string> {
  await delay(ms);
  await killHard(worker);
  return `after ${ms} ms`;
}

/** Kills when such a call arrives: it is lost, or arrives late, or was done and its answer is lost. */
async function killAtCall(
  worker: CliProcess,
  dynamoDb: DynamoDbProxy,
  isIt: (call: LeaseCall) => boolean,
): Promise<string> {
  const fate = (["lost", "late", "done"] as const)[randomInt(3)]!;
  const killed = new Promise<string>((resolve) => {
    const timer = setTimeout(async () => {
      await killHard(worker);
      resolve("no such call in time");
    }, 15_000);
    dynamoDb.onCall = async (call, when) => {
      if (!isIt(call) || when !== (fate === "done" ? "after" : "before")) return;
      dynamoDb.onCall = undefined;
      clearTimeout(timer);
      await killHard(worker);
      resolve(`at ${call.operation} of ${call.checkpoint ?? "a child's lease"} (${fate})`);
      if (fate === "lost") return "drop";
    };
  });
  try {
    return await killed;
  } finally {
    dynamoDb.onCall = undefined;
  }
}
