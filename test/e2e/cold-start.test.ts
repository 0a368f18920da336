// The leases that a start on an empty table writes, on a stream with closed parents: the KCL's (spec of its shard sync),
// through our Kinesis server and dynalite. Nothing is read meanwhile, so the rows stay as they were made.

import assert from "node:assert/strict";
import { test } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import { createDynamoDbLeaseStore } from "../../src/leases/dynamodb.ts";
import { systemClock } from "../../src/runtime.ts";
import { faultWorld } from "../faults/kit.ts";
import { startDynalite } from "../servers/dynalite.ts";

const MIDDLE = 2n ** 127n;
const LAST = 2n ** 128n - 1n;
const QUARTER = 2n ** 126n;

// Shard 0 was split into 1 and 2, then 1 into 3 and 4.
for (
  const [position, expected] of [
    ["LATEST", { 3: [0n, QUARTER - 1n], 4: [QUARTER, MIDDLE - 1n], 2: [MIDDLE, LAST] }],
    ["TRIM_HORIZON", { 0: [0n, LAST] }],
    ["AT_TIMESTAMP", { 1: [0n, MIDDLE - 1n], 2: [MIDDLE, LAST] }],
  ] as const
) {
  test(`cold start: at ${position} the leases on a stream with closed parents are the KCL's (KCL scenario 11)`, async (t) => {
    const dynalite = await startDynalite();
    t.after(() => dynalite.close());
    const { kinesis, streamName, config, run } = await faultWorld(t, { dynamoEndpoint: dynalite.url });
    const shard = (number: number) => `shardId-${String(number).padStart(12, "0")}`;
    await delay(20);
    kinesis.splitShard(streamName, shard(0));
    await delay(20);
    const startAtTime = Date.now();
    await delay(20);
    kinesis.splitShard(streamName, shard(1));
    const iterators = kinesis.inject({ operation: "GetShardIterator", hang: true, times: Infinity });
    const { connector, running } = run({ initialPositionInStream: position, startAtTime });
    await running;

    const store = await createDynamoDbLeaseStore({
      tableName: String(config["applicationName"]),
      clientConfig: dynalite.clientConfig,
      clock: systemClock,
    });
    t.after(() => store.close());
    const { leases } = await store.scan({ consistent: true });
    assert.deepEqual(
      Object.fromEntries(
        leases.map((lease) => [
          lease.leaseKey,
          [lease.checkpoint.sequenceNumber, lease.startingHashKey, lease.endingHashKey],
        ]),
      ),
      Object.fromEntries(
        Object.entries(expected).map(([number, [from, to]]) => [
          shard(Number(number)),
          [position, String(from), String(to)],
        ]),
      ),
    );
    const parents = Object.fromEntries(leases.map((lease) => [lease.leaseKey, lease.parentShardIds]));
    if (position !== "TRIM_HORIZON") assert.deepEqual(parents[shard(2)], [shard(0)]);
    iterators.remove();
    await connector.stop();
  });
}
