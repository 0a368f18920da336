// What clients asked, in order of arrival, so that tests can see pacing, back-off, user agents and paging.
// Bounded: the oldest entries go first.

import type { Clock } from "../../core/clock.ts";
import type { Target } from "./operations/operation.ts";
import type { SubscriptionEnd } from "./subscription.ts";

/** One request as it was seen. Times in milliseconds. */
export interface LoggedRequest {
  readonly operation: string;
  readonly streamName?: string | undefined;
  readonly shardId?: string | undefined;
  /** The request's fields, without the data of records. */
  readonly input: Readonly<Record<string, unknown>>;
  /** By lower-case name. */
  readonly headers: Readonly<Record<string, string>>;
  /** Arrival by the monotonic clock, for pacing. */
  readonly at: number;
  /** Arrival by the wall clock, epoch. */
  readonly time: number;
  /** Until the answer was ready (a stream: over); undefined while it is not. */
  readonly durationMs?: number | undefined;
  /** What became of it; "open" until then. */
  readonly outcome: "open" | "answered" | "dropped" | "hung";
  /** HTTP status of an answer. */
  readonly status?: number | undefined;
  /** Name of the error that was answered, e.g. "ExpiredIteratorException". */
  readonly error?: string | undefined;
  /** Records in a GetRecords answer, or sent through a subscription. */
  readonly records?: number | undefined;
  /** Bytes of the answer's body. */
  readonly bytes?: number | undefined;
  /** Events that a subscription sent, empty ones included. */
  readonly events?: number | undefined;
  /** Why a subscription ended. */
  readonly ended?: SubscriptionEnd | undefined;
}

type Entry = { -readonly [K in keyof LoggedRequest]: LoggedRequest[K] };

/** Notes what became of a request. */
export type EndRequest = (end: Partial<LoggedRequest>) => void;

/** The last requests of one server. */
export class RequestLog {
  readonly #size: number;
  readonly #clock: Clock;
  #entries: Entry[] = [];

  constructor(size: number, clock: Clock) {
    this.#size = size;
    this.#clock = clock;
  }

  get entries(): readonly LoggedRequest[] {
    return this.#entries;
  }

  clear(): void {
    this.#entries = [];
  }

  /** Notes a request's arrival; the result notes what became of it. */
  open(
    operation: string,
    target: Target,
    input: Readonly<Record<string, unknown>>,
    headers: Readonly<Record<string, string>>,
  ): EndRequest {
    const entry: Entry = {
      operation,
      streamName: target.streamName,
      shardId: target.shardId,
      input: withoutData(input),
      headers,
      at: this.#clock.monotonic(),
      time: this.#clock.now(),
      outcome: "open",
    };
    if (this.#size > 0) {
      this.#entries.push(entry);
      // Twice the size before cutting: then shortening costs nothing per request.
      if (this.#entries.length > this.#size * 2) this.#entries = this.#entries.slice(-this.#size);
    }
    return (end) => {
      Object.assign(entry, end);
      entry.durationMs = this.#clock.monotonic() - entry.at;
    };
  }
}

function withoutData(input: Readonly<Record<string, unknown>>): Record<string, unknown> {
  const { Data: _, Records: records, ...rest } = input;
  return Array.isArray(records) ? { ...rest, Records: records.length } : rest;
}
