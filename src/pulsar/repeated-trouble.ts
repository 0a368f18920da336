// When trouble of a topic is worth a line in the log: when it is new, and once a minute while it lasts (a quota that
// is used up may last for days).

import type { ConnectorError, ErrorCode } from "../core/errors.ts";

/** The same trouble is told again after so many milliseconds at the earliest. */
const TELL_AGAIN_MS = 60_000;

/** One topic's, or one producer's. */
export class RepeatedTrouble {
  #told: ErrorCode | undefined;
  #toldAt = -Infinity;

  /**
   * Whether to tell it now, and if so, notes that.
   * @param now monotonic milliseconds
   * @param isNew things were well in between
   */
  isToTell({ code }: ConnectorError, now: number, isNew: boolean): boolean {
    if (!isNew && code === this.#told && now - this.#toldAt < TELL_AGAIN_MS) return false;
    this.#told = code;
    this.#toldAt = now;
    return true;
  }
}
