// G5 from outside: a worker is frozen by SIGSTOP for three failover times, another takes its shards over, and it is
// woken. It must write nothing that it had not handed to its socket before, and store no checkpoint.

import assert from "node:assert/strict";
import { randomInt } from "node:crypto";
import { setTimeout as delay } from "node:timers/promises";
import { layRoad } from "../e2e/kit.ts";
import { pulsarBroker } from "../servers/broker.ts";
import { startDynamoDbProxy } from "./dynamodb-proxy.ts";
import { assertIntact, judge } from "./judge.ts";
import { Load } from "./load.ts";
import { type Figures, type ProofScope, workerConfig } from "./proof.ts";
import { startPulsarProxy } from "./pulsar-proxy.ts";
import { copyRest, lastRecords, leaseRows, startedShards, stopWell, until } from "./worker.ts";

/** One: of two it would rightly take its share again as soon as it wakes, and read on. */
const SHARDS = 1;
const FAILOVER_MS = 2000;
/** Batches stay open so long that a frozen worker nearly always has records in one. */
const BATCH_DELAY_MS = 200;
const WATCHED_MS = 2000;

/**
 * Freezes so many workers, each on a road of its own, and up to three more until a freeze has hit one that had
 * something to send. Throws when one writes after it woke.
 */
export async function frozen(scope: ProofScope, options: { readonly rounds: number }): Promise<Figures> {
  let [rounds, valid, records, duplicates] = [0, 0, 0, 0];
  for (; rounds < options.rounds || (valid === 0 && rounds < options.rounds + 3); rounds++) {
    const road = await layRoad(scope, { shards: SHARDS, runtime: scope.runtime });
    const rows = await leaseRows(scope, road);
    const { serviceUrl } = await pulsarBroker();
    const pulsar = await startPulsarProxy(scope, { serviceUrl, record: true });
    const dynamoDb = await startDynamoDbProxy(scope, road.dynamoUrl);
    const settings = { failoverTimeMs: FAILOVER_MS, checkpointInterval: 300 };
    const sleeper = road.run(
      "run",
      await workerConfig(road, "sleeper.toml", {
        ...settings,
        dynamoDbUrl: dynamoDb.url,
        pulsar: { serviceUrl: pulsar.serviceUrl, batchMaxDelayMs: BATCH_DELAY_MS },
      }),
    );
    const load = new Load({ kinesis: road.kinesis, streamName: road.streamName });
    load.start();
    scope.after(() => load.stop());
    await until("all shards read", () => startedShards(sleeper).length === SHARDS, 60_000);
    const other = road.run("run", await workerConfig(road, "other.toml", settings));
    await other.waitFor(/copying stream/, 60_000);
    await delay(randomInt(300, 1000));

    const frozenAt = performance.now();
    sleeper.kill("SIGSTOP");
    scope.after(() => sleeper.kill("SIGCONT"));
    await until("takeover", () => startedShards(other).length === SHARDS, 60_000);
    await delay(Math.max(500, 3 * FAILOVER_MS - (performance.now() - frozenAt)));
    const wholeFrames = !pulsar.isInsideFrame;
    const sent = new Set(pulsar.sent.map(({ sequenceNumber }) => sequenceNumber));
    const unsent = [...lastRecords(sleeper).values()].filter(({ sequenceNumber }) =>
      !sent.has(sequenceNumber)
    );
    if (wholeFrames && unsent.length > 0) valid++;
    const wokenAt = performance.now();
    sleeper.kill("SIGCONT");
    await delay(WATCHED_MS);

    const late = pulsar.sent.filter(({ at }) => at >= wokenAt);
    assert.deepEqual(late.slice(0, 5), [], `${late.length} messages were sent after the worker woke`);
    const writes = dynamoDb.calls.filter(({ at, operation }) => at >= wokenAt && operation === "UpdateItem");
    // One that was being made may still go out: its condition fails.
    const stored = writes.filter(({ status }) => status === 200);
    assert.deepEqual(stored, [], "it wrote to a row that is not its own any more");
    const owners = new Set((await rows.read()).map(({ leaseOwner }) => leaseOwner));
    assert.equal(owners.size, 1, "all leases belong to the other worker");
    const lastWord = await sleeper.waitFor(/lost the lease of shard/);
    assert.ok(lastWord, "and it says so");
    scope.say?.(`${rounds + 1}: ${unsent.length} shards had records that no socket had yet`);

    await load.stop();
    await stopWell(sleeper);
    await stopWell(other);
    await copyRest(road, await workerConfig(road, "last.toml", settings));
    const verdict = await judge(road.topic, load);
    assertIntact(verdict);
    records += verdict.records;
    duplicates += verdict.duplicates;
  }
  assert.ok(valid > 0, "no frozen worker had anything to send: the freezes missed");
  return { rounds, valid, records, duplicates, lost: 0 };
}
