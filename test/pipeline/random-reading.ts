// Reading by chance: shards of the local Kinesis server are read to their ends by polling and by fan-out in turn, while
// calls and streams fail in every way that the server knows, shards are split and merged, readers are opened anew in the
// middle of what they do, and the reading goes from one worker to the next in the middle of pages and aggregates. One
// seed makes one journey; its times are the machine's. Every user record comes once, in order, to one of the workers.

import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { setTimeout as delay } from "node:timers/promises";
import { openRequestHandler } from "../../src/aws/request-handler.ts";
import type { Clock } from "../../src/core/clock.ts";
import type { Position } from "../../src/core/position.ts";
import type { RecordPage } from "../../src/core/record.ts";
import { FULL_HASH_RANGE } from "../../src/core/shard.ts";
import type { RecordSource, StartPosition } from "../../src/kinesis/source.ts";
import { createKinesisStream, type DataStream } from "../../src/kinesis/stream.ts";
import type { Fault, LocalKinesis } from "../../src/local/mod.ts";
import { pageRecords } from "../../src/pipeline/page-records.ts";
import { type PageSizes, ReadBudget } from "../../src/pipeline/read-budget.ts";
import { ShardReading } from "../../src/pipeline/shard-reading.ts";
import { systemClock } from "../../src/runtime.ts";
import { Chance } from "../chance.ts";
import { encodeAggregate } from "../core/aggregate.ts";
import { RecordingLogger } from "../fakes.ts";
import { kinesisClientConfig } from "../servers/kinesis.ts";

/** Time runs so much faster: the five-second rule is a quarter of a second. */
const SPEED = 20;
/** How long a journey may take to its end, real milliseconds. */
const PATIENCE_MS = 60_000;
const MOST_SHARDS = 5;
const WAYS = ["polling", "http1", "http2"] as const;

const fastClock: Clock = {
  now: () => systemClock.now(),
  monotonic: () => systemClock.monotonic() * SPEED,
  random: () => systemClock.random(),
  sleep: (ms, signal) => systemClock.sleep(ms / SPEED, signal),
};

/** One stream and all who read it. */
class Journey {
  readonly chance: Chance;
  readonly kinesis: LocalKinesis;
  readonly streamName: string;
  readonly log = new RecordingLogger();
  /** By shard: what was put, and what was given out. */
  readonly written = new Map<string, string[]>();
  readonly read = new Map<string, string[]>();
  readonly ended = new Set<string>();
  readonly budget: ReadBudget;
  readonly streams: DataStream[] = [];
  readonly sources: RecordSource[] = [];
  readonly over = new AbortController();
  readonly #readers: Promise<void>[] = [];
  readonly #begun = new Set<string>();
  readonly #startedAt = Math.floor(Date.now() / 1000) * 1000;
  #failure: unknown;

  constructor(chance: Chance, kinesis: LocalKinesis, streamName: string) {
    this.chance = chance;
    this.kinesis = kinesis;
    this.streamName = streamName;
    // Down to less than an event: then one page at a time.
    const maxBytes = chance.pick(1_000, 1_000_000, 64 * 1024 * 1024);
    this.budget = new ReadBudget({ maxBytes, maxWaitingRecords: chance.pick(3, 1_000) });
  }

  async open(): Promise<void> {
    for (const way of WAYS) {
      const streaming = way === "polling" ? undefined : way;
      const config = (how: typeof streaming) => ({
        ...kinesisClientConfig(this.kinesis.url),
        // deno-lint-ignore no-explicit-any
        requestHandler: openRequestHandler({ streaming: how, requestTimeoutMs: 1_000 }) as any,
      });
      const stream = await createKinesisStream({
        clientConfig: config(undefined),
        streamName: this.streamName,
        fanOut: streaming && { consumerName: "reader", clientConfig: config(streaming) },
        backoffTimeMs: 100,
        idlePollMs: 200,
        maxReadsPerSecond: 200,
        maxReadBytesPerSecond: 1e9,
        clock: fastClock,
        log: this.log,
      });
      this.streams.push(stream);
      this.sources.push(await stream.openSource(this.over.signal));
    }
  }

  async close(): Promise<void> {
    this.over.abort();
    await Promise.all(this.#readers);
    for (const source of this.sources) await source.close();
    for (const stream of this.streams) await stream.close();
    if (this.#failure !== undefined) throw this.#failure;
  }

  put(count: number): void {
    const { chance, kinesis, streamName } = this;
    const shards = kinesis.openShardIds(streamName);
    for (let left = count; left > 0; left--) {
      const shardId = chance.pick(...shards);
      const users = chance.percent(30) ? 1 + chance.int(5) : 1;
      const texts = Array.from({ length: users }, () => this.#write(shardId));
      const data = users === 1 && chance.percent(90)
        ? texts[0]!
        : encodeAggregate(texts.map((text) => ({ partitionKey: "p", data: Buffer.from(text) })));
      kinesis.putRecord(streamName, { shardId, partitionKey: "p", data });
    }
  }

  #write(shardId: string): string {
    const all = this.written.get(shardId) ?? [];
    this.written.set(shardId, all);
    const id = `${shardId.slice(-2)}:${all.length}`;
    all.push(id);
    return `${id} `.padEnd(this.chance.pick(10, 10, 100, 900), "x");
  }

  reshard(): void {
    const { chance, kinesis, streamName } = this;
    const shards = kinesis.openShardIds(streamName);
    const at = chance.int(shards.length);
    if (shards.length > 1 && chance.percent(50)) {
      kinesis.mergeShards(streamName, shards[Math.max(at - 1, 0)]!, shards[Math.max(at, 1)]!);
    } else if (shards.length < MOST_SHARDS) kinesis.splitShard(streamName, shards[at]!);
  }

  get isDone(): boolean {
    if (this.#failure !== undefined) return true;
    const count = (all: Map<string, string[]>) =>
      [...all.values()].reduce((sum, { length }) => sum + length, 0);
    const isRead = (shardId: string) => this.#begun.has(shardId);
    return count(this.written) <= count(this.read) &&
      this.kinesis.openShardIds(this.streamName).every(isRead) &&
      this.#begun.size - this.ended.size === this.kinesis.openShardIds(this.streamName).length;
  }

  /** Begins a shard, once all of its parents have ended. */
  begin(shardId: string, parents: readonly string[] = []): void {
    if (
      this.#begun.has(shardId) || parents.some((parent) => this.#begun.has(parent) && !this.ended.has(parent))
    ) return;
    this.#begun.add(shardId);
    this.#readers.push(this.#readShard(shardId).catch((error) => this.#failure ??= error));
  }

  /** One worker after the other, each from where the last one stopped. */
  async #readShard(shardId: string): Promise<void> {
    let done: Position | undefined;
    const sizes: PageSizes = {};
    // All that a child holds comes after its parents' end, so these mean the same.
    const first: StartPosition = this.chance.pick(
      { type: "TRIM_HORIZON" },
      { type: "AT_TIMESTAMP", timestamp: this.#startedAt },
    );
    while (!this.over.signal.aborted) {
      const start: StartPosition = done === undefined
        ? first
        : { type: "AT_SEQUENCE_NUMBER", sequenceNumber: done.sequenceNumber };
      const worker = new AbortController();
      const signal = AbortSignal.any([worker.signal, this.over.signal]);
      const reading = new ShardReading({
        source: this.chance.pick(...this.sources),
        clock: fastClock,
        admit: (ended, bytes) => this.budget.admit(sizes, ended, bytes),
        shardId,
        start,
        signal,
      });
      const leave = this.chance.percent(50) ? 5 + this.chance.int(300) : 1e6;
      const leaving = delay(leave, undefined, { signal }).then(() => worker.abort(), () => {});
      const reopening = this.#reopenByChance(reading, signal);
      let resumeAfter = done;
      while (!signal.aborted) {
        const granted = await reading.next();
        if (granted === undefined) break;
        const { page, grant } = granted;
        grant.settle(page.bytes, page.records.length);
        if (page.records.length > 0) sizes.recordBytes = (sizes.bytes = page.bytes) / page.records.length;
        sizes.caughtUp = page.millisBehindLatest === 0;
        if (this.chance.percent(20)) await delay(this.chance.int(20));
        const last = this.#take(shardId, page, resumeAfter);
        this.budget.release(page.bytes);
        this.budget.handedOn(page.records.length);
        done = last.position ?? done;
        if (last.position !== undefined) resumeAfter = undefined;
        if (last.isAll && page.shardEnd !== undefined) {
          this.ended.add(shardId);
          worker.abort();
          for (const child of page.shardEnd.childShards) this.begin(child.shardId, child.parentShardIds);
        } else if (!last.isAll || page.shardEnd !== undefined) worker.abort();
      }
      worker.abort();
      await Promise.all([leaving, reopening]);
      if (this.ended.has(shardId)) return;
    }
  }

  async #reopenByChance(reading: ShardReading, signal: AbortSignal): Promise<void> {
    while (!signal.aborted && this.chance.percent(40)) {
      await delay(this.chance.int(200), undefined, { signal }).catch(() => {});
      reading.reopen();
    }
  }

  /** Takes a page's records, or only the first of them: then the next worker goes on behind these. */
  #take(shardId: string, page: RecordPage, resumeAfter: Position | undefined) {
    const { records } = pageRecords(page, { range: FULL_HASH_RANGE, resumeAfter, until: undefined });
    const isAll = this.chance.percent(85);
    const taken = isAll ? records : records.slice(0, this.chance.int(records.length + 1));
    const all = this.read.get(shardId) ?? [];
    this.read.set(shardId, all);
    for (const { data } of taken) all.push(Buffer.from(data).toString("latin1").split(" ", 1)[0]!);
    const last = taken.at(-1);
    const position = last &&
      { sequenceNumber: last.sequenceNumber, subSequenceNumber: last.subSequenceNumber };
    return { position, isAll };
  }
}

const STREAM_FAULTS: readonly ((chance: Chance) => Partial<Fault>)[] = [
  (chance) => ({ afterBytes: chance.int(3_000), drop: true }),
  (chance) => ({ afterBytes: chance.int(3_000), refuse: true }),
  (chance) => ({ afterBytes: chance.int(3_000), hang: true }),
  (chance) => ({ afterEvents: chance.int(4), corrupt: true }),
  (chance) => ({ afterEvents: chance.int(4), end: true }),
  (chance) => ({
    afterEvents: chance.int(4),
    error: chance.pick("InternalFailureException", "ResourceInUseException"),
  }),
  (chance) => ({ afterEvents: chance.int(4), delayMs: chance.int(300) }),
  (chance) => ({ pieceBytes: 1 + chance.int(50), afterBytes: chance.int(3_000), drop: true }),
];
const CALL_FAULTS: readonly ((chance: Chance) => Partial<Fault>)[] = [
  () => ({ error: "InternalFailure" }),
  () => ({ error: "LimitExceededException" }),
  () => ({ drop: true }),
  () => ({ refuse: true }),
  () => ({ hang: true }),
  (chance) => ({ delayMs: chance.int(100) }),
];

/** Something happens. */
function act(journey: Journey): void {
  const { chance, kinesis, streamName } = journey;
  const where = { streamName, nth: 1 + chance.int(3), times: 1 + chance.int(3) };
  switch (chance.int(8)) {
    case 0:
    case 1:
      return void kinesis.inject({
        operation: "SubscribeToShard",
        ...where,
        ...chance.pick(...STREAM_FAULTS)(chance),
      });
    case 2: {
      const operation = chance.pick("SubscribeToShard", "GetRecords", "GetShardIterator", "ListShards");
      return void kinesis.inject({ operation, ...where, ...chance.pick(...CALL_FAULTS)(chance) });
    }
    case 3:
      return void kinesis.inject({ operation: "GetRecords", ...where, expireIterator: true });
    case 4:
      return kinesis.goAway();
    case 5:
      kinesis.setReachable(false);
      return void setTimeout(() => kinesis.setReachable(true), chance.int(30));
    case 6:
      return journey.reshard();
    default:
      return journey.put(50);
  }
}

/**
 * Makes a journey by a seed, to its end, and looks at what was read.
 * @throws Error with what differs and the last lines of the log
 */
export async function travel(seed: number, kinesis: LocalKinesis): Promise<void> {
  const chance = new Chance(seed);
  const streamName = `journey-${seed}`;
  kinesis.createStream(streamName, { shards: 1 + chance.int(3) });
  const journey = new Journey(chance, kinesis, streamName);
  try {
    await journey.open();
    for (const shardId of kinesis.openShardIds(streamName)) journey.begin(shardId);
    for (let step = 10 + chance.int(20); step > 0; step--) {
      journey.put(chance.int(10));
      act(journey);
      await delay(chance.int(30));
    }
    await delay(40);
    kinesis.clearFaults();
    const end = performance.now() + PATIENCE_MS;
    while (!journey.isDone && performance.now() < end) await delay(10);
    await delay(20); // for what would come twice
    await journey.close();
    for (const [shardId, records] of journey.written) {
      assert.deepEqual(journey.read.get(shardId), records, `shard ${shardId}`);
    }
    assert.equal(journey.isDone, true, `ended: ${[...journey.ended]}`);
    assert.equal(journey.budget.bytes, 0);
    assert.equal(journey.budget.waitingRecords, 0);
    const patience = performance.now() + 5_000;
    while (kinesis.subscriptions({ streamName }).length > 0 && performance.now() < patience) await delay(5);
    assert.deepEqual(kinesis.subscriptions({ streamName }), [], "subscriptions that nobody has");
  } catch (error) {
    const log = journey.log.entries.slice(-40).map(({ level, message }) => `  ${level} ${message}`);
    throw new Error(`${String(error)}\n${log.join("\n")}`, { cause: error });
  } finally {
    kinesis.setReachable(true);
    kinesis.clearFaults();
    await journey.close().catch(() => {});
    kinesis.deleteStream(streamName);
  }
}
