// What all proofs share: how one is called, what it gives, and the settings of the worker it watches.

import { join } from "node:path";
import type { Road, Scope } from "../e2e/kit.ts";
import { PROGRESS_SCRIPT } from "./worker.ts";

/** What a proof is called with. */
export interface ProofScope extends Scope {
  /** Of the workers. @default the proof's own */
  readonly runtime?: "node" | "deno" | undefined;
  /** Told of each round. */
  readonly say?: ((line: string) => void) | undefined;
}

/** The figures of a proof, in the order of the table's columns; undefined = does not apply. */
export interface Figures {
  readonly rounds?: number;
  /** Rounds that tested what they should. */
  readonly valid?: number;
  /** Rounds with records in flight. */
  readonly inFlight?: number;
  readonly records: number;
  readonly duplicates: number;
  readonly lost: number;
  /** What else was measured, in words. */
  readonly remark?: string;
}

/** Settings of a worker. */
export interface WorkerSettings {
  readonly kinesisUrl?: string;
  readonly dynamoDbUrl?: string;
  readonly serviceUrl?: string;
  readonly failoverTimeMs?: number;
  readonly [key: string]: unknown;
}

/** Properties by which the judge knows a record. */
export const PROPERTIES = [
  "kinesis.arrival.timestamp",
  "kinesis.encryption.type",
  "kinesis.partition.key",
  "kinesis.sequence.number",
  "kinesis.subsequence.number",
].join(",");

/** Writes the configuration of a worker that tells its progress; gives the file's path. */
export async function workerConfig(
  road: Road,
  name: string,
  { dynamoDbUrl, serviceUrl, failoverTimeMs = 1000, ...settings }: WorkerSettings = {},
): Promise<string> {
  await road.script("progress.mjs", PROGRESS_SCRIPT);
  return await road.write(name, {
    kinesisRecordProperties: PROPERTIES,
    kinesis: { idlePollMs: 100 }, // else reads, and all that follows, come in bursts of a second
    leases: { failoverTimeMs },
    hooks: [{ path: join(road.folder, "progress.mjs") }],
    ...dynamoDbUrl === undefined ? {} : { dynamoEndpoint: dynamoDbUrl },
    ...serviceUrl === undefined ? {} : { pulsar: { serviceUrl } },
    ...settings,
  });
}
