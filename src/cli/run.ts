// `kinesis-pulsar run FILE`: the connector until a signal, a failure, or the time of --until.

import process from "node:process";
import { loadConfigFile } from "../config/mod.ts";
import type { ConnectorResult } from "../pipeline/connector.ts";
import type { ConnectorStatus } from "../pipeline/status.ts";
import { createConnector } from "../create-connector.ts";
import { environment } from "../runtime.ts";
import { UsageError } from "./commands.ts";
import { EXIT, exitCodeOf } from "./errors.ts";
import { createLogger } from "./log.ts";
import { parseMoment } from "./moment.ts";

/** Options of {@link run}. */
export interface RunOptions {
  readonly file: string;
  /** A time, `now`, or a time back from now like `-6h`. */
  readonly until?: string;
}

/** Runs the connector; gives the exit code. */
export async function run(options: RunOptions): Promise<number> {
  const until = options.until === undefined ? undefined : parseUntil(options.until, Date.now());
  const config = await loadConfigFile(options.file, environment());
  const log = createLogger(config.log);
  const connector = createConnector(config, { log, ...until === undefined ? {} : { until } });
  const unlisten = stopOnSignals((signal) => {
    log.info(`${signal}: stopping; a second signal ends at once`);
    void connector.stop("signal");
  });
  try {
    // A failed start is told by `finished` as well.
    connector.start().catch(() => {});
    const result = await connector.finished;
    return exitCode(result, connector.status(), until !== undefined);
  } finally {
    unlisten();
  }
}

/**
 * Design §10: 0 done, 3 a bounded run is done but some of it is in the dead-letter topic, 75 run again to resume, else
 * what the failure says.
 */
function exitCode(result: ConnectorResult, { deadLettered }: ConnectorStatus, bounded: boolean): number {
  if (result.error !== undefined) return exitCodeOf(result.error);
  if (result.undrained.length > 0) return EXIT.interrupted;
  if (!bounded) return EXIT.done;
  if (result.reason !== "until") return EXIT.interrupted;
  return deadLettered > 0 ? EXIT.deadLettered : EXIT.done;
}

const SIGNALS = ["SIGINT", "SIGTERM"] as const;

/** Calls `stop` at the first signal; at the second the process ends with what is stored so far. */
export function stopOnSignals(stop: (signal: string) => void): () => void {
  let stopping = false;
  const listener = (signal: string): void => {
    if (stopping) process.exit(EXIT.interrupted);
    stopping = true;
    stop(signal);
  };
  for (const signal of SIGNALS) process.on(signal, listener);
  return () => {
    for (const signal of SIGNALS) process.off(signal, listener);
  };
}

/**
 * Epoch milliseconds of `--until`: a time as in `startAtTime`, `now`, or `-90s`, `-30m`, `-6h`, `-2d`.
 * @throws UsageError
 */
function parseUntil(text: string, now: number): number {
  const time = parseMoment(text, now);
  if (time !== undefined) return time;
  throw new UsageError(
    `--until must be a time like 2026-09-01T00:00Z, now, -6h or epoch milliseconds, not "${text}"`,
  );
}
