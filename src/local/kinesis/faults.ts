// Injected faults: what shall go wrong, for which calls, how often. Invariant: a fault hits exactly the calls
// it names, counted from its injection; the first fault that matches a call decides, in order of injection.

import { CountedFaults, type InjectedFault } from "../counted-faults.ts";
import { ConnectorError } from "../../core/errors.ts";
import type { OperationName } from "./operations/table.ts";
import type { Target } from "./operations/operation.ts";

/**
 * Something that goes wrong on purpose. Of `error`, `drop`, `refuse`, `hang`, `expireIterator`, `end` and `corrupt`
 * at most one is given; `delayMs` may stand alone or come first.
 *
 * With `afterEvents`, `afterBytes` or `pieceBytes` it hits the stream of a SubscribeToShard instead of the call: there
 * `error` is an exception event, `drop` cuts the connection, `refuse` resets this stream only, `hang` stalls it,
 * `end` ends it as if its life were over, `corrupt` spoils the next event's checksum, and `delayMs` holds it once.
 *
 * @example the third GetRecords of a shard and the one after it are throttled
 * server.inject({ operation: "GetRecords", shardId, nth: 3, times: 2, error: "ProvisionedThroughputExceededException" });
 * @example the next PutRecord is stored, but its response is lost
 * server.inject({ operation: "PutRecord", drop: true, applied: true });
 * @example the next subscription is cut in the middle of a frame
 * server.inject({ operation: "SubscribeToShard", afterBytes: 1000, drop: true });
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
   * Closes the connection without an answer. HTTP/2 clients on Node and Deno report that as the end of the stream,
   * with code 8 and no error, so it looks like a good end to whoever does not look for more. Deno's node:http client
   * repeats such a request by itself, once, when it had used the connection before: there give `times: Infinity`, or
   * an agent without keep-alive.
   */
  readonly drop?: boolean | undefined;
  /**
   * Refuses this request only, undone: over HTTP/2 the stream is reset as refused and others on the connection go
   * on; over HTTP/1.1 the same as `drop`.
   */
  readonly refuse?: boolean | undefined;
  /** Never answers; the connection stays open until the client or the server closes it. */
  readonly hang?: boolean | undefined;
  /** GetRecords only: answers as if the iterator were older than its life. */
  readonly expireIterator?: boolean | undefined;
  /** With `error`, `drop` and `hang`: the operation takes effect first, only its answer is lost. @default false */
  readonly applied?: boolean | undefined;
  /** SubscribeToShard only: hits the stream after so many events (0: before the first). */
  readonly afterEvents?: number | undefined;
  /** SubscribeToShard only: hits the stream after so many bytes of its body, also inside of a frame. */
  readonly afterBytes?: number | undefined;
  /** SubscribeToShard only: the whole stream comes in pieces of so many bytes, each sent by itself. */
  readonly pieceBytes?: number | undefined;
  /** With `afterEvents`: ends the stream in good order, though the shard goes on. */
  readonly end?: boolean | undefined;
  /** With `afterEvents`: the checksum of the next event is wrong. */
  readonly corrupt?: boolean | undefined;
}

/** The fields that turn a fault of a call into one of its stream. */
export const STREAM_FAULTS = ["afterEvents", "afterBytes", "pieceBytes"] as const;

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

const EFFECTS = ["error", "drop", "refuse", "hang", "expireIterator", "end", "corrupt"] as const;

function check(fault: Fault): void {
  const effects = EFFECTS.filter((effect) => fault[effect]);
  const places = STREAM_FAULTS.filter((place) => fault[place] !== undefined);
  const problem = effects.length > 1
    ? `${effects.join(" and ")} exclude each other`
    : effects.length === 0 && fault.delayMs === undefined && fault.pieceBytes === undefined
    ? `it has no effect: give one of ${EFFECTS.join(", ")}, delayMs, pieceBytes`
    : fault.expireIterator && (fault.operation !== "GetRecords" || places.length > 0)
    ? "expireIterator is for operation GetRecords"
    : places.length > 0 && fault.operation !== "SubscribeToShard"
    ? `${places.join(" and ")} are for operation SubscribeToShard`
    : fault.afterEvents !== undefined && fault.afterBytes !== undefined
    ? "afterEvents and afterBytes exclude each other"
    : (fault.end || fault.corrupt) && fault.afterEvents === undefined
    ? "end and corrupt go with afterEvents"
    : fault.afterBytes !== undefined && fault.error
    ? "error goes with afterEvents: an exception is a frame of its own"
    : effects.length > 0 && places.length === 1 && places[0] === "pieceBytes"
    ? `pieceBytes alone cannot tell when ${effects[0]} hits: add afterEvents or afterBytes`
    : fault.applied && (!(fault.error || fault.drop || fault.hang) || places.length > 0)
    ? "applied goes with error, drop or hang of a call"
    : (fault.nth ?? 1) < 1 || (fault.times ?? 1) < 1 || (fault.pieceBytes ?? 1) < 1
    ? "nth, times and pieceBytes are at least 1"
    : undefined;
  if (problem) {
    throw new ConnectorError(`cannot inject the fault for ${fault.operation}: ${problem}`, {
      code: "CONFIG_INVALID",
      where: { operation: fault.operation },
    });
  }
}
