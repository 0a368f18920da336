// The program under test as a worker that says how far it is: its hook script writes a line for what happens, before
// the next thing can happen, so that a killed worker has said all.

import assert from "node:assert/strict";
import { setTimeout as delay } from "node:timers/promises";
import { comparePositions, isSequenceNumber, type Position } from "../../src/core/position.ts";
import { fromItem, type LeaseItem } from "../../src/leases/row.ts";
import type { Lease } from "../../src/leases/store.ts";
import type { Road, Scope } from "../e2e/kit.ts";
import type { CliProcess } from "../servers/cli.ts";
import { dynaliteClientConfig } from "../servers/dynalite.ts";

/** The hook script of workers. */
export const PROGRESS_SCRIPT = `
import { writeSync } from "node:fs";
const say = (...words) => {
  try {
    writeSync(1, words.join(" ") + "\\n");
  } catch (error) {
    if (error.code !== "EAGAIN") throw error; // nobody reads just now: the next line will do
  }
};
let records = 0;
export default {
  onShardStart: ({ shardId, from }) => say("start", shardId, from),
  onRecord({ shardId, sequenceNumber, subSequenceNumber }) {
    if (records++ % 8 === 0) say("record", shardId, sequenceNumber, subSequenceNumber); // each costs, here and there
  },
  onCheckpoint: ({ shardId, sequenceNumber, reason }) => say("checkpoint", shardId, sequenceNumber, reason),
  onShardEnd: ({ shardId }) => say("end", shardId),
};
`;

/** Shards whose reading has begun, by the worker's own lines. @param since an earlier length of its stdout */
export function startedShards(worker: CliProcess, since = 0): string[] {
  return [
    ...new Set(Array.from(worker.stdout.slice(since).matchAll(/^start (\S+)/gm), (match) => match[1]!)),
  ];
}

/** Shards of which a record was given to the hooks, with the last one that the worker told. */
export function lastRecords(worker: CliProcess): Map<string, Position> {
  const last = new Map<string, Position>();
  for (const [, shardId, sequenceNumber, sub] of worker.stdout.matchAll(/^record (\S+) (\d+) (\d+)\n/gm)) {
    last.set(shardId!, { sequenceNumber: sequenceNumber!, subSequenceNumber: Number(sub) });
  }
  return last;
}

/** Of the rounds that a proof was asked for, how many have to hit records in flight: four of five. */
export function leastValid(rounds: number): number {
  return 0.8 * rounds;
}

/**
 * Whether a proof goes on: until its rounds are done, and then, while too few have hit, for half as many again. In few
 * rounds chance alone would leave out too many one time in five.
 */
export function anotherRound(done: number, valid: number, rounds: number): boolean {
  return done < rounds || (valid < leastValid(rounds) && done < rounds * 1.5);
}

/** Waits until something is so; throws when it is not in time. */
export async function until(
  what: string,
  isSo: () => boolean | Promise<boolean>,
  timeoutMs: number,
): Promise<void> {
  const deadline = performance.now() + timeoutMs;
  while (!await isSo()) {
    if (performance.now() > deadline) throw new Error(`${what}: not within ${timeoutMs} ms`);
    await delay(10);
  }
}

/** Waits as {@link until} does for what a worker brings about; fails with its words if it ends, or is not in time. */
export async function untilWorker(
  worker: CliProcess,
  what: string,
  isSo: () => boolean | Promise<boolean>,
  timeoutMs = 60_000,
): Promise<void> {
  let code: number | undefined;
  worker.exitCode.then((ended) => code = ended, () => code = -1);
  await until(what, () => {
    assert.equal(code, undefined, `the worker ended with ${code}:\n${worker.stderr.slice(-4000)}`);
    return isSo();
  }, timeoutMs).catch((error: unknown) => {
    throw new Error(`${error}; the worker's last words:\n${worker.stderr.slice(-4000)}`, { cause: error });
  });
}

/** Waits until the worker has stored a position that it had not when this was called. */
export async function nextCheckpoint(worker: CliProcess, timeoutMs?: number): Promise<void> {
  const since = worker.stdout.length;
  await untilWorker(
    worker,
    "the next checkpoint",
    () => worker.stdout.indexOf("\ncheckpoint ", since) >= 0,
    timeoutMs,
  );
}

/** Kills at once and waits for the end. */
export async function killHard(worker: CliProcess): Promise<void> {
  worker.kill("SIGKILL");
  await worker.exitCode;
}

/** Waits for a worker's end; fails with its last words unless it ends well and in time. */
export async function endedWell(worker: CliProcess, timeoutMs = 60_000): Promise<void> {
  const over = new AbortController();
  const late = delay(timeoutMs, "still running", { signal: over.signal }).catch(() => "");
  const code = await Promise.race([worker.exitCode, late]);
  over.abort();
  const progress = worker.stdout.trimEnd().split("\n").slice(-8).join("\n");
  assert.equal(code, 0, `${worker.stderr.slice(-4000)}\n${progress}`);
}

/** Asks a worker to stop, and waits for that. */
export async function stopWell(worker: CliProcess): Promise<void> {
  worker.kill("SIGTERM");
  await endedWell(worker);
}

/** A last run that copies what is left; of large records that may be gigabytes. */
export async function copyRest(road: Road, configFile: string, timeoutMs?: number): Promise<void> {
  await endedWell(road.run("run", configFile, "--until", "now"), timeoutMs);
}

/** Reads the lease table past all proxies. */
export interface LeaseRows {
  read(): Promise<Lease[]>;
}

/** The rows of a road's lease table; none while it does not exist. */
export async function leaseRows(scope: Scope, road: Road): Promise<LeaseRows> {
  const { DynamoDBClient, ScanCommand } = await import("@aws-sdk/client-dynamodb");
  const client = new DynamoDBClient(dynaliteClientConfig(road.dynamoUrl));
  scope.after(() => client.destroy());
  const tableName = String(road.config["applicationName"]);
  return {
    async read() {
      try {
        const { Items = [] } = await client.send(
          new ScanCommand({ TableName: tableName, ConsistentRead: true }),
        );
        return Items.flatMap((item) => fromItem(item as unknown as LeaseItem, tableName) ?? []);
      } catch (error) {
        if ((error as Error).name === "ResourceNotFoundException") return [];
        throw error;
      }
    },
  };
}

/** Shards that a worker holds by the table: its process id is in its worker id. */
export function ownedShards(worker: CliProcess, rows: readonly Lease[]): string[] {
  return rows.filter(({ leaseOwner }) => leaseOwner?.includes(`:${worker.pid}:`)).map(({ leaseKey }) =>
    leaseKey
  );
}

/** What a killed worker left behind. */
export interface Remains {
  /** Shards of which the hooks had seen more than the row says is done. */
  readonly inFlight: number;
  /** Shards with a checkpoint. */
  readonly checkpointed: number;
}

/** Compares the worker's last words with the rows. */
export function remains(worker: CliProcess, rows: readonly Lease[]): Remains {
  const last = lastRecords(worker);
  const inFlight = rows.filter(({ leaseKey, checkpoint }) => {
    const seen = last.get(leaseKey);
    return seen !== undefined && comparePositions(seen, checkpoint) > 0;
  });
  const checkpointed = rows.filter(({ checkpoint }) => isSequenceNumber(checkpoint.sequenceNumber));
  return { inFlight: inFlight.length, checkpointed: checkpointed.length };
}
