// Injected faults: what shall go wrong, for which calls, how often. Invariant: a fault hits exactly the calls
// it names, counted from its injection; the first fault that matches a call decides, in order of injection.

import { CountedFaults, type InjectedFault } from "../counted-faults.ts";
import { ConnectorError } from "../../core/errors.ts";
import type { OperationName } from "./operations/table.ts";
import type { Target } from "./operations/operation.ts";

/**
 * Something that goes wrong on purpose. Of `error`, `drop`, `hang` and `expireIterator` at most one is given;
 * `delayMs` may stand alone or come first.
 *
 * @example the third GetRecords of a shard and the one after it are throttled
 * server.inject({ operation: "GetRecords", shardId, nth: 3, times: 2, error: "ProvisionedThroughputExceededException" });
 * @example the next PutRecord is stored, but its response is lost
 * server.inject({ operation: "PutRecord", drop: true, applied: true });
 */
export interface Fault {
  /** "*" means every operation. */
  readonly operation: OperationName | "*";
  /** Only calls on this stream. */
  readonly streamName?: string | undefined;
  /** Only calls on this shard (PutRecords has none). */
  readonly shardId?: string | undefined;
  /** The first matching call that is hit, counted from 1. @default 1 */
  readonly nth?: number | undefined;
  /** How many matching calls are hit, from the nth on; Infinity means all. @default 1 */
  readonly times?: number | undefined;
  /** Waits so many milliseconds (of the server's clock) before anything else. */
  readonly delayMs?: number | undefined;
  /** Answers this error, e.g. "InternalFailure". */
  readonly error?: string | undefined;
  /** The error's message. */
  readonly message?: string | undefined;
  /** The error's HTTP status. @default 500 for InternalFailure and ServiceUnavailable…, else 400 */
  readonly status?: number | undefined;
  /**
   * Closes the connection without an answer. Deno's node:http client repeats such a request by itself, once, when
   * it had used the connection before: there give `times: Infinity`, or an agent without keep-alive.
   */
  readonly drop?: boolean | undefined;
  /** Never answers; the connection stays open until the client or the server closes it. */
  readonly hang?: boolean | undefined;
  /** GetRecords only: answers as if the iterator were older than its life. */
  readonly expireIterator?: boolean | undefined;
  /** With `error`, `drop` and `hang`: the operation takes effect first, only its answer is lost. @default false */
  readonly applied?: boolean | undefined;
}

/** The faults of one server. */
export class Faults {
  readonly #faults = new CountedFaults<Fault>();

  /** @throws ConnectorError CONFIG_INVALID for a fault that contradicts itself */
  inject(fault: Fault): InjectedFault {
    check(fault);
    return this.#faults.inject(fault);
  }

  clear(): void {
    this.#faults.clear();
  }

  /** The fault that hits this call, if any. To be asked once per call: it counts. */
  next(operation: string, target: Target): Fault | undefined {
    return this.#faults.next((fault) =>
      (fault.operation === "*" || fault.operation === operation) &&
      (fault.streamName === undefined || fault.streamName === target.streamName) &&
      (fault.shardId === undefined || fault.shardId === target.shardId)
    );
  }
}

function check(fault: Fault): void {
  const effects = (["error", "drop", "hang", "expireIterator"] as const).filter((effect) => fault[effect]);
  const problem = effects.length > 1
    ? `${effects.join(" and ")} exclude each other`
    : effects.length === 0 && fault.delayMs === undefined
    ? "it has no effect: give one of error, drop, hang, expireIterator, delayMs"
    : fault.expireIterator && fault.operation !== "GetRecords"
    ? "expireIterator is for operation GetRecords"
    : fault.applied && !(fault.error || fault.drop || fault.hang)
    ? "applied goes with error, drop or hang"
    : (fault.nth ?? 1) < 1 || (fault.times ?? 1) < 1
    ? "nth and times are at least 1"
    : undefined;
  if (problem) {
    throw new ConnectorError(`cannot inject the fault for ${fault.operation}: ${problem}`, {
      code: "CONFIG_INVALID",
      where: { operation: fault.operation },
    });
  }
}
