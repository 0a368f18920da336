// The connector's log, as every room and every hook sees it.

/** Fields of a log line: names and numbers, never payloads or secrets. */
export type LogFields = Readonly<Record<string, unknown>>;

/** Leveled log. The CLI gives one that writes to stderr; embedders may give their own. */
export interface Logger {
  debug(message: string, fields?: LogFields): void;
  info(message: string, fields?: LogFields): void;
  warn(message: string, fields?: LogFields): void;
  error(message: string, fields?: LogFields): void;
}

/** A log that says nothing. */
export const silentLogger: Logger = { debug() {}, info() {}, warn() {}, error() {} };
