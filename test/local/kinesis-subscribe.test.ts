// SubscribeToShard of the local Kinesis server through the stock SDK, over HTTP/1.1 and HTTP/2: positions, events,
// ends. What faults make of it: kinesis-stream-faults.test.ts.

import assert from "node:assert/strict";
import { test } from "node:test";
import { PutRecordCommand, type StartingPosition, type SubscribeToShardEvent } from "@aws-sdk/client-kinesis";
import type { LocalKinesis, LocalKinesisOptions } from "../../src/local/mod.ts";
import { FakeClock, settle } from "../fakes.ts";
import { startKinesisStream } from "../servers/kinesis.ts";
import { clientOver, subscribe, type Subscribed, TRANSPORTS } from "./subscriptions.ts";

/** A stream of one shard with a consumer, and a way to subscribe. */
async function reader(t: Parameters<typeof subscribe>[0], options: LocalKinesisOptions = {}) {
  const { kinesis, client, streamName, shardIds: [shardId] } = await startKinesisStream(t, options);
  const arn = kinesis.registerConsumer(streamName, "reader");
  const put = (data: string) => kinesis.putRecord(streamName, { partitionKey: "k", data }).sequenceNumber;
  const open = (position?: StartingPosition, on = client) => subscribe(t, on, arn, shardId!, position);
  return { kinesis, client, streamName, shardId: shardId!, arn, put, open };
}

function texts(event: SubscribeToShardEvent | undefined): string[] {
  return event!.Records!.map((record) => new TextDecoder().decode(record.Data));
}

async function outcome(call: Promise<unknown>): Promise<string> {
  try {
    await call;
    return "accepted";
  } catch (error) {
    return (error as Error).name;
  }
}

/** How a subscription ends, after whatever still comes. */
async function ending(subscription: Subscribed): Promise<string> {
  for (;;) {
    try {
      if (!await subscription.next()) return "end";
    } catch (error) {
      return `${(error as Error).name}: ${(error as Error).message}`;
    }
  }
}

// Real I/O stands behind the fake clock: what is awaited comes after an unknown number of turns.
async function until(condition: () => boolean): Promise<void> {
  for (let i = 0; !condition(); i++) {
    assert.ok(i < 10_000, "it does not come to that");
    await settle();
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
}

for (const transport of TRANSPORTS) {
  test(`local fan-out: what is put arrives at once, over ${transport}`, async (t) => {
    const { kinesis, open, put } = await reader(t, { heartbeatMs: 60_000 });
    put("before");
    const subscription = await open(undefined, clientOver(t, kinesis.url, transport));
    assert.deepEqual(await subscription.texts(1), ["before"]);
    const waiting = subscription.next();
    put("after");
    const event = (await waiting)!;
    assert.deepEqual(texts(event), ["after"]);
    assert.equal(event.MillisBehindLatest, 0);
    assert.ok(BigInt(event.ContinuationSequenceNumber!) > BigInt(event.Records!.at(-1)!.SequenceNumber!));
    assert.equal(event.ChildShards, undefined);
  });

  test(`local fan-out: a shard's last event has its children and no number, over ${transport}`, async (t) => {
    const { kinesis, streamName, shardId, open } = await reader(t);
    const subscription = await open(undefined, clientOver(t, kinesis.url, transport));
    const first = (await subscription.next())!;
    assert.deepEqual(first.Records, []);
    assert.ok(first.ContinuationSequenceNumber);
    const waiting = subscription.next();
    const children = kinesis.splitShard(streamName, shardId);
    const last = (await waiting)!;
    assert.equal(last.ContinuationSequenceNumber, undefined);
    assert.deepEqual(last.ChildShards!.map((child) => child.ShardId), children);
    assert.deepEqual(last.ChildShards!.map((child) => child.ParentShards), [[shardId], [shardId]]);
    assert.equal(await subscription.next(), undefined);
    assert.deepEqual(kinesis.subscriptions(), []);
  });

  test(`local fan-out: an unread subscription holds nothing in memory, over ${transport}`, async (t) => {
    const { kinesis, streamName, open } = await reader(t, { maxEventBytes: 256 * 1024 });
    const subscription = await open(undefined, clientOver(t, kinesis.url, transport));
    kinesis.fill(streamName, { records: 4096, bytes: 8192 });
    const sent = () => kinesis.subscriptions()[0]!.records;
    let before = -1;
    for (let still = 0; still < 10; still = sent() === before ? still + 1 : 0) {
      before = sent();
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    assert.ok(sent() < 2500, `${sent()} of 4096 records were sent, though nobody reads`);
    let records = 0;
    while (records < 4096) records += (await subscription.next())!.Records!.length;
    assert.equal(sent(), 4096);
  });

  test(`local fan-out: a client that leaves ends its subscription, over ${transport}`, async (t) => {
    const { kinesis, open } = await reader(t);
    const subscription = await open(undefined, clientOver(t, kinesis.url, transport));
    await subscription.next();
    assert.equal(kinesis.subscriptions().length, 1);
    subscription.leave();
    await until(() => kinesis.subscriptions().length === 0);
    await until(() => kinesis.calls("SubscribeToShard")[0]!.ended === "client");
  });
}

test("local fan-out: every starting position begins where GetShardIterator begins", async (t) => {
  const clock = new FakeClock();
  const { open, put } = await reader(t, { clock, resubscribeAfterMs: 0 });
  const numbers: string[] = [];
  const times: Date[] = [];
  for (const text of ["a", "b", "c"]) {
    await clock.advance(1000);
    times.push(new Date(clock.now()));
    numbers.push(put(text));
  }
  const first = async (position: StartingPosition) => texts(await (await open(position)).next());
  assert.deepEqual(await first({ Type: "TRIM_HORIZON" }), ["a", "b", "c"]);
  assert.deepEqual(await first({ Type: "LATEST" }), []);
  assert.deepEqual(await first({ Type: "AT_SEQUENCE_NUMBER", SequenceNumber: numbers[1] }), ["b", "c"]);
  assert.deepEqual(await first({ Type: "AFTER_SEQUENCE_NUMBER", SequenceNumber: numbers[1] }), ["c"]);
  assert.deepEqual(await first({ Type: "AT_TIMESTAMP", Timestamp: times[2] }), ["c"]);
});

test("local fan-out: a continuation number goes on behind what was sent, also of empty events", async (t) => {
  const clock = new FakeClock();
  const { open, put } = await reader(t, { clock, resubscribeAfterMs: 0 });
  const first = (await (await open()).next())!.ContinuationSequenceNumber!;
  await clock.advance(2000);
  const second = (await (await open()).next())!.ContinuationSequenceNumber!;
  assert.ok(BigInt(second) > BigInt(first), "it grows with time");
  const a = put("a");
  assert.ok(BigInt(a) > BigInt(second));
  const third = (await (await open()).next())!.ContinuationSequenceNumber!;
  put("b");
  for (const Type of ["AFTER_SEQUENCE_NUMBER", "AT_SEQUENCE_NUMBER"] as const) {
    const textsAfter = async (number: string) =>
      texts(await (await open({ Type, SequenceNumber: number })).next());
    assert.deepEqual(await textsAfter(first), ["a", "b"], Type);
    assert.deepEqual(await textsAfter(second), ["a", "b"], Type);
    assert.deepEqual(await textsAfter(third), ["b"], Type);
  }
});

test("local fan-out: what cannot be subscribed to is refused as AWS refuses it", async (t) => {
  const { kinesis, streamName, shardId, arn, client, open } = await reader(t, { consumerTransitionMs: 0 });
  const at = (Type: StartingPosition["Type"], more: Partial<StartingPosition> = {}) =>
    outcome(open({ Type, ...more }));
  assert.equal(await outcome(subscribe(t, client, arn, "shardId-000000000009")), "ResourceNotFoundException");
  assert.equal(await outcome(subscribe(t, client, `${arn}1`, shardId)), "ResourceNotFoundException");
  assert.equal(await outcome(subscribe(t, client, "arn:aws:other", shardId)), "ValidationException");
  assert.equal(await at("AT_SEQUENCE_NUMBER"), "InvalidArgumentException");
  assert.equal(await at("LATEST", { SequenceNumber: "1" }), "InvalidArgumentException");
  assert.equal(await at("AT_TIMESTAMP"), "InvalidArgumentException");
  assert.equal(
    await at("AT_TIMESTAMP", { Timestamp: new Date(Date.now() + 60_000) }),
    "InvalidArgumentException",
  );
  const other = await startKinesisStream(t, { shards: 2 });
  const { sequenceNumber } = other.kinesis.putRecord(other.streamName, { partitionKey: "k", data: "x" });
  assert.equal(
    await at("AFTER_SEQUENCE_NUMBER", { SequenceNumber: sequenceNumber }),
    "InvalidArgumentException",
  );
  kinesis.deleteStream(streamName);
  assert.equal(await outcome(open()), "ResourceNotFoundException");
});

test("local fan-out: LATEST of a shard that has ended gives its children at once", async (t) => {
  const { kinesis, streamName, shardId, put, open } = await reader(t);
  put("a");
  const children = kinesis.splitShard(streamName, shardId);
  const subscription = await open({ Type: "LATEST" });
  const last = (await subscription.next())!;
  assert.deepEqual(last.Records, []);
  assert.deepEqual(last.ChildShards!.map((child) => child.ShardId), children);
  assert.equal(await subscription.next(), undefined);
});

test("local fan-out: an ended shard gives its records before, or with, its children", async (t) => {
  for (const emptyPageAtShardEnd of [false, true]) {
    const { kinesis, streamName, shardId, put, open } = await reader(t, { emptyPageAtShardEnd });
    put("a");
    kinesis.splitShard(streamName, shardId);
    const subscription = await open();
    const first = (await subscription.next())!;
    assert.deepEqual(texts(first), ["a"]);
    assert.equal(first.ChildShards === undefined, emptyPageAtShardEnd);
    assert.equal((await subscription.next())?.ChildShards?.length, emptyPageAtShardEnd ? 2 : undefined);
  }
});

test("local fan-out: without records an empty event comes in the set rhythm, until the life is over", async (t) => {
  const clock = new FakeClock();
  const { open, put } = await reader(t, { clock, heartbeatMs: 1000, subscriptionLifeMs: 3400 });
  const subscription = await open();
  const events: string[][] = [];
  const reading = (async () => {
    for (let event = await subscription.next(); event; event = await subscription.next()) {
      events.push(texts(event));
    }
  })();
  await until(() => events.length === 1);
  await clock.advance(1000);
  await until(() => events.length === 2);
  await clock.advance(500);
  put("a");
  await until(() => events.length === 3);
  await clock.advance(999);
  put("b");
  await until(() => events.length === 4);
  await clock.advance(1000);
  await reading;
  assert.deepEqual(events, [[], [], ["a"], ["b"]]);
});

test("local fan-out: for five seconds a second subscription is refused, then it takes the first one's place", async (t) => {
  const clock = new FakeClock();
  const { kinesis, streamName, shardId, open } = await reader(t, { clock });
  const first = await open();
  await first.next();
  await clock.advance(4999);
  assert.equal(await outcome(open()), "ResourceInUseException");
  await clock.advance(1);
  const second = await open();
  assert.equal(
    await ending(first),
    `ResourceInUseException: Another active subscription exists for this consumer: 000000000000:${streamName}:` +
      `${shardId}:reader`,
  );
  assert.deepEqual((await second.next())!.Records, []);
  assert.deepEqual(kinesis.calls("SubscribeToShard").map(({ error, ended }) => error ?? ended), [
    "exception",
    "ResourceInUseException",
    undefined,
  ]);
});

test("local fan-out: five seconds count from the last success, also when that subscription is over", async (t) => {
  const clock = new FakeClock();
  const { kinesis, client, streamName, shardId, open } = await reader(t, { clock });
  (await open()).leave();
  await until(() => kinesis.subscriptions().length === 0);
  assert.equal(await outcome(open()), "ResourceInUseException");
  const other = kinesis.registerConsumer(streamName, "other");
  assert.equal(await outcome(subscribe(t, client, other, shardId)), "accepted");
  await clock.advance(5000);
  assert.equal(await outcome(open()), "accepted");
});

test("local fan-out: what vanishes under a subscription ends it with ResourceNotFound", async (t) => {
  const clock = new FakeClock();
  const { kinesis, arn, open } = await reader(t, { clock });
  const first = await open();
  kinesis.deregisterConsumer(arn);
  assert.match(await ending(first), /^ResourceNotFoundException: Consumer arn:.*not found/);

  const deleted = await reader(t);
  const second = await deleted.open();
  deleted.kinesis.deleteStream(deleted.streamName);
  assert.match(await ending(second), /^ResourceNotFoundException: Stream .* not found/);
});

test("local fan-out: an event keeps to its bytes, and holds at least one record", async (t) => {
  const { kinesis, streamName, open } = await reader(t, { maxEventBytes: 2500 });
  kinesis.putRecords(
    streamName,
    [1000, 1000, 1000, 5000, 10].map((bytes) => ({ partitionKey: "k", data: new Uint8Array(bytes) })),
  );
  const subscription = await open();
  const sizes: number[][] = [];
  while (sizes.flat().length < 5) {
    const event = (await subscription.next())!;
    sizes.push(event.Records!.map((record) => record.Data!.length));
    assert.equal(event.MillisBehindLatest === 0, sizes.flat().length === 5);
  }
  assert.deepEqual(sizes, [[1000, 1000], [1000], [5000], [10]]);
});

test("local fan-out: limits refuse the second call of a second and hold bytes back", async (t) => {
  const clock = new FakeClock();
  const options = { clock, limits: true, resubscribeAfterMs: 0, maxEventBytes: 1024 * 1024 };
  const { kinesis, streamName, open } = await reader(t, options);
  const subscription = await open();
  assert.equal(await outcome(open()), "LimitExceededException");
  assert.deepEqual((await subscription.next())!.Records, []);
  kinesis.fill(streamName, { records: 3, bytes: 1024 * 1024 - 10 });
  assert.equal((await subscription.next())!.Records!.length, 1);
  let isThere = false;
  const second = subscription.next().then((event) => {
    isThere = true;
    return event;
  });
  await clock.advance(490);
  await new Promise((resolve) => setTimeout(resolve, 20));
  assert.equal(isThere, false);
  await clock.advance(20);
  assert.equal((await second)!.Records!.length, 1);
});

test("local fan-out: subscriptions are listed with their positions and can be ended from outside", async (t) => {
  const { kinesis, streamName, shardId, arn, open } = await reader(t, { resubscribeAfterMs: 0 });
  const end = async (how: (kinesis: LocalKinesis) => void) => {
    const subscription = await open({ Type: "LATEST" });
    await subscription.next();
    how(kinesis);
    return await ending(subscription);
  };
  const only = () => kinesis.subscriptions({ streamName, consumerName: "reader", shardId })[0]!;
  assert.equal(
    await end(() => {
      const { openedAt, ...rest } = only();
      assert.ok(openedAt > 0);
      assert.deepEqual(JSON.parse(JSON.stringify(rest)), {
        streamName,
        consumerName: "reader",
        consumerArn: arn,
        shardId,
        startingPosition: { Type: "LATEST" },
        events: 1,
        records: 0,
      });
      only().end();
    }),
    "end",
  );
  assert.match(await end(() => only().evict()), /^ResourceInUseException: Another active subscription/);
  assert.equal(
    await end(() => only().fail("InternalFailureException", "broken")),
    "InternalFailureException: broken",
  );
  assert.match(await end(() => only().cut()), /./);
  assert.deepEqual(kinesis.subscriptions(), []);
  await until(() => kinesis.calls("SubscribeToShard").every((call) => call.outcome !== "open"));
  assert.deepEqual(
    kinesis.calls("SubscribeToShard", { shardId }).map(({ input, outcome, ended, events }) => ({
      position: (input.StartingPosition as StartingPosition).Type,
      outcome,
      ended,
      events,
    })),
    [
      { position: "LATEST", outcome: "answered", ended: "expired", events: 1 },
      { position: "LATEST", outcome: "answered", ended: "exception", events: 1 },
      { position: "LATEST", outcome: "answered", ended: "exception", events: 1 },
      { position: "LATEST", outcome: "dropped", ended: "cut", events: 1 },
    ],
  );
});

test("local fan-out: a subscription does not disturb other calls", async (t) => {
  const { kinesis, streamName, open } = await reader(t);
  const client = clientOver(t, kinesis.url, "h2c");
  const subscription = await open(undefined, client);
  for (const text of ["a", "b", "c"]) {
    await client.send(
      new PutRecordCommand({
        StreamName: streamName,
        PartitionKey: "k",
        Data: new TextEncoder().encode(text),
      }),
    );
  }
  assert.deepEqual(await subscription.texts(3), ["a", "b", "c"]);
});
