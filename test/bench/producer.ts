// The builtin producer alone: messages per second and CPU per message, into a broker that forgets (in a process of
// its own) and into a real one. node --import tsx test/bench/producer.ts [SECONDS] (or deno run -A …).

import { Buffer } from "node:buffer";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { createBuiltinSink } from "../../src/pulsar/builtin.ts";
import type { Delivery } from "../../src/pulsar/sink.ts";
import { runtimeName, systemClock } from "../../src/runtime.ts";
import { brokerMissing, pulsarBroker } from "../servers/broker.ts";

const SECONDS = Number(process.argv[2] ?? 2);
const NEVER = new AbortController().signal;

async function run(name: string, serviceUrl: string, bytes: number): Promise<void> {
  const sink = createBuiltinSink({
    serviceUrl,
    clock: systemClock,
    clientVersion: "kinesis-pulsar/bench",
    events: {
      fatal(error) {
        throw error;
      },
    },
  });
  let acknowledged = 0;
  const delivery: Delivery = {
    isAlive: () => true,
    acknowledged: (from, to) => void (acknowledged += to - from + 1),
    refused(_, error) {
      throw error;
    },
  };
  const data = Buffer.alloc(bytes, "x");
  // what the connector adds to a record: key, event time, four properties
  const properties = {
    "kinesis.arrival.timestamp": "1795000000123",
    "kinesis.encryption.type": "NONE",
    "kinesis.partition.key": "customer-00012345",
    "kinesis.sequence.number": "49680476692433014098179508999634594405486341000000000003",
  };
  const message = {
    topic: `bench-${bytes}`,
    data,
    key: "customer-00012345",
    eventTime: 1_795_000_000_123,
    properties,
  };
  let ordinal = 0;
  const produce = async (ms: number): Promise<void> => {
    const end = performance.now() + ms;
    while (performance.now() < end) {
      for (let i = 0; i < 500; i++) {
        const room = sink.reserve(1, NEVER);
        if (room !== true) await room;
        sink.send(message, delivery, ordinal++);
      }
    }
    while (sink.pending > 0) await systemClock.sleep(1);
  };
  await produce(500); // warm
  const before = { acknowledged, cpu: process.cpuUsage(), at: performance.now() };
  await produce(SECONDS * 1000);
  const count = acknowledged - before.acknowledged;
  const { user, system } = process.cpuUsage(before.cpu);
  const rate = count / (performance.now() - before.at) * 1000;
  const perMessage = (value: number): string => (value / count).toFixed(2).padStart(7);
  process.stdout.write(
    `${runtimeName} ${name.padEnd(11)} ${`${bytes}`.padStart(6)} B ${rate.toFixed(0).padStart(9)} msg/s ` +
      `${(rate * bytes / 1e6).toFixed(0).padStart(5)} MB/s  CPU/message ${perMessage(user)} µs user ` +
      `${perMessage(system)} µs system  resident ${(process.memoryUsage().rss / 1e6).toFixed(0)} MB\n`,
  );
  await sink.close();
}

async function discardingBroker(): Promise<{ url: string; stop: () => void }> {
  const script = fileURLToPath(new URL("./discarding-broker.ts", import.meta.url));
  const child = spawn("node", ["--import", "tsx", script], { stdio: ["pipe", "pipe", "inherit"] });
  const [url] = await once(createInterface(child.stdout), "line") as [string];
  return { url, stop: () => child.kill() };
}

const discarding = await discardingBroker();
for (const bytes of [100, 1024, 10_240]) await run("discarding", discarding.url, bytes);
discarding.stop();
const missing = brokerMissing();
if (missing !== undefined) process.stdout.write(`no real broker: ${missing}\n`);
else {for (const bytes of [100, 1024, 10_240]) {
    await run("real broker", (await pulsarBroker()).serviceUrl, bytes);
  }}
process.exit();
