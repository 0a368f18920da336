// The whole road by chance: the real pipeline and the real sink between the local Kinesis server and the local broker,
// all in this process, while connections are cut, topics moved, limits lowered, leases lost, hooks changed, and the
// connector is stopped or killed. One seed makes one road; its times are the machine's, so a seed does not always give
// the same run, but every run must hold what is promised.

import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { setTimeout as delay } from "node:timers/promises";
import type { Clock } from "../../src/core/clock.ts";
import { ConnectorError } from "../../src/core/errors.ts";
import { createHookChain } from "../../src/hooks/chain.ts";
import { inlineHooks } from "../../src/hooks/load.ts";
import type { Hooks, OutgoingMessage } from "../../src/hooks/types.ts";
import type { RecordSource } from "../../src/kinesis/source.ts";
import { createKinesisStream } from "../../src/kinesis/stream.ts";
import { MemoryLeaseStore, MemoryLeaseTable } from "../../src/leases/memory.ts";
import type { LeaseStore } from "../../src/leases/store.ts";
import { type LocalBroker, type LocalKinesis, startLocalBroker } from "../../src/local/mod.ts";
import { MetricsRegistry } from "../../src/metrics/registry.ts";
import { Connector } from "../../src/pipeline/connector.ts";
import { createBuiltinSink } from "../../src/pulsar/builtin.ts";
import { loadCodec } from "../../src/pulsar/codecs/load.ts";
import { systemClock } from "../../src/runtime.ts";
import { Chance } from "../chance.ts";
import { encodeAggregate } from "../core/aggregate.ts";
import { RecordingLogger } from "../fakes.ts";
import { crashingTransport } from "../pulsar/once-harness.ts";
import { kinesisClientConfig } from "../servers/kinesis.ts";

const OUT = "persistent://public/default/out";
const OTHER = "persistent://public/default/other";
const DEAD = "persistent://public/default/dead";
/** Time runs so much faster. */
const SPEED = 20;
/** How long a road may take to its end, real milliseconds. */
const PATIENCE_MS = 60_000;

/** A user record of the stream: `shard:number` and padding. */
interface Written {
  readonly id: string;
  readonly shardId: string;
  readonly size: number;
}

const fastClock: Clock = {
  now: () => systemClock.now(),
  monotonic: () => systemClock.monotonic() * SPEED,
  random: () => systemClock.random(),
  sleep: (ms, signal) => systemClock.sleep(ms / SPEED, signal),
};

function hash(text: string): number {
  let value = 5381;
  for (const character of text) value = (Math.imul(value, 33) ^ character.charCodeAt(0)) >>> 0;
  return value;
}

const isDropped = (id: string): boolean => hash(`${id} drop`) % 7 === 0;
const isFailing = (id: string): boolean => hash(`${id} fail`) % 11 === 0;

/** The messages that a version of the hooks makes of a record. */
function made(
  id: string,
  version: number,
  size: number,
): (OutgoingMessage & { data: string; topic: string })[] {
  return Array.from({ length: 1 + hash(`${id} count ${version}`) % 3 }, (_, index) => {
    const choice = hash(`${id} ${index} ${version}`);
    const data = `${id} v${version} ${index} `;
    return {
      data: data.padEnd(Math.max(data.length, size), "x"),
      topic: choice % 5 === 0 ? OTHER : OUT,
      ...(choice % 4 === 0 ? {} : { key: `key ${choice % 6}` }),
      ...(choice % 23 === 0 ? { deliverAt: 1 } : {}),
    };
  });
}

/** Without the padding. */
const nameOf = (data: Uint8Array | string): string =>
  Buffer.from(data as Uint8Array).toString("latin1", 0, 60).replace(/ x*$/, "");

interface Settings {
  readonly isFanOut: boolean;
  readonly isOnce: boolean;
  readonly hasDeadLetters: boolean;
  readonly compression: "none" | "lz4" | "zlib";
  readonly batchMaxMessages: number;
  readonly batchMaxBytes: number;
  readonly maxPendingMessages: number;
  readonly maxProducers: number;
  readonly chunking: boolean;
  readonly receiveQueueSize: number;
  readonly pageSize: number;
  readonly checkpointIntervalMs: number;
}

/** What outlives the connectors, and what is known of them all. */
class Road {
  readonly chance: Chance;
  readonly settings: Settings;
  readonly kinesis: LocalKinesis;
  readonly broker: LocalBroker;
  readonly streamName: string;
  readonly table = new MemoryLeaseTable();
  readonly written: Written[] = [];
  /** By shard: sequence number and subsequence number of the last record. */
  readonly last = new Map<string, string>();
  readonly ends: Promise<unknown>[];
  version = 1;
  /** Of {@link OUT}; 0 = none, for ever. */
  partitions: number;
  /** Reasons of generations that may leave duplicates. */
  readonly risks: string[] = [];
  /** What happened, for who has to find out why. */
  readonly story: string[] = [];
  /** A limit of the topic may have refused messages. */
  wasLimited = false;
  /** Partitions were added. */
  hasGrown = false;
  /**
   * The limit may have refused messages of which a connector did not hear any more, or that it could not mark in the
   * row, because it was killed or had lost the lease. That is what remains to be lost, should the limit be raised
   * before they are refused again.
   */
  owesRefusals = false;

  constructor(
    chance: Chance,
    settings: Settings,
    kinesis: LocalKinesis,
    broker: LocalBroker,
    name: string,
    ends: Promise<unknown>[],
  ) {
    this.ends = ends;
    this.partitions = chance.pick(0, 0, 1, 3);
    broker.setPartitions(OUT, this.partitions);
    this.chance = chance;
    this.settings = settings;
    this.kinesis = kinesis;
    this.broker = broker;
    this.streamName = name;
  }

  put(count: number): void {
    const { chance, kinesis, streamName } = this;
    const shards = kinesis.openShardIds(streamName);
    for (let left = count; left > 0; left--) {
      const shardId = chance.pick(...shards);
      const users = chance.percent(15) ? 1 + chance.int(5) : 1;
      const texts = Array.from({ length: users }, () => this.#write(shardId));
      const partitionKey = `p${chance.int(9)}`;
      const explicitHashKey = shardId === shards[0] ? "0" : String(2n ** 128n - 1n);
      const data = users === 1 && chance.percent(90)
        ? texts[0]!
        : encodeAggregate(texts.map((text) => ({ partitionKey, explicitHashKey, data: Buffer.from(text) })));
      const { sequenceNumber } = kinesis.putRecord(streamName, { shardId, partitionKey, data });
      this.last.set(shardId, `${sequenceNumber}/${users - 1}`);
    }
  }

  #write(shardId: string): string {
    const { chance } = this;
    const number = this.written.filter((one) => one.shardId === shardId).length;
    const id = `${shardId.slice(-1)}:${number}`;
    const size = 1 +
      chance.pick(chance.int(100), chance.int(100), chance.int(100), chance.int(900), chance.int(6_000));
    this.written.push({ id, shardId, size });
    return `${id} `.padEnd(size, "x");
  }

  lowerLimit(): void {
    this.wasLimited = true;
    this.broker.setMaxMessageSize(OUT, this.chance.pick(400, 600, 2_000));
  }

  raiseLimit(): void {
    if (!this.owesRefusals) this.broker.setMaxMessageSize(OUT);
  }

  /** Everything of the stream is checkpointed. */
  get isDone(): boolean {
    return [...this.last].every(([shardId, last]) => {
      const item = this.table.items.get(shardId);
      return `${item?.["checkpoint"]?.S}/${item?.["checkpointSubSequenceNumber"]?.N}` === last;
    });
  }
}

/** A connector's life. */
class Life {
  readonly log = new RecordingLogger();
  readonly #road: Road;
  readonly #connector: Connector;
  readonly #transport = crashingTransport();
  #isDead = false;
  ended = false;
  wasStolen = false;
  unexpected: ConnectorError | undefined;

  constructor(road: Road, changes: Partial<Settings> = {}) {
    this.#road = road;
    const settings = { ...road.settings, ...changes };
    const { isOnce, hasDeadLetters } = settings;
    const { log } = this;
    const metrics = new MetricsRegistry();
    const { version, streamName, kinesis } = road;
    const clock = fastClock;
    this.#connector = new Connector({
      clock,
      log,
      metrics,
      openHooks: (signal) =>
        Promise.resolve(createHookChain({
          scripts: [inlineHooks(this.#hooks(version), { onError: hasDeadLetters ? "dead-letter" : "stop" })],
          log,
          metrics,
          clock,
          runtime: "node",
          signal,
          streamName,
          topic: OUT,
          messageKeyMode: "PARTITION_KEY",
          kinesisRecordProperties: [],
          eventTime: "none",
        })),
      ...isOnce ? { once: () => Promise.resolve({ applicationName: "app", digest: `v${version}` }) } : {},
      openKinesis: async (onThrottle) => {
        const stream = await createKinesisStream({
          clientConfig: kinesisClientConfig(kinesis.url),
          streamName,
          fanOut: settings.isFanOut
            ? { consumerName: "road", clientConfig: kinesisClientConfig(kinesis.url) }
            : undefined,
          backoffTimeMs: 100,
          idlePollMs: 100,
          maxReadsPerSecond: 200,
          maxReadBytesPerSecond: 1e9,
          onThrottle,
          clock,
          log,
        });
        const openSource = stream.openSource.bind(stream);
        return Object.assign(stream, {
          openSource: async (signal: AbortSignal) =>
            inSmallPages(await openSource(signal), settings.pageSize),
        });
      },
      openLeaseStore: () => Promise.resolve(this.#store()),
      openSink: async (events) =>
        createBuiltinSink({
          ...settings,
          serviceUrl: road.broker.url,
          clock,
          events,
          clientVersion: "test",
          log,
          delivery: isOnce ? "effectively-once" : "at-least-once",
          codec: await loadCodec(settings.compression),
          deadLetterTopic: hasDeadLetters ? DEAD : undefined,
          transport: this.#transport.factory,
          backoff: { firstMs: 50, maxMs: 500 },
        }),
    }, {
      ...settings,
      streamName,
      topic: OUT,
      deadLetterTopic: hasDeadLetters ? DEAD : undefined,
      initialPosition: { type: "TRIM_HORIZON" },
      tableWasChosen: true,
      failoverTimeMs: 30_000,
      backoffTimeMs: 300,
      numRetries: 3,
      maxBufferedBytes: 64 * 1024 * 1024,
      shutdownTimeoutMs: 60_000,
    });
    void this.#connector.finished.then(({ error }) => {
      this.ended = true;
      if (error !== undefined && !this.#isDead) this.#expected(error);
    });
    road.ends.push(this.#connector.finished);
  }

  /** What ends a connector; nothing else may. */
  #expected(error: ConnectorError): void {
    const { hasDeadLetters, maxProducers } = this.#road.settings;
    const isTooLarge = error.code === "MESSAGE_TOO_LARGE" && !hasDeadLetters;
    const isTooMany = error.code === "TOO_MANY_TOPICS" && maxProducers < 1000;
    if (!isTooLarge && !isTooMany) this.unexpected = error;
  }

  async start(): Promise<void> {
    await this.#connector.start().catch(() => {}); // `finished` says it, too
  }

  async stop(): Promise<void> {
    await this.#connector.stop();
    this.#end();
  }

  /** As `kill -9`: what it knows is gone, and nothing of it is heard again; its leases count as expired. */
  kill(): void {
    this.#road.story.push("kill");
    this.#road.owesRefusals ||= this.#road.wasLimited;
    this.#isDead = true;
    this.#transport.crash();
    for (const [shardId, item] of this.#road.table.items) {
      const { leaseOwner: _, ...free } = item;
      this.#road.table.items.set(shardId, free);
    }
    this.#end();
    void this.#connector.stop("killed");
  }

  /** Somebody takes a lease away, and evicts himself. */
  steal(): void {
    this.wasStolen = true;
    const { items } = this.#road.table;
    if (items.size === 0) return;
    const [shardId, item] = this.#road.chance.pick(...items);
    const { leaseOwner: _, ...free } = item;
    items.set(shardId, { ...free, leaseCounter: { N: String(Number(item["leaseCounter"]!.N) + 2) } });
  }

  #end(): void {
    this.#road.story.push(...this.log.entries.map(({ level, message }) => `  ${level} ${message}`));
    assert.equal(this.unexpected, undefined, String(this.unexpected?.stack));
    for (const line of this.log.messages("warn")) {
      const reason = /new producer name.*?: (.*?)\. /.exec(line)?.[1];
      if (reason !== undefined) this.#road.risks.push(reason);
    }
  }

  #hooks(version: number): Hooks {
    const { settings: { hasDeadLetters }, chance } = this.#road;
    const one: NonNullable<Hooks["onRecord"]> = (record) => {
      const text = record.text();
      const [id] = text.split(" ", 1);
      if (isDropped(id!)) return null;
      if (hasDeadLetters && isFailing(id!)) throw new Error("this one fails");
      return made(id!, version, text.length);
    };
    return chance.percent(50) ? { onRecord: one } : {
      onRecord: async (record, context) => {
        if (hash(record.sequenceNumber) % 3 === 0) await delay(hash(record.sequenceNumber) % 4);
        return await one(record, context);
      },
    };
  }

  /** Nothing of it happens, and no answer is heard, once the process is killed. */
  #store(): LeaseStore {
    const dead = new ConnectorError("killed", { code: "AWS_UNAVAILABLE", retryable: true });
    return new Proxy<LeaseStore>(new MemoryLeaseStore(this.#road.table), {
      get: (store, name) => {
        const value: unknown = Reflect.get(store, name);
        if (typeof value !== "function") return value;
        return async (...args: unknown[]) => {
          if (this.#isDead) throw dead;
          const answer: unknown = await value.apply(store, args);
          if (this.#isDead) throw dead;
          return answer;
        };
      },
    });
  }
}

/** Pages of few records, so that there are many. */
function inSmallPages(source: RecordSource, pageSize: number): RecordSource {
  return {
    open(options) {
      const reader = source.open(options);
      return {
        next: (admit) =>
          reader.next(async (signal, bytes) => {
            const grant = await admit(signal, bytes);
            return grant && { ...grant, maxRecords: Math.min(grant.maxRecords, pageSize) };
          }),
      };
    },
    close: () => source.close(),
  };
}

function settingsBy(chance: Chance): Omit<Settings, "isFanOut"> {
  const hasDeadLetters = chance.percent(50);
  return {
    isOnce: chance.percent(80),
    hasDeadLetters,
    compression: chance.pick("none", "none", "lz4", "zlib"),
    batchMaxMessages: chance.pick(1, 1, 3, 1000),
    batchMaxBytes: chance.pick(400, 128 * 1024),
    maxPendingMessages: chance.pick(2, 50, 10_000),
    maxProducers: chance.pick(3, 1000, 1000),
    chunking: chance.percent(80),
    receiveQueueSize: chance.pick(3, 1000),
    pageSize: chance.pick(1, 4, 1000),
    checkpointIntervalMs: chance.pick(200, 2_000, 60_000),
  };
}

/**
 * Lays a road by a seed, travels it to its end, and looks at what the topics hold.
 * @param ends gets what killed connectors still need until they are quiet
 * @throws Error with the road's story
 */
export async function travel(seed: number, kinesis: LocalKinesis, ends: Promise<unknown>[]): Promise<void> {
  const chance = new Chance(seed);
  const settings = { ...settingsBy(chance), isFanOut: seed % 2 === 0 };
  const broker = await startLocalBroker({
    deduplication: settings.isOnce || chance.percent(50),
    maxMessageSize: chance.pick(5 * 1024 * 1024, 2_000),
    partitions: { [OTHER]: chance.pick(0, 2), [DEAD]: chance.pick(0, 2) },
  });
  const streamName = `stream-${seed}`;
  kinesis.createStream(streamName, { shards: chance.pick(1, 2) });
  const road = new Road(chance, settings, kinesis, broker, streamName, ends);
  try {
    const steps = 2 + chance.int(5);
    for (let step = 0; step < steps; step++) await live(road);
    await arrive(road);
    judge(road);
  } catch (error) {
    throw new Error(`${String(error)}\n${JSON.stringify(settings)}\n${road.story.join("\n")}`, {
      cause: error,
    });
  } finally {
    await broker.close();
    kinesis.deleteStream(streamName);
  }
}

/** One connector, from its start to its end. */
async function live(road: Road): Promise<void> {
  const { chance, broker } = road;
  road.put(chance.int(25));
  if (chance.percent(15)) road.version++;
  if (road.partitions > 0 && chance.percent(10)) {
    road.hasGrown = true;
    broker.setPartitions(OUT, ++road.partitions);
  }
  const life = new Life(road);
  road.story.push(`a connector of version ${road.version}`);
  if (chance.percent(25)) {
    broker.inject({ command: "SEND", delayMs: 1 + chance.int(20), times: 1 + chance.int(20) });
    road.lowerLimit();
  }
  await life.start();
  for (let acts = chance.int(5); acts > 0 && !life.ended; acts--) {
    await delay(chance.int(20));
    act(road, life);
  }
  await delay(chance.pick(0, 5, 20, 60));
  if (chance.percent(50)) return life.kill();
  road.story.push("stop");
  road.owesRefusals ||= road.wasLimited && life.wasStolen;
  await life.stop();
  if (chance.percent(60)) road.raiseLimit();
}

const ACTS = "cut at a byte,cut,unload,limit,write fails,no receipt,half a receipt,steal,slow,put".split(",");

function act(road: Road, life: Life): void {
  const { chance, broker } = road;
  const what = chance.int(10);
  road.story.push(ACTS[what]!);
  switch (what) {
    case 0:
      return broker.cutAfterReceiving(chance.int(4_000));
    case 1:
      return broker.cutConnections();
    case 2:
      return broker.unload(OUT);
    case 3:
      return road.lowerLimit();
    case 4:
      return void broker.inject({ command: "SEND", error: "PersistenceError", nth: 1 + chance.int(3) });
    case 5:
      return void broker.inject({ command: "SEND", drop: true, applied: true, nth: 1 + chance.int(5) });
    case 6:
      return void broker.inject({ command: "SEND", drop: true, afterBytes: chance.int(10), applied: true });
    case 7:
      return life.steal();
    case 8: // answers come when later frames are stored already
      return void broker.inject({ command: "SEND", delayMs: 1 + chance.int(20), times: 1 + chance.int(20) });
    default:
      return road.put(chance.int(10));
  }
}

/** The last connector reads all there is. */
async function arrive(road: Road): Promise<void> {
  road.broker.clearFaults();
  const { hasDeadLetters } = road.settings;
  const changes = { checkpointIntervalMs: 200, maxProducers: 1000 };
  if (hasDeadLetters) {
    if (road.chance.percent(50)) road.raiseLimit();
    return assert.ok(await undisturbed(road, changes), `it does not come to an end: ${rows(road)}`);
  }
  // Without a topic for dead letters somebody has to raise what refuses, once it is known what was refused.
  if (road.owesRefusals && await undisturbed(road, changes)) return;
  road.owesRefusals = false;
  road.raiseLimit();
  const raised = { ...changes, chunking: true };
  assert.ok(await undisturbed(road, raised), `it does not come to an end: ${rows(road)}`);
}

const rows = ({ table }: Road): string => JSON.stringify([...table.items]);

/** Runs until everything is checkpointed, which is true, or the connector ends. */
async function undisturbed(road: Road, changes: Partial<Settings>): Promise<boolean> {
  road.story.push(`version ${road.version}, undisturbed`);
  const life = new Life(road, changes);
  await life.start();
  const end = performance.now() + PATIENCE_MS;
  while (!road.isDone && !life.ended && performance.now() < end) await delay(5);
  await life.stop();
  return road.isDone;
}

/** Nothing is lost; and under effectively-once nothing is there twice, unless the log said so, nor out of order. */
function judge(road: Road): void {
  const { broker, version, settings: { isOnce }, risks } = road;
  const counts = new Map<string, number>();
  const used = new Set(broker.topics().map((name) => name.replace(/-partition-\d+$/, "")));
  const messages = [OUT, OTHER].filter((topic) => used.has(topic)).flatMap((topic) => broker.messages(topic));
  for (const { data } of messages) counts.set(nameOf(data), (counts.get(nameOf(data)) ?? 0) + 1);
  const letters = new Map<string, number>();
  for (const { data } of used.has(DEAD) ? broker.messages(DEAD) : []) {
    const [id] = nameOf(data).split(" ", 1);
    letters.set(id!, (letters.get(id!) ?? 0) + 1);
  }
  const isQuiet = isOnce && risks.length === 0;
  for (const { id, size } of road.written) {
    if (isDropped(id)) continue;
    const versions = Array.from({ length: version }, (_, index) => index + 1).map((one) =>
      made(id, one, size).map(({ data }) => nameOf(Buffer.from(data)))
    );
    const complete = versions.filter((names) => names.every((name) => counts.has(name)));
    const isDead = letters.has(id);
    assert.ok(isDead || complete.length > 0, `record ${id} is lost`);
    if (!isQuiet) continue;
    assert.ok((letters.get(id) ?? 0) <= 1, `record ${id} has several dead letters`);
    const begun = versions.filter((names) => names.some((name) => counts.has(name)));
    assert.ok(begun.length <= 1, `record ${id} is there in several versions`);
  }
  if (isQuiet) {
    for (const [name, count] of counts) {
      assert.equal(count, 1, `message ${name} is there twice`);
    }
  }
  inOrder(road, messages);
}

function inOrder(road: Road, messages: ReturnType<LocalBroker["messages"]>): void {
  const { settings: { isOnce, chunking, maxProducers }, wasLimited, hasGrown } = road;
  // What was refused and comes again comes late. Effectively once it comes under another name, or never.
  if (!isOnce && (wasLimited || hasGrown || !chunking || maxProducers < 1000)) return;
  const places = new Map<string, [number, number]>();
  const seen = new Set<string>();
  for (const { data, key, topic, producerName } of messages) {
    if (!isOnce && key === undefined) continue; // at a replay it goes elsewhere
    const name = nameOf(data);
    const [id, hooks, index] = name.split(" ");
    const [shard, number] = id!.split(":");
    const line = isOnce ? `${topic} ${producerName}` : `${topic} ${shard} ${hooks}`;
    if (!isOnce && seen.has(`${line} ${name}`)) continue; // a duplicate, after the first
    seen.add(`${line} ${name}`);
    const before = places.get(line) ?? [-1, -1];
    const here: [number, number] = [Number(number), Number(index)];
    assert.ok(
      here[0] > before[0] || here[0] === before[0] && here[1] > before[1],
      `${name} comes behind ${before.join(" ")} in ${line}`,
    );
    places.set(line, here);
  }
}
