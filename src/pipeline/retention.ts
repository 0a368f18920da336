// How long the stream keeps its records. Operators change it while we run, so it is asked for again and again; not
// knowing it harms nobody but who looks at the metric.

import type { Clock } from "../core/clock.ts";
import { messageOf } from "../core/errors.ts";
import type { Logger } from "../core/log.ts";
import type { KinesisStream } from "./parts.ts";

/** DescribeStreamSummary is shared by the whole account (20 calls a second): many workers ask apart. */
const ASK_EVERY_MS = 600_000;
const SPREAD = 0.2;
/** While it is not known. */
const ASK_AGAIN_MS = 30_000;

/** A stream's retention, as far as it is known. */
export class Retention {
  #ms: number | undefined;

  /** Milliseconds; undefined until known. */
  get ms(): number | undefined {
    return this.#ms;
  }

  /** Asks until the signal aborts. */
  async watch(
    kinesis: KinesisStream,
    { clock, log, signal }: { readonly clock: Clock; readonly log: Logger; readonly signal: AbortSignal },
  ): Promise<void> {
    while (!signal.aborted && kinesis.retention !== undefined) {
      try {
        this.#ms = await kinesis.retention(signal);
      } catch (error) {
        if (!signal.aborted) log.debug(`the stream's retention is not known: ${messageOf(error)}`);
      }
      const every = this.#ms === undefined ? ASK_AGAIN_MS : ASK_EVERY_MS;
      await clock.sleep(every * (1 + SPREAD * (clock.random() - 0.5)), signal);
    }
  }
}
