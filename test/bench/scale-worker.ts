// One connector of a scale measurement. A line on its standard input is a question, a JSON line the answer: what it
// holds, its CPU time, its memory after a collection of garbage. Ends, with a clean stop, when the input does.

import process from "node:process";
import { createInterface } from "node:readline";
import { createConnector } from "../../mod.ts";
import { resources } from "./figures.ts";

/** What a worker says of itself. */
export interface WorkerReport {
  /** Leases whose shard is read. */
  readonly reading: number;
  readonly held: number;
  readonly records: number;
  readonly cpuSeconds: number;
  /** Live memory: heap, and buffers outside of it. */
  readonly liveBytes: number;
  readonly residentBytes: number;
  readonly maxPauseMs: number;
}

const connector = createConnector(JSON.parse(process.argv[2]!) as Record<string, unknown>, {
  log: { debug() {}, info() {}, warn: tell, error: tell },
});
function tell(message: string): void {
  process.stderr.write(`${message}\n`);
}

// The longest time for which nothing else could run: what a quadratic step would show in.
let maxPauseMs = 0;
let before = performance.now();
setInterval(() => {
  const now = performance.now();
  maxPauseMs = Math.max(maxPauseMs, now - before - 20);
  before = now;
}, 20).unref();

await connector.start();
process.stdout.write("started\n");
for await (const _question of createInterface({ input: process.stdin })) {
  const { shards, records } = connector.status();
  (globalThis as { gc?: () => void }).gc?.();
  const { heapUsed, external, rss } = process.memoryUsage();
  const report: WorkerReport = {
    reading: shards.filter(({ state }) => state === "processing").length,
    held: shards.length,
    records,
    cpuSeconds: resources().cpuSeconds,
    liveBytes: heapUsed + external,
    residentBytes: rss,
    maxPauseMs,
  };
  maxPauseMs = 0;
  process.stdout.write(`${JSON.stringify(report)}\n`);
}
await connector.stop();
process.exit();
