// The lease table, and the way of one process to it. The rows and their conditional writes are the product's own memory
// store; around it: who wrote what and when it was sent, older versions for eventually consistent scans, pages of scans
// that are read one after the other, and a line that delays and loses.

import type { Clock } from "../../src/core/clock.ts";
import { ConnectorError } from "../../src/core/errors.ts";
import { MemoryLeaseStore, MemoryLeaseTable } from "../../src/leases/memory.ts";
import { fromItem, type LeaseItem } from "../../src/leases/row.ts";
import { type ScanPage, scanPages } from "../../src/leases/scan-pages.ts";
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
  /** Every key that ever was, in the order of scans. */
  readonly #keys: string[] = [];
  readonly #salt: number;

  /** @param salt makes the order of scans, which has nothing to do with that of creation */
  constructor(timeline: Timeline, salt: number) {
    this.#timeline = timeline;
    this.#salt = salt;
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
      const versions = this.#history.get(key) ?? this.#newKey(key);
      versions.push({ at: this.#timeline.now, item: after });
      if (versions.length > 20) versions.shift();
      const lease = (item: LeaseItem | undefined) => item && fromItem(item, TABLE_NAME);
      this.onWrite({ worker, sentAt, key, before: lease(before), after: lease(after) });
    }
    return result;
  }

  /** A row as it was some time ago. */
  #past(key: string, lagMs: number): Lease | undefined {
    const at = this.#timeline.now - lagMs;
    const item = this.#history.get(key)?.findLast((version) => version.at <= at)?.item;
    return item && fromItem(item, TABLE_NAME);
  }

  /**
   * The rows that a scan reads at once: those behind a key, a few at most. Like DynamoDB's, a full page leads on, even
   * when it holds the last row.
   * @param lagMs how far behind each row may be
   */
  page(after: string | undefined, limit: number, lagMs: () => number): ScanPage<string> {
    const leases: Lease[] = [];
    let at = after === undefined ? 0 : this.#keys.indexOf(after) + 1;
    while (at < this.#keys.length && leases.length < limit) {
      const key = this.#keys[at++]!;
      const lag = lagMs();
      const row = lag === 0 ? this.row(key) : this.#past(key, lag);
      if (row !== undefined) leases.push(row);
    }
    return { leases, foreignItems: 0, next: leases.length < limit ? undefined : this.#keys[at - 1] };
  }

  #newKey(key: string): Version[] {
    const versions: Version[] = [];
    this.#history.set(key, versions);
    this.#keys.push(key);
    const places = new Map(this.#keys.map((one) => [one, hash(one, this.#salt)]));
    this.#keys.sort((a, b) => places.get(a)! - places.get(b)!);
    return versions;
  }
}

/** Some number for a key, like one that says in which partition it is (FNV-1a, mixed). */
function hash(key: string, salt: number): number {
  let sum = salt;
  for (let i = 0; i < key.length; i++) sum = Math.imul(sum ^ key.charCodeAt(i), 0x01000193);
  return Math.imul(sum ^ (sum >>> 15), 0x2c1b3c6d) >>> 0;
}

export const TABLE_NAME = "leases";

/** What a {@link SimStore} is made of. */
export interface SimStoreOptions {
  readonly table: SimTable;
  readonly timeline: Timeline;
  readonly chance: Chance;
  /** The worker's. */
  readonly clock: Clock;
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

  scan({ consistent = false, cursor, signal }: ScanOptions = {}): Promise<LeaseScan> {
    const { table, chance, clock } = this.#options;
    const limit = chance.pick(
      () => Infinity,
      () => 1,
      () => 1 + chance.int(3),
    );
    const lagMs = () => consistent || chance.percent(80) ? 0 : chance.int(1_000);
    return scanPages<string>(
      (after) => this.#read("Scan", after, () => table.page(after, limit(), lagMs), signal),
      clock,
      cursor,
    );
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
