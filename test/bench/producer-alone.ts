// Yardstick: the builtin producer alone, with the messages that the connector makes of 1 KiB records. Prints one JSON
// line.

import { randomBytes } from "node:crypto";
import process from "node:process";
import { createBuiltinSink } from "../../src/pulsar/builtin.ts";
import type { Delivery } from "../../src/pulsar/sink.ts";
import { systemClock } from "../../src/runtime.ts";
import { type Figures, resources } from "./figures.ts";

const parameters = JSON.parse(process.argv[2]!) as { serviceUrl: string; topic: string; records: number };
const never = new AbortController().signal;
const fail = (error: Error): void => {
  process.stderr.write(`${error.message}\n`);
  process.exit(1);
};
const sink = createBuiltinSink({
  serviceUrl: parameters.serviceUrl,
  clock: systemClock,
  clientVersion: "kinesis-pulsar/bench",
  events: { fatal: fail },
});
const delivery: Delivery = { isAlive: () => true, acknowledged() {}, refused: (_, error) => fail(error) };
const data = randomBytes(1024);
await sink.open(parameters.topic, never);

const before = resources();
const from = performance.now();
for (let ordinal = 0; ordinal < parameters.records; ordinal++) {
  const room = sink.reserve(1, never);
  if (room !== true) await room;
  const key = `key-${ordinal % 1000}`;
  sink.send(
    {
      topic: parameters.topic,
      data,
      key,
      eventTime: 1_795_000_000_123,
      properties: {
        "kinesis.arrival.timestamp": "2026-11-23T00:55:30.490Z",
        "kinesis.encryption.type": "NONE",
        "kinesis.partition.key": key,
        "kinesis.sequence.number": "49680476692433014098179508999634594405486341000000000003",
      },
    },
    delivery,
    ordinal,
  );
}
while (sink.pending > 0) await systemClock.sleep(5);
const after = resources();
const figures: Figures = {
  records: parameters.records,
  seconds: (performance.now() - from) / 1000,
  cpuSeconds: after.cpuSeconds - before.cpuSeconds,
  peakMegabytes: after.peakMegabytes,
};
process.stdout.write(`${JSON.stringify(figures)}\n`);
process.exit();
