// How a producer's time at one broker ends: told once, by whoever is first, also before anybody listens.

import type { ConnectorError } from "../core/errors.ts";
import type { BrokerTarget } from "./connection.ts";

/** Why and how. */
export interface SessionEnd {
  readonly error: ConnectorError;
  /** The connection stays: the producer has to be closed on it before it is opened again. */
  readonly closeFirst?: boolean;
  /** Nothing is wrong: the producer is opened again at once, without a word. */
  readonly isPlanned?: boolean;
  /**
   * The broker may have taken later messages than one that it did not take, and where it deduplicates would drop that
   * as a duplicate: under a name that the broker gave before, nothing is sent again.
   */
  readonly forgetsName?: boolean;
  /** No delay before the first new attempt. */
  readonly atOnce?: boolean;
  /** The broker that serves the topic from now on. */
  readonly assignedBroker?: BrokerTarget | undefined;
}

/** A session in progress. */
export interface Session {
  readonly ended: boolean;
  readonly whenEnded: Promise<SessionEnd>;
  /** The first call counts. */
  readonly end: (end: SessionEnd) => void;
}

/** A new session. */
export function sessionEnd(): Session {
  let ended = false;
  let resolve!: (end: SessionEnd) => void;
  const whenEnded = new Promise<SessionEnd>((done) => resolve = done);
  return {
    get ended() {
      return ended;
    },
    whenEnded,
    end(end) {
      ended = true;
      resolve(end);
    },
  };
}
