import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { test, type TestContext } from "node:test";
import { type BrokerFault, type LocalBroker, startLocalBroker } from "../../src/local/mod.ts";
import { createBuiltinSink } from "../../src/pulsar/builtin.ts";
import type { Delivery } from "../../src/pulsar/sink.ts";
import { systemClock } from "../../src/runtime.ts";

const COUNT = 400;

/** Publishes 0, 1, 2 … with a pause now and then, and waits until all are acknowledged. */
async function publish(t: TestContext, broker: LocalBroker): Promise<void> {
  const failures: unknown[] = [];
  const sink = createBuiltinSink({
    serviceUrl: broker.url,
    clock: systemClock,
    clientVersion: "kinesis-pulsar/test",
    batchMaxMessages: 10,
    batchMaxDelayMs: 1,
    backoff: { firstMs: 5, maxMs: 20 },
    events: { fatal: (error) => void failures.push(error) },
  });
  t.after(() => sink.close());
  const open = new Set(Array.from({ length: COUNT }, (_, i) => i));
  const delivery: Delivery = {
    isAlive: () => true,
    acknowledged(from, to) {
      for (let i = from; i <= to; i++) open.delete(i);
    },
    refused: (_, error) => void failures.push(error),
  };
  const never = new AbortController().signal;
  for (let i = 0; i < COUNT; i++) {
    await sink.reserve(1, never);
    sink.send({ topic: "a", key: `k${i % 7}`, data: Buffer.from(String(i)) }, delivery, i);
    if (i % 40 === 0) await systemClock.sleep(2);
  }
  while (open.size > 0 && failures.length === 0) await systemClock.sleep(2);
  assert.deepEqual(failures, []);
}

/** Nothing is missing, and what was sent again came in the same order. */
function assertComplete(broker: LocalBroker, repeats: boolean): void {
  const numbers = broker.messages("a").map((one) => Number(one.data.toString()));
  const first = [...new Set(numbers)];
  assert.deepEqual(first, [...Array(COUNT).keys()]);
  if (!repeats) assert.equal(numbers.length, COUNT);
}

const FAULTS: readonly [string, BrokerFault, boolean][] = [
  ["a lost message", { command: "SEND", nth: 7, drop: true }, true],
  ["lost receipts", { command: "SEND", nth: 5, times: 3, drop: true, applied: true }, true],
  ["a receipt that is cut in its middle", { command: "SEND", nth: 9, drop: true, afterBytes: 5 }, true],
  ["late receipts", { command: "SEND", nth: 3, times: 10, delayMs: 20 }, false],
  ["garbage", { command: "SEND", nth: 4, garbage: true }, true],
  ["a topic that moves", { command: "SEND", nth: 6, times: 2, closeProducer: true }, true],
  ["a broker that is not ready", { command: "PRODUCER", times: 3, error: "ServiceNotReady" }, false],
  ["a failed write", { command: "SEND", nth: 8, error: "PersistenceError" }, true],
];

for (const [what, fault, repeats] of FAULTS) {
  test(`local broker: our producer loses nothing through ${what}`, async (t) => {
    const broker = await startLocalBroker();
    t.after(() => broker.close());
    const injected = broker.inject(fault);
    await publish(t, broker);
    assert.equal(injected.hits, fault.times ?? 1);
    assertComplete(broker, repeats);
  });
}

test("local broker: our producer loses nothing when frames are cut in their middle, or the broker restarts", async (t) => {
  const broker = await startLocalBroker();
  t.after(() => broker.close());
  broker.cutAfterReceiving(1500);
  const published = publish(t, broker);
  await broker.received("a", 100);
  broker.cutAfterReceiving(700);
  await broker.received("a", 200);
  await broker.close();
  await broker.reopen();
  await published;
  assertComplete(broker, true);
});

test("local broker: deduplication drops what our producer sends again", async (t) => {
  const broker = await startLocalBroker({ deduplication: true });
  t.after(() => broker.close());
  broker.inject({ command: "SEND", nth: 5, times: 3, drop: true, applied: true });
  await publish(t, broker);
  assertComplete(broker, false);
});
