// What the demo shows: a few arrivals and one line of numbers a second, checkpoints, and a summary at its end.
// Lines only, never cursor movements, so that it reads the same in a terminal, a pipe and a CI log.

import { styleText } from "node:util";
import type { TopicMessage } from "../local/mod.ts";
import { DEMO_HOOK, type OrderBook } from "./demo-orders.ts";

/** Arrivals shown in full each second; the others are counted. */
const SHOWN_PER_SECOND = 3;

/** Where the parts of the demo are. */
export interface DemoPlaces {
  readonly kinesisUrl: string;
  readonly streamName: string;
  readonly shards: number;
  readonly pulsarUrl: string;
  readonly ownBroker: boolean;
  readonly topic: string;
}

/** A stored checkpoint, in the words of the connector's event. */
export interface DemoCheckpoint {
  readonly shardId: string;
  readonly sequenceNumber: string;
  readonly records: number;
}

/** See the top of this file. */
export class DemoScreen {
  readonly #print: (line: string) => void;
  readonly #book: OrderBook;
  readonly #checkpoints = new Map<string, DemoCheckpoint>();
  #shown = 0;
  #arrivedBefore = 0;
  #checkpointCount = 0;

  constructor(print: (line: string) => void, book: OrderBook) {
    this.#print = print;
    this.#book = book;
  }

  intro(places: DemoPlaces, seconds: number): void {
    const broker = places.ownBroker ? "a local stand-in for a Pulsar broker" : "your Pulsar broker";
    const where = [
      [
        "from",
        "a local Kinesis server",
        places.kinesisUrl,
        `stream ${places.streamName}, ${places.shards} shards`,
      ],
      ["to", broker, places.pulsarUrl, `topic ${places.topic}`],
    ] as const;
    this.#print(styleText("bold", "kinesis-pulsar demo"));
    this.#print("");
    for (const [way, what, url, name] of where) {
      this.#print(`  ${way.padEnd(6)}${what} at ${styleText("cyan", url)}`);
      this.#print(`        ${name}`);
    }
    this.#print(`  by    the connector of \`kinesis-pulsar run\`, with this hook script:`);
    this.#print("");
    for (const line of DEMO_HOOK.trimEnd().split("\n")) this.#print(styleText("dim", `        ${line}`));
    this.#print("");
    this.#print(`What arrives in Pulsar (for ${seconds} s, Ctrl-C ends it):`);
    this.#print("");
  }

  /** A message that was read back from the topic. */
  arrival(message: TopicMessage): void {
    if (this.#shown++ >= SHOWN_PER_SECOND) return;
    const key = styleText("yellow", (message.key ?? "").padEnd(9));
    this.#print(`  ${styleText("green", "→")} ${key}${message.data.toString()}`);
  }

  checkpoint(event: DemoCheckpoint): void {
    this.#checkpointCount++;
    const { shardId } = event;
    const records = (this.#checkpoints.get(shardId)?.records ?? 0) + event.records;
    this.#checkpoints.set(shardId, { ...event, records });
  }

  /** The line of a second, and the checkpoints that were stored in it. */
  second(elapsedSeconds: number, millisBehindLatest: number | undefined): void {
    const { put, delivered, dropped } = this.#book;
    const rate = delivered - this.#arrivedBefore;
    this.#arrivedBefore = delivered;
    this.#shown = 0;
    const parts = [
      `${put} put`,
      `${delivered} arrived`,
      `${rate}/s`,
      `${dropped} test orders dropped`,
      millisBehindLatest === undefined ? "" : `${(millisBehindLatest / 1000).toFixed(1)} s behind`,
    ].filter(Boolean);
    this.#print(`${styleText("bold", `${elapsedSeconds} s`.padStart(5))}  ${parts.join(" · ")}`);
    if (this.#checkpoints.size === 0) return;
    const stored = [...this.#checkpoints.values()].map(({ shardId, sequenceNumber, records }) =>
      `${shortShard(shardId)} at …${sequenceNumber.slice(-6)} (+${records})`
    );
    this.#checkpoints.clear();
    this.#print(styleText("blue", `       checkpoints: ${stored.join(", ")}`));
  }

  note(text: string): void {
    this.#print(styleText("dim", `  ${text}`));
  }

  /** The end. `reason` where it failed. */
  summary(elapsedMs: number, firstAfterMs: number | undefined, reason: string | undefined): void {
    const { put, delivered, dropped, repeated, missing } = this.#book;
    const rows = [
      ["put into Kinesis", `${put} orders`],
      ["dropped by the hook", `${dropped} test orders`],
      ["arrived in Pulsar", `${delivered}${repeated > 0 ? ` (and ${repeated} of them again)` : ""}`],
      ["missing", `${missing}`],
      [
        "first arrival",
        firstAfterMs === undefined ? "none" : `${(firstAfterMs / 1000).toFixed(1)} s after the start`,
      ],
      ["checkpoints", `${this.#checkpointCount}`],
      ["took", `${(elapsedMs / 1000).toFixed(1)} s`],
    ] as const;
    this.#print("");
    for (const [name, value] of rows) this.#print(`  ${name.padEnd(22)}${value}`);
    this.#print("");
    if (reason !== undefined) {
      this.#print(styleText("red", `The demo failed: ${reason}`));
      return;
    }
    this.#print(styleText("green", "Every order arrived."));
    this.#print("");
    this.#print("What next:");
    this.#print("  kinesis-pulsar init                      write connector.toml and a typed hook script");
    this.#print("  kinesis-pulsar validate connector.toml   check it, offline");
    this.#print("  kinesis-pulsar run connector.toml        copy your stream");
  }
}

/** `shard 3` of `shardId-000000000003`. */
function shortShard(shardId: string): string {
  return `shard ${Number(shardId.slice(shardId.lastIndexOf("-") + 1))}`;
}
