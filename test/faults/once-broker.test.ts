// Effectively once on a broker that misbehaves: whatever goes wrong with a frame, its receipt or the producer, the topic
// holds each message once, in order, and each has one receipt.

import { test } from "node:test";
import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { type BrokerFault, startLocalBroker } from "../../src/local/mod.ts";
import { systemClock } from "../../src/runtime.ts";
import { OnceDelivery } from "../pulsar/once-harness.ts";
import { NEVER, openSink, until } from "../pulsar/sink-harness.ts";

const COUNT = 300;

const FAULTS: readonly [what: string, faults: readonly BrokerFault[]][] = [
  ["lost frames", [{ command: "SEND", nth: 3, times: 4, drop: true }]],
  ["lost receipts", [{ command: "SEND", nth: 3, times: 4, drop: true, applied: true }]],
  ["receipts cut in their middle", [{ command: "SEND", nth: 5, times: 3, drop: true, afterBytes: 7 }]],
  ["garbage in receipts' place", [{ command: "SEND", nth: 4, times: 3, garbage: true }]],
  ["receipts that never come, and a lost connection", [
    { command: "SEND", nth: 4, times: 5, hang: true, applied: true }, // none behind them comes either
    { command: "SEND", nth: 9, drop: true, applied: true },
  ]],
  ["late receipts", [{ command: "SEND", nth: 2, times: 10, delayMs: 15 }]],
  ["a topic that moves", [{ command: "SEND", nth: 3, times: 4, closeProducer: true }]],
  ["a topic that moves when it has stored", [
    { command: "SEND", nth: 3, times: 4, closeProducer: true, applied: true },
  ]],
  ["writes that fail", [{ command: "SEND", nth: 4, times: 3, error: "PersistenceError" }]],
  ["writes that fail when they are stored", [
    { command: "SEND", nth: 4, times: 3, error: "PersistenceError", applied: true },
  ]],
  ["a name that is still taken", [
    { command: "SEND", nth: 6, drop: true, applied: true },
    { command: "PRODUCER", nth: 3, times: 5, error: "ProducerBusy" },
  ]],
  ["lost answers to PRODUCER", [
    { command: "SEND", nth: 6, drop: true, applied: true },
    { command: "PRODUCER", nth: 1, times: 3, drop: true, applied: true },
  ]],
];

for (const [what, faults] of FAULTS) {
  test(`faults once: ${what}: each message is in the topic once, in order`, async (t) => {
    const broker = await startLocalBroker({ deduplication: true });
    t.after(() => broker.close());
    const { sink, notes } = openSink(t, broker.url, {
      delivery: "effectively-once",
      batchMaxMessages: 7,
      batchMaxDelayMs: 1,
      backoff: { firstMs: 1, maxMs: 10 },
    });
    const injected = faults.map((fault) => broker.inject(fault));
    const delivery = new OnceDelivery("a name");
    for (let ordinal = 0; ordinal < COUNT; ordinal++) {
      assert.equal(await sink.reserve(1, NEVER), true);
      sink.send({ topic: "t", key: "k", data: Buffer.from(`${ordinal}`) }, delivery, ordinal, ordinal * 1024);
      if (ordinal % 15 === 0) await systemClock.sleep(1);
    }
    await until(() => sink.pending === 0, "all receipts");
    const texts = broker.messages("t").map(({ data }) => Number(data.toString()));
    assert.deepEqual(texts, Array.from({ length: COUNT }, (_, at) => at));
    assert.deepEqual([...delivery.acks.values()], Array.from({ length: COUNT }, () => 1));
    assert.deepEqual([notes.fatal, delivery.refusals], [[], []]);
    for (const [at, { hits }] of injected.entries()) assert.ok(hits > 0, `fault ${at + 1} did not hit`);
  });
}
