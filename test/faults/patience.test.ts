import { test } from "node:test";
import assert from "node:assert/strict";
import type { ThrottleHookEvent } from "../../mod.ts";
import { startFaultyDynamoDb } from "./dynamodb.ts";
import { faultWorld, soon, until } from "./kit.ts";

/** What is counted here is counted under one lease, also on a machine that stands still for seconds. */
const NO_LEASE_LOST = { leases: { failoverTimeMs: 60_000 } };

/** Milliseconds between calls that came one after the other; a busy machine makes them longer, never shorter. */
function gaps(calls: readonly { readonly at: number }[]): number[] {
  return calls.slice(1).map(({ at }, index) => at - calls[index]!.at);
}

test("faults patience: backoffTime lies between throttled reads, doubles to ten times of it, and falls back", async (t) => {
  const world = await faultWorld(t);
  world.put(1);
  const run = world.run({ backoffTime: 40 });
  await world.arrived(1);
  world.kinesis.clearRequests();
  const throttle = () =>
    world.kinesis.inject({
      operation: "GetRecords",
      times: 7,
      error: "ProvisionedThroughputExceededException",
    });
  const first = throttle();
  await until(() => first.hits === 7, "seven throttled reads");
  await until(
    () => run.throttles.length === 7 && world.kinesis.calls("GetRecords").at(-1)?.status === 200,
    "a page",
  );
  const reads = world.kinesis.calls("GetRecords");
  const from = reads.findIndex(({ error }) => error !== undefined);
  const pauses = gaps(reads.slice(from, from + 8));
  // 50, 100, 200, then 400 for ever; up to a fifth less by chance, and never under what the pace asks for.
  const least = [40, 80, 160, 320, 320, 320, 320];
  assert.deepEqual(run.throttles.map(({ attempt }) => attempt), [1, 2, 3, 4, 5, 6, 7]);
  for (const [index, { delayMs, service, operation, shardId }] of run.throttles.entries()) {
    assert.ok(delayMs >= least[index]! && delayMs <= least[index]! * 1.25, `delay ${index}: ${delayMs} ms`);
    assert.ok(pauses[index]! >= delayMs - 2, `pause ${index}: ${pauses[index]} ms for ${delayMs} ms`);
    assert.deepEqual([service, operation, shardId], ["kinesis", "GetRecords", "shardId-000000000000"]);
  }
  assert.ok(new Set(run.throttles.slice(3).map(({ delayMs }) => delayMs)).size > 1, "jitter");
  const second = throttle();
  await until(() => second.hits >= 1 && run.throttles.length > 7, "another throttle");
  assert.equal(run.throttles[7]!.attempt, 1, "a page puts it back");
  assert.ok(run.throttles[7]!.delayMs <= 50);
  second.remove();
  world.put(1, "later");
  await world.arrived(2);
  await run.stop();
});

test("faults patience: a number that onThrottle returns takes the place of the delay", async (t) => {
  const world = await faultWorld(t);
  world.put(1);
  const events: ThrottleHookEvent[] = [];
  const run = world.run({ backoffTime: 60_000, kinesis: { maxReadsPerSecond: 1000 } }, {
    hooks: {
      onThrottle(event) {
        events.push(event);
        return 20;
      },
    },
  });
  await world.arrived(1);
  world.kinesis.inject({
    operation: "GetRecords",
    times: 3,
    error: "ProvisionedThroughputExceededException",
  });
  world.put(1, "later");
  await world.arrived(2); // within a minute only because of the hook
  assert.deepEqual(events.map(({ attempt }) => attempt), [1, 2, 3]);
  assert.ok(events.every(({ delayMs }) => delayMs >= 60_000));
  await run.stop();
});

test("faults patience: at the service's real limits a throttled connector keeps to them and loses nothing", async (t) => {
  const world = await faultWorld(t, { limits: { readsPerSecond: 5 } });
  world.put(40);
  // Another consumer has used the shard's reads up; and this one would read fifty times a second.
  const run = world.run({ kinesis: { idlePollMs: 5 } });
  await world.arrived(40);
  await until(() => run.throttles.length > 0, "a throttle");
  world.kinesis.clearRequests();
  const since = performance.now();
  await new Promise((resolve) => setTimeout(resolve, 1_500));
  const reads = world.kinesis.calls("GetRecords").length;
  const seconds = (performance.now() - since) / 1000; // on a busy machine more than asked for
  assert.ok(reads <= 5 * seconds + 3, `${reads} reads in ${seconds} s`);
  assert.match(
    run.log.messages("warn").join("\n"),
    /Kinesis throttles reads of stream "stream-\w+".*at most 5 times/,
  );
  await run.stop();
});

const RETRIES: readonly (readonly [string, unknown, number])[] = [
  ["3", 3, 4],
  ['"3" as a string', "3", 4],
  ["0", 0, 1],
  ['"0" as a string', "0", 1],
  ["1", 1, 2],
];
for (const [name, numRetries, tries] of RETRIES) {
  test(`faults patience: numRetries = ${name} means ${tries} in all for a checkpoint, backoffTime apart`, async (t) => {
    const dynamoDb = await startFaultyDynamoDb(t);
    const world = await faultWorld(t, { dynamoEndpoint: dynamoDb.url });
    const backoffTime = typeof numRetries === "string" ? "80" : 80;
    const run = world.run({ numRetries, backoffTime, checkpointInterval: "300", ...NO_LEASE_LOST });
    await soon(run.running, "the start");
    dynamoDb.refuse = ({ checkpoint }) =>
      checkpoint === undefined ? undefined : { type: "InternalServerError" };
    const writes = () => dynamoDb.calls.filter((call) => call.checkpoint !== undefined);
    world.put(1);
    await world.arrived(1);
    await until(() => writes().length === tries * 2, "the tries of two intervals");
    const [first, second] = [writes().slice(0, tries), writes().slice(tries, tries * 2)];
    for (const gap of [...gaps(first), ...gaps(second)]) assert.ok(gap >= 78, `${gap} ms between two tries`);
    const between = second[0]!.at - first.at(-1)!.at;
    assert.ok(between >= 298, `${between} ms to the next interval`);
    const said = () => run.log.messages("warn").filter((line) => line.includes("could not be stored"));
    await until(() => said().length === 2, "both failures in the log");
    assert.match(
      said()[0]!,
      new RegExp(
        `checkpoint of shard shardId-000000000000 could not be stored in table "app-\\w+" \\(${tries} (try|tries)\\): ` +
          ".*InternalServerError.*; the next checkpoint tries again",
      ),
    );
    dynamoDb.refuse = () => undefined;
    await until(() => run.checkpoints.length === 1, "the checkpoint of a later interval");
    assert.equal(run.checkpoints[0]!.records, 1);
    await run.stop();
  });
}

test("faults patience: a throttled checkpoint asks onThrottle, whose number takes the place of backoffTime", async (t) => {
  const dynamoDb = await startFaultyDynamoDb(t);
  const world = await faultWorld(t, { dynamoEndpoint: dynamoDb.url });
  const events: ThrottleHookEvent[] = [];
  let refused = 0;
  dynamoDb.refuse = ({ checkpoint }) =>
    checkpoint !== undefined && refused++ < 3
      ? { type: "ProvisionedThroughputExceededException" }
      : undefined;
  const run = world.run({ backoffTime: 60_000, ...NO_LEASE_LOST }, {
    hooks: {
      onThrottle(event) {
        events.push(event);
        return 30;
      },
    },
  });
  world.put(1);
  await until(() => run.checkpoints.length === 1, "the fourth try"); // within a minute only because of the hook
  assert.deepEqual(
    events.map((
      { service, operation, shardId, attempt, delayMs },
    ) => [service, operation, shardId, attempt, delayMs]),
    [1, 2, 3].map((attempt) => ["dynamodb", "UpdateItem", "shardId-000000000000", attempt, 60_000]),
  );
  const writes = dynamoDb.calls.filter((call) => call.checkpoint !== undefined);
  assert.equal(writes.length, 4);
  assert.ok(gaps(writes).every((gap) => gap >= 28), "thirty milliseconds apart");
  await run.stop();
});

test("faults patience: a checkpoint whose answer is lost is stored once, and the lease is kept", async (t) => {
  const dynamoDb = await startFaultyDynamoDb(t);
  const world = await faultWorld(t, { dynamoEndpoint: dynamoDb.url });
  let lost = 0;
  dynamoDb.refuse = ({ checkpoint }) =>
    checkpoint !== undefined && lost++ === 0 ? { type: "InternalServerError", applied: true } : undefined;
  const run = world.run({ numRetries: 1, ...NO_LEASE_LOST });
  world.put(3);
  await until(() => run.checkpoints.length === 1, "the checkpoint");
  assert.equal(run.checkpoints[0]!.records, 3);
  world.put(1, "later");
  await until(() => run.checkpoints.length === 2, "the next one");
  assert.equal(run.log.messages("warn").some((line) => line.includes("lost the lease")), false);
  await run.stop();
});

test("faults patience: a shard's end is stored however often that fails, also with numRetries = 0", async (t) => {
  const dynamoDb = await startFaultyDynamoDb(t);
  const world = await faultWorld(t, { dynamoEndpoint: dynamoDb.url });
  let refused = 0;
  dynamoDb.refuse = ({ checkpoint }) =>
    checkpoint === "SHARD_END" && refused++ < 5 ? { type: "InternalServerError" } : undefined;
  const run = world.run({ numRetries: 0, backoffTime: 20, ...NO_LEASE_LOST });
  world.put(2, "parent");
  await world.arrived(2);
  world.kinesis.splitShard(world.streamName, "shardId-000000000000");
  world.put(2, "child");
  await world.arrived(4);
  assert.equal(refused, 6);
  assert.equal(run.checkpoints.filter(({ reason }) => reason === "shard-end").length, 1);
  assert.deepEqual(world.published(), ["parent 0", "parent 1", "child 0", "child 1"]);
  await run.stop();
});
