// A lease store that reports each call by the KCL's name for it (kcl-compat §7). Decides nothing: every call, result
// and failure passes as it is.

import type { Clock } from "../core/clock.ts";
import { measured, type OperationReport, type Telemetry } from "../core/telemetry.ts";
import type {
  ClientVersion,
  Lease,
  LeaseChange,
  LeaseMeta,
  LeaseScan,
  LeaseStore,
  ScanOptions,
  WriteResult,
} from "./store.ts";

/** What is needed to report. */
export interface MeasureScope {
  readonly telemetry: Telemetry;
  readonly clock: Clock;
}

/** The same store, reporting. */
export class MeasuredLeaseStore implements LeaseStore {
  readonly #store: LeaseStore;
  readonly #scope: MeasureScope;

  constructor(store: LeaseStore, scope: MeasureScope) {
    this.#store = store;
    this.#scope = scope;
  }

  get tableName(): string {
    return this.#store.tableName;
  }

  open(signal: AbortSignal): Promise<"created" | "existed"> {
    return this.#store.open(signal);
  }

  scan(options?: ScanOptions): Promise<LeaseScan> {
    return this.#measured({ operation: "TakeLeases", step: "ListLeases" }, () => this.#store.scan(options));
  }

  get(leaseKey: string): Promise<Lease | undefined> {
    return this.#measured({ operation: "TakeLeases", step: "GetLease" }, () => this.#store.get(leaseKey));
  }

  async create(lease: Lease): Promise<boolean> {
    const operation = "ShardSyncTask";
    const created = await this.#measured(
      { operation, step: "CreateLease" },
      () => this.#store.create(lease),
    );
    const { sequenceNumber } = lease.checkpoint;
    this.#scope.telemetry.report({ operation, step: `CreateLease_${sequenceNumber}`, success: created });
    return created;
  }

  update(leaseKey: string, expectedCounter: number, change: LeaseChange): Promise<WriteResult> {
    return this.#measured(
      stepOf(leaseKey, change),
      () => this.#store.update(leaseKey, expectedCounter, change),
    );
  }

  delete(leaseKey: string, expectedCounter: number): Promise<boolean> {
    const step = { operation: "ShutdownTask", step: "DeleteLease", shardId: leaseKey } as const;
    return this.#measured(step, () => this.#store.delete(leaseKey, expectedCounter));
  }

  setMeta(leaseKey: string, meta: LeaseMeta): Promise<void> {
    const step = { operation: "ShutdownTask", step: "UpdateLease", shardId: leaseKey } as const;
    return this.#measured(step, () => this.#store.setMeta(leaseKey, meta));
  }

  tableState(tableName: string): Promise<"missing" | "empty" | "used"> {
    return this.#store.tableState(tableName);
  }

  clientVersion(): Promise<ClientVersion> {
    return this.#store.clientVersion();
  }

  close(): Promise<void> {
    return this.#store.close();
  }

  #measured<T>(
    what: Pick<OperationReport, "operation" | "step" | "shardId">,
    call: () => Promise<T>,
  ): Promise<T> {
    return measured(this.#scope, what, call);
  }
}

/** The KCL counts a write under the operation that made it. */
function stepOf(
  shardId: string,
  change: LeaseChange,
): Pick<OperationReport, "operation" | "step" | "shardId"> {
  if (change.checkpoint !== undefined) {
    const isEnd = change.checkpoint.sequenceNumber === "SHARD_END";
    return { operation: isEnd ? "ShutdownTask" : "ProcessTask", step: "UpdateLease", shardId };
  }
  if (change.generation !== undefined) return { operation: "ProcessTask", step: "UpdateLease", shardId };
  if (change.leaseOwner === null) return { operation: "ShutdownTask", step: "EvictLease", shardId };
  if (change.leaseOwner !== undefined) return { operation: "TakeLeases", step: "TakeLease" };
  return { operation: "RenewAllLeases", step: "RenewLease" };
}
