// What all proofs share: how one is called, what it gives, and the settings of the worker it watches.

import { pulsarAdmin } from "../servers/admin.ts";
import { randomName, type Road, type Scope } from "../e2e/kit.ts";
import type { MadeMessages } from "./made-messages.ts";
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
  readonly remark?: string | undefined;
}

/** Settings of a worker. */
export interface WorkerSettings {
  readonly kinesisUrl?: string;
  readonly dynamoDbUrl?: string;
  readonly serviceUrl?: string;
  readonly failoverTimeMs?: number;
  /** A hook behind the one that tells the progress. */
  readonly made?: MadeMessages | undefined;
  /** More of that table. */
  readonly pulsar?: Readonly<Record<string, unknown>>;
  readonly [key: string]: unknown;
}

/** `pulsar.delivery`. */
export type DeliveryMode = "at-least-once" | "effectively-once";

/** A new partitioned topic at the shared broker; under effectively-once in a namespace of its own with deduplication on. */
export async function partitionedTopic(partitions: number, delivery: DeliveryMode): Promise<string> {
  const admin = pulsarAdmin();
  let namespace = "public/default";
  if (delivery === "effectively-once") {
    namespace = `public/${randomName("once")}`;
    await admin.call("PUT", `namespaces/${namespace}`, {});
    await admin.setDeduplication(true, namespace);
  }
  const topic = `persistent://${namespace}/${randomName("topic")}`;
  await admin.createPartitionedTopic(topic, partitions);
  return topic;
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
  { dynamoDbUrl, serviceUrl, failoverTimeMs = 1000, pulsar, made, ...settings }: WorkerSettings = {},
): Promise<string> {
  const hooks = [{ path: await road.script("progress.mjs", PROGRESS_SCRIPT) }];
  if (made !== undefined) hooks.push({ path: await road.script("made.mjs", made.script) });
  return await road.write(name, {
    kinesisRecordProperties: PROPERTIES,
    kinesis: { idlePollMs: 100 }, // else reads, and all that follows, come in bursts of a second
    leases: { failoverTimeMs },
    hooks,
    ...dynamoDbUrl === undefined ? {} : { dynamoEndpoint: dynamoDbUrl },
    pulsar: { ...pulsar, ...serviceUrl === undefined ? {} : { serviceUrl } },
    ...settings,
  });
}
