// A connector on stand-ins: shards that are scripted page by page, a sink that acknowledges when told, leases in
// memory, time that moves when told. Everything between them is the product's own.

import { Buffer } from "node:buffer";
import type { ConnectorError } from "../../src/core/errors.ts";
import type { RawRecord, RecordPage, SinkMessage } from "../../src/core/record.ts";
import { type ChildShard, FULL_HASH_RANGE, type Shard } from "../../src/core/shard.ts";
import type { Telemetry } from "../../src/core/telemetry.ts";
import { createHookChain } from "../../src/hooks/chain.ts";
import { inlineHooks } from "../../src/hooks/load.ts";
import type { Hooks } from "../../src/hooks/types.ts";
import type { OnThrottle, ReadShardOptions, RecordSource } from "../../src/kinesis/source.ts";
import { MemoryLeaseStore, MemoryLeaseTable } from "../../src/leases/memory.ts";
import type { LeaseStore } from "../../src/leases/store.ts";
import { MetricsRegistry } from "../../src/metrics/registry.ts";
import { Connector } from "../../src/pipeline/connector.ts";
import type { ConnectorOptions, KinesisStream } from "../../src/pipeline/parts.ts";
import type { Delivery, MessageSink, SinkEvents } from "../../src/pulsar/sink.ts";
import { FakeClock, RecordingLogger } from "../fakes.ts";

export const STREAM = {
  streamName: "orders",
  streamArn: "arn:aws:kinesis:x:1:stream/orders",
  streamCreatedAt: 1000,
};

/** A plain record; sequence numbers are `number` padded to a fixed length. */
export function record(number: number, options: Partial<RawRecord> = {}): RawRecord {
  return {
    data: Buffer.from(`record ${number}`),
    partitionKey: `key ${number}`,
    sequenceNumber: String(number),
    approximateArrivalTimestamp: number,
    encryptionType: "NONE",
    ...options,
  };
}

/** A page of records. */
export function page(records: readonly RawRecord[], options: Partial<RecordPage> = {}): RecordPage {
  return {
    records,
    bytes: records.reduce((sum, { data }) => sum + data.length, 0),
    millisBehindLatest: 0,
    ...options,
  };
}

export function shard(shardId: string, parentShardIds: readonly string[] = []): Shard {
  return { shardId, parentShardIds, startingSequenceNumber: "1", ...FULL_HASH_RANGE };
}

export function child(shardId: string, parentShardIds: readonly string[]): ChildShard {
  return { shardId, parentShardIds, ...FULL_HASH_RANGE };
}

/** Shards whose pages the test gives out. */
export class ScriptedSource implements RecordSource {
  readonly opened: ReadShardOptions[] = [];
  readonly #pages = new Map<string, RecordPage[]>();
  readonly #wake = new Map<string, () => void>();

  /** The next page of a shard. */
  give(shardId: string, ...pages: RecordPage[]): void {
    const waiting = this.#pages.get(shardId) ?? [];
    waiting.push(...pages);
    this.#pages.set(shardId, waiting);
    this.#wake.get(shardId)?.();
  }

  open(options: ReadShardOptions) {
    this.opened.push(options);
    const { shardId, signal } = options;
    let connected = false;
    return {
      next: async (admit: Parameters<ReturnType<RecordSource["open"]>["next"]>[0]) => {
        if (!connected) options.onConnected?.();
        connected = true;
        const grant = await admit(signal);
        if (grant === undefined) return undefined;
        while (!this.#pages.get(shardId)?.length && !signal.aborted) {
          await new Promise<void>((resolve) => {
            this.#wake.set(shardId, resolve);
            signal.addEventListener("abort", () => resolve(), { once: true });
          });
        }
        if (signal.aborted) {
          grant.release();
          return undefined;
        }
        return { page: this.#pages.get(shardId)!.shift()!, grant };
      },
    };
  }

  close(): Promise<void> {
    return Promise.resolve();
  }
}

/** A message as the sink got it. */
export interface Sent {
  readonly message: SinkMessage;
  readonly delivery: Delivery;
  readonly ordinal: number;
  readonly sequenceId: number | undefined;
}

/** A sink that keeps what it is given until the test acknowledges it. */
export class HeldSink implements MessageSink {
  /** Everything sent, in order. */
  readonly sent: Sent[] = [];
  /** Sent and neither acknowledged nor dropped. */
  readonly unacknowledged: Sent[] = [];
  readonly dropped: Delivery[] = [];
  readonly opened: string[] = [];
  /** What opening a topic fails with. */
  openFailure: (topic: string) => ConnectorError | undefined = () => undefined;
  /** How many messages it takes; more wait. */
  room = Infinity;
  closed = false;
  acknowledgeAtOnce = false;
  readonly #waiters: (() => void)[] = [];

  /** What was published, as text. */
  get texts(): string[] {
    return this.sent.map(({ message }) => Buffer.from(message.data).toString());
  }

  get pending(): number {
    return this.unacknowledged.length;
  }

  async #reserveLater(count: number, signal: AbortSignal): Promise<boolean> {
    while (this.room < count && !signal.aborted) {
      await new Promise<void>((resolve) => {
        const wake = () => {
          signal.removeEventListener("abort", wake);
          resolve();
        };
        this.#waiters.push(wake);
        signal.addEventListener("abort", wake);
      });
    }
    if (signal.aborted) return false;
    this.room -= count;
    return true;
  }

  reserve(count: number, signal: AbortSignal): true | Promise<boolean> {
    if (this.room < count) return this.#reserveLater(count, signal);
    this.room -= count;
    return true;
  }

  reserveAtOnce(count: number): void {
    this.room -= count;
  }

  unreserve(count: number): void {
    this.room += count;
    for (const wake of this.#waiters.splice(0)) wake();
  }

  send(message: SinkMessage, delivery: Delivery, ordinal: number, sequenceId?: number): void {
    const sent = { message, delivery, ordinal, sequenceId };
    this.sent.push(sent);
    this.unacknowledged.push(sent);
    if (this.acknowledgeAtOnce) queueMicrotask(() => this.acknowledge(sent));
  }

  /** Acknowledges one (or the first `count` unacknowledged) messages. */
  acknowledge(what: Sent | number = Infinity): void {
    const some = typeof what === "number" ? this.unacknowledged.slice(0, what) : [what];
    for (const sent of some) {
      const index = this.unacknowledged.indexOf(sent);
      if (index === -1) continue;
      this.unacknowledged.splice(index, 1);
      this.unreserve(1);
      sent.delivery.acknowledged(sent.ordinal, sent.ordinal);
    }
  }

  refuse(sent: Sent, error: ConnectorError): void | Promise<void> {
    this.unacknowledged.splice(this.unacknowledged.indexOf(sent), 1);
    this.unreserve(1);
    return sent.delivery.refused(sent.ordinal, error);
  }

  drop(delivery: Delivery): void {
    this.dropped.push(delivery);
    for (const sent of this.unacknowledged.filter((one) => one.delivery === delivery)) {
      this.unacknowledged.splice(this.unacknowledged.indexOf(sent), 1);
    }
  }

  flush(): void {}

  open(topic: string): Promise<void> {
    this.opened.push(topic);
    const failure = this.openFailure(topic);
    return failure === undefined ? Promise.resolve() : Promise.reject(failure);
  }

  close(): Promise<void> {
    this.closed = true;
    return Promise.resolve();
  }
}

/** Settings of {@link world}. */
export interface WorldOptions extends Partial<ConnectorOptions> {
  readonly shards?: readonly Shard[];
  readonly hooks?: Hooks;
  /** How the hooks are called. */
  readonly hookSettings?: Parameters<typeof inlineHooks>[1];
  /** Rows that exist before; several connectors may share one. */
  readonly table?: MemoryLeaseTable;
  readonly wrapStore?: (store: LeaseStore) => LeaseStore;
  /** What the stream says of itself. */
  readonly retentionMs?: number;
}

/** A connector and the stand-ins around it. */
export function world(options: WorldOptions = {}) {
  const clock = new FakeClock();
  const log = new RecordingLogger();
  const source = new ScriptedSource();
  const sink = new HeldSink();
  const table = options.table ?? new MemoryLeaseTable();
  const memory = new MemoryLeaseStore(table);
  const store = options.wrapStore?.(memory) ?? memory;
  const shards = options.shards ?? [shard("shard-0")];
  const kinesis: KinesisStream = {
    describe: () => Promise.resolve(STREAM),
    listShards: () => Promise.resolve([...shards]),
    ...options.retentionMs === undefined ? {} : { retention: () => Promise.resolve(options.retentionMs!) },
    now: () => Math.floor(clock.now() / 1000) * 1000,
    openSource: () => source,
    close: () => Promise.resolve(),
  };
  const made: { onThrottle?: OnThrottle; telemetry?: Telemetry; events?: SinkEvents } = {};
  const metrics = new MetricsRegistry();
  const connector = new Connector({
    clock,
    log,
    metrics,
    openHooks: (signal) =>
      Promise.resolve(createHookChain({
        scripts: options.hooks === undefined ? [] : [inlineHooks(options.hooks, options.hookSettings)],
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
    openKinesis: (onThrottle, telemetry) => {
      made.onThrottle = onThrottle;
      made.telemetry = telemetry;
      return Promise.resolve(kinesis);
    },
    openLeaseStore: () => Promise.resolve(store),
    openSink: (events) => {
      made.events = events;
      return Promise.resolve(sink);
    },
  }, {
    streamName: STREAM.streamName,
    topic: "out",
    initialPosition: { type: "TRIM_HORIZON" },
    tableWasChosen: true,
    failoverTimeMs: 10_000,
    checkpointIntervalMs: 1_000,
    backoffTimeMs: 300,
    numRetries: 3,
    receiveQueueSize: 1_000,
    maxBufferedBytes: 64 * 1024 * 1024,
    shutdownTimeoutMs: 25_000,
    ...options,
  });
  const row = async (shardId: string) => await memory.get(shardId);
  return { clock, log, source, sink, table, store, connector, made, row };
}
