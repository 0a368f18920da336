// Yardstick: the builtin producer alone, with the messages that the connector makes of records. Prints one JSON line.

import process from "node:process";
import { createBuiltinSink } from "../../src/pulsar/builtin.ts";
import { loadCodec } from "../../src/pulsar/codecs/load.ts";
import type { Delivery } from "../../src/pulsar/sink.ts";
import { systemClock } from "../../src/runtime.ts";
import { EVENT_TIME, LIMITS, measureProducing, producingParameters, propertiesOf } from "./producing.ts";

const parameters = producingParameters();
const { serviceUrl, topic, compression, delivery: kind = "at-least-once" } = parameters;
const never = new AbortController().signal;
const fail = (error: Error): void => {
  process.stderr.write(`${error.message}\n`);
  process.exit(1);
};
const sink = createBuiltinSink({
  serviceUrl,
  clock: systemClock,
  clientVersion: "kinesis-pulsar/bench",
  codec: await loadCodec(compression),
  batchMaxMessages: LIMITS.messages,
  batchMaxBytes: LIMITS.bytes,
  batchMaxDelayMs: LIMITS.delayMs,
  maxPendingMessages: LIMITS.pending,
  delivery: kind,
  events: { fatal: fail },
});
const isOnce = kind === "effectively-once";
const delivery: Delivery = {
  isAlive: () => true,
  acknowledged() {},
  refused: (_, error) => fail(error),
  ...isOnce
    ? {
      once: {
        producerName: `bench/${Date.now()}`,
        partitions: () => 0,
        storePartitions: () => Promise.resolve(),
      },
    }
    : {},
};
await sink.open(topic, never);

const send = (data: Uint8Array, key: string, number: number): void =>
  sink.send(
    { topic, data, key, eventTime: EVENT_TIME, properties: propertiesOf(key) },
    delivery,
    number,
    ...(isOnce ? [number * 1024] : []),
  );
await measureProducing(parameters, {
  send(data, key, number) {
    const room = sink.reserve(1, never);
    if (room === true) return void send(data, key, number);
    return room.then(() => send(data, key, number));
  },
  async drain() {
    while (sink.pending > 0) await systemClock.sleep(1);
  },
});
