// Records that cannot be published, on stand-ins: what their dead letters hold, when a record is finished, and what
// ends the connector.

import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { test, type TestContext } from "node:test";
import { ConnectorError, type ErrorCode } from "../../src/core/errors.ts";
import { sentinel } from "../../src/core/position.ts";
import { createDeadLetters } from "../../src/pipeline/dead-letter.ts";
import { createTotals } from "../../src/pipeline/totals.ts";
import { MetricsRegistry } from "../../src/metrics/registry.ts";
import { FakeClock, RecordingLogger } from "../fakes.ts";
import { newAggregate } from "../core/aggregate-record.ts";
import { type HeldSink, page, record, type Sent, world, type WorldOptions } from "./kit.ts";

const DEAD = "persistent://public/default/dead";
const MAIN = "persistent://public/default/orders";
const digits = (sequenceNumber: string, subSequenceNumber = 0) => ({ sequenceNumber, subSequenceNumber });
const refusal = (code: ErrorCode = "PULSAR_TOPIC_TERMINATED", topic = "persistent://public/default/other") =>
  new ConnectorError(`topic ${topic}: no more.`, { code, where: { topic } });

/** A started world with a dead-letter topic, stopped at the test's end. */
async function running(t: TestContext, options: WorldOptions = {}) {
  const made = world({
    topic: MAIN,
    deadLetterTopic: DEAD,
    hookSettings: { name: "orders.ts", onError: "dead-letter" },
    ...options,
  });
  await made.connector.start();
  t.after(async () => {
    const stopped = made.connector.stop();
    made.sink.acknowledgeAtOnce = true;
    made.sink.acknowledge();
    await made.clock.advance(60_000);
    await stopped;
  });
  await made.clock.advance(0);
  return made;
}

const text = (data: Uint8Array): string => Buffer.from(data).toString();
const letters = (sink: HeldSink): Sent[] => sink.sent.filter(({ message }) => message.topic === DEAD);
const failsOn = (...numbers: readonly number[]) => ({
  onRecord(one: { sequenceNumber: string }) {
    if (numbers.includes(Number(one.sequenceNumber))) throw new Error("no such country");
  },
});

test("dead letters: a hook's failure keeps the record as it was read, and says what failed", async (t) => {
  const { clock, source, sink, log } = await running(t, { hooks: failsOn(11) });
  const data = Buffer.from([0, 255, 254, 10]);
  source.give("shard-0", page([record(10), record(11, { data, encryptionType: "KMS" })]));
  await clock.advance(1_000);
  const [{ message }] = letters(sink) as [Sent];
  const { "failure.message": words, ...properties } = message.properties!;
  assert.deepEqual([...message.data], [...data]);
  assert.deepEqual([message.key, message.eventTime], ["key 11", 11]);
  assert.deepEqual(properties, {
    "kinesis.stream.name": "orders",
    "kinesis.shard.id": "shard-0",
    "kinesis.sequence.number": "11",
    "kinesis.subsequence.number": "0",
    "kinesis.partition.key": "key 11",
    "kinesis.arrival.timestamp": "1970-01-01T00:00:00.011Z",
    "kinesis.encryption.type": "KMS",
    "failure.code": "HOOK_FAILED",
    "failure.script": "orders.ts",
    "failure.attempts": "1",
    "failure.time": "2026-01-01T00:00:00Z",
  });
  assert.match(words!, /^onRecord of orders\.ts failed for stream orders, shard-0, .* 11: no such country/);
  const [said] = log.entries.filter(({ level }) => level === "warn");
  assert.match(said!.message, /^record goes to the dead-letter topic: onRecord of orders\.ts failed/);
  assert.deepEqual(said!.fields, {
    script: "orders.ts",
    shardId: "shard-0",
    sequenceNumber: "11",
    subSequenceNumber: 0,
    deadLettered: 1,
  });
});

test("G1 no loss: a checkpoint passes a failed record only when its dead letter is stored", async (t) => {
  const { clock, source, sink, row, connector } = await running(t, { hooks: failsOn(11) });
  source.give("shard-0", page([record(10), record(11), record(12)]));
  await clock.advance(100);
  const [letter] = letters(sink);
  for (const sent of [...sink.unacknowledged]) if (sent !== letter) sink.acknowledge(sent);
  await clock.advance(2_000);
  assert.deepEqual((await row("shard-0"))?.checkpoint, digits("10"));
  assert.equal(connector.status().deadLettered, 0);
  sink.acknowledge(letter);
  await clock.advance(1_000);
  assert.deepEqual((await row("shard-0"))?.checkpoint, digits("12"));
  const { records, dropped, deadLettered } = connector.status();
  assert.deepEqual({ records, dropped, deadLettered }, { records: 3, dropped: 0, deadLettered: 1 });
});

test("G1 no loss: a worker that dies while the dead-letter topic is slow leaves the record to the next one", async (t) => {
  const first = world({
    topic: MAIN,
    deadLetterTopic: DEAD,
    hooks: failsOn(11),
    hookSettings: { onError: "dead-letter" },
  });
  await first.connector.start();
  await first.clock.advance(0);
  first.source.give("shard-0", page([record(10), record(11), record(12)]));
  await first.clock.advance(100);
  for (const sent of [...first.sink.unacknowledged]) {
    if (sent.message.topic !== DEAD) first.sink.acknowledge(sent);
  }
  await first.clock.advance(5_000); // it dies here: nobody stops it
  const second = await running(t, { table: first.table, hooks: failsOn(11) });
  await second.clock.advance(13_000);
  assert.deepEqual(second.source.opened[0]?.start, { type: "AT_SEQUENCE_NUMBER", sequenceNumber: "10" });
  second.source.give("shard-0", page([record(10), record(11), record(12)]));
  second.sink.acknowledgeAtOnce = true;
  await second.clock.advance(2_000);
  assert.deepEqual(letters(second.sink).map(({ message }) => message.key), ["key 11"]);
  assert.deepEqual((await second.row("shard-0"))?.checkpoint, digits("12"));
});

const THREE = { onRecord: () => ["x", "y", "z"].map((data) => ({ data, topic: `topic-${data}` })) };

for (const late of [false, true]) {
  const when = late ? "after its dead letter was stored" : "before its dead letter is sent";
  test(`dead letters: one for a record of which several messages are refused, another one ${when}`, async (t) => {
    const { clock, source, sink, row, connector } = await running(t, { hooks: THREE });
    source.give("shard-0", page([record(10, { data: Buffer.from("original") }), record(11)]));
    await clock.advance(10);
    const [x, y, z, ...next] = [...sink.unacknowledged];
    for (const sent of next) sink.acknowledge(sent);
    sink.refuse(x!, refusal("PULSAR_TOPIC_NOT_FOUND", "persistent://public/default/topic-x-partition-3"));
    if (!late) sink.refuse(y!, refusal());
    await clock.advance(10);
    assert.deepEqual(letters(sink).map(({ message }) => String(message.data)), ["original"]);
    const { properties } = letters(sink)[0]!.message;
    assert.equal(properties!["failure.code"], "PULSAR_TOPIC_NOT_FOUND");
    assert.equal(properties!["failure.topic"], "persistent://public/default/topic-x-partition-3");
    assert.equal(properties!["failure.script"], undefined);
    assert.equal(
      properties!["failure.message"],
      "a message of stream orders, shard-0, sequence number 10 was refused for good: " +
        "topic persistent://public/default/topic-x-partition-3: no more.",
    );
    sink.acknowledge(letters(sink)[0]);
    if (late) sink.refuse(y!, refusal());
    await clock.advance(2_000);
    assert.deepEqual(
      (await row("shard-0"))?.checkpoint,
      sentinel("TRIM_HORIZON"),
      "its other message is open",
    );
    sink.acknowledge(z);
    await clock.advance(1_000);
    assert.deepEqual((await row("shard-0"))?.checkpoint, digits("11"));
    assert.equal(letters(sink).length, 1);
    assert.equal(connector.status().deadLettered, 1);
    assert.equal(connector.status().bufferedBytes, 256 * 1024, "only the next read's reservation");
  });
}

test("dead letters: user records of an aggregate are kept one by one, by their subsequence numbers", async (t) => {
  const { clock, source, sink } = await running(t, {
    hooks: {
      onRecord(one) {
        if (one.subSequenceNumber === 1) throw new Error("not this one");
      },
    },
  });
  source.give("shard-0", page([newAggregate("50", ["a", "b", "c"])]));
  await clock.advance(10);
  sink.refuse(
    sink.sent.find(({ message }) => text(message.data) === "c")!,
    refusal("MESSAGE_TOO_LARGE", MAIN),
  );
  await clock.advance(10);
  assert.deepEqual(
    letters(sink).map(({ message: { data, properties } }) => [
      text(data),
      properties!["kinesis.sequence.number"],
      properties!["kinesis.subsequence.number"],
    ]),
    [["b", "50", "1"], ["c", "50", "2"]],
  );
});

test("dead letters: onError hooks hear of refused messages, once per record, and a slow one holds only its record", async (t) => {
  const told: unknown[] = [];
  const { clock, source, sink, row } = await running(t, {
    hooks: {
      ...THREE,
      onError: ({ error, shardId }) => {
        told.push([error.code, shardId, error.where.sequenceNumber]);
        return clock.sleep(500);
      },
    },
  });
  source.give("shard-0", page([record(10), record(11)]));
  await clock.advance(10);
  const error = refusal(); // one for all, as when a topic is terminated
  for (const sent of sink.unacknowledged.slice(0, 2)) sink.refuse(sent, error);
  sink.refuse(sink.unacknowledged.at(-1)!, error);
  sink.acknowledgeAtOnce = true;
  sink.acknowledge();
  await clock.advance(400);
  assert.deepEqual(told, [
    ["PULSAR_TOPIC_TERMINATED", "shard-0", "10"],
    ["PULSAR_TOPIC_TERMINATED", "shard-0", "11"],
  ]);
  assert.equal(letters(sink).length, 0);
  await clock.advance(2_000);
  assert.deepEqual((await row("shard-0"))?.checkpoint, digits("11"));
});

test("dead letters: refusals of single messages and of hooks' topics are taken, those of pulsar.topic are not", () => {
  const options = {
    deadLetterTopic: DEAD,
    streamName: "orders",
    clock: new FakeClock(),
    log: new RecordingLogger(),
    totals: createTotals(new MetricsRegistry()),
  };
  const dead = createDeadLetters({ ...options, topic: MAIN })!;
  const refusal = (code: ErrorCode, topic?: string, operation?: string) =>
    new ConnectorError("x", { code, where: { topic, operation } });
  const taken = (code: ErrorCode, topic?: string, operation?: string) =>
    dead.takes(refusal(code, topic, operation));
  const other = "persistent://public/default/orders-de";
  assert.equal(taken("MESSAGE_TOO_LARGE", MAIN), true);
  assert.equal(taken("PULSAR_REFUSED", MAIN, "SEND"), true);
  for (
    const code of [
      "PULSAR_TOPIC_TERMINATED",
      "PULSAR_TOPIC_NOT_FOUND",
      "PULSAR_NOT_AUTHORIZED",
      "PULSAR_REFUSED",
      "TOO_MANY_TOPICS",
    ] as const
  ) {
    assert.equal(taken(code, other), true, code);
    assert.equal(taken(code, `${other}-partition-2`), true, code);
    assert.equal(taken(code, MAIN), false, code);
    assert.equal(taken(code, `${MAIN}-partition-2`), false, code);
    assert.equal(taken(code), false, code);
  }
  for (const code of ["INTERNAL", "PULSAR_PROTOCOL", "PULSAR_UNREACHABLE"] as const) {
    assert.equal(taken(code, other), false, code);
  }
  const onePartition = createDeadLetters({ ...options, topic: `${MAIN}-partition-2` })!;
  assert.equal(onePartition.takes(refusal("PULSAR_TOPIC_TERMINATED", `${MAIN}-partition-2`)), false);
});

test("dead letters: long words are cut, between characters", () => {
  const dead = createDeadLetters({
    deadLetterTopic: DEAD,
    topic: MAIN,
    streamName: "orders",
    clock: new FakeClock(),
    log: new RecordingLogger(),
    totals: createTotals(new MetricsRegistry()),
  })!;
  const words = (message: string) => {
    const error = new ConnectorError(message, { code: "HOOK_FAILED" });
    const one = { ...record(1), subSequenceNumber: 0, last: true };
    return dead.message(one, "shard-0", { error, script: "a.ts", attempts: 1 })
      .properties!["failure.message"]!;
  };
  assert.equal(words("x".repeat(1_000)), "x".repeat(1_000));
  assert.equal(words("x".repeat(1_001)), `${"x".repeat(999)}…`);
  assert.equal(words(`${"x".repeat(998)}💥${"x".repeat(10)}`), `${"x".repeat(998)}…`);
});

test("dead letters: the first ten of a script are said, then every power of two, and all are counted", async (t) => {
  const { clock, source, sink, log, connector } = await running(t, {
    hooks: {
      onRecord() {
        throw new Error("never");
      },
    },
  });
  sink.acknowledgeAtOnce = true;
  source.give("shard-0", page(Array.from({ length: 100 }, (_, index) => record(100 + index))));
  await clock.advance(1_000);
  assert.equal(letters(sink).length, 100);
  const said = log.entries.filter(({ level }) => level === "warn").map(({ fields }) =>
    fields["deadLettered"]
  );
  assert.deepEqual(said, [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 16, 32, 64]);
  const stopped = connector.stop();
  await clock.advance(1_000);
  await stopped;
  assert.match(
    log.messages("info").at(-1)!,
    /^stopped \(stop\): 100 records read in all, 100 dead-lettered$/,
  );
});

test("G7 never silent: a dead letter that is refused stops the connector with both errors", async () => {
  const { connector, clock, source, sink, row } = world({
    topic: MAIN,
    deadLetterTopic: DEAD,
    hooks: failsOn(11),
    hookSettings: { onError: "dead-letter" },
  });
  await connector.start();
  await clock.advance(0);
  source.give("shard-0", page([record(10), record(11), record(12)]));
  await clock.advance(10);
  sink.acknowledge(1);
  sink.refuse(letters(sink)[0]!, refusal("PULSAR_TOPIC_TERMINATED", DEAD));
  await clock.advance(100); // not the time for receipts that never come
  const { error, undrained } = await connector.finished;
  assert.equal(error?.code, "PULSAR_TOPIC_TERMINATED");
  assert.match(
    error.message,
    /^stream orders, shard-0, sequence number 11: the dead letter was refused for good: .*dead: no more\. It was to keep this: onRecord .*no such country/,
  );
  assert.deepEqual(undrained, ["shard-0"]);
  assert.deepEqual((await row("shard-0"))?.checkpoint, digits("10"));
});

test("G7 never silent: what refuses pulsar.topic itself stops the connector, its records are no dead letters", async () => {
  const { connector, clock, source, sink } = world({ topic: MAIN, deadLetterTopic: DEAD });
  await connector.start();
  await clock.advance(0);
  source.give("shard-0", page([record(10), record(11)]));
  await clock.advance(10);
  for (const sent of [...sink.unacknowledged]) sink.refuse(sent, refusal("PULSAR_TOPIC_TERMINATED", MAIN));
  await clock.advance(100);
  const { error } = await connector.finished;
  assert.match(
    error!.message,
    /refused for good \(no dead letter, because every record would become one\): topic/,
  );
  assert.equal(letters(sink).length, 0);
});

test("pipeline: after a refusal the end waits for what can be finished before it, and for nothing behind it", async () => {
  const { connector, clock, source, sink, row } = world();
  await connector.start();
  await clock.advance(0);
  source.give("shard-0", page([record(10), record(11), record(12), record(13)]));
  await clock.advance(10);
  let ended = false;
  void connector.finished.then(() => ended = true);
  sink.refuse(sink.sent[2]!, refusal());
  sink.acknowledge(sink.sent[0]);
  await clock.advance(1_000);
  assert.equal(ended, false, "record 11 may still be acknowledged");
  sink.acknowledge(sink.sent[1]);
  await clock.advance(10);
  assert.equal(ended, true, "record 12 can never be, and 13 is behind it");
  assert.deepEqual((await row("shard-0"))?.checkpoint, digits("11"));
});

test("dead letters: their topic is opened at the start, and what is wrong with it ends the start", async (t) => {
  const { sink } = await running(t);
  assert.deepEqual(sink.opened, [MAIN, DEAD]);
  const other = world({ topic: MAIN, deadLetterTopic: DEAD });
  other.sink.openFailure = (topic) => topic === DEAD ? refusal("PULSAR_NOT_AUTHORIZED", DEAD) : undefined;
  await assert.rejects(other.connector.start(), { code: "PULSAR_NOT_AUTHORIZED" });
});

test("G6 bounded memory: records that wait for a slow dead-letter topic count until they are finished", async (t) => {
  const maxBufferedBytes = 4 * 1024 * 1024;
  const { clock, source, sink, connector, row } = await running(t, { hooks: THREE, maxBufferedBytes });
  const data = Buffer.alloc(100_000, 7);
  let given = 0;
  const give = () => source.give("shard-0", page([record(100 + given++, { data })]));
  for (let index = 0; index < 200; index++) give();
  // Every record is refused by one of its topics; dead letters are taken and not stored.
  const refuseAll = async () => {
    for (const sent of [...sink.unacknowledged]) {
      if (sent.message.topic === "topic-x") sink.refuse(sent, refusal());
      else if (sent.message.topic !== DEAD) sink.acknowledge(sent);
    }
    await clock.advance(10);
  };
  for (let turn = 0; turn < 50; turn++) await refuseAll();
  const held = letters(sink).length;
  assert.ok(held >= 20 && held <= 42, `${held} records of 100 kB are held within 4 MiB`);
  assert.ok(connector.status().bufferedBytes <= maxBufferedBytes + data.length);
  sink.acknowledgeAtOnce = true;
  for (let turn = 0; turn < 50; turn++) {
    for (const sent of letters(sink)) sink.acknowledge(sent);
    await clock.advance(50);
  }
  await clock.advance(2_000);
  assert.deepEqual((await row("shard-0"))?.checkpoint, digits(String(100 + given - 1)));
});

test("G5 one owner: dead letters of a lost lease are dropped with its messages", async (t) => {
  const { clock, source, sink, store, row, connector } = await running(t, { hooks: failsOn(10) });
  source.give("shard-0", page([record(10), record(11)]));
  await clock.advance(100);
  const { leaseCounter } = (await row("shard-0"))!;
  await store.update("shard-0", leaseCounter, { leaseOwner: "another", ownerSwitched: true });
  await clock.advance(4_000);
  assert.deepEqual(new Set(sink.dropped), new Set(sink.sent.map(({ delivery }) => delivery)));
  assert.ok(sink.sent.every(({ delivery }) => !delivery.isAlive()));
  sink.acknowledge();
  await clock.advance(4_000);
  assert.deepEqual((await row("shard-0"))?.checkpoint, sentinel("TRIM_HORIZON"));
  assert.equal(connector.status().deadLettered, 0);
});

test("dead letters: a stop waits for them, also for those that wait for room", async () => {
  const { connector, clock, source, sink, row } = world({
    topic: MAIN,
    deadLetterTopic: DEAD,
    hooks: THREE,
  });
  sink.room = 3;
  await connector.start();
  await clock.advance(0);
  source.give("shard-0", page([record(10)]));
  await clock.advance(10);
  const [x] = sink.unacknowledged;
  sink.room = -2; // others have all of it
  sink.refuse(x!, refusal());
  sink.acknowledge(sink.unacknowledged[0]!);
  const stopping = connector.stop();
  await clock.advance(100);
  assert.equal(letters(sink).length, 0);
  sink.acknowledge();
  await clock.advance(100);
  assert.equal(letters(sink).length, 1);
  sink.acknowledge();
  await clock.advance(100);
  assert.deepEqual((await stopping).undrained, []);
  assert.deepEqual((await row("shard-0"))?.checkpoint, digits("10"));
});
