// What a broker did not take while it took later messages: it would call it a duplicate if it came again under the same
// name and id, and it would be lost; also at least once, where a namespace deduplicates.

import { test, type TestContext } from "node:test";
import assert from "node:assert/strict";
import { type BrokerFault, startLocalBroker } from "../../src/local/mod.ts";
import { numbered, OnceDelivery } from "./once-harness.ts";
import { NEVER, openSink, RecordingDelivery, sendTexts, texts, until } from "./sink-harness.ts";

/** Of the second entry: the third is stored. */
const FAULTS: Readonly<Record<string, Omit<BrokerFault, "command">>> = {
  "damaged on its way": { error: "ChecksumError" },
  "refused for its size": { error: "NotAllowedError", message: "Exceed maximum message size" },
  "passed over without a word": { hang: true },
};

async function opened(t: TestContext, fault: Omit<BrokerFault, "command">) {
  const broker = await startLocalBroker({ deduplication: true });
  t.after(() => broker.close());
  broker.inject({ command: "SEND", topic: "t", nth: 3, ...fault });
  return broker;
}

for (const [what, fault] of Object.entries(FAULTS)) {
  test(`pulsar: at least once, an entry that is ${what} is not lost where the broker deduplicates`, async (t) => {
    const broker = await opened(t, fault);
    const { sink, notes } = openSink(t, broker.url, { batchMaxMessages: 2 });
    const delivery = new RecordingDelivery();
    sendTexts(sink, delivery, ["first", "first"]);
    await until(() => sink.pending === 0, "the connection is there");
    sendTexts(sink, delivery, texts("m", 6), 2);
    await until(() => sink.pending === 0, "receipts");
    const stored = broker.messages("t").map(({ data }) => data.toString());
    assert.deepEqual([...new Set(stored)].sort(), ["first", ...texts("m", 6)]);
    assert.deepEqual([...delivery.acks.values()], [1, 1, 1, 1, 1, 1, 1, 1]);
    assert.equal(notes.reconnecting.length, 1);
    assert.deepEqual(stored.slice(-4), texts("m", 6).slice(2), "in order behind it");
  });

  test(`pulsar once: an entry that is ${what} is refused for good`, async (t) => {
    const broker = await opened(t, fault);
    const { sink } = openSink(t, broker.url, { batchMaxMessages: 2, delivery: "effectively-once" });
    const delivery = new OnceDelivery("p");
    const send = (from: number, to: number) => {
      for (let place = from; place < to; place++) {
        sink.reserve(1, NEVER);
        sink.send(numbered("t", place), delivery, place, place * 1024);
      }
    };
    send(0, 2);
    await until(() => sink.pending === 0, "deduplication is proved");
    send(2, 8);
    await until(() => sink.pending === 0, "receipts and refusals");
    assert.deepEqual(delivery.refusals.map(({ ordinal }) => ordinal), [4, 5]);
    for (const { error } of delivery.refusals) assert.equal(error.retryable, false);
    const stored = broker.messages("t").map(({ data }) => data.toString());
    assert.deepEqual(stored, ["0.0", "1.0", "2.0", "3.0", "6.0", "7.0"]);
    assert.deepEqual([...delivery.acks.keys()], [0, 1, 2, 3, 6, 7]);
  });
}
