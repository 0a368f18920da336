import { test, type TestContext } from "node:test";
import assert from "node:assert/strict";
import { ConnectorError } from "../../src/core/errors.ts";
import { sentinel } from "../../src/core/position.ts";
import { newAggregate } from "../core/aggregate-record.ts";
import { child, page, record, world, type WorldOptions } from "./kit.ts";

const digits = (sequenceNumber: string, subSequenceNumber = 0) => ({ sequenceNumber, subSequenceNumber });

/** A started world that is stopped at the test's end. */
async function running(t: TestContext, options: WorldOptions = {}) {
  const made = world(options);
  await made.connector.start();
  t.after(async () => {
    const stopped = made.connector.stop();
    made.sink.acknowledge();
    await made.clock.advance(60_000);
    await stopped;
  });
  await made.clock.advance(0);
  return made;
}

test("G1 no loss: a position is checkpointed only when everything before it is acknowledged", async (t) => {
  const { clock, source, sink, row } = await running(t);
  source.give("shard-0", page([record(10), record(11), record(12)]));
  await clock.advance(1_000);
  assert.equal(sink.sent.length, 3);
  assert.deepEqual((await row("shard-0"))?.checkpoint, sentinel("TRIM_HORIZON"));
  sink.acknowledge(sink.sent[1]!);
  sink.acknowledge(sink.sent[2]!);
  await clock.advance(2_000);
  assert.deepEqual((await row("shard-0"))?.checkpoint, sentinel("TRIM_HORIZON"), "record 10 is open");
  sink.acknowledge(sink.sent[0]!);
  await clock.advance(1_000);
  assert.deepEqual((await row("shard-0"))?.checkpoint, digits("12"));
});

test("G2 order: records of a shard are handed on in shard order, whatever their hooks take", async (t) => {
  const { clock, source, sink } = await running(t, {
    hooks: {
      onRecord: (one) => one.sequenceNumber === "10" ? clock.sleep(500).then(() => undefined) : undefined,
    },
  });
  source.give("shard-0", page([record(10), record(11)]), page([record(12)]));
  await clock.advance(400);
  assert.deepEqual(sink.texts, []);
  await clock.advance(200);
  assert.deepEqual(sink.texts, ["record 10", "record 11", "record 12"]);
});

test("G2 order: a child shard starts after its parents are finished, and not before their last acknowledgement (KCL scenario 22)", async (t) => {
  const { clock, source, sink, row } = await running(t);
  source.give("shard-0", page([record(10)], { shardEnd: { childShards: [child("shard-1", ["shard-0"])] } }));
  source.give("shard-1", page([record(20)]));
  await clock.advance(3_000);
  assert.deepEqual(
    (await row("shard-1"))?.checkpoint,
    sentinel("TRIM_HORIZON"),
    "its lease exists before the end",
  );
  assert.deepEqual(
    (await row("shard-0"))?.checkpoint,
    sentinel("TRIM_HORIZON"),
    "record 10 is not acknowledged",
  );
  assert.deepEqual(sink.texts, ["record 10"]);
  sink.acknowledge();
  await clock.advance(3_000);
  assert.deepEqual((await row("shard-0"))?.checkpoint, sentinel("SHARD_END"));
  assert.deepEqual((await row("shard-0"))?.childShardIds, ["shard-1"]);
  assert.deepEqual(sink.texts, ["record 10", "record 20"]);
});

test("pipeline: a clean stop waits for receipts, stores the last checkpoint and gives the lease up", async () => {
  const { connector, clock, source, sink, row } = world();
  await connector.start();
  await clock.advance(0);
  source.give("shard-0", page([record(10), record(11)]));
  await clock.advance(100);
  const stopped = connector.stop("signal");
  await clock.advance(100);
  sink.acknowledge();
  await clock.advance(100);
  assert.deepEqual(await stopped, { reason: "signal", error: undefined, undrained: [] });
  const lease = await row("shard-0");
  assert.deepEqual(lease?.checkpoint, digits("11"));
  assert.equal(lease?.leaseOwner, undefined);
  assert.equal(sink.closed, true);
  assert.equal(clock.sleeping, 0, "no timer is left");
});

test("pipeline: what is not acknowledged in time stays unfinished in the table, and the stop says which shard", async () => {
  const { connector, clock, source, sink, row } = world();
  await connector.start();
  await clock.advance(0);
  source.give("shard-0", page([record(10), record(11)]));
  await clock.advance(100);
  sink.acknowledge(1);
  const stopped = connector.stop();
  await clock.advance(25_000);
  assert.deepEqual((await stopped).undrained, ["shard-0"]);
  assert.deepEqual((await row("shard-0"))?.checkpoint, digits("10"));
  assert.equal((await row("shard-0"))?.leaseOwner, undefined);
});

test("pipeline: the next start goes on behind the checkpoint, in the middle of an aggregate too", async (t) => {
  const first = world();
  await first.connector.start();
  await first.clock.advance(0);
  const aggregate = newAggregate("50", ["a", "b", "c", "d"]);
  first.source.give("shard-0", page([record(49), aggregate]));
  await first.clock.advance(100);
  first.sink.acknowledge(3);
  const stopped = first.connector.stop();
  await first.clock.advance(30_000);
  await stopped;
  assert.deepEqual((await first.row("shard-0"))?.checkpoint, digits("50", 1));

  const second = await running(t, { table: first.table });
  assert.deepEqual(second.source.opened[0]?.start, { type: "AT_SEQUENCE_NUMBER", sequenceNumber: "50" });
  second.source.give("shard-0", page([aggregate, record(51)]));
  await second.clock.advance(100);
  assert.deepEqual(second.sink.texts, ["c", "d", "record 51"]);
});

test("G1 no loss: a LATEST lease without a checkpoint goes on from where its first owner began", async (t) => {
  const latest = { initialPosition: { type: "LATEST" } } as const;
  const first = world(latest);
  await first.connector.start();
  await first.clock.advance(0);
  const { start, restart } = first.source.opened[0]!;
  assert.deepEqual(start, { type: "LATEST" });
  const startedAt = Date.UTC(2026, 0, 1);
  assert.deepEqual(restart, { type: "AT_TIMESTAMP", timestamp: startedAt });
  // The first owner dies: nobody stops it, its row keeps its owner. Another worker takes over after the failover.
  const second = await running(t, { ...latest, table: first.table });
  await second.clock.advance(13_000);
  assert.deepEqual(second.source.opened[0]?.start, { type: "AT_TIMESTAMP", timestamp: startedAt });
});

test("G5 one owner: after a loss nothing more of the shard is handed on or checkpointed, and its records are dropped", async (t) => {
  const { clock, source, sink, store, row, connector } = await running(t);
  source.give("shard-0", page([record(10), record(11)]));
  await clock.advance(100);
  const before = (await row("shard-0"))!;
  // Another worker takes the lease.
  const taken = await store.update("shard-0", before.leaseCounter, {
    leaseOwner: "another",
    ownerSwitched: true,
  });
  assert.equal(taken.done, true);
  const { delivery } = sink.sent[0]!;
  await clock.advance(4_000);
  assert.equal(delivery.isAlive(), false);
  assert.deepEqual(sink.dropped, [delivery]);
  sink.acknowledge();
  source.give("shard-0", page([record(12)]));
  await clock.advance(4_000);
  assert.equal(sink.sent.length, 2);
  const after = (await row("shard-0"))!;
  assert.deepEqual(after.checkpoint, sentinel("TRIM_HORIZON"));
  assert.equal(after.leaseOwner, "another");
  assert.equal(connector.status().shards.length, 0);
});

test("G5 one owner: a hook that blocks longer than the failover time publishes and checkpoints nothing of its page", async (t) => {
  let blocked = false;
  const made = await running(t, {
    hooks: {
      onRecord: () => {
        if (!blocked) made.clock.freeze(15_000);
        blocked = true;
      },
    },
  });
  const { clock, source, sink, row, log } = made;
  source.give("shard-0", page([record(10), record(11)]));
  await clock.advance(0);
  assert.deepEqual(sink.texts, []);
  assert.deepEqual((await row("shard-0"))?.checkpoint, sentinel("TRIM_HORIZON"));
  assert.ok(log.messages("warn").some((line) => line.includes("lost the lease of shard shard-0: expired")));
});

test("G6 bounded memory: nothing is read while receiveQueueSize records wait for a slow Pulsar", async (t) => {
  const { clock, source, sink, connector } = await running(t, { receiveQueueSize: 5 });
  sink.room = 2;
  for (let first = 0; first < 40; first += 4) {
    source.give("shard-0", page([0, 1, 2, 3].map((i) => record(100 + first + i))));
  }
  await clock.advance(500);
  assert.equal(sink.sent.length, 2);
  const { bufferedBytes } = connector.status();
  assert.ok(bufferedBytes > 0 && bufferedBytes <= 12 * 10 + 256 * 1024, `${bufferedBytes} bytes are held`);
  sink.acknowledgeAtOnce = true;
  sink.acknowledge();
  await clock.advance(500);
  assert.equal(sink.sent.length, 40);
});

test("G7 never silent: a message that Pulsar refuses for good stops the connector with the shard's name", async () => {
  const { connector, clock, source, sink, row } = world();
  await connector.start();
  await clock.advance(0);
  source.give("shard-0", page([record(10), record(11)]));
  await clock.advance(100);
  sink.acknowledge(1);
  sink.refuse(
    sink.sent[1]!,
    new ConnectorError("topic out: terminated", { code: "PULSAR_TOPIC_TERMINATED" }),
  );
  await clock.advance(10_000);
  const { reason, error } = await connector.finished;
  assert.equal(reason, "error");
  assert.equal(error?.code, "PULSAR_TOPIC_TERMINATED");
  assert.match(error.message, /stream orders, shard shard-0: .*topic out: terminated/);
  assert.deepEqual((await row("shard-0"))?.checkpoint, digits("10"), "what is finished is stored");
});

test("G7 never silent: a message that Pulsar refuses while a stop waits for receipts is said once", async () => {
  const { connector, clock, source, sink, log } = world();
  await connector.start();
  await clock.advance(0);
  source.give("shard-0", page([record(10), record(11)]));
  await clock.advance(10);
  const stopping = connector.stop();
  await clock.advance(10);
  const refusal = new ConnectorError("the topic was terminated", { code: "PULSAR_TOPIC_TERMINATED" });
  for (const sent of [...sink.unacknowledged]) sink.refuse(sent, refusal);
  await clock.advance(30_000);
  assert.deepEqual((await stopping).undrained, ["shard-0"]);
  const [said, ...more] = log.messages("error");
  assert.match(said!, /while stopping: .*shard-0.*the topic was terminated/);
  assert.deepEqual(more, []);
});

test("G7 never silent: a failing hook stops the connector, tells onError once, and stores what is finished", async () => {
  const told: string[] = [];
  const { connector, clock, source, sink, row } = world({
    hooks: {
      onRecord: (one) => {
        if (one.sequenceNumber === "11") throw new Error("no such country");
      },
      onError: ({ error }) => void told.push(error.code),
    },
  });
  sink.acknowledgeAtOnce = true;
  await connector.start();
  await clock.advance(0);
  source.give("shard-0", page([record(10), record(11), record(12)]));
  await clock.advance(10_000);
  const { error } = await connector.finished;
  assert.equal(error?.code, "HOOK_FAILED");
  assert.match(error.message, /no such country/);
  assert.deepEqual(told, ["HOOK_FAILED"]);
  assert.deepEqual(sink.texts, ["record 10"]);
  assert.deepEqual((await row("shard-0"))?.checkpoint, digits("10"));
});

test("pipeline: dropped records are finished without a message, several messages of one by their last receipt", async (t) => {
  const { clock, source, sink, row, connector } = await running(t, {
    hooks: {
      onRecord: (one) =>
        one.sequenceNumber === "10"
          ? null
          : one.sequenceNumber === "11"
          ? [{ data: "x" }, { data: "y" }]
          : [],
    },
  });
  source.give("shard-0", page([record(10), record(11), record(12)]));
  await clock.advance(100);
  assert.deepEqual(sink.texts, ["x", "y"]);
  sink.acknowledge(1);
  await clock.advance(1_000);
  assert.deepEqual((await row("shard-0"))?.checkpoint, digits("10"));
  sink.acknowledge();
  await clock.advance(1_000);
  assert.deepEqual((await row("shard-0"))?.checkpoint, digits("12"));
  assert.equal(connector.status().dropped, 2);
});

test("pipeline: checkpoint hooks and events tell position, records, bytes and reason", async () => {
  const seen: unknown[] = [];
  const { connector, clock, source, sink } = world({
    hooks: { onCheckpoint: (event) => void seen.push(event) },
  });
  connector.on("checkpoint", (event) => seen.push(event));
  sink.acknowledgeAtOnce = true;
  await connector.start();
  await clock.advance(0);
  source.give("shard-0", page([record(10), record(11)]));
  await clock.advance(1_500);
  const expected = {
    streamName: "orders",
    shardId: "shard-0",
    sequenceNumber: "11",
    subSequenceNumber: 0,
    records: 2,
    bytes: 18,
    reason: "interval",
  };
  assert.deepEqual(seen, [expected, expected]);
  source.give("shard-0", page([record(12)]));
  await clock.advance(10);
  const stopped = connector.stop();
  await clock.advance(1_000);
  await stopped;
  assert.deepEqual(seen.slice(3), [{
    ...expected,
    sequenceNumber: "12",
    records: 1,
    bytes: 9,
    reason: "stop",
  }]);
});

test("pipeline: listeners that throw stop the connector, and what is finished is stored", async () => {
  const { connector, clock, source, sink, row, log } = world();
  sink.acknowledgeAtOnce = true;
  connector.on("checkpoint", () => {
    throw new Error("no room for events");
  });
  connector.on("error", () => {
    throw new Error("nor for errors");
  });
  await connector.start();
  await clock.advance(0);
  source.give("shard-0", page([record(10)]));
  await clock.advance(1_500);
  await clock.advance(30_000);
  const { error } = await connector.finished;
  assert.match(error!.message, /no room for events/);
  assert.match(log.messages("error").join(), /a listener of "error" failed: nor for errors/);
  const lease = await row("shard-0");
  assert.deepEqual(lease?.checkpoint, { sequenceNumber: "10", subSequenceNumber: 0 });
  assert.equal(lease?.leaseOwner, undefined, "the lease is given up");
});

for (const hook of ["onStart", "onShardStart", "onRecord", "onCheckpoint", "onStop"] as const) {
  test(`pipeline: an ${hook} hook that never answers does not hold a stop longer than shutdownTimeoutMs`, async () => {
    const { connector, clock, source, sink } = world({
      hooks: { [hook]: () => new Promise(() => {}) },
      shutdownTimeoutMs: 5_000,
    });
    sink.acknowledgeAtOnce = true;
    source.give("shard-0", page([record(10)]));
    const started = connector.start();
    await clock.advance(2_000);
    let ended = false;
    const stopped = connector.stop().then((result) => {
      ended = true;
      return result;
    });
    await clock.advance(5_000);
    assert.equal(ended, true, "the stop hangs");
    assert.equal((await stopped).error, undefined);
    await started;
  });
}

test("pipeline: a checkpoint hook that never answers holds up neither the next checkpoint nor the last one", async () => {
  const { connector, clock, source, sink, row } = world({
    hooks: { onCheckpoint: () => new Promise(() => {}) },
  });
  sink.acknowledgeAtOnce = true;
  await connector.start();
  await clock.advance(0);
  source.give("shard-0", page([record(10)]));
  await clock.advance(1_500);
  source.give("shard-0", page([record(11)]));
  await clock.advance(1_500);
  assert.deepEqual((await row("shard-0"))?.checkpoint, digits("11"));
  source.give("shard-0", page([record(12)]));
  await clock.advance(10);
  const stopped = connector.stop();
  await clock.advance(25_000);
  assert.deepEqual((await stopped).undrained, []);
  assert.deepEqual((await row("shard-0"))?.checkpoint, digits("12"));
});

for (const slow of ["onShardStart", "onBatch"] as const) {
  test(`pipeline: a stop does not wait for an ${slow} that is not done`, async () => {
    const { connector, clock, source, sink } = world({ hooks: { [slow]: () => new Promise(() => {}) } });
    await connector.start();
    await clock.advance(0);
    source.give("shard-0", page([record(10)]));
    await clock.advance(100);
    const stopped = connector.stop();
    await clock.advance(100);
    assert.deepEqual(await stopped, { reason: "stop", error: undefined, undrained: [] });
    assert.deepEqual(sink.texts, []);
  });
}
