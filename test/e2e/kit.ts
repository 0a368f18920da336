// The whole road for end-to-end tests: our Kinesis server and dynalite in the test's process, the real broker, the
// program itself as a child process on the runtime of the test, a configuration file in a folder of its own.

import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { stringify } from "smol-toml";
import type { Clock } from "../../src/core/clock.ts";
import { type LocalKinesis, type LocalKinesisOptions, startLocalKinesis } from "../../src/local/mod.ts";
import { systemClock } from "../../src/runtime.ts";
import { pulsarBroker } from "../servers/broker.ts";
import { type CliProcess, spawnCli } from "../servers/cli.ts";
import { startDynalite } from "../servers/dynalite.ts";
import { type ReadOptions, readTopic, type TopicMessage } from "../servers/topic-reader.ts";

/** A random name for streams, topics and tables. */
export function randomName(prefix: string): string {
  return `${prefix}-${randomBytes(6).toString("hex")}`;
}

/** What a road ends with: a test's context, or a proof's. */
export interface Scope {
  after(close: () => unknown): void;
}

/** Asks a running connector to stop and waits for its end; fails with its words unless it ends with this code. */
export async function stopped(cli: CliProcess, code = 0): Promise<void> {
  cli.kill("SIGTERM");
  await ended(cli, code);
}

/** Waits for a program's end; fails with its words unless it ends with this code. */
export async function ended(cli: CliProcess, code = 0): Promise<void> {
  assert.equal(await cli.exitCode, code, cli.stdout + cli.stderr);
}

/** What a running connector copies: waits until a topic holds so many messages; fails with its words if it ends before. */
export async function received(
  cli: CliProcess,
  topic: string,
  count: number,
  broker: Pick<ReadOptions, "serviceUrl" | "token"> = {},
): Promise<TopicMessage[]> {
  const died = cli.exitCode.then((code) => assert.fail(`ended with ${code}: ${cli.stdout}${cli.stderr}`));
  died.catch(() => {}); // an end after the last message is none of this
  return await Promise.race([readTopic(topic, { ...broker, count, timeoutMs: 120_000 }), died]);
}

/** Looks every 50 ms until it holds; fails after two minutes. */
export async function eventually(holds: () => boolean | Promise<boolean>, what: string): Promise<void> {
  for (const end = Date.now() + 120_000; !await holds();) {
    if (Date.now() > end) assert.fail(`not within two minutes: ${what}`);
    await delay(50);
  }
}

/** A Kinesis server whose time is set by the test: `at(-60)` = an hour ago. */
export function serverTime(): { readonly clock: Clock; at(minutes: number): void } {
  let offset = 0;
  return {
    clock: { ...systemClock, now: () => Date.now() + offset },
    at: (minutes) => void (offset = minutes * 60_000),
  };
}

/** How a {@link Road} is laid. */
export interface RoadOptions extends LocalKinesisOptions {
  /** @default 2 */
  readonly shards?: number;
  /** Another Kinesis server instead of ours; its stream must exist. */
  readonly kinesisUrl?: string;
  /** @default the broker that all tests share */
  readonly serviceUrl?: string;
  /** Of the program. @default the test's */
  readonly runtime?: "node" | "deno" | undefined;
}

/** Servers, names and a configuration file. */
export interface Road {
  /** Ours; its methods put, split, inject faults … */
  readonly kinesis: LocalKinesis;
  readonly streamName: string;
  readonly dynamoUrl: string;
  /** Full name. */
  readonly topic: string;
  readonly folder: string;
  /** A configuration that works here, as an object. */
  readonly config: Record<string, unknown> & { readonly pulsar: Record<string, unknown> };
  /** Writes a configuration file into the folder (tables are merged one level deep); gives its path. */
  write(name: string, changes?: Record<string, unknown>): Promise<string>;
  /** Writes a script into the folder; gives its path. */
  script(name: string, text: string): Promise<string>;
  /** Starts `kinesis-pulsar …`; killed at the test's end. */
  run(...args: string[]): CliProcess;
  /** The same with more in its environment. */
  runWith(env: Readonly<Record<string, string>>, ...args: string[]): CliProcess;
}

/** Lays the road; all of it ends with the test. */
export async function layRoad(t: Scope, options: RoadOptions = {}): Promise<Road> {
  const { shards = 2, kinesisUrl, runtime, serviceUrl = (await pulsarBroker()).serviceUrl, ...server } =
    options;
  const kinesis = await startLocalKinesis(server);
  t.after(() => kinesis.close());
  const dynalite = await startDynalite();
  t.after(() => dynalite.close());
  const folder = await mkdtemp(join(tmpdir(), "kinesis-pulsar-e2e-"));
  t.after(() => rm(folder, { recursive: true, force: true }));
  const streamName = randomName("stream");
  kinesis.createStream(streamName, { shards });
  const topic = `persistent://public/default/${randomName("topic")}`;
  const config = {
    awsRegion: "us-east-1",
    awsEndpoint: kinesisUrl ?? kinesis.url,
    dynamoEndpoint: dynalite.url,
    awsKinesisStreamName: streamName,
    awsCredentialPluginParam: JSON.stringify({ accessKey: "test", secretKey: "test" }),
    applicationName: randomName("app"),
    initialPositionInStream: "TRIM_HORIZON",
    useEnhancedFanOut: false,
    pulsar: { serviceUrl, topic },
  };
  const runWith = (env: Readonly<Record<string, string>>, ...args: string[]): CliProcess => {
    const cli = spawnCli(args, { cwd: folder, env, runtime });
    t.after(async () => {
      cli.kill("SIGKILL");
      await cli.exitCode;
    });
    return cli;
  };
  return {
    kinesis,
    streamName,
    dynamoUrl: dynalite.url,
    topic,
    folder,
    config,
    async write(name, changes = {}) {
      const path = join(folder, name);
      const merged: Record<string, unknown> = { ...config };
      for (const [key, value] of Object.entries(changes)) {
        const old = merged[key];
        const bothTables = isTable(old) && isTable(value);
        merged[key] = bothTables ? { ...old, ...value } : value;
      }
      await writeFile(path, name.endsWith(".json") ? JSON.stringify(merged) : stringify(merged));
      return path;
    },
    async script(name, text) {
      const path = join(folder, name);
      await writeFile(path, text);
      return path;
    },
    run: (...args) => runWith({}, ...args),
    runWith,
  };
}

function isTable(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
