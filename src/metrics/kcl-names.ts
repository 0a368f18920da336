// What of a report is which CloudWatch metric: the KCL's names, units, levels and dimensions (kcl-compat §7). Pure.

import type { OperationReport } from "../core/telemetry.ts";

/** `metrics.cloudwatch`, less "none". */
export type MetricsLevel = "summary" | "detailed";

/** CloudWatch's words for units. */
export type Unit = "Count" | "Milliseconds" | "Bytes";

/** One value of one metric. */
export interface Datum {
  readonly name: string;
  readonly unit: Unit;
  readonly value: number;
  /** In the order in which the KCL gives them. */
  readonly dimensions: Dimensions;
}

/** `[name, value]` each. */
export type Dimensions = readonly (readonly [name: string, value: string])[];

const UNITS: Readonly<Record<string, Unit>> = {
  MillisBehindLatest: "Milliseconds",
  DataBytesProcessed: "Bytes",
};

/** Data that only the level "detailed" sends. */
const DETAILED_DATA = new Set(["LeasesToTake", "NeededLeases", "TotalLeases"]);

/** Steps that the level "summary" sends too: what the record processor does. Calls to services are detailed. */
const SUMMARY_STEP = /^RecordProcessor\./;

/** Operations whose metrics carry the worker's id. */
const OF_WORKER = new Set(["RenewAllLeases", "TakeLeases"]);

/** What the record processor does in a task, and takes as long as it: a page's hand-over, all of a shard's end. */
const PROCESSOR_OF_TASK: Readonly<Record<string, string>> = {
  ProcessTask: "RecordProcessor.processRecords",
  ShutdownTask: "RecordProcessor.shutdown",
};

/** A step that is all of its task here: the KCL's InitializeTask also reads the checkpoint, which is known by then. */
const WHOLE_TASK = "RecordProcessor.initialize";

/** Steps that the KCL has no name for. */
const OWN_STEPS = new Set([
  "GetLease",
  "EvictLease",
  "DeleteLease",
  "SubscribeToShard",
  "SubscribeToShard.event",
]);

/** The metrics of a report at a level. */
export function kclData(report: OperationReport, level: MetricsLevel, workerId: string): Datum[] {
  const { operation, step, shardId, durationMs, success, data } = report;
  if (step !== undefined && (OWN_STEPS.has(step) || level === "summary" && !SUMMARY_STEP.test(step))) {
    return [];
  }
  // The KCL's ShutdownTask has the shard only with its write of the checkpoint.
  const ofShard = shardId !== undefined && (operation !== "ShutdownTask" || step !== undefined);
  const dimensions: Dimensions = [
    ["Operation", operation],
    ...ofShard ? [["ShardId", shardId] as const] : [],
    ...OF_WORKER.has(operation) ? [["WorkerIdentifier", workerId] as const] : [],
  ];
  const found: Datum[] = [];
  const add = (name: string, unit: Unit, value: number, where = dimensions): void => {
    found.push({ name, unit, value, dimensions: where });
  };
  const addResult = (prefix: string, where = dimensions): void => {
    // A processor's steps have a time only.
    if (success !== undefined && !SUMMARY_STEP.test(prefix)) {
      add(`${prefix}Success`, "Count", Number(success), where);
    }
    if (durationMs !== undefined) add(`${prefix}Time`, "Milliseconds", durationMs, where);
  };
  addResult(step === undefined ? "" : `${step}.`);
  if (step === WHOLE_TASK) addResult("");
  // The KCL measures it a second time without its shard.
  if (operation === "ProcessTask" && step === undefined && ofShard) addResult("", [["Operation", operation]]);
  for (const [name, value] of Object.entries(data ?? {})) {
    if (level === "summary" && DETAILED_DATA.has(name)) continue;
    add(name, UNITS[name] ?? "Count", value);
    if (name === "MillisBehindLatest") {
      add(name, "Milliseconds", value, [["Operation", "ApplicationTracker"]]);
    }
  }
  const processor = step === undefined ? PROCESSOR_OF_TASK[operation] : undefined;
  if (processor !== undefined && durationMs !== undefined) {
    add(`${processor}.Time`, "Milliseconds", durationMs);
  }
  return found;
}
