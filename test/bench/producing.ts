// One run of a producer in a process of its own: warms up, then sends for so long or so many, and measures itself.
// Times are CPU seconds, so that a busy machine changes the rates but hardly the CPU per message. producer_python.py
// does the same in Python.

import process from "node:process";
import type { Compression } from "../../src/pulsar/wire/codec.ts";
import { type Figures, resources } from "./figures.ts";
import { readPayloads } from "./payloads.ts";

/** Parameters of a producing child, as JSON in its first argument. */
export interface ProducingParameters {
  readonly serviceUrl: string;
  readonly topic: string;
  /** See payloads.ts. */
  readonly payloads: string;
  readonly bytes: number;
  readonly compression: Compression;
  readonly warmUpSeconds: number;
  /** So much CPU time, or so many `messages`. */
  readonly seconds?: number;
  readonly messages?: number;
  readonly delivery?: "at-least-once" | "effectively-once";
}

/** What is common to all clients. Theirs: keys in turn, what the connector adds to a record, 10 000 in flight. */
export const LIMITS = { messages: 1000, bytes: 128 * 1024, delayMs: 10, pending: 10_000 } as const;
export const EVENT_TIME = 1_795_000_000_123;
/** The properties that the connector gives a record by default. */
export const propertiesOf = (key: string): Record<string, string> => ({
  "kinesis.arrival.timestamp": "2026-11-23T00:55:30.490Z",
  "kinesis.encryption.type": "NONE",
  "kinesis.partition.key": key,
  "kinesis.sequence.number": "49680476692433014098179508999634594405486341000000000003",
});

/** A client under test. */
export interface Producing {
  /** Queues a message; a promise where it has to wait. */
  send(data: Uint8Array, key: string, number: number): Promise<unknown> | undefined;
  /** Until everything is acknowledged. */
  drain(): Promise<void>;
}

export function producingParameters(): ProducingParameters {
  return JSON.parse(process.argv[2]!) as ProducingParameters;
}

/** Runs it and prints one JSON line. */
export async function measureProducing(parameters: ProducingParameters, client: Producing): Promise<void> {
  const { bytes, warmUpSeconds, seconds = Infinity, messages = Infinity } = parameters;
  const payloads = readPayloads(parameters.payloads, bytes);
  let number = 0;
  const produce = async (cpuSeconds: number, count: number): Promise<number[]> => {
    const end = resources().cpuSeconds + cpuSeconds;
    const last = number + count;
    const peaks: number[] = [];
    while (number < last && (number % 500 !== 0 || resources().cpuSeconds < end)) {
      const waits = client.send(payloads[number % payloads.length]!, `key-${number % 1000}`, number++);
      if (waits !== undefined) await waits;
      if (number % 1_000_000 === 0) peaks.push(resources().peakMegabytes);
    }
    await client.drain();
    return peaks;
  };
  await produce(warmUpSeconds, Infinity);
  const before = resources();
  const from = performance.now();
  const first = number;
  const peaks = await produce(seconds, messages);
  const after = resources();
  const figures: Figures = {
    records: number - first,
    seconds: (performance.now() - from) / 1000,
    cpuSeconds: after.cpuSeconds - before.cpuSeconds,
    peakMegabytes: after.peakMegabytes,
    peaks,
  };
  process.stdout.write(`${JSON.stringify(figures)}\n`);
  process.exit();
}
