// A lease table in this process: for trials, backfills and tests. It holds the same items and applies the same
// conditional writes as DynamoDB does, so that the decisions above it cannot tell them apart.

import { applyItemChange, fromItem, type LeaseItem, toItem, toItemChange, toMetaChange } from "./row.ts";
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

/** The rows; one table may be shared by several stores, as one DynamoDB table is by several workers. */
export class MemoryLeaseTable {
  /** By `leaseKey`. */
  readonly items: Map<string, LeaseItem> = new Map();
  /** Whether a store has opened it. */
  exists = false;
}

/** {@link LeaseStore} over a {@link MemoryLeaseTable}; a new one unless given. */
export class MemoryLeaseStore implements LeaseStore {
  readonly tableName: string;
  readonly #table: MemoryLeaseTable;

  constructor(table: MemoryLeaseTable = new MemoryLeaseTable(), tableName = "memory") {
    this.#table = table;
    this.tableName = tableName;
  }

  // Every method reads and writes between two awaits, so each is atomic.

  // deno-lint-ignore require-await
  async open(_signal?: AbortSignal): Promise<"created" | "existed"> {
    if (this.#table.exists) return "existed";
    this.#table.exists = true;
    return "created";
  }

  // deno-lint-ignore require-await
  async scan(_options?: ScanOptions): Promise<LeaseScan> {
    const items = [...this.#table.items.values()];
    const leases = items.map((item) => fromItem(item, this.tableName)).filter((lease) => lease !== undefined);
    return { leases, foreignItems: items.length - leases.length };
  }

  // deno-lint-ignore require-await
  async get(leaseKey: string): Promise<Lease | undefined> {
    const item = this.#table.items.get(leaseKey);
    return item && fromItem(item, this.tableName);
  }

  // deno-lint-ignore require-await
  async create(lease: Lease): Promise<boolean> {
    if (this.#table.items.has(lease.leaseKey)) return false;
    this.#table.items.set(lease.leaseKey, toItem(lease));
    return true;
  }

  // deno-lint-ignore require-await
  async update(leaseKey: string, expectedCounter: number, change: LeaseChange): Promise<WriteResult> {
    const item = this.#table.items.get(leaseKey);
    if (item?.["leaseCounter"]?.N !== String(expectedCounter)) return { done: false };
    const handing = item["checkpointOwner"]?.S;
    const { checkpointOwner, whileCheckpointOwner } = change;
    if (checkpointOwner !== null || whileCheckpointOwner !== undefined) {
      if (handing !== whileCheckpointOwner) return { done: false };
    }
    const next = applyItemChange(item, toItemChange(change, expectedCounter));
    this.#table.items.set(leaseKey, next);
    const lease = fromItem(next, this.tableName);
    return lease === undefined ? { done: false } : { done: true, lease };
  }

  // deno-lint-ignore require-await
  async delete(leaseKey: string, expectedCounter: number): Promise<boolean> {
    const item = this.#table.items.get(leaseKey);
    if (item !== undefined && item["leaseCounter"]?.N !== String(expectedCounter)) return false;
    this.#table.items.delete(leaseKey);
    return true;
  }

  // deno-lint-ignore require-await
  async setMeta(leaseKey: string, meta: LeaseMeta): Promise<void> {
    const item = this.#table.items.get(leaseKey);
    const change = toMetaChange(meta);
    if (item === undefined || change === undefined) return;
    this.#table.items.set(leaseKey, applyItemChange(item, change));
  }

  // deno-lint-ignore require-await
  async tableState(tableName: string): Promise<"missing" | "empty" | "used"> {
    if (tableName !== this.tableName || !this.#table.exists) return "missing";
    return this.#table.items.size === 0 ? "empty" : "used";
  }

  // deno-lint-ignore require-await
  async clientVersion(): Promise<ClientVersion> {
    return { known: true, version: this.#table.items.get("Migration3.0")?.["cv"]?.S };
  }

  async close(): Promise<void> {}
}
