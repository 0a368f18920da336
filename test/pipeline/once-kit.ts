// Runs of a connector under effectively-once, one after the other over what outlives them: a stream of one shard, a
// lease table, and a broker that deduplicates as Pulsar does (per producer name and concrete topic the highest id).
// A run can be killed at any point; nothing of it happens afterwards.

import { Buffer } from "node:buffer";
import { ConnectorError } from "../../src/core/errors.ts";
import type { RawRecord, SinkMessage } from "../../src/core/record.ts";
import type { ChildShard } from "../../src/core/shard.ts";
import { createHookChain } from "../../src/hooks/chain.ts";
import { inlineHooks } from "../../src/hooks/load.ts";
import type { Hooks } from "../../src/hooks/types.ts";
import type { ReadShardOptions, RecordSource, ShardReader, StartPosition } from "../../src/kinesis/source.ts";
import { MemoryLeaseStore, MemoryLeaseTable } from "../../src/leases/memory.ts";
import type { LeaseItem } from "../../src/leases/row.ts";
import type { LeaseStore } from "../../src/leases/store.ts";
import { MetricsRegistry } from "../../src/metrics/registry.ts";
import { Connector } from "../../src/pipeline/connector.ts";
import type { ConnectorOptions } from "../../src/pipeline/parts.ts";
import { partitionOf } from "../../src/pulsar/routing.ts";
import type { Delivery, MessageSink, SinkEvents } from "../../src/pulsar/sink.ts";
import { FakeClock, RecordingLogger } from "../fakes.ts";
import { page, record, shard, STREAM } from "./kit.ts";

export const SHARD = "shard-0";

/** The shard. Sequence numbers are small numbers; a record arrives at the millisecond of its number. */
export class ModelStream {
  readonly records: RawRecord[] = [];
  /** Set when the shard is closed. */
  children: readonly ChildShard[] | undefined;
  pageSize = 1000;
  /** Index of the oldest record that is kept. */
  first = 0;
  #wake: (() => void)[] = [];

  /** Puts plain records with these numbers, or ready-made ones. */
  put(...what: (number | RawRecord)[]): void {
    for (const one of what) this.records.push(typeof one === "number" ? record(one) : one);
    this.#ring();
  }

  /** The retention of all before this number has passed. */
  trim(before: number): void {
    this.first = this.#indexOf((one) => Number(one.sequenceNumber) >= before);
  }

  end(children: readonly ChildShard[]): void {
    this.children = children;
    this.#ring();
  }

  indexOfStart(start: StartPosition): number {
    if (start.type === "LATEST") return this.records.length;
    if (start.type === "TRIM_HORIZON") return this.first;
    if (start.type === "AT_TIMESTAMP") {
      return this.#indexOf((one) => one.approximateArrivalTimestamp >= start.timestamp);
    }
    return this.#indexOf((one) => Number(one.sequenceNumber) >= Number(start.sequenceNumber));
  }

  /** Resolves when something was put, or the signal aborted. */
  change(signal: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      this.#wake.push(resolve);
      signal.addEventListener("abort", () => resolve(), { once: true });
    });
  }

  #indexOf(holds: (record: RawRecord) => boolean): number {
    const index = this.records.findIndex((one, index) => index >= this.first && holds(one));
    return index === -1 ? this.records.length : index;
  }

  #ring(): void {
    for (const wake of this.#wake.splice(0)) wake();
  }
}

class ModelReader implements ShardReader {
  readonly #stream: ModelStream;
  readonly #options: ReadShardOptions;
  #next: number | undefined;
  /** One empty page has told that the tip is reached; from then on only records are worth one. */
  #saidTip = false;

  constructor(stream: ModelStream, options: ReadShardOptions) {
    this.#stream = stream;
    this.#options = options;
  }

  async next(admit: Parameters<ShardReader["next"]>[0]) {
    const { signal, start, onConnected } = this.#options;
    const stream = this.#stream;
    if (this.#next === undefined) {
      this.#next = stream.indexOfStart(start);
      onConnected?.();
    }
    const grant = await admit(signal);
    if (grant === undefined) return undefined;
    const isAtTip = () => this.#next === stream.records.length && stream.children === undefined;
    while (this.#saidTip && isAtTip() && !signal.aborted) await stream.change(signal);
    if (signal.aborted) {
      grant.release();
      return undefined;
    }
    this.#saidTip = isAtTip();
    const from = Math.max(this.#next, stream.first);
    const records = stream.records.slice(from, from + stream.pageSize);
    this.#next = from + records.length;
    const left = stream.records.length - this.#next;
    const { children } = stream;
    const shardEnd = left === 0 && children !== undefined ? { childShards: children } : undefined;
    return { page: page(records, { millisBehindLatest: left, shardEnd }), grant };
  }
}

/** What Pulsar keeps. */
export class ModelBroker {
  /** Texts by concrete topic. */
  readonly topics = new Map<string, string[]>();
  /** Numbers of partitions; others are plain. */
  readonly partitions = new Map<string, number>();
  readonly #lastIds = new Map<string, number>();
  duplicates = 0;

  /** Publishes one message. */
  take(topic: string, text: string, producer: string, id: number): void {
    const key = JSON.stringify([topic, producer]);
    if (id <= (this.#lastIds.get(key) ?? -1)) {
      this.duplicates++;
      return;
    }
    this.#lastIds.set(key, id);
    const texts = this.topics.get(topic) ?? [];
    texts.push(text);
    this.topics.set(topic, texts);
  }

  /** All messages of a topic, partition after partition. */
  texts(topic = "out"): string[] {
    return [...this.topics].filter(([name]) => name.replace(/-partition-\d+$/, "") === topic)
      .sort(([a], [b]) => a < b ? -1 : 1).flatMap(([, texts]) => texts);
  }
}

/** Full name of the topic for dead letters, where a run has one. */
export const DEAD = "persistent://public/default/dead";

const TOO_LARGE = new ConnectorError("too large for this topic", { code: "MESSAGE_TOO_LARGE" });

interface Queued {
  readonly message: SinkMessage;
  readonly delivery: Delivery;
  readonly ordinal: number;
  readonly id: number;
}

/** A sink over a {@link ModelBroker}, that keeps to the port's rules and checks the caller's. */
export class ModelSink implements MessageSink {
  /** So many messages reach the broker. */
  reach = Infinity;
  /** So many receipts come back. */
  receipts = Infinity;
  isDead = false;
  /** Which messages the broker refuses for good, by text; later ones that it had already are stored all the same. */
  refuses: (text: string) => boolean = () => false;
  readonly dropped: Delivery[] = [];
  readonly producers = new Set<string>();
  readonly #broker: ModelBroker;
  readonly #events: SinkEvents;
  readonly #queue: Queued[] = [];
  readonly #unanswered: Queued[] = [];
  readonly #sentIds = new Map<string, number>();
  #working = false;

  constructor(broker: ModelBroker, events: SinkEvents) {
    this.#broker = broker;
    this.#events = events;
  }

  send(message: SinkMessage, delivery: Delivery, ordinal: number, id?: number): void {
    if (delivery.once === undefined || id === undefined) throw new Error("no identity, or no sequence id");
    if (message.key === undefined && message.routingKey === undefined) throw new Error("nothing to route by");
    this.#queue.push({ message, delivery, ordinal, id });
    void this.#work();
  }

  /** Lets more through. */
  allow(reach: number, receipts = reach): void {
    this.reach += reach;
    this.receipts += receipts;
    void this.#work();
  }

  get pending(): number {
    return this.#queue.length + this.#unanswered.length;
  }

  async #work(): Promise<void> {
    if (this.#working) return;
    this.#working = true;
    await Promise.resolve(); // never within send()
    const refused: Queued[] = [];
    while (this.#queue.length > 0 && this.reach > 0 && !this.isDead) {
      const queued = this.#queue[0]!;
      const topic = await this.#concreteTopic(queued).catch(() => undefined);
      if (this.#queue[0] !== queued) continue; // dropped meanwhile
      this.#queue.shift();
      if (topic === undefined || this.isDead || !queued.delivery.isAlive()) continue;
      this.reach--;
      if (topic !== DEAD && this.refuses(Buffer.from(queued.message.data).toString())) {
        refused.push(queued);
        continue;
      }
      this.#publish(topic, queued);
      this.#unanswered.push(queued);
    }
    for (const { delivery, ordinal } of refused) void delivery.refused(ordinal, TOO_LARGE);
    while (this.#unanswered.length > 0 && this.receipts > 0 && !this.isDead) {
      const { delivery, ordinal } = this.#unanswered.shift()!;
      this.receipts--;
      delivery.acknowledged(ordinal, ordinal);
    }
    this.#working = false;
    if (refused.length > 0) void this.#work(); // dead letters, perhaps
  }

  async #concreteTopic({ message, delivery }: Queued): Promise<string> {
    const { topic } = message;
    const { once } = delivery;
    let count = once!.partitions(topic);
    if (count === undefined) {
      count = this.#broker.partitions.get(topic) ?? 0;
      await once!.storePartitions(topic, count);
    }
    if (count === 0) return topic;
    return `${topic}-partition-${partitionOf(message.key ?? message.routingKey!, count, "Murmur3_32Hash")}`;
  }

  #publish(topic: string, { message, delivery, id }: Queued): void {
    const { producerName } = delivery.once!;
    this.producers.add(producerName);
    const key = JSON.stringify([topic, producerName]);
    if (id <= (this.#sentIds.get(key) ?? -1)) throw new Error(`id ${id} after ${this.#sentIds.get(key)}`);
    this.#sentIds.set(key, id);
    const before = this.#broker.duplicates;
    this.#broker.take(topic, Buffer.from(message.data).toString(), producerName, id);
    if (this.#broker.duplicates > before) this.#events.duplicates?.(topic, 1);
  }

  drop(delivery: Delivery): void {
    this.dropped.push(delivery);
    for (const list of [this.#queue, this.#unanswered]) {
      const kept = list.filter((one) => one.delivery !== delivery);
      list.splice(0, list.length, ...kept);
    }
  }

  reserve(): true {
    return true;
  }
  reserveAtOnce(): void {}
  unreserve(): void {}
  flush(): void {}
  open(): Promise<void> {
    return Promise.resolve();
  }
  close(): Promise<void> {
    return Promise.resolve();
  }
}

/** What outlives a run. */
export interface OnceWorld {
  readonly stream: ModelStream;
  readonly broker: ModelBroker;
  readonly table: MemoryLeaseTable;
}

export function onceWorld(): OnceWorld {
  return { stream: new ModelStream(), broker: new ModelBroker(), table: new MemoryLeaseTable() };
}

/** How a run is made. */
export interface RunOptions extends Partial<ConnectorOptions> {
  readonly hooks?: Hooks;
  readonly digest?: string;
  /** false = at-least-once; its messages go under a name of their own. */
  readonly once?: boolean;
  readonly wrapStore?: (store: LeaseStore) => LeaseStore;
  /** How many messages reach the broker, and how many receipts come back. @default all */
  readonly reach?: number;
  readonly receipts?: number;
  /** See {@link ModelSink.refuses}. */
  readonly refuses?: (text: string) => boolean;
  /** Wall clock at the start. @default that of {@link FakeClock} */
  readonly now?: number;
}

/** A running connector. */
export interface Run {
  readonly clock: FakeClock;
  readonly log: RecordingLogger;
  readonly sink: ModelSink;
  readonly opened: ReadShardOptions[];
  readonly metrics: MetricsRegistry;
  readonly connector: Connector;
  /** As `kill -9`: nothing of it happens any more; its lease counts as expired. */
  kill(): void;
  /** Stops cleanly. */
  stop(): Promise<void>;
}

/** Starts a connector and lets it work for 100 ms. */
export async function start(world: OnceWorld, options: RunOptions = {}): Promise<Run> {
  const { stream, broker, table } = world;
  const { hooks, digest = "digest", once = true, now } = options;
  const clock = new FakeClock(now === undefined ? {} : { now });
  const log = new RecordingLogger();
  const metrics = new MetricsRegistry();
  const opened: ReadShardOptions[] = [];
  const state = { isDead: false };
  const memory = mortal(new MemoryLeaseStore(table), state);
  const store = options.wrapStore?.(memory) ?? memory;
  const made: { sink?: ModelSink } = {};
  const source: RecordSource = {
    open(shard) {
      opened.push(shard);
      return new ModelReader(stream, shard);
    },
    close: () => Promise.resolve(),
  };
  const connector = new Connector({
    clock,
    log,
    metrics,
    openHooks: (signal) =>
      Promise.resolve(createHookChain({
        scripts: hooks === undefined ? [] : [inlineHooks(hooks)],
        log,
        metrics,
        clock,
        runtime: "node",
        signal,
        streamName: STREAM.streamName,
        topic: "out",
        messageKeyMode: "PARTITION_KEY",
        kinesisRecordProperties: [],
        eventTime: "none",
      })),
    openKinesis: () =>
      Promise.resolve({
        describe: () => Promise.resolve(STREAM),
        listShards: () => Promise.resolve([shard(SHARD)]),
        now: () => Math.floor(clock.now() / 1000) * 1000,
        openSource: () => source,
        close: () => Promise.resolve(),
      }),
    openLeaseStore: () => Promise.resolve(store),
    openSink: (events) => {
      const sink = made.sink = once ? new ModelSink(broker, events) : new PlainSink(broker, events);
      sink.reach = options.reach ?? Infinity;
      sink.receipts = options.receipts ?? Infinity;
      if (options.refuses !== undefined) sink.refuses = options.refuses;
      return Promise.resolve(sink);
    },
    ...(once ? { once: () => Promise.resolve({ applicationName: "app", digest }) } : {}),
  }, {
    streamName: STREAM.streamName,
    topic: "out",
    initialPosition: { type: "TRIM_HORIZON" },
    tableWasChosen: true,
    failoverTimeMs: 10_000,
    checkpointIntervalMs: 1_000,
    backoffTimeMs: 300,
    numRetries: 3,
    receiveQueueSize: 10_000,
    maxBufferedBytes: 64 * 1024 * 1024,
    shutdownTimeoutMs: 25_000,
    ...options,
  });
  await connector.start();
  await clock.advance(100);
  const sink = made.sink!;
  return {
    clock,
    log,
    sink,
    opened,
    metrics,
    connector,
    kill() {
      state.isDead = true;
      sink.isDead = true;
      const { leaseOwner: _, ...free } = row(world);
      table.items.set(SHARD, free);
    },
    async stop() {
      const stopped = connector.stop();
      await clock.advance(60_000);
      const { error } = await stopped;
      if (error instanceof ConnectorError) throw error;
    },
  };
}

/** The shard's row. */
export function row({ table }: OnceWorld): LeaseItem {
  return table.items.get(SHARD)!;
}

/** Changes the shard's row by hand. */
export function edit(world: OnceWorld, change: LeaseItem, remove: readonly string[] = []): void {
  const item = { ...row(world), ...change };
  for (const name of remove) delete (item as Record<string, unknown>)[name];
  world.table.items.set(SHARD, item);
}

/** Texts of plain records with these numbers, as {@link record} makes them. */
export function texts(...numbers: readonly number[]): string[] {
  return numbers.map((number) => `record ${number}`);
}

/** Numbers from … to, inclusive. */
export function range(from: number, to: number): number[] {
  return Array.from({ length: to - from + 1 }, (_, index) => from + index);
}

/** At-least-once: each message under an id of its own. */
class PlainSink extends ModelSink {
  static #ids = 0;

  override send(message: SinkMessage, delivery: Delivery, ordinal: number): void {
    const id = PlainSink.#ids++;
    const once = {
      producerName: "plain",
      partitions: () => 0,
      storePartitions: () => Promise.resolve(),
    };
    const known: Delivery = {
      isAlive: () => delivery.isAlive(),
      acknowledged: (from, to) => delivery.acknowledged(from, to),
      refused: (at, error) => delivery.refused(at, error),
      once,
    };
    super.send(message, known, ordinal, id);
  }
}

/** A store whose process can die: from then on no call is made, and none answered. */
function mortal(store: LeaseStore, state: { readonly isDead: boolean }): LeaseStore {
  return new Proxy(store, {
    get(target, name) {
      const value: unknown = Reflect.get(target, name);
      if (typeof value !== "function") return value;
      return async (...args: unknown[]) => {
        if (state.isDead) return await new Promise(() => {});
        const result = await value.apply(target, args);
        return state.isDead ? await new Promise(() => {}) : result;
      };
    },
  });
}
