// Workers of the real Kinesis Client Library for Java (2.6.0, as in the Java connector), in one JVM that serves a
// whole run: the runner starts it and hands it on in TEST_KCL_URL. What they do: kcl-consumer/KclConsumer.java.

import process from "node:process";
import { setTimeout as delay } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { startServer } from "./child.ts";
import { compileJava, jarsResolved, javaCommand, javaMissing, mavenMissing, resolveJars } from "./java.ts";

const POM = fileURLToPath(new URL("./kcl-consumer/pom.xml", import.meta.url));
const SOURCE = fileURLToPath(new URL("./kcl-consumer/KclConsumer.java", import.meta.url));

/** What a worker did: the kind of line and its fields, see KclConsumer.java. */
export type KclEvent = readonly [
  kind: KclEventKind,
  /** Of "failed" the reason. */
  shardId: string,
  ...fields: string[],
];

type KclEventKind =
  | "init"
  | "record"
  | "checkpoint"
  | "refused"
  | "end-held"
  | "end"
  | "lost"
  | "started"
  | "failed"
  | "stopped";

/** A record that a worker gave to its application. */
export interface KclRecord {
  readonly shardId: string;
  readonly sequenceNumber: string;
  readonly subSequenceNumber: number;
  readonly partitionKey: string;
  /** Of the data, hexadecimal. */
  readonly sha256: string;
}

/** A row of the lease table as the KCL reads it. */
export interface KclRow {
  readonly leaseKey: string;
  /** undefined = nobody. */
  readonly owner: string | undefined;
  readonly counter: number;
  readonly sequenceNumber: string;
  readonly subSequenceNumber: number;
  readonly ownerSwitches: number;
  readonly parents: readonly string[];
  readonly children: readonly string[];
  /** `start-end`, decimal. */
  readonly hashRange: string;
}

/** How a worker is started. */
export interface KclWorkerOptions {
  readonly kinesisUrl: string;
  readonly dynamoUrl: string;
  readonly streamName: string;
  readonly table: string;
  /** The worker id, as the Java connector numbers its instances. @default "0" */
  readonly id?: string;
  /** Enhanced fan-out over HTTP/2 in place of polling over HTTP/1.1. @default false */
  readonly fanOut?: boolean;
  /** Stores a checkpoint after so many records of a shard. @default never */
  readonly checkpointEvery?: number;
  /** At a record with this text it stores a checkpoint, and is done with the shard. */
  readonly mark?: string;
  /** Stores no end of a shard before {@link KclWorker.release}. */
  readonly holdEnds?: boolean;
  /** Takes no more leases than these. @default any number */
  readonly maxLeases?: number;
  /** How often finished rows are looked at. @default the KCL's minutes */
  readonly cleanupMs?: number;
  /** How often it takes leases, takes a shard a step further, and reads. @default the KCL's 20, 1 and 1.5 s */
  readonly roundMs?: number;
}

/** A JVM for workers. */
export interface KclJvm {
  readonly url: string;
  /** Of one that the caller started. */
  readonly pid: number;
  stop(): Promise<void>;
}

let shared: Promise<Pick<KclJvm, "url">> | undefined;
let missing: { readonly reason: string | undefined } | undefined;

/**
 * Why the KCL cannot run here, or undefined: `test(name, { skip: kclMissing() ?? false }, …)`. With CI=true it
 * throws instead, so that no test of it is skipped there.
 */
export function kclMissing(): string | undefined {
  missing ??= { reason: whyMissing() };
  if (missing.reason !== undefined && process.env.CI === "true") {
    throw new Error(`tests need the Kinesis Client Library for Java: ${missing.reason}`);
  }
  return missing.reason;
}

function whyMissing(): string | undefined {
  if (process.env.TEST_KCL_URL) return undefined;
  return javaMissing() ?? (jarsResolved("kcl-consumer", POM) ? undefined : mavenMissing());
}

/** The JVM that all tests share; started on first use, stopped when this process ends. */
export function kclJvm(): Promise<Pick<KclJvm, "url">> {
  const url = process.env.TEST_KCL_URL;
  return url ? Promise.resolve({ url }) : shared ??= startKclJvm();
}

/** A JVM of one's own, to be killed. The caller stops it; it also ends with this process. */
export async function startKclJvm(): Promise<KclJvm> {
  const jars = resolveJars("kcl-consumer", POM);
  const classes = compileJava(SOURCE, jars);
  const server = await startServer({
    name: "kcl-consumer",
    command: javaCommand("java"),
    args: [
      "-Xmx256m",
      "-XX:+UseSerialGC",
      "-XX:TieredStopAtLevel=1",
      "-Djava.net.preferIPv4Stack=true",
      "-Daws.cborEnabled=false", // our Kinesis server speaks JSON
      "-Dorg.slf4j.simpleLogger.defaultLogLevel=error",
      "KclConsumer",
    ],
    env: { CLASSPATH: `${classes}:${jars}` },
  });
  return { url: server.ready.url as string, pid: server.pid, stop: () => server.stop() };
}

/** A Java worker. At the test's end: `t.after(() => worker.abandon())`. */
export class KclWorker {
  /** Everything that it has told so far. */
  readonly events: KclEvent[] = [];
  readonly #url: string;
  readonly #name: string;

  private constructor(url: string, name: string) {
    this.#url = url;
    this.#name = name;
  }

  /** Starts one. @param jvm default the shared one */
  static async start(options: KclWorkerOptions, jvm?: Pick<KclJvm, "url">): Promise<KclWorker> {
    const name = crypto.randomUUID();
    const worker = new KclWorker((jvm ?? await kclJvm()).url, name);
    const { kinesisUrl, dynamoUrl, streamName, id = "0", ...rest } = options;
    await worker.#ask("start", { kinesis: kinesisUrl, dynamo: dynamoUrl, stream: streamName, id, ...rest });
    return worker;
  }

  /** What it has told by now. */
  async refresh(): Promise<readonly KclEvent[]> {
    const text = await this.#ask("lines", { from: this.events.length });
    const from = this.events.length;
    // two callers at once may have asked for the same lines
    const lines = text === "" ? [] : text.split("\n").map((line) => line.split("\t") as unknown as KclEvent);
    for (const [i, line] of lines.entries()) this.events[from + i] ??= line;
    return this.events;
  }

  /** Events of one kind that it has told, of one shard or of all. */
  told(kind: KclEventKind, shardId?: string): KclEvent[] {
    return this.events.filter(([each, of]) => each === kind && (shardId === undefined || of === shardId));
  }

  /** Records that its application got. */
  records(shardId?: string): KclRecord[] {
    return this.told("record", shardId).map(([, of, sequenceNumber, sub, partitionKey, sha256]) => ({
      shardId: of,
      sequenceNumber: sequenceNumber!,
      subSequenceNumber: Number(sub),
      partitionKey: partitionKey!,
      sha256: sha256!,
    }));
  }

  /** Waits until it holds for what was told; rejects with the last events when time is up. */
  async until(what: string, holds: () => boolean, timeoutMs = 120_000): Promise<void> {
    for (const end = performance.now() + timeoutMs; await this.refresh(), !holds();) {
      if (performance.now() > end || this.told("failed").length > 0) {
        const last = this.events.slice(-20).map((event) => event.join(" ")).join("\n");
        throw new Error(`Java worker, not within ${timeoutMs} ms: ${what}. Its last words:\n${last}`);
      }
      await delay(100);
    }
  }

  /** Stores each shard's last record as checkpoint. */
  async checkpoint(): Promise<void> {
    await this.#ask("checkpoint");
  }

  /** Lets it store shards' ends. */
  async release(): Promise<void> {
    await this.#ask("release");
  }

  /** Holds the KCL's election and, if it is elected, its look for holes in the table: both now, minutes early. */
  async audit(): Promise<void> {
    await this.#ask("audit");
  }

  /** Ends it as the Java connector ends: no checkpoint, its rows keep their owner. */
  async stop(): Promise<void> {
    await this.#ask("stop");
    await this.refresh();
  }

  /** The same without waiting for its end, which takes the KCL seconds, and whether its JVM is still there or not. */
  async abandon(): Promise<void> {
    await this.#ask("stop", { wait: false }).catch(() => {});
  }

  /** The lease table as the KCL reads it, by lease key. */
  async rows(): Promise<Map<string, KclRow>> {
    const text = await this.#ask("rows");
    const list = (names: string | undefined) => names ? names.split(",") : [];
    const rows = text.split("\n").filter((line) => line !== "").map((line): KclRow => {
      const [leaseKey, owner, counter, sequenceNumber, sub, switches, parents, children, hashRange] = line
        .split("\t");
      return {
        leaseKey: leaseKey!,
        owner: owner === "null" ? undefined : owner,
        counter: Number(counter),
        sequenceNumber: sequenceNumber!,
        subSequenceNumber: Number(sub),
        ownerSwitches: Number(switches),
        parents: list(parents),
        children: list(children),
        hashRange: hashRange!,
      };
    });
    return new Map(rows.map((row) => [row.leaseKey, row]));
  }

  /** Which of these worker ids an election of the KCL, held now, makes the leader. */
  async leaders(ids: readonly string[]): Promise<string[]> {
    return (await this.#ask("leaders", { ids: ids.join() })).split(",").filter((id) => id !== "");
  }

  async #ask(action: string, fields: Readonly<Record<string, unknown>> = {}): Promise<string> {
    const query = new URLSearchParams({ worker: this.#name });
    for (const [name, value] of Object.entries(fields)) {
      if (value !== undefined) query.set(name, String(value));
    }
    const response = await fetch(`${this.#url}/${action}?${query}`);
    const text = await response.text();
    if (!response.ok) throw new Error(`Java worker: ${action}: ${text}`);
    return text;
  }
}
