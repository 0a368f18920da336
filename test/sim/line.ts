// The line of one process to one service: what is asked may come late, not at all, or be refused; what was asked may
// be done without an answer, or long after its caller gave up, even died. Each call's fate is drawn by chance.

import type { ConnectorError } from "../../src/core/errors.ts";
import type { Chance } from "../chance.ts";
import type { Process, Timeline } from "./timeline.ts";

/** How bad a line is; all in percent of the calls. */
export interface Weather {
  /** Takes time at all; the others are answered at once. */
  readonly slow: number;
  /** Of the slow ones: so slow that request and answer together may be too late. */
  readonly sluggish: number;
  /** Refused: to be repeated. */
  readonly throttled: number;
  /** Never arrives, is never answered though it was done, or arrives after the time-out: a third each. */
  readonly lost: number;
}

export const FAIR: Weather = { slow: 30, sluggish: 0, throttled: 0, lost: 0 };

/** What a {@link Line} needs to know. */
export interface LineOptions {
  readonly timeline: Timeline;
  readonly process: Process;
  readonly chance: Chance;
  readonly weather: () => Weather;
  /** What a call that nobody answers, or that is refused, fails with. */
  readonly unavailable: (operation: string, key: string | undefined) => ConnectorError;
  readonly throttled: (operation: string, key: string | undefined) => ConnectorError;
  readonly onFate?: (text: string) => void;
}

/** One call. */
export interface Call {
  readonly operation: string;
  readonly key?: string | undefined;
  readonly timeoutMs: number;
  readonly signal?: AbortSignal | undefined;
}

/** See the file's header. */
export class Line {
  readonly #options: LineOptions;
  /** Nothing gets through. */
  isCut = false;

  constructor(options: LineOptions) {
    this.#options = options;
  }

  /** @param apply what the service does, at the moment when the request arrives */
  call<T>(call: Call, apply: () => T): Promise<T> {
    const { chance } = this.#options;
    const weather = this.#options.weather();
    if (call.signal?.aborted) return Promise.reject(call.signal.reason);
    const fate = chance.int(100);
    if (!this.isCut && fate >= weather.lost + weather.throttled && !chance.percent(weather.slow)) {
      return settled(apply);
    }
    return new Promise((resolve, reject) => this.#send(call, apply, fate, weather, resolve, reject));
  }

  #send<T>(
    { operation, key, timeoutMs, signal }: Call,
    apply: () => T,
    fate: number,
    weather: Weather,
    resolve: (value: T) => void,
    reject: (error: unknown) => void,
  ): void {
    const { timeline, process, chance, unavailable, throttled, onFate } = this.#options;
    const isLost = this.isCut || fate < weather.lost;
    const isThrottled = !isLost && fate < weather.lost + weather.throttled;
    const end = (finish: () => void) => {
      cancelTimeout();
      signal?.removeEventListener("abort", abort);
      finish();
    };
    const abort = () => end(() => reject(signal!.reason));
    // Half of what is lost is seen at once: the connection breaks.
    const patienceMs = isLost && chance.percent(50) ? chance.int(50) : timeoutMs;
    const cancelTimeout = timeline.after(patienceMs, process, () => {
      end(() => reject(unavailable(operation, key)));
    });
    signal?.addEventListener("abort", abort, { once: true });
    const kind = isLost ? chance.pick("request", "answer", "late") : "slow";
    if (isLost || isThrottled) {
      onFate?.(`${operation} ${key ?? ""}: ${isThrottled ? "throttled" : `${kind} lost`}`);
    }
    if (kind === "request") return;
    const requestMs = kind === "late"
      ? patienceMs + chance.int(3 * timeoutMs)
      : delayOf(chance, weather, timeoutMs);
    timeline.after(requestMs, undefined, () => {
      const answer = isThrottled ? Promise.reject(throttled(operation, key)) : settled(apply);
      if (isLost) return void answer.catch(() => {});
      answer.then(
        (value) =>
          timeline.after(delayOf(chance, weather, timeoutMs), process, () => end(() => resolve(value))),
        (error) => timeline.after(1, process, () => end(() => reject(error))),
      );
    });
  }
}

function delayOf(chance: Chance, { sluggish }: Weather, timeoutMs: number): number {
  return chance.percent(sluggish) ? chance.int(timeoutMs * 0.7) : 1 + chance.int(30);
}

async function settled<T>(apply: () => T): Promise<T> {
  return await apply();
}
