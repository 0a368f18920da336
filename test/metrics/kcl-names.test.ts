import assert from "node:assert/strict";
import { test } from "node:test";
import type { OperationReport } from "../../src/core/telemetry.ts";
import { kclData, type MetricsLevel } from "../../src/metrics/kcl-names.ts";

/** `Operation/ShardId/WorkerIdentifier name unit = value` */
function lines(report: OperationReport, level: MetricsLevel): string[] {
  return kclData(report, level, "worker").map(({ name, unit, value, dimensions }) =>
    `${
      dimensions.map(([key, text]) => key === "Operation" ? text : `${key}=${text}`).join(" ")
    }: ${name} ${unit} ${value}`
  ).sort();
}

const page: OperationReport = {
  operation: "ProcessTask",
  shardId: "s-0",
  durationMs: 5,
  success: true,
  data: { RecordsProcessed: 3, DataBytesProcessed: 30, MillisBehindLatest: 700 },
};

test("kcl names: a page gives ProcessTask per shard, the task without its shard, and the application's lag", () => {
  const expected = [
    "ApplicationTracker: MillisBehindLatest Milliseconds 700",
    "ProcessTask ShardId=s-0: DataBytesProcessed Bytes 30",
    "ProcessTask ShardId=s-0: MillisBehindLatest Milliseconds 700",
    "ProcessTask ShardId=s-0: RecordProcessor.processRecords.Time Milliseconds 5",
    "ProcessTask ShardId=s-0: RecordsProcessed Count 3",
    "ProcessTask ShardId=s-0: Success Count 1",
    "ProcessTask ShardId=s-0: Time Milliseconds 5",
    "ProcessTask: Success Count 1",
    "ProcessTask: Time Milliseconds 5",
  ];
  assert.deepEqual(lines(page, "summary"), expected);
  assert.deepEqual(lines(page, "detailed"), expected);
});

test("kcl names: lease rounds carry the worker's id; what only counts decisions is detailed", () => {
  const renewals: OperationReport = {
    operation: "RenewAllLeases",
    durationMs: 9,
    success: true,
    data: { CurrentLeases: 2, LostLeases: 0 },
  };
  assert.deepEqual(lines(renewals, "summary"), [
    "RenewAllLeases WorkerIdentifier=worker: CurrentLeases Count 2",
    "RenewAllLeases WorkerIdentifier=worker: LostLeases Count 0",
    "RenewAllLeases WorkerIdentifier=worker: Success Count 1",
    "RenewAllLeases WorkerIdentifier=worker: Time Milliseconds 9",
  ]);
  const takes: OperationReport = {
    operation: "TakeLeases",
    data: { TakenLeases: 1, TotalLeases: 4, NeededLeases: 2, VeryOldLeases: 3, LeaseSpillover: 0 },
  };
  assert.deepEqual(lines(takes, "summary"), [
    "TakeLeases WorkerIdentifier=worker: LeaseSpillover Count 0",
    "TakeLeases WorkerIdentifier=worker: TakenLeases Count 1",
    "TakeLeases WorkerIdentifier=worker: VeryOldLeases Count 3",
  ]);
  assert.deepEqual(lines(takes, "detailed"), [
    "TakeLeases WorkerIdentifier=worker: LeaseSpillover Count 0",
    "TakeLeases WorkerIdentifier=worker: NeededLeases Count 2",
    "TakeLeases WorkerIdentifier=worker: TakenLeases Count 1",
    "TakeLeases WorkerIdentifier=worker: TotalLeases Count 4",
    "TakeLeases WorkerIdentifier=worker: VeryOldLeases Count 3",
  ]);
});

test("kcl names: single calls are detailed, a processor's times are not, and steps of our own are nobody's", () => {
  const call = { operation: "ProcessTask", shardId: "s-0", durationMs: 8, success: false } as const;
  const read = { ...call, step: "KinesisDataFetcher.getRecords" };
  assert.deepEqual(lines(read, "summary"), []);
  assert.deepEqual(lines(read, "detailed"), [
    "ProcessTask ShardId=s-0: KinesisDataFetcher.getRecords.Success Count 0",
    "ProcessTask ShardId=s-0: KinesisDataFetcher.getRecords.Time Milliseconds 8",
  ]);
  const begin: OperationReport = {
    operation: "InitializeTask",
    step: "RecordProcessor.initialize",
    durationMs: 1,
    success: true,
  };
  assert.deepEqual(lines(begin, "summary"), [
    "InitializeTask: RecordProcessor.initialize.Time Milliseconds 1",
    "InitializeTask: Success Count 1",
    "InitializeTask: Time Milliseconds 1",
  ]);
  assert.deepEqual(
    lines({ operation: "TakeLeases", step: "GetLease", durationMs: 1, success: true }, "detailed"),
    [],
  );
});

test("kcl names: an expired iterator is counted without its shard", () => {
  assert.deepEqual(lines({ operation: "ProcessTask", data: { ExpiredIterator: 1 } }, "summary"), [
    "ProcessTask: ExpiredIterator Count 1",
  ]);
});

test("kcl names: a shard's end and what is missing of a merge are told without the shard, its checkpoint with it", () => {
  const end: OperationReport = { operation: "ShutdownTask", shardId: "s-0", durationMs: 6, success: true };
  assert.deepEqual(lines(end, "summary"), [
    "ShutdownTask: RecordProcessor.shutdown.Time Milliseconds 6",
    "ShutdownTask: Success Count 1",
    "ShutdownTask: Time Milliseconds 6",
  ]);
  const missing = { MissingMergeParent: 1, MissingMergeParentLease: 1 };
  assert.deepEqual(lines({ operation: "ShutdownTask", data: missing }, "summary"), [
    "ShutdownTask: MissingMergeParent Count 1",
    "ShutdownTask: MissingMergeParentLease Count 1",
  ]);
  assert.deepEqual(lines({ ...end, step: "UpdateLease" }, "detailed"), [
    "ShutdownTask ShardId=s-0: UpdateLease.Success Count 1",
    "ShutdownTask ShardId=s-0: UpdateLease.Time Milliseconds 6",
  ]);
});

test("kcl names: a sync of stream and table gives the task's result", () => {
  assert.deepEqual(lines({ operation: "ShardSyncTask", durationMs: 4, success: false }, "summary"), [
    "ShardSyncTask: Success Count 0",
    "ShardSyncTask: Time Milliseconds 4",
  ]);
});
