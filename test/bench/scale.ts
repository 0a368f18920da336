// `npm run bench:scale`: a stream of many idle shards read by one worker and by ten, on our Kinesis server, dynalite
// and a broker that discards, each in a process of its own. Prints what an idle shard costs: CPU, memory, calls.
//   npm run bench:scale -- [--shards=1000] [--workers=1,10] [--seconds=60] [--deno] [--fan-out [--http1]] [--idle-poll=MS]

import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { dirname, join } from "node:path";
import process from "node:process";
import { createInterface } from "node:readline";
import { setTimeout as delay } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { startServer } from "../servers/child.ts";
import { startKinesisProcess } from "../servers/kinesis-process.ts";
import { startDiscardingBroker } from "./children.ts";
import type { WorkerReport } from "./scale-worker.ts";
import { knownArguments } from "../usage.ts";

const here = dirname(fileURLToPath(import.meta.url));
const say = (line: string): void => void process.stdout.write(`${line}\n`);
const USAGE =
  `npm run bench:scale [-- [--shards=1000] [--workers=1,10] [--seconds=60] [--deno] [--fan-out [--http1]] [--idle-poll=MS]]
What an idle shard costs one worker and ten: CPU, memory, calls. On Node, or on Deno.`;
const args = knownArguments({
  text: USAGE,
  options: /^--(shards=\d+|workers=\d+(,\d+)*|seconds=\d+|idle-poll=\d+|deno|fan-out|http1)$/,
});
const option = (name: string, otherwise: string): string =>
  args.find((arg) => arg.startsWith(`--${name}=`))?.slice(name.length + 3) ?? otherwise;
const SHARDS = Number(option("shards", "1000"));
const SECONDS = Number(option("seconds", "60"));
const WORKERS = option("workers", "1,10").split(",").map(Number);
const runtime = args.includes("--deno") ? "deno" : "node";
const PATIENCE_MS = 600_000;

class Worker {
  readonly #child: ChildProcess;
  readonly #lines: AsyncIterator<string>;

  constructor(config: object) {
    const script = join(here, "scale-worker.ts");
    const [command, args] = runtime === "node"
      ? [process.execPath, ["--expose-gc", "--import", "tsx", script]]
      : [
        join(here, "..", "..", "node_modules", ".bin", "deno"),
        ["run", "-A", "--v8-flags=--expose-gc", script],
      ];
    this.#child = spawn(command, [...args, JSON.stringify(config)], { stdio: ["pipe", "pipe", "inherit"] });
    this.#lines = createInterface(this.#child.stdout!)[Symbol.asyncIterator]();
  }

  async line(): Promise<string> {
    const { value, done } = await this.#lines.next();
    if (done) throw new Error("a worker ended");
    return value;
  }

  async report(): Promise<WorkerReport> {
    this.#child.stdin!.write("?\n");
    return JSON.parse(await this.line()) as WorkerReport;
  }

  async stop(): Promise<void> {
    const ended = once(this.#child, "exit");
    this.#child.stdin!.end();
    await ended;
  }
}

const total = (reports: readonly WorkerReport[], member: "held" | "reading" | "cpuSeconds" | "liveBytes") =>
  reports.reduce((sum, report) => sum + report[member], 0);

async function measure(shards: number, workers: number, servers: Servers): Promise<WorkerReport[]> {
  const config = {
    awsRegion: "us-east-1",
    awsEndpoint: servers.kinesis.url,
    dynamoEndpoint: servers.tables.url,
    awsKinesisStreamName: servers.streams.get(shards)!,
    awsCredentialPluginParam: '{"accessKey":"bench","secretKey":"bench"}',
    applicationName: `scale-${shards}-${workers}`,
    initialPositionInStream: "TRIM_HORIZON",
    useEnhancedFanOut: args.includes("--fan-out"),
    kinesis: { idlePollMs: Number(option("idle-poll", "1000")), http2: !args.includes("--http1") },
    pulsar: { serviceUrl: servers.broker.serviceUrl, topic: "scale" },
  };
  const startedAt = performance.now();
  const callsAtStart = await servers.calls();
  const seconds = () => (performance.now() - startedAt) / 1000;
  const fleet = Array.from({ length: workers }, () => new Worker(config));
  await Promise.all(fleet.map((worker) => worker.line()));
  const reports = () => Promise.all(fleet.map((worker) => worker.report()));
  const until = async (what: string, holds: (now: WorkerReport[]) => boolean): Promise<WorkerReport[]> => {
    for (;;) {
      const now = await reports();
      if (holds(now)) {
        say(`${what} after ${seconds().toFixed(1)} s`);
        return now;
      }
      if (seconds() * 1000 > PATIENCE_MS) {
        say(`${what}: NOT after ${seconds().toFixed(0)} s: ${now.map(({ held }) => held).join(" ")}`);
        return now;
      }
      await delay(500);
    }
  };
  say(`\n${shards} shards, ${workers} workers, ${runtime}`);
  await until("every shard is read", (now) => total(now, "reading") === shards);
  const fair = Math.ceil(shards / workers);
  await until(
    "shared evenly",
    (now) => total(now, "held") === shards && now.every(({ held }) => held <= fair),
  );
  const callsBy = (
    now: Record<string, number>,
    then: Record<string, number>,
    inSeconds = 1,
    digits = 0,
  ): string =>
    Object.keys(now).filter((name) => now[name] !== then[name])
      .map((name) => `${name} ${((now[name]! - (then[name] ?? 0)) / inSeconds).toFixed(digits)}`).join(", ");
  say(`DynamoDB calls until then: ${callsBy(await servers.calls(), callsAtStart)}`);
  await delay(20_000); // what the start left behind is collected
  const before = await reports();
  const callsBefore = await servers.calls();
  await delay(SECONDS * 1000);
  const after = await reports();
  const callsAfter = await servers.calls();
  const cpu = (total(after, "cpuSeconds") - total(before, "cpuSeconds")) / SECONDS;
  say(
    `leases per worker ${after.map(({ held }) => held).sort((a, b) => a - b).join(" ")}; ` +
      `DynamoDB calls per second: ${callsBy(callsAfter, callsBefore, SECONDS, 2)}`,
  );
  say(
    `CPU ${(cpu * 100).toFixed(1)} % of a core in all, ${
      (cpu * 1e3 / shards).toFixed(3)
    } ms per shard and second; ` +
      `resident ${after.map(({ residentBytes }) => Math.round(residentBytes / 1e6)).join(" ")} MB; ` +
      `longest pause ${Math.max(...after.map(({ maxPauseMs }) => maxPauseMs)).toFixed(0)} ms`,
  );
  await Promise.all(fleet.map((worker) => worker.stop()));
  return after;
}

interface Servers {
  readonly kinesis: { readonly url: string };
  readonly tables: { readonly url: string };
  readonly broker: { readonly serviceUrl: string };
  /** Names by number of shards. */
  readonly streams: ReadonlyMap<number, string>;
  calls(): Promise<Record<string, number>>;
}

const kinesis = await startKinesisProcess({ streamName: "many", shards: SHARDS });
const few = await startKinesisProcess({ streamName: "few", shards: 1 });
const tables = await startServer({
  name: "dynalite",
  command: process.execPath,
  args: ["--import", "tsx", join(here, "scale-tables.ts")],
});
const broker = await startDiscardingBroker();
const servers: Servers = {
  kinesis,
  tables: { url: String(tables.ready.url) },
  broker,
  streams: new Map([[SHARDS, "many"], [1, "few"]]),
  calls: async () => await (await fetch(String(tables.ready.countsUrl))).json() as Record<string, number>,
};
try {
  const [one] = await measure(1, 1, { ...servers, kinesis: few });
  for (const workers of WORKERS) {
    const reports = await measure(SHARDS, workers, servers);
    const bytes = (total(reports, "liveBytes") - workers * one!.liveBytes) / (SHARDS - workers);
    say(`live memory per shard ${(bytes / 1024).toFixed(1)} KiB`);
  }
} finally {
  broker.stop();
  await Promise.all([kinesis.stop(), few.stop(), tables.stop()]);
}
