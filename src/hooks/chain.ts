// All scripts of a connector, in the order of the configuration. Decides what a failure means (retry, skip, dead
// letter, stop, or only a line in the log) and what became of each record; never reads, sends or checkpoints itself.

import type { Clock } from "../core/clock.ts";
import type { ConnectorError } from "../core/errors.ts";
import type { Logger } from "../core/log.ts";
import type { UserRecord } from "../core/record.ts";
import { BatchRun } from "./batch-run.ts";
import type { LoadedHooks } from "./load.ts";
import { createMapper, type Mapper, type MapperOptions, type PageInfo } from "./message.ts";
import { FailedRecord, type HookOutcome, Stopped } from "./outcome.ts";
import { InvalidResult, type TopicRule, typeOf } from "./outgoing.ts";
import { HookRecord, type RecordScope } from "./record.ts";
import { RecordRun, type Refusal, type RunScope } from "./record-run.ts";
import { type MetricsPort, Script } from "./script.ts";
import type {
  CheckpointEvent,
  ErrorEvent,
  ShardEndEvent,
  ShardStartEvent,
  StopEvent,
  ThrottleHookEvent,
} from "./types.ts";

/** What a chain is made of. */
export interface HookChainOptions extends MapperOptions, TopicRule {
  readonly scripts: readonly LoadedHooks[];
  readonly log: Logger;
  readonly metrics: MetricsPort;
  readonly clock: Clock;
  readonly runtime: "node" | "deno";
  /** Aborted when the connector stops at once; hooks see it as `context.signal`. */
  readonly signal: AbortSignal;
}

/** A page on its way through the hooks. */
export interface PageRun {
  /**
   * The next outcomes, parallel to the records and in shard order: at least one, at once where hooks are synchronous,
   * else a promise. undefined: all were given, or the page's signal was aborted. After a pause (each promise) and
   * before anything goes out, the caller has to look at its lease again (G5).
   * @throws ConnectorError HOOK_FAILED (or rejects with it) at a record whose script's policy is "stop", when all
   * outcomes before it were given; its onError hooks have been told
   */
  next(): readonly HookOutcome[] | undefined | Promise<readonly HookOutcome[] | undefined>;
}

/** The hooks of a connector as the pipeline calls them. */
export interface HookChain {
  /** Runs onStart. @throws ConnectorError HOOK_FAILED */
  start(event: { readonly streamName: string }): Promise<void>;
  /** Runs onShardStart. @throws ConnectorError HOOK_FAILED */
  shardStart(event: ShardStartEvent): Promise<void>;
  /** Runs onRecord and onBatch. `signal`: the shard is given up, no more hook is called for it. */
  processPage(records: readonly UserRecord[], page: PageInfo, signal: AbortSignal): PageRun;
  /** Runs onCheckpoint. Never rejects. */
  checkpoint(event: CheckpointEvent): Promise<void>;
  /** Runs onThrottle: the delay in milliseconds that hooks want instead, if any. Never rejects. */
  throttle(event: ThrottleHookEvent): Promise<number | undefined> | undefined;
  /** Runs onShardEnd. Never rejects. */
  shardEnd(event: ShardEndEvent): Promise<void>;
  /** Runs onError, once for the same error. Never rejects. */
  error(event: ErrorEvent): Promise<void>;
  /** Runs onStop, then ends all timers: call nothing after it. Never rejects. */
  stop(event: StopEvent): Promise<void>;
}

// A failing hook at full rate would fill the log: after these, every power of two is said.
const SAID_IN_FULL = 10;
// Messages are made in pieces of a page, so that few of them are alive at once.
const PIECE = 1024;

type Lifecycle =
  | "onStart"
  | "onShardStart"
  | "onCheckpoint"
  | "onThrottle"
  | "onShardEnd"
  | "onError"
  | "onStop";

/** Makes the chain of a connector. */
export function createHookChain(options: HookChainOptions): HookChain {
  return new Chain(options);
}

class Chain implements HookChain {
  readonly #options: HookChainOptions;
  readonly #map: Mapper;
  readonly #closed = new AbortController();
  readonly #scripts: readonly Script[];
  /** Those that look at records. */
  readonly #recordScripts: readonly Script[];
  readonly #hasBatch: boolean;
  readonly #told = new WeakSet<ConnectorError>();
  readonly #skipped = new Map<Script, number>();

  constructor(options: HookChainOptions) {
    const { log, metrics, clock, runtime, signal } = options;
    const scope = { log, metrics, clock, runtime, signal, closed: this.#closed.signal };
    this.#options = options;
    this.#map = createMapper(options);
    this.#scripts = options.scripts.map((loaded) => new Script(loaded, scope));
    this.#recordScripts = this.#scripts.filter((script) => script.has("onRecord") || script.has("onBatch"));
    this.#hasBatch = this.#scripts.some((script) => script.has("onBatch"));
  }

  start(event: { readonly streamName: string }): Promise<void> {
    return this.#required("onStart", event);
  }

  shardStart(event: ShardStartEvent): Promise<void> {
    return this.#required("onShardStart", event);
  }

  checkpoint(event: CheckpointEvent): Promise<void> {
    return this.#tolerated("onCheckpoint", event);
  }

  shardEnd(event: ShardEndEvent): Promise<void> {
    return this.#tolerated("onShardEnd", event);
  }

  async error(event: ErrorEvent): Promise<void> {
    if (this.#told.has(event.error)) return;
    this.#told.add(event.error);
    await this.#tolerated("onError", event);
  }

  async stop(event: StopEvent): Promise<void> {
    await this.#tolerated("onStop", event);
    this.#closed.abort();
  }

  throttle(event: ThrottleHookEvent): Promise<number | undefined> | undefined {
    return this.#scripts.some((script) => script.has("onThrottle")) ? this.#throttle(event) : undefined;
  }

  processPage(records: readonly UserRecord[], page: PageInfo, signal: AbortSignal): PageRun {
    if (this.#recordScripts.length === 0) return new MapRun(records, page, this.#map, signal);
    const { streamName, clock } = this.#options;
    const { shardId } = page;
    const shared: RecordScope = {
      shardId,
      millisBehindLatest: page.millisBehindLatest,
      streamName,
      map: this.#map,
    };
    const scope: RunScope = {
      clock,
      topics: this.#options,
      signal,
      failed: (script, record, error, attempts) => this.#failed(script, record, error, attempts),
    };
    if (this.#hasBatch) {
      return new BatchRun(
        this.#recordScripts,
        records.map((record) => new HookRecord(record, shared)),
        scope,
      );
    }
    const recordAt = (index: number): HookRecord => new HookRecord(records[index]!, shared);
    return new RecordRun(this.#recordScripts, records.length, recordAt, scope);
  }

  /** A script gave up a record. */
  #failed(
    script: Script,
    record: HookRecord,
    error: unknown,
    attempts: number,
  ): Refusal | Promise<Refusal> {
    const hook = script.has("onBatch") ? "onBatch" : "onRecord";
    const { onError, name } = script.settings;
    const { shardId, sequenceNumber, streamName: stream } = record;
    const advice = error instanceof InvalidResult
      ? "Allowed are undefined (publish as it stands), null (drop), a message, or an array of messages"
      : onError === "dead-letter"
      ? "Correct the script; the record goes to the dead-letter topic"
      : 'Correct the script, or set onError = "skip" for it to go on without such records';
    const failure = script.failure(hook, error, { stream, shardId, sequenceNumber }, advice);
    if (onError === "skip") this.#countSkipped(script, failure);
    const result = onError === "skip"
      ? null
      : onError === "dead-letter"
      ? new FailedRecord(failure, name, attempts)
      : new Stopped(failure);
    if (!this.#scripts.some((one) => one.has("onError"))) return result;
    return this.error({ error: failure, shardId, record }).then(() => result);
  }

  #countSkipped(script: Script, failure: ConnectorError): void {
    script.count("hook_records_skipped_total", 'Records that a hook failed on under onError = "skip"');
    const skipped = (this.#skipped.get(script) ?? 0) + 1;
    this.#skipped.set(script, skipped);
    if (skipped > SAID_IN_FULL && !Number.isInteger(Math.log2(skipped))) return;
    const where = { shardId: failure.where.shardId, sequenceNumber: failure.where.sequenceNumber };
    script.log.warn(`record skipped: ${failure.message}`, { ...where, skipped });
  }

  /** Hooks without which the connector must not go on. */
  async #required(hook: "onStart" | "onShardStart", event: Partial<ShardStartEvent>): Promise<void> {
    for (const script of this.#scripts) {
      try {
        await script.call(hook, event);
      } catch (error) {
        const where = { stream: event.streamName, shardId: event.shardId };
        throw script.failure(hook, error, where, "Correct the script: nothing is read before it succeeds");
      }
    }
  }

  /** Hooks whose failure is logged and counted, and changes nothing. */
  async #tolerated(hook: Lifecycle, event: unknown): Promise<void> {
    for (const script of this.#scripts) {
      try {
        await script.call(hook, event);
      } catch (error) {
        this.#tolerate(script, hook, event, error);
      }
    }
  }

  async #throttle(event: ThrottleHookEvent): Promise<number | undefined> {
    let wanted: number | undefined;
    for (const script of this.#scripts) {
      try {
        const answer = await script.call(
          "onThrottle",
          wanted === undefined ? event : { ...event, delayMs: wanted },
        );
        if (answer === undefined) continue;
        if (typeof answer !== "number" || !(answer >= 0 && answer < Infinity)) {
          throw new InvalidResult(
            `returned ${typeof answer === "number" ? `the delay ${answer}` : typeOf(answer)}: a number of ` +
              "milliseconds from 0 on, or nothing, is allowed",
          );
        }
        wanted = answer;
      } catch (error) {
        this.#tolerate(script, "onThrottle", event, error);
      }
    }
    return wanted;
  }

  #tolerate(script: Script, hook: Lifecycle, event: unknown, error: unknown): void {
    const { shardId } = event as { shardId?: string };
    const failure = script.failure(
      hook,
      error,
      { stream: this.#options.streamName, shardId },
      "The connector goes on",
    );
    script.log.error(failure.message, { code: failure.code, hook, shardId });
  }
}

/** A page that no hook looks at: records become messages, no object of a record is made. */
class MapRun implements PageRun {
  readonly #records: readonly UserRecord[];
  readonly #page: PageInfo;
  readonly #map: Mapper;
  readonly #signal: AbortSignal;
  #given = 0;

  constructor(records: readonly UserRecord[], page: PageInfo, map: Mapper, signal: AbortSignal) {
    this.#records = records;
    this.#page = page;
    this.#map = map;
    this.#signal = signal;
  }

  next(): readonly HookOutcome[] | undefined {
    const start = this.#given;
    const end = this.#given = Math.min(start + PIECE, this.#records.length);
    if (start === end || this.#signal.aborted) return undefined;
    const messages: HookOutcome[] = [];
    for (let index = start; index < end; index++) messages.push(this.#map(this.#records[index]!, this.#page));
    return messages;
  }
}
