// Which of the attempts that fail are worth telling. What lasts until a person does something (a quota that is used up,
// a right that was taken away) is told at once and then once a minute; of other trouble each attempt.

import type { ConnectorError, ErrorCode } from "../core/errors.ts";

const LASTING: ReadonlySet<ErrorCode> = new Set<ErrorCode>([
  "PULSAR_QUOTA_EXCEEDED",
  "PULSAR_NOT_AUTHORIZED",
]);
/** Milliseconds between two lines about the same. */
const TELL_AGAIN_MS = 60_000;

/** One topic's, or one producer's. */
export class RepeatedTrouble {
  #told: ErrorCode | undefined;
  #toldAt = 0;

  /**
   * Whether to tell it now; if so, that is noted.
   * @param now monotonic milliseconds
   */
  isToTell({ code }: ConnectorError, now: number): boolean {
    if (LASTING.has(code) && code === this.#told && now - this.#toldAt < TELL_AGAIN_MS) return false;
    this.#told = code;
    this.#toldAt = now;
    return true;
  }
}
