// One script of a chain: calls its hooks with their context and time limit, and counts. What a failure means is
// decided by the caller.

import type { Clock } from "../core/clock.ts";
import { ConnectorError, messageOf } from "../core/errors.ts";
import type { Logger } from "../core/log.ts";
import type { HookName } from "./check.ts";
import { CallContext, type ContextShare } from "./context.ts";
import { Deadlines } from "./deadlines.ts";
import type { LoadedHooks } from "./load.ts";
import { placeOf } from "./locate.ts";
import type { HookMetrics } from "./types.ts";

/** What scripts need of a metrics registry (src/metrics/registry.ts is one). */
export interface MetricsPort {
  counter(name: string, labels?: Readonly<Record<string, string>>, help?: string): { add(by?: number): void };
  gauge(name: string, labels?: Readonly<Record<string, string>>, help?: string): { set(value: number): void };
}

/** What scripts of a chain share. */
export interface ScriptScope {
  readonly log: Logger;
  readonly metrics: MetricsPort;
  readonly clock: Clock;
  readonly runtime: "node" | "deno";
  /** Aborted when the connector stops at once: hooks see it. */
  readonly signal: AbortSignal;
  /** Aborted when the chain is closed: no timer is left. */
  readonly closed: AbortSignal;
}

/** A hook that took longer than its `timeoutMs`, or than the connector's stop may take. */
export class HookTimeout extends Error {
  override readonly name = "HookTimeout";
}

/** Where a hook failed. */
export interface HookWhere {
  readonly stream?: string | undefined;
  readonly shardId?: string | undefined;
  readonly sequenceNumber?: string | undefined;
}

/** A script, ready to be called. */
export class Script {
  readonly settings: LoadedHooks;
  readonly #scope: ScriptScope;
  readonly #share: ContextShare;
  readonly #deadlines: Deadlines;
  readonly #dropped: { add(by?: number): void };

  constructor(settings: LoadedHooks, scope: ScriptScope) {
    this.settings = settings;
    this.#scope = scope;
    this.#share = {
      options: settings.options,
      log: scriptLog(settings.name, scope.log),
      metrics: scriptMetrics(settings.name, scope.metrics),
      runtime: scope.runtime,
    };
    this.#deadlines = new Deadlines(scope.clock, settings.timeoutMs, scope.closed);
    const { name } = settings;
    this.#dropped = scope.metrics.counter(
      "hook_records_dropped_total",
      { script: name },
      "Records a hook dropped",
    );
  }

  /** The connector's log, with the script's name in each line. */
  get log(): Logger {
    return this.#share.log;
  }

  has(name: HookName): boolean {
    return this.settings.hooks[name] !== undefined;
  }

  /** A context for calls under these signals, besides the connector's. */
  context(...signals: readonly AbortSignal[]): CallContext {
    return new CallContext(this.#share, [this.#scope.signal, ...signals]);
  }

  /**
   * Waits for an asynchronous call that began at `start` (monotonic). Rejects with HookTimeout when it is too slow;
   * what it gives later is ignored.
   */
  wait<T>(promise: PromiseLike<T>, context: CallContext, start: number): Promise<T> {
    return new Promise((resolve, reject) => {
      const call = this.#deadlines.begin(start, () => {
        const error = new HookTimeout(`it gave no answer within timeoutMs = ${this.settings.timeoutMs}`);
        CallContext.timeOut(context, error);
        reject(error);
      });
      const end = () => {
        this.#deadlines.end(call);
        CallContext.end(context);
      };
      promise.then((value) => {
        end();
        resolve(value);
      }, (error) => {
        end();
        reject(error);
      });
    });
  }

  /** What a synchronous call that took this long failed with, if it did. */
  overrun(elapsedMs: number): HookTimeout | undefined {
    if (elapsedMs <= this.settings.timeoutMs) return undefined;
    const { timeoutMs } = this.settings;
    return new HookTimeout(
      `it held the process for ${Math.round(elapsedMs)} ms, longer than timeoutMs = ${timeoutMs}`,
    );
  }

  /** Calls any hook but onRecord within its time limit. Undefined when the script has none. Rejects as it failed. */
  async call(
    name: Exclude<HookName, "onRecord">,
    event: unknown,
    ...signals: AbortSignal[]
  ): Promise<unknown> {
    const { hooks } = this.settings;
    if (hooks[name] === undefined) return undefined;
    const context = this.context(...signals);
    const start = this.#scope.clock.monotonic();
    try {
      const result: unknown = (hooks[name] as (event: unknown, context: unknown) => unknown)
        .call(hooks, event, context);
      if (isThenable(result)) return await this.#orStopped(this.wait(result, context, start));
      const overrun = this.overrun(this.#scope.clock.monotonic() - start);
      if (overrun !== undefined) throw overrun;
      return result;
    } finally {
      CallContext.end(context);
    }
  }

  /** Its result, unless the connector stops at once before: no hook holds the connector's end. */
  #orStopped<T>(promise: Promise<T>): Promise<T> {
    const { signal } = this.#scope;
    return new Promise((resolve, reject) => {
      const stop = () => reject(new HookTimeout("it gave no answer before the time for the stop was over"));
      if (signal.aborted) stop();
      signal.addEventListener("abort", stop, { once: true });
      promise.then(resolve, reject).finally(() => signal.removeEventListener("abort", stop));
    });
  }

  countDropped(): void {
    this.#dropped.add();
  }

  /** A failed call that will be repeated. */
  retrying(hook: HookName, error: unknown, attempt: number): void {
    this.count("hook_retries_total", "Calls of hooks that were repeated after a failure", { hook });
    this.log.debug(`${hook} failed and is tried again: ${messageOf(error)}`, { attempt });
  }

  count(name: string, help: string, labels: Readonly<Record<string, string>> = {}): void {
    this.#scope.metrics.counter(name, { script: this.settings.name, ...labels }, help).add(1);
  }

  /** The error that names script, hook, place and record, and says what to do. */
  failure(hook: HookName, error: unknown, where: HookWhere, advice: string): ConnectorError {
    this.count("hook_failures_total", "Calls of hooks that failed for good", { hook });
    const place = placeOf(error, this.settings.name);
    const at = place === undefined ? "" : ` (${place.file}:${place.line})`;
    const of = [
      where.stream === undefined ? "" : `stream ${where.stream}`,
      where.shardId ?? "",
      where.sequenceNumber === undefined ? "" : `sequence number ${where.sequenceNumber}`,
    ].filter((part) => part !== "").join(", ");
    return new ConnectorError(
      `${hook} of ${this.settings.name} failed${of === "" ? "" : ` for ${of}`}: ${
        messageOf(error)
      }${at}. ${advice}`,
      {
        code: "HOOK_FAILED",
        cause: error,
        where: { ...where, file: place?.file ?? this.settings.name, line: place?.line },
      },
    );
  }
}

/** Anything that can be awaited. */
export function isThenable(value: unknown): value is PromiseLike<unknown> {
  return typeof value === "object" && value !== null &&
    typeof (value as { then?: unknown }).then === "function";
}

function scriptLog(script: string, log: Logger): Logger {
  return {
    debug: (message, fields) => log.debug(message, { script, ...fields }),
    info: (message, fields) => log.info(message, { script, ...fields }),
    warn: (message, fields) => log.warn(message, { script, ...fields }),
    error: (message, fields) => log.error(message, { script, ...fields }),
  };
}

function scriptMetrics(script: string, metrics: MetricsPort): HookMetrics {
  const counters = new Map<string, { add(by?: number): void }>();
  return {
    count(name, by = 1) {
      let counter = counters.get(name);
      if (counter === undefined) counters.set(name, counter = metrics.counter(name, { script }));
      counter.add(by);
    },
    gauge(name, value) {
      metrics.gauge(name, { script }).set(value);
    },
  };
}
