// One contract, several drivers: our own producer with our broker, the official client's double, and the official
// client itself with our broker where PULSAR_CLIENT_DIR names a built copy (else these tests do not exist).

import { Buffer } from "node:buffer";
import type { TestContext } from "node:test";
import process from "node:process";
import { type LocalBroker, startLocalBroker } from "../../src/local/mod.ts";
import type { BuiltinSinkOptions } from "../../src/pulsar/builtin.ts";
import { loadPulsarClient } from "../../src/pulsar/native/load.ts";
import { createNativeSink } from "../../src/pulsar/native/sink.ts";
import { fullTopicName } from "../../src/pulsar/topic-name.ts";
import { systemClock } from "../../src/runtime.ts";
import { ClientDouble } from "./native/double.ts";
import { type DriverOptions, testDriver, type World } from "./sink-contract.ts";
import { openSink, type SinkNotes } from "./sink-harness.ts";

function withBroker(broker: LocalBroker): Omit<World, "sink" | "notes"> {
  return {
    messages: (topic) =>
      broker.messages(topic).map(({ partition, data, key, orderingKey, properties, eventTime }) => ({
        partition,
        data,
        key,
        orderingKey: orderingKey?.toString(),
        properties,
        eventTime,
      })),
    setPartitions: (topic, count) => broker.setPartitions(topic, count),
    refuse: (topic, error) => void broker.inject({ command: "PRODUCER", topic, times: Infinity, error }),
    failOpenings: (times) => void broker.inject({ command: "PRODUCER", times, error: "ServiceNotReady" }),
  };
}

testDriver("builtin", async (t, options = {}) => {
  const broker = await startLocalBroker();
  t.after(() => broker.close());
  const { sink, notes } = openSink(t, broker.url, options as Partial<BuiltinSinkOptions>);
  return { sink, notes, ...withBroker(broker) };
});

async function openNative(
  t: TestContext,
  module: ClientDouble["module"],
  serviceUrl: string,
  options: DriverOptions,
): Promise<Pick<World, "sink" | "notes">> {
  const notes: SinkNotes = { fatal: [], reconnecting: [], connected: [], duplicates: new Map() };
  const sink = await createNativeSink(module, {
    serviceUrl,
    clock: systemClock,
    batchMaxDelayMs: 2,
    backoff: { firstMs: 5, maxMs: 50 },
    events: {
      fatal: (error) => notes.fatal.push(error),
      reconnecting: (topic, error, delayMs) => notes.reconnecting.push({ topic, error, delayMs }),
      connected: (topic) => notes.connected.push(topic),
    },
    ...options,
  });
  t.after(() => sink.close());
  return { sink, notes };
}

testDriver("pulsar-client (double)", async (t, options = {}) => {
  const double = new ClientDouble();
  return {
    ...await openNative(t, double.module, "pulsar://127.0.0.1:6650", options),
    messages: (topic) =>
      double.messages(fullTopicName(topic)).map((one) => ({
        partition: one.partition,
        data: Buffer.from(one.data),
        key: one.partitionKey,
        orderingKey: one.orderingKey,
        properties: one.properties ?? {},
        eventTime: one.eventTimestamp ?? 0,
      })),
    setPartitions: (topic, count) => void double.partitions.set(fullTopicName(topic), count),
    refuse: (topic, why) => double.fail("create", why, { topic, times: Infinity }),
    failOpenings: (times) => double.fail("create", "TimeOut", { times }),
  };
});

const packageFolder = process.env.PULSAR_CLIENT_DIR;
if (packageFolder) {
  testDriver("pulsar-client", async (t, options = {}) => {
    const broker = await startLocalBroker();
    t.after(() => broker.close());
    const module = loadPulsarClient({ packageFolder, folders: [] });
    return { ...await openNative(t, module, broker.url, options), ...withBroker(broker) };
  });
}
