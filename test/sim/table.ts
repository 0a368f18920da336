// The lease table, and the way of one process to it. The rows and their conditional writes are the product's own memory
// store; around it: who wrote what and when it was sent, older versions for eventually consistent scans, and a line
// that delays and loses.

import { ConnectorError } from "../../src/core/errors.ts";
import { MemoryLeaseStore, MemoryLeaseTable } from "../../src/leases/memory.ts";
import { fromItem, type LeaseItem } from "../../src/leases/row.ts";
import type {
  ClientVersion,
  Lease,
  LeaseChange,
  LeaseMeta,
  LeaseScan,
  LeaseStore,
  ScanOptions,
  WriteResult,
} from "../../src/leases/store.ts";
import { leaseTimes } from "../../src/leases/times.ts";
import type { Chance } from "../chance.ts";
import type { Line } from "./line.ts";
import type { Timeline } from "./timeline.ts";

/** One write that changed a row. */
export interface RowWrite {
  readonly worker: string;
  /** Milliseconds of the timeline. */
  readonly sentAt: number;
  readonly key: string;
  readonly before: Lease | undefined;
  readonly after: Lease | undefined;
}

interface Version {
  readonly at: number;
  readonly item: LeaseItem | undefined;
}

/** All rows, with their past. */
export class SimTable {
  /** Told of each write, at the moment when it is applied. */
  onWrite: (write: RowWrite) => void = () => {};
  readonly rows = new MemoryLeaseTable();
  readonly store = new MemoryLeaseStore(this.rows, TABLE_NAME);
  readonly #timeline: Timeline;
  readonly #history = new Map<string, Version[]>();

  constructor(timeline: Timeline) {
    this.#timeline = timeline;
  }

  row(key: string): Lease | undefined {
    const item = this.rows.items.get(key);
    return item && fromItem(item, TABLE_NAME);
  }

  leases(): Lease[] {
    return [...this.rows.items.values()].map((item) => fromItem(item, TABLE_NAME)!);
  }

  /** Does something to one row and tells what it did. */
  write<T>(worker: string, sentAt: number, key: string, apply: () => Promise<T>): Promise<T> {
    const before = this.rows.items.get(key);
    const result = apply(); // the memory store acts at once
    const after = this.rows.items.get(key);
    if (before !== after) {
      const versions = this.#history.get(key) ?? [];
      this.#history.set(key, versions);
      versions.push({ at: this.#timeline.now, item: after });
      if (versions.length > 20) versions.shift();
      const lease = (item: LeaseItem | undefined) => item && fromItem(item, TABLE_NAME);
      this.onWrite({ worker, sentAt, key, before: lease(before), after: lease(after) });
    }
    return result;
  }

  /** A row as it was some time ago. */
  past(key: string, lagMs: number): Lease | undefined {
    const at = this.#timeline.now - lagMs;
    const item = this.#history.get(key)?.findLast((version) => version.at <= at)?.item;
    return item && fromItem(item, TABLE_NAME);
  }

  /** Every key that ever was. */
  keys(): Iterable<string> {
    return this.#history.keys();
  }
}

export const TABLE_NAME = "leases";

/** What a {@link SimStore} is made of. */
export interface SimStoreOptions {
  readonly table: SimTable;
  readonly timeline: Timeline;
  readonly chance: Chance;
  readonly line: Line;
  readonly worker: string;
  readonly failoverTimeMs: number;
}

/** {@link LeaseStore} over a {@link SimTable}. */
export class SimStore implements LeaseStore {
  readonly tableName = TABLE_NAME;
  readonly #options: SimStoreOptions;
  readonly #times: ReturnType<typeof leaseTimes>;

  constructor(options: SimStoreOptions) {
    this.#options = options;
    this.#times = leaseTimes(options.failoverTimeMs);
  }

  open(signal: AbortSignal): Promise<"created" | "existed"> {
    return this.#read("DescribeTable", undefined, () => this.#options.table.store.open(signal), signal);
  }

  scan(options: ScanOptions = {}): Promise<LeaseScan> {
    const { table, chance } = this.#options;
    return this.#read("Scan", undefined, () => {
      if (options.consistent === true) return { leases: table.leases(), foreignItems: 0 };
      const leases: Lease[] = [];
      for (const key of table.keys()) {
        const row = table.past(key, chance.percent(80) ? 0 : chance.int(1_000));
        if (row !== undefined) leases.push(row);
      }
      return { leases, foreignItems: 0 };
    }, options.signal);
  }

  get(leaseKey: string): Promise<Lease | undefined> {
    return this.#read("GetItem", leaseKey, () => this.#options.table.row(leaseKey));
  }

  create(lease: Lease): Promise<boolean> {
    return this.#write("PutItem", lease.leaseKey, (store) => store.create(lease));
  }

  update(leaseKey: string, expectedCounter: number, change: LeaseChange): Promise<WriteResult> {
    return this.#write("UpdateItem", leaseKey, (store) => store.update(leaseKey, expectedCounter, change));
  }

  delete(leaseKey: string, expectedCounter: number): Promise<boolean> {
    return this.#write("DeleteItem", leaseKey, (store) => store.delete(leaseKey, expectedCounter));
  }

  setMeta(leaseKey: string, meta: LeaseMeta): Promise<void> {
    return this.#write("UpdateItem", leaseKey, (store) => store.setMeta(leaseKey, meta));
  }

  tableState(tableName: string): Promise<"missing" | "empty" | "used"> {
    return this.#read("DescribeTable", undefined, () => this.#options.table.store.tableState(tableName));
  }

  clientVersion(): Promise<ClientVersion> {
    return this.#read("GetItem", "Migration3.0", () => this.#options.table.store.clientVersion());
  }

  close(): Promise<void> {
    return Promise.resolve();
  }

  #read<T>(
    operation: string,
    key: string | undefined,
    apply: () => T | Promise<T>,
    signal?: AbortSignal,
  ): Promise<T> {
    const call = { operation, key, timeoutMs: this.#times.callTimeoutMs, signal };
    return this.#options.line.call(call, apply) as Promise<T>;
  }

  #write<T>(operation: string, key: string, apply: (store: MemoryLeaseStore) => Promise<T>): Promise<T> {
    const { table, worker, timeline, line } = this.#options;
    const sentAt = timeline.now;
    const call = { operation, key, timeoutMs: this.#times.writeTimeoutMs };
    return line.call(call, () => table.write(worker, sentAt, key, () => apply(table.store))) as Promise<T>;
  }
}

/** DynamoDB does not answer. */
export function dynamoDbUnavailable(operation: string, leaseKey: string | undefined): ConnectorError {
  return new ConnectorError(`DynamoDB ${operation} got no answer`, {
    code: "AWS_UNAVAILABLE",
    retryable: true,
    where: { operation, shardId: leaseKey },
  });
}

/** DynamoDB asks to slow down. */
export function dynamoDbThrottled(operation: string, leaseKey: string | undefined): ConnectorError {
  return new ConnectorError(`DynamoDB ${operation} was throttled`, {
    code: "THROTTLED",
    retryable: true,
    where: { operation, shardId: leaseKey },
  });
}
