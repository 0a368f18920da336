// What the log says while Kinesis does not answer: an outage hits all shards at once, and one line a minute is enough.

import type { Clock } from "../core/clock.ts";
import type { ConnectorError } from "../core/errors.ts";
import type { Logger } from "../core/log.ts";

const SAY_AGAIN_MS = 60_000;

/** Shared by all readers of a stream. */
export class OutageLog {
  readonly #clock: Clock;
  readonly #log: Logger;
  readonly #failing = new Set<string>();
  #since = 0;
  #saidAt = -Infinity;

  constructor(clock: Clock, log: Logger) {
    this.#clock = clock;
    this.#log = log;
  }

  /** A shard's call failed and will be tried again. */
  failed(shardId: string, error: ConnectorError, attempt: number, delayMs: number): void {
    const now = this.#clock.monotonic();
    if (this.#failing.size === 0) this.#since = now;
    this.#failing.add(shardId);
    const fields = { code: error.code, shardId, attempt, delayMs, failingShards: this.#failing.size };
    if (now - this.#saidAt < SAY_AGAIN_MS) {
      this.#log.debug(error.message, fields);
      return;
    }
    this.#saidAt = now;
    this.#log.warn(`${error.message}; it is tried again until it succeeds`, fields);
  }

  /** A failing shard is not read any more. */
  forget(shardId: string): void {
    this.#failing.delete(shardId);
  }

  /** A shard answers (again). */
  over(shardId: string): void {
    if (!this.#failing.delete(shardId) || this.#failing.size > 0) return;
    const seconds = ((this.#clock.monotonic() - this.#since) / 1000).toFixed(1);
    this.#log.info(`Kinesis answers again, after ${seconds} s`);
    this.#saidAt = -Infinity;
  }
}
