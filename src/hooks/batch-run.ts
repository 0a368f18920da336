// One page through a chain in which a script takes whole pages (`onBatch`): such a script needs all results of those
// before it, so the page goes from script to script as a whole and comes out at once.

import { backoffDelay } from "../core/backoff.ts";
import type { SinkMessage } from "../core/record.ts";
import { InvalidResult, typeOf } from "./outgoing.ts";
import type { HookRecord } from "./record.ts";
import { FailedRecord, type HookOutcome, Stopped } from "./outcome.ts";
import { MOST_MESSAGES, readResult, RecordRun, RETRY, type RunScope } from "./record-run.ts";
import type { Script } from "./script.ts";

/** Results of the first records of a stage, in order, and what stopped it before the others. */
interface StageResult {
  readonly outcomes: readonly (HookOutcome | undefined)[];
  readonly stopped?: Stopped | undefined;
}

/** A page on its way through a chain with `onBatch`. */
export class BatchRun {
  readonly #scripts: readonly Script[];
  readonly #records: readonly HookRecord[];
  readonly #scope: RunScope;
  /** By the index of their record: the first of each counts. */
  readonly #failed = new Map<number, FailedRecord>();
  #stopped: Stopped | undefined;
  #done = false;

  constructor(scripts: readonly Script[], records: readonly HookRecord[], scope: RunScope) {
    this.#scripts = scripts;
    this.#records = records;
    this.#scope = scope;
  }

  /** As `RecordRun.next`, all at once. */
  async next(): Promise<readonly HookOutcome[] | undefined> {
    if (!this.#done) {
      this.#done = true;
      const outcomes = this.#records.length === 0 ? [] : await this.#run();
      if (this.#scope.signal.aborted) return undefined;
      if (outcomes.length > 0) return outcomes;
    }
    if (this.#stopped !== undefined && !this.#scope.signal.aborted) throw this.#stopped.error;
    return undefined;
  }

  /** The outcomes of all records, or of those before the first failure. */
  async #run(): Promise<readonly HookOutcome[]> {
    // What is on its way, each with the index of the record it comes from.
    let records: readonly HookRecord[] = this.#records;
    let owners: readonly number[] = records.map((_, index) => index);
    let count = records.length;
    for (const [start, end] of segments(this.#scripts)) {
      const first = this.#scripts[start]!;
      const { outcomes, stopped } = first.has("onBatch")
        ? await this.#batch(first, records)
        : await this.#eachRecord(this.#scripts.slice(start, end), records);
      if (this.#scope.signal.aborted) return [];
      if (stopped !== undefined) {
        this.#stopped = stopped;
        count = owners[outcomes.length]!;
      }
      outcomes.forEach((outcome, index) => {
        const owner = owners[index]!;
        if (outcome instanceof FailedRecord && !this.#failed.has(owner)) this.#failed.set(owner, outcome);
      });
      const nextRecords: HookRecord[] = [];
      const nextOwners: number[] = [];
      for (let index = 0; index < outcomes.length && owners[index]! < count; index++) {
        if (this.#failed.has(owners[index]!)) continue; // it goes nowhere else
        for (const record of recordsOf(records[index]!, outcomes[index])) {
          nextRecords.push(record);
          nextOwners.push(owners[index]!);
        }
      }
      [records, owners] = [nextRecords, nextOwners];
      if (records.length === 0) break;
    }
    return this.#gather(records, owners, count);
  }

  async #gather(
    records: readonly HookRecord[],
    owners: readonly number[],
    count: number,
  ): Promise<readonly HookOutcome[]> {
    const messages: SinkMessage[][] = Array.from({ length: count }, () => []);
    records.forEach((record, index) => messages[owners[index]!]!.push(record.message));
    const outcomes: HookOutcome[] = [];
    for (const [index, many] of messages.entries()) {
      const alreadyFailed = this.#failed.get(index);
      if (alreadyFailed !== undefined) outcomes.push(alreadyFailed);
      else if (many.length > MOST_MESSAGES) {
        const last = this.#scripts[this.#scripts.length - 1]!;
        const error = new InvalidResult(
          `made ${many.length} messages of one record: at most ${MOST_MESSAGES} are allowed`,
        );
        const failed = await this.#scope.failed(last, this.#records[index]!, error, 1);
        if (failed instanceof Stopped) {
          this.#stopped = failed;
          break;
        }
        outcomes.push(failed);
      } else outcomes.push(many.length === 0 ? null : many.length === 1 ? many[0]! : many);
    }
    return outcomes;
  }

  async #eachRecord(scripts: readonly Script[], records: readonly HookRecord[]): Promise<StageResult> {
    const run = new RecordRun(scripts, records.length, (index) => records[index]!, this.#scope);
    const outcomes: HookOutcome[] = [];
    for (;;) {
      const next = await run.settled();
      if (next === undefined) return { outcomes };
      if (next instanceof Stopped) return { outcomes, stopped: next };
      for (const outcome of next) outcomes.push(outcome);
    }
  }

  async #batch(script: Script, records: readonly HookRecord[]): Promise<StageResult> {
    const { clock, signal, topics } = this.#scope;
    let returned: unknown;
    let attempt = 1;
    for (;; attempt++) {
      try {
        returned = await script.call("onBatch", records, signal);
        if (signal.aborted) return { outcomes: [] };
        checkLength(returned, records.length);
        break;
      } catch (error) {
        if (signal.aborted) return { outcomes: [] };
        if (error instanceof InvalidResult || attempt > script.settings.retries) {
          return await this.#failedBatch(script, records, error, attempt);
        }
        script.retrying("onBatch", error, attempt);
        await clock.sleep(backoffDelay(RETRY, attempt, clock.random()), signal);
      }
    }
    const outcomes: (HookOutcome | undefined)[] = [];
    for (const [index, record] of records.entries()) {
      try {
        const outcome = readResult(record, (returned as unknown[])[index], topics);
        if (outcome === null) script.countDropped();
        outcomes.push(outcome);
      } catch (error) {
        const failed = await this.#scope.failed(script, record, error, attempt);
        if (failed instanceof Stopped) return { outcomes, stopped: failed };
        outcomes.push(failed);
      }
    }
    return { outcomes };
  }

  async #failedBatch(
    script: Script,
    records: readonly HookRecord[],
    error: unknown,
    attempts: number,
  ): Promise<StageResult> {
    const outcomes: (FailedRecord | null)[] = [];
    for (const record of records) {
      const failed = await this.#scope.failed(script, record, error, attempts);
      if (failed instanceof Stopped) return { outcomes, stopped: failed };
      outcomes.push(failed);
    }
    return { outcomes };
  }
}

/** Runs of scripts: one with onBatch alone, those between together. */
function segments(scripts: readonly Script[]): [start: number, end: number][] {
  const found: [number, number][] = [];
  for (let start = 0; start < scripts.length;) {
    let end = start + 1;
    if (!scripts[start]!.has("onBatch")) {
      while (end < scripts.length && !scripts[end]!.has("onBatch")) end++;
    }
    found.push([start, end]);
    start = end;
  }
  return found;
}

function checkLength(returned: unknown, count: number): void {
  if (!Array.isArray(returned)) {
    throw new InvalidResult(`returned ${typeOf(returned)}: an array with one result per record is needed`);
  }
  if (returned.length !== count) {
    throw new InvalidResult(
      `returned ${returned.length} results for ${count} records: one per record, in order, is needed ` +
        `(null drops, undefined publishes as it stands, an array makes several messages)`,
    );
  }
}

function recordsOf(record: HookRecord, outcome: HookOutcome | undefined): readonly HookRecord[] {
  if (outcome === undefined) return [record];
  if (outcome === null || outcome instanceof FailedRecord) return [];
  return Array.isArray(outcome)
    ? outcome.map((message: SinkMessage) => record.with(message))
    : [record.with(outcome as SinkMessage)];
}
