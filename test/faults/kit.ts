// What the tests of faults share: a connector in this process between our Kinesis server and the local broker, with
// everything it says and stores kept, and every wait bounded. Errors are read as a person reads them.

import assert from "node:assert/strict";
import type { TestContext } from "node:test";
import { errorText, exitCodeOf } from "../../src/cli/errors.ts";
import type { Clock } from "../../src/core/clock.ts";
import type { ConnectorError, ErrorCode } from "../../src/core/errors.ts";
import type { CheckpointEvent, Hooks } from "../../src/hooks/types.ts";
import type { ThrottleEvent } from "../../src/kinesis/source.ts";
import {
  type LocalBroker,
  type LocalBrokerOptions,
  type LocalKinesis,
  type LocalKinesisOptions,
  startLocalBroker,
  startLocalKinesis,
} from "../../src/local/mod.ts";
import { type Connector, type ConnectorResult, createConnector } from "../../mod.ts";
import { systemClock } from "../../src/runtime.ts";
import { randomName } from "../e2e/kit.ts";
import { RecordingLogger } from "../fakes.ts";

/** Of every configuration here; no output may show them. */
export const SECRET_KEY = "wJalrXUtnFEMI-never-shown-K7MDENG";
export const SESSION_TOKEN = "FwoGZXIvYXdzEJr-never-shown-token";
export const ACCESS_KEY = "AKIATESTFAULTS";
/** As the local server knows them. */
export const KEYS = { accessKeyId: ACCESS_KEY, secretAccessKey: SECRET_KEY, sessionToken: SESSION_TOKEN };

/** `awsCredentialPluginParam` of these keys. */
export function keysParam(keys: Record<string, string> = {}): string {
  return JSON.stringify({
    accessKey: ACCESS_KEY,
    secretKey: SECRET_KEY,
    sessionToken: SESSION_TOKEN,
    ...keys,
  });
}

/** Fails when any text shows a secret. */
export function assertNoSecret(...texts: readonly string[]): void {
  for (const text of texts) {
    assert.ok(!text.includes(SECRET_KEY), `the secret key is shown: ${text}`);
    assert.ok(!text.includes(SESSION_TOKEN), `the session token is shown: ${text}`);
  }
}

/** A promise that must settle soon: nothing hangs. */
export async function soon<T>(promise: Promise<T>, what: string, withinMs = 60_000): Promise<T> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`${what}: nothing after ${withinMs} ms`)), withinMs);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}

/** Waits until a condition holds; fails when it does not soon. */
export async function until(condition: () => boolean, what: string, withinMs = 60_000): Promise<void> {
  const end = performance.now() + withinMs;
  while (!condition()) {
    assert.ok(performance.now() < end, `${what}: not within ${withinMs} ms`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

/** The real clock, `factor` times as fast: a minute of patience takes a second at 60. */
export function fastClock(factor: number): Clock {
  return {
    ...systemClock,
    monotonic: () => systemClock.monotonic() * factor,
    sleep: (ms, signal) => systemClock.sleep(ms / factor, signal),
  };
}

/** What a connector is started with. */
export interface RunOptions {
  readonly hooks?: Hooks;
  readonly clock?: Clock;
  readonly until?: number;
}

/** A connector with what it said and did. */
export interface Run {
  readonly connector: Connector;
  readonly log: RecordingLogger;
  readonly checkpoints: CheckpointEvent[];
  readonly throttles: ThrottleEvent[];
  /** Started shards, in order. */
  readonly started: string[];
  /** Resolves when it runs. */
  readonly running: Promise<void>;
  /** Its end, which must be a failure that comes soon. */
  failure(withinMs?: number): Promise<ConnectorError>;
  /** Stops it; it must end without a failure and with nothing undrained. */
  stop(): Promise<ConnectorResult>;
}

/** Servers, names, and a configuration that works. */
export interface World {
  readonly kinesis: LocalKinesis;
  readonly broker: LocalBroker;
  readonly streamName: string;
  readonly topic: string;
  readonly config: Config;
  /** Starts a connector; tables of `changes` are merged. Stopped with the test. */
  run(changes?: Changes, options?: RunOptions): Run;
  /** Puts records "name 0" … into the stream, all under one key. */
  put(count: number, name?: string): void;
  /** What is in the topic, as text. */
  published(): string[];
  /** Waits for so many messages in the topic. */
  arrived(count: number): Promise<void>;
}

type Config = Record<string, unknown> & { readonly pulsar: Record<string, unknown> };
/** Changes of a configuration; `undefined` takes a key out. */
export type Changes = Readonly<Record<string, unknown>>;

/** How a {@link World} is made. */
export interface WorldOptions extends LocalKinesisOptions {
  /** @default 1 */
  readonly shards?: number;
  readonly broker?: LocalBrokerOptions;
  /** Leases there instead of in memory. */
  readonly dynamoEndpoint?: string;
}

/** Starts the servers; all end with the test. */
export async function faultWorld(t: TestContext, options: WorldOptions = {}): Promise<World> {
  const { shards = 1, broker: brokerOptions = {}, dynamoEndpoint, ...server } = options;
  const kinesis = await startLocalKinesis(server);
  t.after(() => kinesis.close());
  const broker = await startLocalBroker(brokerOptions);
  t.after(() => broker.close());
  const streamName = randomName("stream");
  kinesis.createStream(streamName, { shards });
  const topic = `persistent://public/default/${randomName("topic")}`;
  const config: Config = {
    awsRegion: "us-east-1",
    awsEndpoint: kinesis.url,
    ...dynamoEndpoint === undefined ? {} : { dynamoEndpoint },
    awsKinesisStreamName: streamName,
    awsCredentialPluginParam: keysParam(),
    applicationName: randomName("app"),
    initialPositionInStream: "TRIM_HORIZON",
    useEnhancedFanOut: false,
    checkpointInterval: 100,
    backoffTime: 50,
    shutdownTimeoutMs: 3_000,
    kinesis: { idlePollMs: 50 },
    // With a clock 60 times as fast 10 s, the default, would be over when a busy machine pauses for a moment.
    leases: dynamoEndpoint === undefined
      ? { store: "memory", failoverTimeMs: 600_000 }
      : { failoverTimeMs: 2_000 },
    pulsar: { serviceUrl: broker.url, topic },
  };
  return {
    kinesis,
    broker,
    streamName,
    topic,
    config,
    run: (changes = {}, more = {}) => startRun(t, merge(config, changes), more),
    put(count, name = "record") {
      for (let i = 0; i < count; i++) {
        kinesis.putRecord(streamName, { partitionKey: "key", data: `${name} ${i}` });
      }
    },
    published: () => broker.messages(topic).map(({ data }) => new TextDecoder().decode(data)),
    arrived: (count) => soon(broker.received(topic, count), `${count} messages in the topic`),
  };
}

/** A configuration with changes; tables are merged one level deep, `undefined` takes a key out. */
export function merge(config: Changes, changes: Changes): Record<string, unknown> {
  const merged: Record<string, unknown> = { ...config };
  for (const [key, value] of Object.entries(changes)) {
    const old = merged[key];
    if (value === undefined) delete merged[key];
    else merged[key] = isTable(old) && isTable(value) ? { ...old, ...value } : value;
  }
  return merged;
}

function isTable(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function startRun(t: TestContext, config: Record<string, unknown>, options: RunOptions): Run {
  const log = new RecordingLogger();
  const connector = createConnector(config, { log, env: {}, ...options });
  const checkpoints: CheckpointEvent[] = [];
  const throttles: ThrottleEvent[] = [];
  const started: string[] = [];
  connector.on("checkpoint", (event) => checkpoints.push(event));
  connector.on("throttle", (event) => throttles.push(event));
  connector.on("shardStart", ({ shardId }) => started.push(shardId));
  const running = connector.start();
  running.catch(() => {}); // failure() tells it
  t.after(() => connector.stop());
  const said = () => log.entries.map(({ message, fields }) => message + JSON.stringify(plain(fields)));
  return {
    connector,
    log,
    checkpoints,
    throttles,
    started,
    running,
    async failure(withinMs) {
      const { error } = await soon(connector.finished, "the connector's end", withinMs);
      assertNoSecret(...said());
      assert.ok(error, "it ended without a failure");
      return error;
    },
    async stop() {
      const result = await soon(connector.stop(), "the stop");
      assertNoSecret(...said());
      assert.equal(result.error?.message, undefined);
      assert.deepEqual(result.undrained, []);
      return result;
    },
  };
}

/** Log fields with what an error holds, causes too. */
function plain(value: unknown): unknown {
  if (!(value instanceof Error)) {
    if (typeof value === "bigint") return String(value);
    if (typeof value !== "object" || value === null) return value;
    return Object.fromEntries(Object.entries(value).map(([key, one]) => [key, plain(one)]));
  }
  return { message: value.message, stack: value.stack, cause: plain(value.cause) };
}

/**
 * Reads an error: its code, its exit code, that its words hold each of these (a string as it stands), that they are
 * one sentence for a person, and that no secret is in it or its causes.
 */
export function assertWords(
  error: ConnectorError,
  expected: { readonly code: ErrorCode; readonly exit: number; readonly words: readonly (string | RegExp)[] },
): void {
  const { message } = error;
  assert.equal(error.code, expected.code, message);
  assert.equal(exitCodeOf(error), expected.exit, message);
  for (const word of expected.words) {
    const found = typeof word === "string" ? message.includes(word) : word.test(message);
    assert.ok(found, `${word} is not in: ${message}`);
  }
  assert.doesNotMatch(message, /undefined|\[object|NaN|\n\s+at /, message);
  const shown = errorText(error, true);
  assertNoSecret(shown);
}
