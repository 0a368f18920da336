// Dead letters under effectively-once: no sequence id ever follows a higher one, so a dead letter goes when all before
// it is finished, and what is behind it waits until it is stored.

import assert from "node:assert/strict";
import { test } from "node:test";
import { ConnectorError } from "../../src/core/errors.ts";
import type { UserRecord } from "../../src/core/record.ts";
import { FailedRecord } from "../../src/hooks/outcome.ts";
import type { HeldLease } from "../../src/leases/held-lease.ts";
import { MetricsRegistry } from "../../src/metrics/registry.ts";
import { createDeadLetters } from "../../src/pipeline/dead-letter.ts";
import { ReadBudget } from "../../src/pipeline/read-budget.ts";
import { ShardDelivery } from "../../src/pipeline/shard-delivery.ts";
import { createTotals } from "../../src/pipeline/totals.ts";
import { FakeClock, RecordingLogger, settle } from "../fakes.ts";
import { HeldSink, record } from "./kit.ts";

const DEAD = "persistent://public/default/dead";
const NEVER = new AbortController().signal;
const refusal = (topic: string) =>
  new ConnectorError(`topic ${topic}: no more`, { code: "PULSAR_TOPIC_TERMINATED", where: { topic } });

/** A shard's delivery under effectively-once, whose records have the ordinals 100, 101 … in their generation. */
function shard(options: { readonly deadLetterTopic?: string | undefined } = { deadLetterTopic: DEAD }) {
  const sink = new HeldSink();
  const faults: ConnectorError[] = [];
  /** Whether a refusal stands, at each change. */
  const marks: boolean[] = [];
  const lost = new AbortController();
  const metrics = new MetricsRegistry();
  const deadLetters = createDeadLetters({
    ...options,
    topic: "persistent://public/default/orders",
    streamName: "orders",
    clock: new FakeClock(),
    log: new RecordingLogger(),
    totals: createTotals(metrics),
  });
  const delivery = new ShardDelivery({
    streamName: "orders",
    lease: { shardId: "shard-0", lost: lost.signal, isAlive: () => !lost.signal.aborted } as HeldLease,
    sink,
    budget: new ReadBudget({ maxBytes: 1_000_000, maxWaitingRecords: 1_000 }),
    hooks: { error: () => Promise.resolve() },
    deadLetters,
    onFault: (error) => faults.push(error),
  });
  delivery.once = {
    producerName: "app/orders/shard-0/g",
    partitions: () => 0,
    storePartitions: () => Promise.resolve(),
    refusalsChanged: () => marks.push(delivery.hasRefused),
  };
  let number = 0;
  const next = (): [UserRecord, number] => {
    const one = { ...record(++number), subSequenceNumber: 0, last: true };
    return [one, 99 + number];
  };
  return {
    sink,
    faults,
    marks,
    lost,
    delivery,
    /** Hands on the next record as messages for these topics. */
    publish(...topics: string[]) {
      const [one, place] = next();
      return delivery.handOn(one, topics.map((topic) => ({ topic, data: one.data })), NEVER, place);
    },
    /** Hands on the next record as one that a hook failed on. */
    fail(signal: AbortSignal = NEVER) {
      const [one, place] = next();
      const error = new ConnectorError("the hook failed", { code: "HOOK_FAILED" });
      return delivery.handOn(one, new FailedRecord(error, "a.ts", 1), signal, place);
    },
    sent: () => sink.sent.map(({ message, sequenceId }) => [message.topic, sequenceId]),
    letters: () => sink.sent.filter(({ message }) => message.topic === DEAD),
    of: (topic: string) => sink.unacknowledged.find(({ message }) => message.topic === topic)!,
  };
}

const id = (place: number, index = 0): number => place * 1024 + index;

/** Whether a promise is settled by now. */
async function isSettled(promise: unknown): Promise<boolean> {
  let settled = false;
  void Promise.resolve(promise as Promise<unknown>).then(() => settled = true);
  await settle();
  return settled;
}

test("dead letters once: a hook's failure waits for all before it, and what is behind it until it is stored", async () => {
  const { publish, fail, sink, sent, letters, delivery } = shard();
  publish("out", "out");
  publish("out");
  const handed = fail();
  await settle();
  assert.equal(letters().length, 0);
  sink.acknowledge(2);
  await settle();
  assert.equal(letters().length, 0, "record 101 is open");
  sink.acknowledge(1);
  await settle();
  assert.deepEqual(sent(), [["out", id(100)], ["out", id(100, 1)], ["out", id(101)], [DEAD, id(102)]]);
  assert.equal(letters()[0]!.delivery.once, delivery.once, "the same producer name");
  assert.equal(await isSettled(handed), false);
  sink.acknowledge(letters()[0]);
  assert.equal(await handed, true);
  assert.equal(delivery.finishedFollowing, 103);
});

test("dead letters once: the producer of a refused message waits until its dead letter is stored, sent in its turn", async () => {
  const { publish, sink, sent, letters, of, delivery } = shard();
  publish("slow");
  publish("a", "b");
  publish("c");
  const later = sink.refuse(of("c"), refusal("c"));
  const waiting = [sink.refuse(of("a"), refusal("a")), sink.refuse(of("b"), refusal("b"))];
  await settle();
  assert.equal(letters().length, 0, "record 100 is open");
  sink.acknowledge(of("slow"));
  await settle();
  assert.deepEqual(sent().slice(4), [[DEAD, id(101)]], "one, and not yet that of record 102");
  for (const one of [...waiting, later]) assert.equal(await isSettled(one), false);
  sink.acknowledge(letters()[0]);
  for (const one of waiting) assert.equal(await isSettled(one), true);
  await settle();
  assert.deepEqual(sent().slice(5), [[DEAD, id(102)]]);
  assert.equal(await isSettled(later), false);
  sink.acknowledge(letters()[1]);
  assert.equal(await isSettled(later), true);
  assert.equal(delivery.size, 0);
});

test("dead letters once: a dead letter goes although messages behind it have all the room", async () => {
  const { publish, sink, letters, of } = shard();
  publish("a");
  publish("b");
  sink.room = -1;
  void sink.refuse(of("a"), refusal("a"));
  await settle();
  assert.equal(letters().length, 1);
});

test("dead letters once: without a topic for them, or refused themselves, nothing goes behind what must come again", async () => {
  for (const deadLetterTopic of [undefined, DEAD]) {
    const { publish, sink, of, faults, letters, lost, delivery } = shard({ deadLetterTopic });
    publish("a");
    let refused = sink.refuse(of("a"), refusal("a"));
    await settle();
    if (deadLetterTopic !== undefined) refused = sink.refuse(letters()[0]!, refusal(DEAD));
    assert.equal(faults.length, 1);
    assert.equal(await isSettled(refused), false);
    assert.equal(await isSettled(delivery.settled()), true, "the end does not wait for it");
    assert.equal(await isSettled(delivery.drained()), false, "and no shard's end is stored over it");
    lost.abort();
    assert.equal(await isSettled(refused), true);
  }
});

test("dead letters once: a refusal stands until the dead letter of each refused message is stored", async () => {
  const { publish, sink, letters, of, marks, delivery, lost } = shard();
  publish("a", "b");
  publish("c");
  for (const topic of ["c", "a", "b"]) void sink.refuse(of(topic), refusal(topic));
  assert.deepEqual(marks, [true]);
  await settle();
  sink.acknowledge(letters()[0]);
  await settle();
  assert.deepEqual(marks, [true]);
  sink.acknowledge(letters()[1]);
  assert.deepEqual(marks, [true, false]);

  publish("d");
  void sink.refuse(of("d"), refusal("d"));
  await settle();
  lost.abort();
  assert.equal(delivery.hasRefused, true, "given up is not kept");
  letters()[2]!.delivery.acknowledged(2, 2);
  assert.deepEqual(marks, [true, false, true]);
});

test("dead letters once: a hook's failure is no refusal, what ends the connector is one for ever", async () => {
  const { publish, fail, sink, of, marks } = shard();
  void fail();
  await settle();
  sink.acknowledge();
  assert.deepEqual(marks, []);
  publish("out");
  const error = new ConnectorError("no", { code: "PULSAR_NOT_AUTHORIZED", where: {} });
  void sink.refuse(of("out"), error);
  assert.deepEqual(marks, [true]);
});

test("dead letters once: a stop before its turn leaves the failed record to the next start", async () => {
  const { publish, fail, sink, letters, delivery } = shard();
  publish("out");
  const stop = new AbortController();
  const handed = fail(stop.signal);
  await settle();
  stop.abort();
  assert.equal(await handed, false);
  sink.acknowledge();
  await settle();
  assert.equal(letters().length, 0);
  assert.equal(delivery.finishedFollowing, 101);
});

test("dead letters once: a stop while one is on its way counts it as handed on; a lost lease drops it", async () => {
  const first = shard();
  const stop = new AbortController();
  const handed = first.fail(stop.signal);
  await settle();
  stop.abort();
  assert.equal(await handed, true);
  assert.equal(first.delivery.size, 1);
  first.sink.acknowledge();
  assert.equal(first.delivery.size, 0);

  const second = shard();
  second.publish("a");
  const refused = second.sink.refuse(second.of("a"), refusal("a"));
  await settle();
  second.lost.abort();
  assert.equal(await isSettled(refused), true);
  const [message, letter] = second.sink.sent;
  for (const one of [message!, letter!]) void one.delivery.refused(one.ordinal, refusal("a"));
  letter!.delivery.acknowledged(0, 0);
  await settle();
  assert.deepEqual(second.faults, [], "what is told later concerns nobody");
  const parties = second.sink.sent.map(({ delivery }) => delivery);
  assert.deepEqual(new Set(second.sink.dropped), new Set(parties));
});

test("dead letters once: producers of a finished shard are closed, those of its dead letters too", async () => {
  const { publish, fail, sink, delivery } = shard();
  publish("out");
  sink.acknowledge();
  void fail();
  await settle();
  sink.acknowledge();
  delivery.closeProducers();
  assert.deepEqual(new Set(sink.dropped), new Set(sink.sent.map((one) => one.delivery)));
});
