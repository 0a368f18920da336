// Effectively once with messages in chunks: of a hundred records one has 8–10 MiB, and a worker dies while one of those
// is on its way: between two chunks, inside one, or behind the last before its receipt. The official Java and Python
// consumers get every record once and whole, and none gets stuck behind the beginnings that were left.

import assert from "node:assert/strict";
import type { Buffer } from "node:buffer";
import { randomInt } from "node:crypto";
import { decodePayload } from "../../src/pulsar/wire/frames.ts";
import { decodeMetadata } from "../../src/pulsar/wire/metadata.ts";
import { layRoad } from "../e2e/kit.ts";
import { type CuttingProxy, type PassingFrame, startCuttingProxy } from "../faults/cutting-proxy.ts";
import { pulsarBroker } from "../servers/broker.ts";
import type { CliProcess } from "../servers/cli.ts";
import { pythonMissing, summarizeWithPython } from "../servers/python.ts";
import { assertDelivered, compare, judge } from "./judge.ts";
import { Load } from "./load.ts";
import { type Figures, partitionedTopic, type ProofScope, workerConfig } from "./proof.ts";
import {
  anotherRound,
  copyRest,
  killHard,
  leaseRows,
  leastValid,
  nextCheckpoint,
  remains,
} from "./worker.ts";

/** 1 % of records are large: about two thirds of a MiB per second and shard. */
const RECORDS_PER_SECOND = 60;
const ONE_LARGE_OF = 100;
const MIB = 1024 * 1024;
/** Records of that size keep the servers, which run in this process, from answering for a while. */
const FAILOVER_MS = 4000;
const WAIT_FOR_CHUNKS_MS = 60_000;

/** Kills so many workers in the middle of a chunked message. Throws unless each record is there once, in order. */
export async function onceChunks(
  scope: ProofScope,
  { rounds }: { readonly rounds: number },
): Promise<Figures> {
  const { serviceUrl } = await pulsarBroker();
  const road = await layRoad(scope, { shards: 4, runtime: scope.runtime, maxRecordBytes: 10 * MIB });
  const topic = await partitionedTopic(3, "effectively-once");
  const pulsar = await startCuttingProxy(scope, serviceUrl);
  const rows = await leaseRows(scope, road);
  const config = await workerConfig(road, "worker.toml", {
    serviceUrl: pulsar.serviceUrl,
    pulsar: { topic, delivery: "effectively-once", compression: "lz4" },
    checkpointInterval: 300,
    failoverTimeMs: FAILOVER_MS,
  });
  const load = new Load({
    kinesis: road.kinesis,
    streamName: road.streamName,
    recordsPerSecond: RECORDS_PER_SECOND,
    oneLargeOf: ONE_LARGE_OF,
  });
  load.put(ONE_LARGE_OF);
  load.start();
  scope.after(() => load.stop());
  let [valid, inFlight] = [0, 0];
  let round = 0;
  for (; anotherRound(round, valid, rounds); round++) {
    const worker = road.run("run", config);
    await nextCheckpoint(worker);
    const where = await killAtChunk(worker, pulsar);
    const left = remains(worker, await rows.read());
    if (left.inFlight > 0) inFlight++;
    if (left.inFlight > 0 && left.checkpointed > 0) valid++;
    scope.say?.(
      `${round + 1}: ${where}, ${left.inFlight} shards in flight, ${left.checkpointed} checkpoints`,
    );
  }
  await load.stop();
  await copyRest(road, config, 300_000);
  // In a Java consumer each message that was cut off holds a place of its queue: the queue must be larger than the
  // number of kills, as the default (1000) is by far.
  const verdict = await judge(topic, load, { queueSize: 20 + 4 * rounds });
  assertDelivered(verdict, "effectively-once");
  if (pythonMissing() === undefined) {
    assertDelivered(
      compare(load, await summarizeWithPython(topic, { timeoutMs: 20_000 })),
      "effectively-once",
    );
  } else scope.say?.(`not read with Python: ${pythonMissing()}`);
  assert.ok(valid >= leastValid(rounds), `only ${valid} of ${round} kills hit records in flight`);
  const large = [...load.entries.values()].filter(({ isLarge }) => isLarge).length;
  const { records, duplicates } = verdict;
  return { rounds: round, valid, inFlight, records, duplicates, lost: 0, remark: `${large} of 8–10 MiB` };
}

/** Kills the worker when a chunk passes that is not the first thing it sends; says where it was cut. */
async function killAtChunk(worker: CliProcess, pulsar: CuttingProxy): Promise<string> {
  const dice = randomInt(4);
  let skip = randomInt(2); // of messages in chunks
  let timer: ReturnType<typeof setTimeout> | undefined;
  const cut = new Promise<string>((resolve, reject) => {
    timer = setTimeout(
      () => reject(new Error(`no chunk came in time:\n${worker.stderr.slice(-4000)}`)),
      WAIT_FOR_CHUNKS_MS,
    );
    pulsar.cut = (frame) => {
      const chunk = chunkOf(frame);
      if (chunk === undefined) return undefined;
      const isLast = chunk.id === chunk.count - 1;
      if (skip > 0) {
        if (isLast) skip--;
        return undefined;
      }
      if (isLast !== dice < 2) return undefined;
      pulsar.cut = undefined;
      worker.kill("SIGKILL"); // at once: what it still gives to its socket goes nowhere
      const inside = dice === 0;
      resolve(`${inside ? "inside" : "behind"} chunk ${chunk.id + 1} of ${chunk.count}`);
      return inside ? randomInt(frame.bytes.length) : frame.bytes.length;
    };
  });
  try {
    return await cut;
  } finally {
    clearTimeout(timer);
    pulsar.cut = undefined;
    await killHard(worker);
  }
}

function chunkOf({ name, bytes }: PassingFrame): { id: number; count: number } | undefined {
  if (name !== "SEND") return undefined;
  const { chunkId, numChunksFromMsg } = decodeMetadata(decodePayload(bytes as Buffer)!.metadata);
  if (chunkId === undefined || numChunksFromMsg === undefined) return undefined;
  return { id: chunkId, count: numChunksFromMsg };
}
