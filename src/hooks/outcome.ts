// What became of a record in the chain. Failures are values, so that no promise among the records of a page is left
// rejected, and a record has exactly one outcome, however many messages or failures its hooks made of it.

import type { ConnectorError } from "../core/errors.ts";
import type { SinkMessage } from "../core/record.ts";

/**
 * What became of one record: a message, several, none (dropped, or skipped by policy), or a failure that is to be kept
 * in the dead-letter topic.
 */
export type HookOutcome = SinkMessage | readonly SinkMessage[] | FailedRecord | null;

/**
 * A record that a hook failed on under `onError = "dead-letter"`. It goes there as a whole: none of the messages that
 * were made of it is published, so that it can be put in again without doubling some.
 */
export class FailedRecord {
  /** HOOK_FAILED, with script, place and record in its words. */
  readonly error: ConnectorError;
  /** The script that failed, as logs name it. */
  readonly script: string;
  /** How often its hook was called for the record. */
  readonly attempts: number;

  constructor(error: ConnectorError, script: string, attempts: number) {
    this.error = error;
    this.script = script;
    this.attempts = attempts;
  }
}

/** A failure under `onError = "stop"`. */
export class Stopped {
  readonly error: ConnectorError;
  constructor(error: ConnectorError) {
    this.error = error;
  }
}
