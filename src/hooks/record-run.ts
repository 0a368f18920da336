// One page through scripts that take record after record. Synchronous hooks run in a plain loop; what an asynchronous
// one promised is awaited at its place, so that results come out in shard order, and those before a slow record early.

import { setImmediate } from "node:timers/promises";
import { backoffDelay } from "../core/backoff.ts";
import type { Clock } from "../core/clock.ts";
import type { SinkMessage } from "../core/record.ts";
import { CallContext } from "./context.ts";
import { FailedRecord, type HookOutcome, Stopped } from "./outcome.ts";
import { InvalidResult, type TopicRule, toSinkMessage } from "./outgoing.ts";
import { HookRecord } from "./record.ts";
import { isThenable, type Script } from "./script.ts";

/** Most messages of one record: effectively-once numbers them within a record's ordinal (design §9). */
export const MOST_MESSAGES = 1024;

/** What a run needs of its chain. */
export interface RunScope {
  readonly clock: Clock;
  readonly topics: TopicRule;
  /** Aborted when the shard is given up: no hook is called after that. */
  readonly signal: AbortSignal;
  /** Applies the script's policy: null = skipped. @param attempts how often its hook was called for the record */
  failed(script: Script, record: HookRecord, error: unknown, attempts: number): Maybe<Refusal>;
}

/** What a failed record comes to. */
export type Refusal = Stopped | FailedRecord | null;

/** `undefined` = as it stands. */
type Verdict = SinkMessage | readonly SinkMessage[] | null | undefined;
type Produced = HookOutcome | Stopped;
/** Outcomes, the failure of the record after them, or the end. */
type Settled = readonly HookOutcome[] | Stopped | undefined;
type Maybe<T> = T | Promise<T>;

// How far hooks may be ahead of what was taken, in records; also what a synchronous page is cut into.
const AHEAD = 1024;
// After this long without a pause others get their turn: lease renewal runs in the same thread.
const PAUSE_AFTER_MS = 25;
/** Between repetitions of a failed hook. */
export const RETRY = { firstMs: 100, maxMs: 10_000, jitter: 0.5 };

interface Stage {
  readonly script: Script;
  running: number;
  readonly waiting: (() => void)[];
}

/** A page on its way through the `onRecord` hooks of a chain. */
export class RecordRun {
  readonly #stages: readonly Stage[];
  readonly #count: number;
  readonly #recordAt: (index: number) => HookRecord;
  readonly #scope: RunScope;
  readonly #window: number;
  readonly #contexts: (CallContext | undefined)[] = [];
  /** undefined = not yet known. */
  readonly #outcomes: (Produced | undefined)[] = [];
  #launched = 0;
  #given = 0;
  #inFlight = 0;
  #failed = false;
  #wake: (() => void) | undefined;
  readonly #onAbort = (): void => this.#wake?.();
  #listening = false;
  /** Monotonic time of the last look at the clock, at most one synchronous call ago. */
  #tick = 0;
  #pausedAt: number | undefined;

  constructor(
    scripts: readonly Script[],
    count: number,
    recordAt: (index: number) => HookRecord,
    scope: RunScope,
  ) {
    this.#stages = scripts.map((script) => ({ script, running: 0, waiting: [] }));
    this.#window = scripts.reduce((sum, script) => sum + script.settings.concurrency, 0);
    this.#count = count;
    this.#recordAt = recordAt;
    this.#scope = scope;
  }

  /**
   * The next outcomes in shard order, at least one; undefined when all were given or the signal aborted. Gives
   * (or throws, or rejects with) the error of a record when all before it were given.
   */
  next(): Maybe<readonly HookOutcome[] | undefined> {
    const settled = this.settled();
    return settled instanceof Promise ? settled.then(orThrow) : orThrow(settled);
  }

  /** As {@link RecordRun.next}, with a failure as a value. */
  settled(): Maybe<Settled> {
    if (this.#given === this.#count || this.#scope.signal.aborted) return undefined;
    const now = this.#scope.clock.monotonic();
    this.#pausedAt ??= now;
    if (now - this.#pausedAt > PAUSE_AFTER_MS) return this.#pause();
    this.#launch();
    return this.#take() ?? this.#waitForFirst();
  }

  async #pause(): Promise<Settled> {
    await setImmediate();
    this.#pausedAt = undefined;
    return await this.settled();
  }

  async #waitForFirst(): Promise<Settled> {
    const { signal } = this.#scope;
    if (!this.#listening) signal.addEventListener("abort", this.#onAbort, { once: true });
    this.#listening = true;
    for (;;) {
      await new Promise<void>((resolve) => this.#wake = resolve);
      this.#pausedAt = undefined;
      if (signal.aborted) return undefined;
      const ready = this.#take();
      if (ready !== undefined) return ready;
    }
  }

  /** What is ready, in order. */
  #take(): Settled {
    const outcomes = this.#outcomes;
    const first = outcomes[this.#given];
    if (first instanceof Stopped) {
      this.#end();
      return first;
    }
    let end = this.#given;
    while (end < this.#launched && outcomes[end] !== undefined && !(outcomes[end] instanceof Stopped)) end++;
    if (end === this.#given) return undefined;
    const ready = outcomes.slice(this.#given, end) as HookOutcome[];
    this.#given = end;
    if (end === this.#count) this.#end();
    return ready;
  }

  #end(): void {
    if (this.#listening) this.#scope.signal.removeEventListener("abort", this.#onAbort);
    this.#listening = false;
  }

  #launch(): void {
    const end = Math.min(this.#count, this.#given + AHEAD);
    const start = this.#tick = this.#scope.clock.monotonic();
    while (this.#launched < end && this.#inFlight < this.#window && !this.#failed) {
      if (this.#scope.signal.aborted || this.#tick - start > PAUSE_AFTER_MS) return;
      const index = this.#launched++;
      const produced = this.#enter(0, this.#recordAt(index));
      if (produced instanceof Promise) {
        this.#outcomes[index] = undefined;
        this.#inFlight++;
        void produced.then((settled) => this.#settle(index, settled));
      } else {
        this.#outcomes[index] = produced;
      }
    }
  }

  #settle(index: number, produced: Produced): void {
    this.#inFlight--;
    this.#outcomes[index] = produced;
    this.#launch();
    if (this.#outcomes[this.#given] !== undefined) this.#wake?.();
  }

  /** A record at a script: its turn comes when fewer than `concurrency` calls run. Promises never reject. */
  #enter(at: number, record: HookRecord): Maybe<Produced> {
    const stage = this.#stages[at]!;
    if (stage.running >= stage.script.settings.concurrency) {
      return new Promise<void>((resolve) => stage.waiting.push(resolve)).then(() => {
        this.#tick = this.#scope.clock.monotonic();
        return this.#run(at, stage, record);
      });
    }
    stage.running++;
    return this.#run(at, stage, record);
  }

  #run(at: number, stage: Stage, record: HookRecord): Maybe<Produced> {
    const verdict = this.#scope.signal.aborted ? null : this.#call(at, stage.script, record, 0);
    if (!(verdict instanceof Promise)) {
      leave(stage);
      return this.#after(at, stage.script, record, verdict);
    }
    return verdict.then((settled) => {
      leave(stage);
      this.#tick = this.#scope.clock.monotonic();
      return this.#after(at, stage.script, record, settled);
    });
  }

  #call(at: number, script: Script, record: HookRecord, attempt: number): Maybe<Verdict | Refusal> {
    const { hooks } = script.settings;
    const context = this.#contexts[at] ??= script.context(this.#scope.signal);
    const start = this.#tick;
    try {
      const returned: unknown = hooks.onRecord!(record, context);
      if (isThenable(returned)) {
        this.#contexts[at] = undefined;
        return this.#await(at, script, record, script.wait(returned, context, start), attempt);
      }
      this.#tick = this.#scope.clock.monotonic();
      if (!CallContext.isUnused(context)) this.#endContext(at);
      const overrun = script.overrun(this.#tick - start);
      if (overrun !== undefined) throw overrun;
      return this.#verdict(script, record, returned);
    } catch (error) {
      this.#tick = this.#scope.clock.monotonic();
      this.#endContext(at);
      return this.#repeat(at, script, record, error, attempt);
    }
  }

  async #await(
    at: number,
    script: Script,
    record: HookRecord,
    promise: Promise<unknown>,
    attempt: number,
  ): Promise<Verdict | Refusal> {
    try {
      return this.#verdict(script, record, await promise);
    } catch (error) {
      return await this.#repeat(at, script, record, error, attempt);
    }
  }

  #endContext(at: number): void {
    const context = this.#contexts[at];
    if (context !== undefined) CallContext.end(context);
    this.#contexts[at] = undefined;
  }

  /** After a failed call: again, or the policy. An invalid result would only be invalid again. */
  #repeat(
    at: number,
    script: Script,
    record: HookRecord,
    error: unknown,
    attempt: number,
  ): Maybe<Verdict | Refusal> {
    if (error instanceof InvalidResult || attempt >= script.settings.retries) {
      return this.#giveUp(script, record, error, attempt + 1);
    }
    return this.#retry(at, script, record, error, attempt + 1);
  }

  #giveUp(script: Script, record: HookRecord, error: unknown, attempts: number): Maybe<Refusal> {
    // At once, though onError hooks may take their time: no record behind it is begun.
    if (script.settings.onError === "stop") this.#failed = true;
    return this.#scope.failed(script, record, error, attempts);
  }

  async #retry(
    at: number,
    script: Script,
    record: HookRecord,
    error: unknown,
    attempt: number,
  ): Promise<Verdict | Refusal> {
    const { clock, signal } = this.#scope;
    script.retrying("onRecord", error, attempt);
    await clock.sleep(backoffDelay(RETRY, attempt, clock.random()), signal);
    if (signal.aborted) return null;
    this.#tick = clock.monotonic();
    return await this.#call(at, script, record, attempt);
  }

  /** @throws InvalidResult */
  #verdict(script: Script, record: HookRecord, returned: unknown): Verdict {
    const verdict = readResult(record, returned, this.#scope.topics);
    if (verdict === null) script.countDropped();
    return verdict;
  }

  #after(at: number, script: Script, record: HookRecord, verdict: Verdict | Refusal): Maybe<Produced> {
    if (verdict === null || isRefusal(verdict)) return verdict;
    const isLast = at + 1 === this.#stages.length;
    if (verdict === undefined) return isLast ? record.message : this.#enter(at + 1, record);
    if (!isMany(verdict)) return isLast ? verdict : this.#enter(at + 1, record.with(verdict));
    if (isLast) return verdict.length === 1 ? verdict[0]! : verdict;
    const parts = verdict.map((message) => this.#enter(at + 1, record.with(message)));
    if (!parts.some((part) => part instanceof Promise)) {
      return this.#join(script, record, parts as Produced[]);
    }
    return Promise.all(parts).then((settled) => this.#join(script, record, settled));
  }

  #join(script: Script, record: HookRecord, parts: readonly Produced[]): Maybe<Produced> {
    const messages: SinkMessage[] = [];
    let failed: FailedRecord | undefined;
    for (const part of parts) {
      if (part instanceof Stopped) return part;
      if (part === null) continue;
      if (part instanceof FailedRecord) failed ??= part;
      else if (isMany(part)) messages.push(...part);
      else messages.push(part);
    }
    if (failed !== undefined) return failed;
    if (messages.length > MOST_MESSAGES) return this.#giveUp(script, record, tooMany(messages.length), 1);
    return messages.length === 0 ? null : messages.length === 1 ? messages[0]! : messages;
  }
}

/** Reads what a hook returned for a record. @throws InvalidResult */
export function readResult(record: HookRecord, returned: unknown, topics: TopicRule): Verdict {
  if (returned === null) return null;
  if (returned === undefined || returned instanceof HookRecord) {
    // A script that has seen the message can have changed it in place.
    const touched = HookRecord.touched((returned as HookRecord | undefined) ?? record);
    if (touched !== undefined) return toSinkMessage(touched, topics);
    return returned === undefined || returned === record ? undefined : (returned as HookRecord).message;
  }
  if (!Array.isArray(returned)) return toSinkMessage(returned, topics);
  if (returned.length > MOST_MESSAGES) throw tooMany(returned.length);
  if (returned.length === 0) return null;
  return returned.map((one: unknown) => toSinkMessage(one instanceof HookRecord ? one.message : one, topics));
}

function orThrow(settled: Settled): readonly HookOutcome[] | undefined {
  if (settled instanceof Stopped) throw settled.error;
  return settled;
}

function tooMany(count: number): InvalidResult {
  return new InvalidResult(`made ${count} messages of one record: at most ${MOST_MESSAGES} are allowed`);
}

function isRefusal(verdict: Verdict | Refusal): verdict is Stopped | FailedRecord {
  return verdict instanceof Stopped || verdict instanceof FailedRecord;
}

function isMany(outcome: SinkMessage | readonly SinkMessage[]): outcome is readonly SinkMessage[] {
  return Array.isArray(outcome);
}

// The next one takes the place over, so that nobody overtakes those who wait.
function leave(stage: Stage): void {
  const next = stage.waiting.shift();
  if (next === undefined) stage.running--;
  else next();
}
