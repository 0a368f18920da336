// One worker of ours: the product's whole connector, but for the ends of its lines. It lives in a process that may be
// frozen or killed at any moment.

import { createHookChain } from "../../src/hooks/chain.ts";
import { createPollingSource } from "../../src/kinesis/polling.ts";
import { listShards } from "../../src/kinesis/shards.ts";
import type { KinesisApi, ShardFilter } from "../../src/kinesis/client.ts";
import type { OnThrottle } from "../../src/kinesis/source.ts";
import type { LeaseStore } from "../../src/leases/store.ts";
import { MetricsRegistry } from "../../src/metrics/registry.ts";
import { Connector, type ConnectorResult } from "../../src/pipeline/connector.ts";
import type { ConnectorParts, InitialPosition, KinesisStream } from "../../src/pipeline/parts.ts";
import type { Delivery } from "../../src/pulsar/sink.ts";
import type { Clock } from "../../src/core/clock.ts";
import type { Logger } from "../../src/core/log.ts";
import type { Chance } from "../chance.ts";
import type { Judge, Start } from "./judge.ts";
import { kinesisThrottled, kinesisUnavailable, SimKinesis } from "./kinesis.ts";
import { Line, type Weather } from "./line.ts";
import { type SimStream, STREAM_CREATED_AT, STREAM_NAME } from "./stream.ts";
import { dynamoDbThrottled, dynamoDbUnavailable, SimStore, type SimTable } from "./table.ts";
import { Process, ProcessClock, type Timeline } from "./timeline.ts";
import { SimSink } from "./topic.ts";

/** The settings that all workers of a story share. */
export interface Settings {
  readonly start: Start;
  readonly failoverTimeMs: number;
  readonly checkpointIntervalMs: number;
  readonly numRetries: number;
  readonly idlePollMs: number;
  readonly receiveQueueSize: number;
  /** Messages on their way to Pulsar. */
  readonly room: number;
  readonly receiptsMs: number;
}

/** A fault that is planted into a worker from outside, to see that it is found. */
export interface Plant {
  readonly store?: (store: LeaseStore) => LeaseStore;
  readonly kinesis?: (api: KinesisApi) => KinesisApi;
  readonly clock?: (clock: Clock) => Clock;
  /** What the sink asks before bytes leave. */
  readonly isAlive?: (delivery: Delivery) => boolean;
}

/** The worker that a fault is planted into. */
export interface Planted {
  readonly workerId: string;
  readonly settings: Settings;
  readonly judge: Judge;
  readonly clock: Clock;
}

/** What a {@link Worker} lives in. */
export interface World {
  readonly timeline: Timeline;
  readonly stream: SimStream;
  readonly table: SimTable;
  readonly judge: Judge;
  readonly chance: Chance;
  readonly settings: Settings;
  readonly weather: () => Weather;
  readonly plant: (planted: Planted) => Plant;
  /** A worker has given its start up. */
  readonly onGaveUp: () => void;
  readonly say: (text: string) => void;
  /** Whether anybody wants to hear what workers log. */
  readonly isTold: boolean;
}

const BACKOFF_MS = 200;

/** See the file's header. */
export class Worker {
  readonly id: string;
  readonly process: Process;
  readonly clock: ProcessClock;
  /** Set when the connector has ended. */
  result: ConnectorResult | undefined;
  isStopping = false;
  /** Called when the pipeline hands a message on. */
  onHandedOn: (() => void) | undefined;
  readonly #world: World;
  readonly #connector: Connector;
  readonly #dynamoDb: Line;
  readonly #kinesis: Line;

  constructor(id: string, world: World) {
    const { timeline, chance, settings } = world;
    this.id = id;
    this.#world = world;
    this.process = new Process(id);
    this.clock = new ProcessClock(timeline, this.process, chance);
    const line = { ...world, process: this.process, onFate: (text: string) => world.say(`${id} ${text}`) };
    this.#dynamoDb = new Line({ ...line, unavailable: dynamoDbUnavailable, throttled: dynamoDbThrottled });
    this.#kinesis = new Line({ ...line, unavailable: kinesisUnavailable, throttled: kinesisThrottled });
    this.#connector = new Connector(this.#parts(), {
      streamName: STREAM_NAME,
      topic: "out",
      initialPosition: settings.start as InitialPosition,
      tableWasChosen: true,
      failoverTimeMs: settings.failoverTimeMs,
      checkpointIntervalMs: settings.checkpointIntervalMs,
      backoffTimeMs: BACKOFF_MS,
      numRetries: settings.numRetries,
      receiveQueueSize: settings.receiveQueueSize,
      maxBufferedBytes: 64 * 1024 * 1024,
      shutdownTimeoutMs: 25_000,
    });
  }

  /** Neither killed nor ended. */
  get isLiving(): boolean {
    return !this.process.dead && this.result === undefined;
  }

  /** Neither told to stop. */
  get isWorking(): boolean {
    return this.isLiving && !this.isStopping;
  }

  start(): void {
    void this.#connector.finished.then((result) => {
      this.result = result;
      const { error, undrained } = result;
      this.#world.say(
        `${this.id} ended: ${error?.message ?? `undrained ${undrained.join(" ") || "nothing"}`}`,
      );
      // A start that waits for a service in vain ends, to be made again by whoever supervises it.
      if (error?.retryable) this.#world.onGaveUp();
      else if (error !== undefined) {
        this.#world.judge.fail(`${this.id} ends with ${error.code}: ${error.message}`);
      }
    });
    this.#connector.start().catch(() => {}); // `finished` has it too
  }

  stop(): void {
    this.isStopping = true;
    void this.#connector.stop();
  }

  /** Nothing gets through, or all does again. */
  cut(isCut: boolean): void {
    this.#dynamoDb.isCut = isCut;
    this.#kinesis.isCut = isCut;
  }

  #parts(): ConnectorParts {
    const { timeline, chance, stream, table, judge, settings, weather } = this.#world;
    const { process, id } = this;
    const plant = this.#world.plant({ workerId: id, settings, judge, clock: this.clock });
    const clock = plant.clock?.(this.clock) ?? this.clock;
    const log = this.#log();
    const metrics = new MetricsRegistry();
    const store = new SimStore({
      timeline,
      chance,
      clock,
      table,
      worker: id,
      failoverTimeMs: settings.failoverTimeMs,
      line: this.#dynamoDb,
    });
    const simKinesis = new SimKinesis({
      timeline,
      process,
      chance,
      stream,
      line: this.#kinesis,
      onIterator: (shard, position) => judge.connected(id, shard, position),
    });
    const watch = judge.watch(id);
    const api = plant.kinesis?.(simKinesis) ?? simKinesis;
    const sink = new SimSink({
      timeline,
      process,
      chance,
      watch: {
        ...watch,
        handedOn: (sent) => {
          watch.handedOn(sent);
          this.onHandedOn?.();
        },
      },
      isAlive: plant.isAlive ?? ((delivery) => delivery.isAlive()),
      stallMs: () => weather().lost > 0 && chance.percent(4) ? chance.int(1.5 * settings.failoverTimeMs) : 0,
      room: settings.room,
      receiptsMs: settings.receiptsMs,
    });
    return {
      clock,
      log,
      metrics,
      newWorkerId: () => id,
      openKinesis: (onThrottle) =>
        Promise.resolve(kinesisOf(api, clock, log, settings.idlePollMs, onThrottle)),
      openLeaseStore: () => Promise.resolve(plant.store?.(store) ?? store),
      openSink: () => Promise.resolve(sink),
      openHooks: (signal) =>
        Promise.resolve(createHookChain({
          scripts: [],
          log,
          metrics,
          clock,
          runtime: "node",
          signal,
          streamName: STREAM_NAME,
          topic: "out",
          messageKeyMode: "PARTITION_KEY",
          kinesisRecordProperties: [],
          eventTime: "none",
        })),
    };
  }

  #log(): Logger {
    const { isTold, say } = this.#world;
    const tell = (level: string) => isTold ? (text: string) => say(`${this.id} ${level}: ${text}`) : () => {};
    return { debug: tell("debug"), info: tell("info"), warn: tell("warn"), error: tell("error") };
  }
}

/** The product's reader over the model's API. */
function kinesisOf(
  api: KinesisApi,
  clock: Clock,
  log: Logger,
  idlePollMs: number,
  onThrottle: OnThrottle,
): KinesisStream {
  const options = {
    api,
    streamName: STREAM_NAME,
    streamCreatedAt: STREAM_CREATED_AT,
    idlePollMs,
    maxReadsPerSecond: 5,
    maxReadBytesPerSecond: 2 * 1024 * 1024,
    backoffTimeMs: BACKOFF_MS,
    onThrottle,
    clock,
    log,
  };
  return {
    describe: (signal) => api.describeStreamSummary(signal),
    listShards: (position, signal) => listShards(options, filterOf(position), signal),
    now: () => api.now(),
    openSource: () => createPollingSource(options),
    close: () => Promise.resolve(),
  };
}

function filterOf(position: InitialPosition | undefined): ShardFilter | undefined {
  if (position === undefined || position.type === "AT_TIMESTAMP") return position;
  return { type: position.type === "LATEST" ? "AT_LATEST" : "AT_TRIM_HORIZON" };
}
