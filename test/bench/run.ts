// `npm run bench`: the whole road from pre-encoded Kinesis pages (a process of their own) into a real broker, beside
// two yardsticks in the same run: the stock SDK reading, our producer alone. Prints the table that README shows.
//   npm run bench -- [--quick] [--node | --deno] [--profile]     --profile writes a CPU profile of the road on Node

import { mkdtempSync, rmSync } from "node:fs";
import { cpus, tmpdir, totalmem } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { startBroker } from "../servers/broker.ts";
import { startDynalite } from "../servers/dynalite.ts";
import { startKinesisProcess } from "../servers/kinesis-process.ts";
import { measureChild } from "./children.ts";
import type { Figures } from "./figures.ts";
import { writePayloads } from "./payloads.ts";
import type { ProducingParameters } from "./producing.ts";
import { knownArguments } from "../usage.ts";

const USAGE = `npm run bench [-- [--quick] [--node | --deno] [--profile]]
The whole road into a real broker, beside the stock SDK reading and our producer alone, as the table that README shows.
  --quick           few records, one round
  --node, --deno    one runtime
  --profile         one round, with a CPU profile of the road on Node in .cache`;
const args = new Set(knownArguments({ text: USAGE, options: /^--(quick|node|deno|profile)$/ }));
const SHARDS = 16;
const RECORDS_PER_SHARD = args.has("--quick") ? 5_000 : 25_000;
const ROUNDS = args.has("--quick") || args.has("--profile") ? 1 : 3;
const runtimes = (["node", "deno"] as const).filter((name) =>
  args.has(`--${name}`) || !(args.has("--node") || args.has("--deno"))
);
const say = (line: string): void => void process.stdout.write(`${line}\n`);

const measure = (runtime: "node" | "deno", script: string, parameters: unknown): Promise<Figures> =>
  measureChild(
    runtime,
    script,
    parameters,
    args.has("--profile") && script === "road.ts" ? ["--cpu-prof", "--cpu-prof-dir=.cache"] : [],
  );

/** The round whose CPU time is the median. */
function median(rounds: Figures[]): Figures {
  return rounds.sort((a, b) => a.cpuSeconds - b.cpuSeconds)[Math.floor(rounds.length / 2)]!;
}

function row(name: string, runtime: string, figures: Figures): string {
  const { records, seconds, cpuSeconds, peakMegabytes, firstRecordSeconds } = figures;
  const cells = [
    name,
    runtime,
    Math.round(records / seconds).toLocaleString("en"),
    (cpuSeconds * 1e6 / records).toFixed(2),
    peakMegabytes.toFixed(0),
    firstRecordSeconds === undefined ? "" : firstRecordSeconds.toFixed(2),
  ];
  return `| ${cells.join(" | ")} |`;
}

const streamName = "bench";
const kinesis = await startKinesisProcess({
  streamName,
  shards: SHARDS,
  recordsPerShard: RECORDS_PER_SHARD,
  recordBytes: 1024,
});
const broker = await startBroker({ args: ["--full-jit", "--heap", "1g", "--direct", "1g"] });
const dynalite = await startDynalite();
const records = SHARDS * RECORDS_PER_SHARD;
const folder = mkdtempSync(join(tmpdir(), "bench-"));
const payloads = writePayloads(folder, 1024);
try {
  const processor = cpus();
  say(
    `${processor.length} × ${processor[0]?.model}, ${
      Math.round(totalmem() / 2 ** 30)
    } GiB, ${process.platform}; ` +
      `Node ${process.version}; ${records.toLocaleString("en")} records of 1 KiB in ${SHARDS} shards; ` +
      `median of ${ROUNDS} by CPU time`,
  );
  say("");
  say("| what | runtime | records/s | CPU µs per record | peak memory, MB | start to first record, s |");
  say("|---|---|---|---|---|---|");
  for (const runtime of runtimes) {
    const found = { road: [] as Figures[], sdk: [] as Figures[], producer: [] as Figures[] };
    for (let round = 0; round < ROUNDS; round++) {
      const topic = `persistent://public/default/bench-${runtime}-${round}`;
      const common = { kinesisUrl: kinesis.url, serviceUrl: broker.serviceUrl, streamName, records };
      const applicationName = `bench-${runtime}-${round}`;
      const road = { ...common, dynamoUrl: dynalite.url, topic, applicationName };
      found.road.push(await measure(runtime, "road.ts", road));
      found.sdk.push(await measure(runtime, "stock-sdk.ts", common));
      const alone: ProducingParameters = {
        serviceUrl: broker.serviceUrl,
        topic: `${topic}-alone`,
        payloads,
        bytes: 1024,
        compression: "none",
        warmUpSeconds: 0,
        messages: records,
      };
      found.producer.push(await measure(runtime, "producer-alone.ts", alone));
    }
    say(row("the whole road, one synchronous hook", runtime, median(found.road)));
    say(row("stock AWS SDK, reading and discarding", runtime, median(found.sdk)));
    say(row("our producer alone", runtime, median(found.producer)));
  }
} finally {
  rmSync(folder, { recursive: true });
  await Promise.all([kinesis.stop(), broker.stop(), dynalite.close()]);
}
process.exit();
