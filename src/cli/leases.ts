// `kinesis-pulsar leases FILE`, `leases reset` and `leases release`: results on stdout, what went on on stderr.

import process from "node:process";
import { type Config, loadConfigFile } from "../config/mod.ts";
import { type Leases, openLeases } from "../open-leases.ts";
import { environment, systemClock } from "../runtime.ts";
import { EXIT } from "./errors.ts";
import { leasesJson, leasesText, releasedText, resetText } from "./lease-table.ts";
import { createLogger } from "./log.ts";
import { parsePosition } from "./moment.ts";

/** Shows the table; gives the exit code. */
export async function showLeases(
  options: { readonly file: string; readonly json: boolean; readonly quick: boolean },
): Promise<number> {
  const config = await loadConfigFile(options.file, environment());
  await withLeases(config, async (leases) => {
    const report = await leases.report({ quick: options.quick });
    for (const note of report.notes) process.stderr.write(`warning: ${note}\n`);
    print(options.json ? leasesJson(report) : leasesText(report));
  });
  return EXIT.done;
}

/** What both changing commands share. */
export interface ChangeOptions {
  readonly file: string;
  readonly shardId: string | undefined;
  readonly dryRun: boolean;
  readonly force: boolean;
  readonly json: boolean;
}

/** Brings the table to a position; gives the exit code. */
export async function resetLeases(options: ChangeOptions & { readonly to: string }): Promise<number> {
  const { shardId, dryRun, force } = options;
  const position = parsePosition(options.to, shardId, Date.now());
  const config = await loadConfigFile(options.file, environment());
  await withLeases(config, async (leases) => {
    const rows = await leases.reset({ position, shardId, dryRun, force });
    print(
      options.json
        ? { table: leases.tableName, dryRun, leases: rows }
        : resetText(leases.tableName, rows, dryRun),
    );
  });
  return EXIT.done;
}

/** Takes owners out of the table; gives the exit code. */
export async function releaseLeases(options: ChangeOptions): Promise<number> {
  const { shardId, dryRun, force } = options;
  const config = await loadConfigFile(options.file, environment());
  await withLeases(config, async (leases) => {
    const released = await leases.release({ shardId, dryRun, force });
    print(
      options.json
        ? { table: leases.tableName, dryRun, leases: released }
        : releasedText(leases.tableName, released, dryRun),
    );
  });
  return EXIT.done;
}

async function withLeases(config: Config, work: (leases: Leases) => Promise<void>): Promise<void> {
  for (const warning of config.leaseWarnings) process.stderr.write(`warning: ${warning}\n`);
  const log = createLogger(config.log);
  const { signal } = new AbortController(); // a signal of the system ends the program: nothing here needs to be ended
  const leases = await openLeases(config, { log, clock: systemClock, signal });
  try {
    await work(leases);
  } finally {
    await leases.close();
  }
}

function print(result: unknown): void {
  process.stdout.write(`${typeof result === "string" ? result : JSON.stringify(result, null, 2)}\n`);
}
