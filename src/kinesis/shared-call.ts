// One call for many who ask at the same time: after a cut a thousand shards want to know whether the stream is still
// the same, and DescribeStreamSummary takes 20 calls a second. Everybody gets an answer that was asked for after he did.

import { orAborted } from "../core/until-aborted.ts";

/** A call without parameters, of which at most one is under way. */
export class SharedCall<T> {
  readonly #call: () => Promise<T>;
  #underWay: Promise<T> | undefined;
  /** For those who asked while one was under way, whose answer may be older than their question. */
  #next: Promise<T> | undefined;

  constructor(call: () => Promise<T>) {
    this.#call = call;
  }

  /** The answer; rejects as the call, or with the signal's reason as soon as that aborts (others go on waiting). */
  ask(signal: AbortSignal): Promise<T> {
    if (this.#underWay === undefined) return orAborted(this.#begin(), signal);
    this.#next ??= this.#underWay.then(() => {}, () => {}).then(() => {
      this.#next = undefined;
      return this.#begin();
    });
    return orAborted(this.#next, signal);
  }

  #begin(): Promise<T> {
    const call = this.#call();
    this.#underWay = call;
    const over = (): void => {
      if (this.#underWay === call) this.#underWay = undefined;
    };
    call.then(over, over);
    return call;
  }
}
