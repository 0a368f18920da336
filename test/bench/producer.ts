// The producer alone beside Pulsar's official clients, same messages, same batch limits, each in a process of its own:
// messages per second and CPU per message, into a broker that forgets and into a real one; then its peak memory.
// Prints Markdown for README. `npm run bench:producer -- [--node | --deno] [--quick] [--sizes=1024]
// [--codecs=none,lz4] [--seconds=3 of CPU time] [--brokers=discarding] [--millions=10]`

import { mkdtempSync, rmSync } from "node:fs";
import { cpus, tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { parseArgs } from "node:util";
import type { Compression } from "../../src/pulsar/wire/codec.ts";
import { pulsarAdmin } from "../servers/admin.ts";
import { brokerMissing, startBroker } from "../servers/broker.ts";
import { pythonMissing } from "../servers/python.ts";
import { measureChild, type Runtime, startDiscardingBroker } from "./children.ts";
import type { Figures } from "./figures.ts";
import { writePayloads } from "./payloads.ts";
import { EVENT_TIME, LIMITS, type ProducingParameters } from "./producing.ts";
import { knownArguments } from "../usage.ts";

const USAGE =
  `npm run bench:producer [-- [--node | --deno] [--quick] [--sizes=1024] [--codecs=none,lz4] [--seconds=3] [--brokers=discarding] [--millions=10]]
The producer alone beside Pulsar's official clients: messages per second, CPU per message, peak memory; as Markdown.
  --seconds         CPU time of each measurement
  --brokers         discarding, real
  --millions        messages of the measurement of memory`;
const { values: options } = parseArgs({
  args: knownArguments({
    text: USAGE,
    options: /^--(node|deno|quick|(sizes|codecs|brokers|seconds|millions)=.+)$/,
  }),
  options: {
    node: { type: "boolean", default: false },
    deno: { type: "boolean", default: false },
    quick: { type: "boolean", default: false },
    sizes: { type: "string" },
    codecs: { type: "string" },
    brokers: { type: "string", default: "discarding,real" },
    seconds: { type: "string" },
    millions: { type: "string" },
  },
});
const sizes = (options.sizes ?? (options.quick ? "1024" : "100,1024,10240")).split(",").map(Number);
const codecs = (options.codecs ?? "none,lz4,zlib,zstd,snappy").split(",") as Compression[];
const seconds = Number(options.seconds ?? (options.quick ? 1 : 3));
const millions = Number(options.millions ?? (options.quick ? 1 : 10));
const both = options.node === options.deno;
const say = (line: string): void => void process.stdout.write(`${line}\n`);

interface Client {
  readonly title: string;
  readonly runtime: Runtime;
  readonly script: string;
}

const OURS: readonly Client[] = [
  ...both || options.node ? [{ title: "Node", runtime: "node", script: "producer-alone.ts" } as const] : [],
  ...both || options.deno ? [{ title: "Deno", runtime: "deno", script: "producer-alone.ts" } as const] : [],
];

function officialClients(): Client[] {
  const found: Client[] = [];
  const noPython = pythonMissing();
  if (noPython !== undefined) say(`No Python client beside it: ${noPython}.\n`);
  else found.push({ title: "official Python client", runtime: "python", script: "producer_python.py" });
  if (!process.env.PULSAR_CLIENT_DIR) {
    say("No official Node client beside it: PULSAR_CLIENT_DIR names no built copy of pulsar-client.\n");
  } else found.push({ title: "official Node client", runtime: "node", script: "producer-official.ts" });
  return found;
}

const name = (bytes: number): string => bytes < 1024 ? `${bytes} B` : `${bytes / 1024} KiB`;
const integer = (value: number): string => Math.round(value).toLocaleString("en");
const cpuOf = ({ cpuSeconds, records }: Figures): string => (cpuSeconds * 1e6 / records).toFixed(2);

let topics = 0;
const payloads = new Map<number, string>();
async function measure(
  client: Client,
  serviceUrl: string,
  bytes: number,
  more: Partial<ProducingParameters> = {},
): Promise<Figures> {
  return await measureChild(client.runtime, client.script, {
    serviceUrl,
    topic: `persistent://public/default/bench-${process.pid}-${topics++}`,
    payloads: payloads.get(bytes)!,
    bytes,
    compression: "none",
    warmUpSeconds: seconds / 2,
    ...more,
    limits: LIMITS,
    eventTime: EVENT_TIME,
  });
}

async function speeds(title: string, serviceUrl: string, clients: readonly Client[]): Promise<void> {
  say(`${title}: messages per second · CPU µs per message\n`);
  say(`| Message | Compression | ${clients.map((client) => client.title).join(" | ")} |`);
  say(`|---|---|${clients.map(() => "---|").join("")}`);
  for (const bytes of sizes) {
    for (const compression of codecs) {
      const cells: string[] = [];
      for (const client of clients) {
        const figures = await measure(client, serviceUrl, bytes, { seconds, compression });
        cells.push(`${integer(figures.records / figures.seconds)} · ${cpuOf(figures)}`);
      }
      say(`| ${name(bytes)} | ${compression} | ${cells.join(" | ")} |`);
    }
  }
  say("");
}

/** Beside at-least-once in turn, a median of three. */
async function deliveries(serviceUrl: string): Promise<void> {
  say("Deduplication on, 1 KiB, no compression: messages per second · CPU µs per message\n");
  say(
    "| Delivery | Node | Deno |".replace(
      / (Node|Deno) \|/g,
      (cell, title) => OURS.some((client) => client.title === title) ? cell : "",
    ),
  );
  say(`|---|${OURS.map(() => "---|").join("")}`);
  for (const delivery of ["at-least-once", "effectively-once"] as const) {
    const cells: string[] = [];
    for (const client of OURS) {
      const rounds: Figures[] = [];
      for (let round = 0; round < 3; round++) {
        rounds.push(await measure(client, serviceUrl, 1024, { seconds, delivery }));
      }
      const median = rounds.sort((a, b) => a.cpuSeconds / a.records - b.cpuSeconds / b.records)[1]!;
      cells.push(`${integer(median.records / median.seconds)} · ${cpuOf(median)}`);
    }
    say(`| ${delivery} | ${cells.join(" | ")} |`);
  }
  say("");
}

async function memory(serviceUrl: string): Promise<void> {
  say(`Peak memory of ${millions} million messages of 1 KiB into the broker that forgets, MB\n`);
  say("| Runtime | Compression | first million | all |");
  say("|---|---|---|---|");
  for (const client of OURS) {
    for (const compression of codecs.filter((one) => one === "none" || one === "lz4")) {
      const messages = millions * 1_000_000;
      const { peaks = [], peakMegabytes } = await measure(client, serviceUrl, 1024, {
        messages,
        compression,
        warmUpSeconds: 0,
      });
      say(`| ${client.title} | ${compression} | ${integer(peaks[0] ?? NaN)} | ${integer(peakMegabytes)} |`);
    }
  }
  say("");
}

const folder = mkdtempSync(join(tmpdir(), "bench-producer-"));
try {
  for (const bytes of new Set([...sizes, 1024])) payloads.set(bytes, writePayloads(folder, bytes));
  const processor = cpus();
  say(`${processor.length} × ${processor[0]?.model}, ${process.platform}, Node ${process.version}\n`);
  const clients = [...OURS, ...officialClients()];
  const brokers = options.brokers.split(",");
  if (brokers.includes("discarding")) {
    const discarding = await startDiscardingBroker();
    await speeds("Into a broker that forgets", discarding.serviceUrl, clients);
    if (millions > 0) await memory(discarding.serviceUrl);
    discarding.stop();
  }
  const missing = brokerMissing();
  if (missing !== undefined) say(`No real broker: ${missing}`);
  else if (brokers.includes("real")) {
    const broker = await startBroker({ args: ["--full-jit", "--heap", "1g", "--direct", "1g"] });
    await speeds("Into a real broker on the same machine", broker.serviceUrl, clients);
    await pulsarAdmin(broker.adminUrl).setDeduplication(true);
    await deliveries(broker.serviceUrl);
    await broker.stop();
  }
} finally {
  rmSync(folder, { recursive: true, force: true });
}
process.exit();
