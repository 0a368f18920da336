// The connector: opens its parts, gives each lease a consumer, keeps the time of checkpoints and status, and ends
// everything in order. Whatever fails anywhere comes here and ends it (G7); no loop is left without an owner.

import { setMaxListeners } from "node:events";
import { type ConnectorError, messageOf, toConnectorError } from "../core/errors.ts";
import type { LogFields } from "../core/log.ts";
import { untilAborted } from "../core/until-aborted.ts";
import type { OnThrottle } from "../kinesis/source.ts";
import type { HeldLease } from "../leases/held-lease.ts";
import type { LeaseStore } from "../leases/store.ts";
import type { MetricSnapshot } from "../metrics/registry.ts";
import { createDeadLetters, type DeadLetters } from "./dead-letter.ts";
import { type ConnectorEvents, Emitter } from "./events.ts";
import type { ConnectorHealth } from "./health.ts";
import { type Opened, openParts } from "./opening.ts";
import { Overview } from "./overview.ts";
import type { ConnectorOptions, ConnectorParts, ConsumerParts } from "./parts.ts";
import { ReadBudget } from "./read-budget.ts";
import { type ConsumerEnd, inShard, ShardConsumer } from "./shard-consumer.ts";
import { drainAndRelease, drainShard } from "./shutdown.ts";
import { sinkEvents } from "./sink-log.ts";
import { type ConnectorStatus, reportStatus, totalsLine } from "./status.ts";
import { createTotals, type Totals } from "./totals.ts";
import { allPastUntil } from "./until.ts";

/** How a connector ended. */
export interface ConnectorResult {
  /** What stop() was given, "until" for a bounded run that is done, "error". */
  readonly reason: string;
  readonly error?: ConnectorError | undefined;
  /** Shards of which something was in flight, or whose last checkpoint was not stored, when time ran out. */
  readonly undrained: readonly string[];
}

interface Running {
  readonly consumer: ShardConsumer;
  readonly done: Promise<void>;
}

/** One stream into Pulsar. Start it once. */
export class Connector {
  /** Resolves when it has ended, also after a failed start; never rejects. */
  readonly finished: Promise<ConnectorResult>;
  readonly #parts: ConnectorParts;
  readonly #options: ConnectorOptions;
  readonly #events = new Emitter();
  readonly #budget: ReadBudget;
  readonly #totals: Totals;
  readonly #overview: Overview;
  readonly #deadLetters: DeadLetters | undefined;
  /** Aborted when stopping begins: no new work. */
  readonly #stopping = new AbortController();
  /** Aborted when the time of stopping is over: hooks and calls end now. */
  readonly #stopNow = new AbortController();
  readonly #running = new Map<string, Running>();
  readonly #past = new Set<string>();
  #resolveFinished!: (result: ConnectorResult) => void;
  #state: ConnectorStatus["state"] = "starting";
  #starting: Promise<void> | undefined;
  #ending: Promise<ConnectorResult> | undefined;
  readonly #opened: Opened = {};
  readonly #loops = new Set<Promise<void>>();
  /** The first failure is told; what follows from it is not. */
  #toldFailure = false;

  constructor(parts: ConnectorParts, options: ConnectorOptions) {
    this.#parts = parts;
    this.#options = options;
    this.#totals = createTotals(parts.metrics);
    this.#deadLetters = createDeadLetters({ ...parts, ...options, totals: this.#totals });
    this.#budget = new ReadBudget({
      maxBytes: options.maxBufferedBytes,
      maxWaitingRecords: options.receiveQueueSize,
      maxRecordBytes: () => this.#opened.stream?.maxRecordBytes,
    });
    this.#overview = new Overview({
      parts,
      options,
      totals: this.#totals,
      budget: this.#budget,
      opened: this.#opened,
      consumers: () => Array.from(this.#running.values(), ({ consumer }) => consumer),
    });
    this.finished = new Promise((resolve) => this.#resolveFinished = resolve);
    // Every shard listens to them; Node takes more than ten listeners for a leak.
    setMaxListeners(0, this.#stopping.signal, this.#stopNow.signal);
  }

  /** Adds a listener; the returned function removes it. */
  on<Name extends keyof ConnectorEvents>(
    name: Name,
    listener: (event: ConnectorEvents[Name]) => void,
  ): () => void {
    return this.#events.on(name, listener);
  }

  /**
   * Checks everything that can be checked and starts to read. Services that do not answer are asked for a minute.
   * @throws ConnectorError what prevents it; `finished` resolves with the same error
   */
  async start(): Promise<void> {
    this.#starting ??= this.#open();
    try {
      // A step that hangs does not outlive the connector.
      const ended = await Promise.race([this.#starting, this.finished]);
      if (ended?.error !== undefined) throw ended.error;
    } catch (thrown) {
      if (this.#ending !== undefined) { // stopped, or failed elsewhere, while starting
        const result = await this.#ending;
        if (result.error !== undefined) throw result.error;
        return;
      }
      const error = toConnectorError(thrown);
      await this.#end("error", error);
      throw error;
    }
  }

  /** Drains, stores the last checkpoints and gives leases up, within `shutdownTimeoutMs`. */
  stop(reason = "stop"): Promise<ConnectorResult> {
    return this.#end(reason, undefined);
  }

  status(): ConnectorStatus {
    return this.#overview.status(this.#state);
  }

  /** Whether it is alive and able to work, and if not, why: what `/livez` and `/readyz` answer. */
  health(): ConnectorHealth {
    return this.#overview.healthAt(this.#state);
  }

  /** Counters and gauges, those of hooks included; names without the prefix that they have at `/metrics`. */
  metrics(): MetricSnapshot[] {
    return this.#overview.metrics(this.#state);
  }

  /** Where it answers over HTTP, e.g. `http://127.0.0.1:9464`; undefined where it does not. */
  get httpUrl(): string | undefined {
    return this.#opened.http?.url;
  }

  async #open(): Promise<void> {
    const { clock, log } = this.#parts;
    const { streamName, topic, until } = this.#options;
    const { signal } = this.#stopping;
    this.#loop(() => this.#overview.health.beat(this.#stopNow.signal));
    const { coordinator, store, kinesis, http } = await openParts(this.#opened, {
      parts: this.#parts,
      options: this.#options,
      scope: { clock, log, signal, onThrottle: this.#onThrottle },
      events: {
        onAcquired: (held) => this.#consume(held),
        onLost: (held) => {
          this.#past.delete(held.shardId);
          this.#overview.health.forget(held.shardId);
        },
        onGiveUp: (held, ending) => this.#giveUp(held, ending),
        onFault: (error) => this.#fail(error),
        sink: sinkEvents(log, this.#totals, this.#overview.health, (error) => this.#fail(error)),
      },
      telemetry: this.#overview.telemetry,
      observed: {
        streamName,
        metrics: () => this.metrics(),
        status: () => this.status(),
        health: () => this.health(),
      },
      stopNow: this.#stopNow.signal,
    });
    this.#state = "running";
    const end = until === undefined ? "" : ` until ${new Date(until).toISOString()}`;
    log.info(`copying stream ${streamName} to ${topic}${end}`, { table: store.tableName });
    if (http !== undefined) log.info(`metrics, health and status are at ${http.url}`);
    coordinator.start();
    this.#loop(() => this.#overview.stalls.run(signal));
    this.#loop(() => this.#overview.retention.watch(kinesis, { clock, log, signal }));
    this.#loop(() =>
      reportStatus(() => this.status(), { clock, signal }, (now, line) => {
        log.info(line);
        this.#events.emit("status", now);
      })
    );
    if (until !== undefined) this.#loop(() => this.#watchUntil(store));
  }

  readonly #onThrottle: OnThrottle = (event) => {
    this.#totals.throttles(event.service, event.operation).add();
    this.#events.emit("throttle", event);
    const wanted = this.#opened.hooks?.throttle(event);
    return wanted && untilAborted(wanted, this.#stopping.signal);
  };

  #consume(held: HeldLease): void {
    if (this.#stopping.signal.aborted) return; // releaseAll() gives it up
    const consumer = new ShardConsumer(held, this.#consumerParts());
    const over = new AbortController();
    const done = consumer.run().then((end) => {
      this.#ended(consumer, end);
      // What of a shard that has reached --until is still in flight is checkpointed while others go on.
      if (end !== "until") over.abort();
    }, (error) => {
      this.#failedIn(consumer, error);
      over.abort();
    });
    this.#running.set(held.shardId, { consumer, done });
    const ended = AbortSignal.any([over.signal, held.lost, this.#stopping.signal]);
    this.#loop(() => consumer.checkpoints.storeRegularly(this.#options.checkpointIntervalMs, ended));
  }

  /** Ends the consumer of a lease that others are to have. */
  async #giveUp({ shardId }: HeldLease, signal: AbortSignal): Promise<void> {
    const running = this.#running.get(shardId);
    if (running === undefined) return;
    const { shutdownTimeoutMs } = this.#options;
    await drainShard(running, { ...this.#parts, shutdownTimeoutMs, sink: this.#opened.sink!, signal });
    if (signal.aborted) return; // the stop counts it
    // Lost on the way, it may have been taken again meanwhile: another consumer has it then.
    if (this.#running.get(shardId) !== running) return;
    this.#running.delete(shardId);
    this.#past.delete(shardId);
  }

  #consumerParts(): ConsumerParts {
    const { streamName, initialPosition, until, numRetries, backoffTimeMs } = this.#options;
    const { clock, log } = this.#parts;
    const { kinesis, store, source, sink, hooks, once, coordinator } = this.#opened as Required<Opened>;
    return {
      streamName,
      startAtTime: initialPosition.type === "AT_TIMESTAMP" ? initialPosition.timestamp : undefined,
      until,
      numRetries,
      backoffTimeMs,
      tableName: store.tableName,
      clock,
      log,
      budget: this.#budget,
      source,
      kinesisNow: () => kinesis.now(),
      retentionMs: () => this.#overview.retention.ms,
      telemetry: this.#overview.telemetry,
      sink,
      hooks,
      once,
      deadLetters: this.#deadLetters,
      events: this.#events,
      totals: this.#totals,
      leases: coordinator,
      onThrottle: this.#onThrottle,
      onFault: (error) => this.#fail(error),
    };
  }

  #ended(consumer: ShardConsumer, end: ConsumerEnd): void {
    const { shardId } = consumer;
    this.#overview.health.forget(shardId);
    if (end === "until") {
      this.#past.add(shardId);
      this.#parts.log.info(`shard ${shardId} has reached the time of --until`);
    }
    const mine = this.#running.get(shardId)?.consumer === consumer;
    if (mine && (end === "lost" || end === "shard-end")) this.#running.delete(shardId);
  }

  #failedIn(consumer: ShardConsumer, error: unknown): void {
    if (this.#stopNow.signal.aborted) return;
    this.#fail(inShard(error, this.#options.streamName, consumer.shardId));
  }

  async #watchUntil(store: LeaseStore): Promise<void> {
    const { clock, log } = this.#parts;
    const done = await allPastUntil({
      store,
      clock,
      log,
      signal: this.#stopping.signal,
      onThrottle: this.#onThrottle,
      past: this.#past,
      // A shard that waits for its parents keeps nothing going: they may have stopped at the time for ever.
      isReading: () => Array.from(this.#running.values()).some(({ consumer }) => consumer.isReading),
    });
    if (done) void this.#end("until", undefined);
  }

  /** A loop of the connector: when it fails, the connector fails. */
  #loop(run: () => Promise<void>): void {
    const loop = run().catch((error) => {
      if (!this.#stopping.signal.aborted) this.#fail(toConnectorError(error));
    });
    this.#loops.add(loop);
    void loop.finally(() => this.#loops.delete(loop));
  }

  #fail(error: ConnectorError): void {
    if (this.#ending === undefined) {
      void this.#end("error", error);
    } else if (!this.#toldFailure) { // why a stop leaves something undrained
      this.#toldFailure = true;
      this.#parts.log.error(`while stopping: ${error.message}`, errorFields(error));
    }
  }

  #end(reason: string, error: ConnectorError | undefined): Promise<ConnectorResult> {
    this.#ending ??= this.#shutDown(reason, error).catch((thrown): ConnectorResult => {
      const failure = toConnectorError(thrown);
      this.#parts.log.error(`the stop failed: ${failure.message}`, errorFields(failure));
      return { reason: "error", error: error ?? failure, undrained: [...this.#running.keys()] };
    }).then((result) => {
      this.#overview.failure = result.error;
      this.#state = "stopped";
      this.#resolveFinished(result);
      return result;
    });
    return this.#ending;
  }

  async #shutDown(reason: string, error: ConnectorError | undefined): Promise<ConnectorResult> {
    const { clock, log } = this.#parts;
    const { shutdownTimeoutMs } = this.#options;
    this.#state = "stopping";
    this.#stopping.abort();
    for (const { consumer } of this.#running.values()) consumer.stop();
    const over = new AbortController();
    const deadline = clock.sleep(shutdownTimeoutMs, over.signal).then(() => this.#stopNow.abort());
    if (error !== undefined) {
      this.#toldFailure = true;
      log.error(error.message, errorFields(error));
      try {
        this.#events.emit("error", error);
      } catch (thrown) { // the embedding program's; what is finished is stored all the same
        log.error(`a listener of "error" failed: ${messageOf(thrown)}`, { cause: thrown });
      }
      await this.#opened.hooks?.error({ error, shardId: error.where.shardId });
    }
    const started = this.#starting?.catch(() => {}); // start() tells it
    await Promise.race([started, clock.sleep(shutdownTimeoutMs, this.#stopNow.signal)]);
    const undrained = await drainAndRelease({
      clock,
      log,
      shutdownTimeoutMs,
      failed: error !== undefined,
      running: [...this.#running.values()],
      sink: this.#opened.sink,
      coordinator: this.#opened.coordinator,
      stopNow: this.#stopNow,
      onStop: () => this.#opened.hooks?.stop({ reason }) ?? Promise.resolve(),
    });
    await Promise.all(this.#loops);
    const { sink, source, kinesis, store, publisher, http } = this.#opened;
    for (const part of [sink, source, kinesis, store, publisher, http]) {
      await part?.close().catch((failure: unknown) =>
        log.warn(`closing failed: ${toConnectorError(failure).message}`)
      );
    }
    over.abort();
    await deadline;
    if (undrained.length > 0) {
      const shards = undrained.join(", ");
      log.warn(
        `not everything of ${shards} was acknowledged and checkpointed in time; the next start reads it again`,
        { undrained },
      );
    }
    log.info(`stopped (${reason}): ${totalsLine(this.status())}`);
    return { reason, error, undrained };
  }
}

/** Beside an error's own words: what programs look for, and what it came from. */
function errorFields({ code, cause }: ConnectorError): LogFields {
  return cause === undefined ? { code } : { code, cause };
}
