// G6: 32 shards of records of 1 MiB while Pulsar takes nothing, then little, default settings. Reading pauses, then goes
// at Pulsar's pace, memory stays bounded, and when Pulsar goes on everything arrives.

import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { readFileSync } from "node:fs";
import { setTimeout as delay } from "node:timers/promises";
import { layRoad } from "../e2e/kit.ts";
import { pulsarBroker } from "../servers/broker.ts";
import { assertDelivered, judge } from "./judge.ts";
import { type Ledger, type LedgerEntry, sha256 } from "./load.ts";
import { type DeliveryMode, type Figures, partitionedTopic, type ProofScope, PROPERTIES } from "./proof.ts";
import { startPulsarProxy } from "./pulsar-proxy.ts";
import { copyRest, stopWell, until } from "./worker.ts";

const SHARDS = 32;
/** Under effectively-once each shard has a producer on each. */
const PARTITIONS = 3;
const RECORD_BYTES = 1024 * 1024 - 16; // with its key a record has 1 MiB
/** No page with records for so long means that reading pauses. */
const QUIET_MS = 3_000;
/**
 * What the process may take at most while Pulsar stands still; maxBufferedBytes is 64 MiB. Measured: 340–470 MiB, of
 * which 90–120 are the bare process; the rest is pages that are read and decoded at the same time, and what they
 * leave for the garbage collector.
 */
const MOST_STANDING_MIB = 600;
/** … then it takes little for a while, within the same bound. */
const SLOW_BYTES_PER_SECOND = 8 * 1024 * 1024;
const SLOW_FOR_MS = 3_000;
/** … and while it catches up at full speed. Measured: 430–600 MiB on Node, 520–670 on Deno. */
const MOST_RESIDENT_MIB = 900;

/** Options of {@link memory}. */
export interface MemoryOptions {
  readonly recordsPerShard: number;
  /** @default "at-least-once" */
  readonly delivery?: DeliveryMode;
}

/** Throws when the program takes too much memory, goes on reading, or loses anything. */
export async function memory(
  scope: ProofScope,
  { recordsPerShard, delivery = "at-least-once" }: MemoryOptions,
): Promise<Figures> {
  const road = await layRoad(scope, { shards: SHARDS, runtime: scope.runtime, requestLogSize: 100_000 });
  const pulsar = await startPulsarProxy(scope, { serviceUrl: (await pulsarBroker()).serviceUrl });
  const topic = await partitionedTopic(PARTITIONS, delivery);
  const config = await road.write("defaults.toml", {
    kinesisRecordProperties: PROPERTIES,
    pulsar: { serviceUrl: pulsar.serviceUrl, topic, delivery },
  });
  const ledger = fill(road, recordsPerShard);
  // Nothing is read before Pulsar stands still, and then there is a backlog in every shard.
  const fault = road.kinesis.inject({
    operation: "GetShardIterator",
    times: Infinity,
    error: "InternalFailure",
  });
  const worker = road.run("run", config);
  await until("all shards wait", () => shardsOf(road.kinesis.calls("GetShardIterator")) === SHARDS, 60_000);
  pulsar.pause();
  const before = residentMib(worker.pid, "VmRSS");
  fault.remove();

  await until("reading pauses", () => {
    const last = road.kinesis.calls("GetRecords").findLast(({ records = 0 }) => records > 0);
    return last !== undefined && performance.now() - last.at > QUIET_MS;
  }, 60_000);
  const recordsRead = () =>
    road.kinesis.calls("GetRecords").reduce((sum, { records = 0 }) => sum + records, 0);
  const given = recordsRead();
  assert.ok(
    given < SHARDS * recordsPerShard / 2,
    `${given} records of 1 MiB were read while Pulsar took none`,
  );
  const readsBefore = road.kinesis.calls("GetRecords").length;
  await delay(1000);
  const reads = road.kinesis.calls("GetRecords").length - readsBefore;
  const paused = residentMib(worker.pid, "VmHWM");
  pulsar.resume(SLOW_BYTES_PER_SECOND);
  await delay(SLOW_FOR_MS);
  const slow = residentMib(worker.pid, "VmHWM");
  const slowlyRead = recordsRead() - given;
  pulsar.resume();
  await until("everything is read", () => recordsRead() >= ledger.entries.size, 120_000);
  const peak = residentMib(worker.pid, "VmHWM");
  await stopWell(worker);
  assert.doesNotMatch(worker.stderr, /lost the lease/, "the machine is too slow for this proof");
  // A stop gives up pages that are on their way: the next run reads them.
  await copyRest(road, config);
  const verdict = await judge(topic, ledger, { queueSize: 20 });
  const remark =
    `resident: ${before} MiB before, at most ${paused} while Pulsar stood, ${slow} while it was slow, ` +
    `${peak} in all; ${given} MiB read while it stood, then ${reads} reads/s, ${slowlyRead} MiB while it was slow`;
  scope.say?.(remark);
  assertDelivered(verdict, delivery);
  assert.ok(paused < MOST_STANDING_MIB, `${paused} MiB resident at most, more than ${MOST_STANDING_MIB}`);
  assert.ok(slow < MOST_STANDING_MIB, `${slow} MiB resident at most, more than ${MOST_STANDING_MIB}`);
  assert.ok(slowlyRead > 0, "nothing was read while Pulsar was slow");
  const mostRead = 1.5 * SLOW_BYTES_PER_SECOND * SLOW_FOR_MS / 1000 / RECORD_BYTES + SHARDS;
  assert.ok(slowlyRead < mostRead, `${slowlyRead} MiB were read while Pulsar was slow`);
  assert.ok(peak < MOST_RESIDENT_MIB, `${peak} MiB resident at most, more than ${MOST_RESIDENT_MIB}`);
  const { records, duplicates } = verdict;
  return { rounds: 1, valid: 1, records, duplicates, lost: 0, remark };
}

function shardsOf(calls: readonly { readonly shardId?: string | undefined }[]): number {
  return new Set(calls.map(({ shardId }) => shardId)).size;
}

/** VmRSS is now, VmHWM the most there ever was. */
function residentMib(pid: number, field: "VmRSS" | "VmHWM"): number {
  const kib = new RegExp(`${field}:\\s+(\\d+) kB`).exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1];
  assert.ok(kib, `no ${field} of process ${pid}`);
  return Math.round(Number(kib) / 1024);
}

function fill(
  { kinesis, streamName }: Awaited<ReturnType<typeof layRoad>>,
  recordsPerShard: number,
): Ledger {
  const entries = new Map<string, LedgerEntry>();
  for (let place = 0; place < recordsPerShard; place++) {
    for (const id of kinesis.openShardIds(streamName)) {
      const data = randomBytes(RECORD_BYTES);
      const key = `k${place}`;
      const { shardId, sequenceNumber } = kinesis.putRecord(streamName, {
        data,
        partitionKey: key,
        shardId: id,
      });
      const messages = [{ key, sha256: sha256(data) }];
      entries.set(`${sequenceNumber}/0`, { shardId, place, messages, required: true });
    }
  }
  return { entries, parents: new Map() };
}
