// The second argument of hooks. One per call, because its signal is of that call; but synchronous calls that did
// not ask for the signal leave it unused for the next one.

import type { Logger } from "../core/log.ts";
import type { HookContext, HookMetrics } from "./types.ts";

/** What all contexts of a script share. */
export interface ContextShare {
  readonly options: Readonly<Record<string, unknown>>;
  readonly log: Logger;
  readonly metrics: HookMetrics;
  readonly runtime: "node" | "deno";
}

/** A {@link HookContext} that makes its signal when asked for it. */
export class CallContext implements HookContext {
  readonly #share: ContextShare;
  readonly #parents: readonly AbortSignal[];
  #controller: AbortController | undefined;
  #abort: (() => void) | undefined;
  #timedOut: unknown;

  constructor(share: ContextShare, parents: readonly AbortSignal[]) {
    this.#share = share;
    this.#parents = parents;
  }

  get options(): Record<string, unknown> {
    return this.#share.options;
  }
  get log(): Logger {
    return this.#share.log;
  }
  get metrics(): HookMetrics {
    return this.#share.metrics;
  }
  get runtime(): "node" | "deno" {
    return this.#share.runtime;
  }
  get signal(): AbortSignal {
    if (this.#controller === undefined) {
      const controller = new AbortController();
      const parent = this.#parents.find((signal) => signal.aborted);
      if (this.#timedOut !== undefined) controller.abort(this.#timedOut);
      else if (parent !== undefined) controller.abort(parent.reason);
      else {
        const abort = () => controller.abort(this.#parents.find((signal) => signal.aborted)?.reason);
        for (const signal of this.#parents) signal.addEventListener("abort", abort, { once: true });
        this.#abort = abort;
      }
      this.#controller = controller;
    }
    return this.#controller.signal;
  }

  /** The call is over: its signal no longer follows the connector's. */
  static end(context: CallContext): void {
    if (context.#abort === undefined) return;
    for (const signal of context.#parents) signal.removeEventListener("abort", context.#abort);
    context.#abort = undefined;
  }

  /** The call has run out of time, whether or not it notices. */
  static timeOut(context: CallContext, reason: unknown): void {
    CallContext.end(context);
    context.#timedOut = reason;
    context.#controller?.abort(reason);
  }

  /** Whether another call may use it. */
  static isUnused(context: CallContext): boolean {
    return context.#controller === undefined;
  }
}
