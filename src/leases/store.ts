// The port between lease decisions and the table they live in. Implementations: dynamodb.ts, memory.ts; both pass
// the same tests. Every method is one attempt with a hard time-out; who retries is the caller's business.

import type { ConnectorError } from "../core/errors.ts";
import type { PulsarGeneration, StoredGeneration } from "../core/generation.ts";
import type { HashKeyRange } from "../core/shard.ts";
import type { Checkpoint } from "../core/position.ts";

/** A lease row: KCL 2.6.0's attributes and ours (`streamArn`, `streamCreatedAt`, `startedAt`, `pulsar…`). */
export interface Lease extends Partial<HashKeyRange> {
  /** The shard id. */
  readonly leaseKey: string;
  readonly leaseOwner?: string | undefined;
  readonly leaseCounter: number;
  readonly ownerSwitchesSinceCheckpoint: number;
  readonly checkpoint: Checkpoint;
  readonly parentShardIds: readonly string[];
  readonly childShardIds: readonly string[];
  /** A KCL 3.x graceful hand-over in progress: this worker still processes. */
  readonly checkpointOwner?: string | undefined;
  readonly streamArn?: string | undefined;
  /** Epoch milliseconds. */
  readonly streamCreatedAt?: number | undefined;
  /** Epoch milliseconds on Kinesis' clock: where a LATEST lease goes on before its first checkpoint. */
  readonly startedAt?: number | undefined;
  /** Effectively once: the numbering of the shard's messages. */
  readonly generation?: StoredGeneration;
}

/** Attributes that a conditional write sets (`null` removes); the counter always goes up by one. */
export interface LeaseChange {
  readonly leaseOwner?: string | null;
  /** ADD 1 to ownerSwitchesSinceCheckpoint: taken from another owner. */
  readonly ownerSwitched?: boolean;
  /** Also sets ownerSwitchesSinceCheckpoint to 0 and removes the pending checkpoint. */
  readonly checkpoint?: Checkpoint;
  readonly childShardIds?: readonly string[];
  readonly startedAt?: number | null;
  readonly streamArn?: string;
  readonly streamCreatedAt?: number;
  readonly checkpointOwner?: null;
  /**
   * No attribute but a condition: the row names this worker as `checkpointOwner`, because a KCL 3.x fleet has asked it
   * to hand over. Without it (and unless `checkpointOwner` is removed) no row is written that names one.
   */
  readonly whileCheckpointOwner?: string;
  /** All of its attributes at once. */
  readonly generation?: PulsarGeneration | null;
}

/** What may be learnt about a shard later than its row was made. */
export interface LeaseMeta extends Partial<HashKeyRange> {
  readonly childShardIds?: readonly string[] | undefined;
}

/** What a conditional write found. */
export type WriteResult =
  /** The row as it now stands (ALL_NEW). */
  | { readonly done: true; readonly lease: Lease }
  /** The counter was not the expected one, the row is gone, or a KCL 3.x hand-over has begun. */
  | { readonly done: false };

/**
 * What a KCL 3.x fleet says about itself (`cv` of its `Migration3.0` item): a version, `undefined` for no such item,
 * or the reason why it could not be read.
 */
export type ClientVersion =
  | { readonly known: true; readonly version: string | undefined }
  | { readonly known: false; readonly error: ConnectorError };

/** How to scan. */
export interface ScanOptions {
  readonly signal?: AbortSignal;
  /** Also sees what was written just before, at twice the price. @default false */
  readonly consistent?: boolean;
  /** Given again after a failure, the scan goes on where it stopped; see `resumableScan`. @default begin anew */
  readonly cursor?: ScanCursor;
}

/** Where a scan stands, from one attempt to the next. Made empty by who repeats it, one for each scan; kept by the store. */
export interface ScanCursor {
  /** What was read before an attempt failed. Stays when a later attempt succeeds: its rows are as old as that. */
  soFar?: ScanSoFar | undefined;
}

/** The pages that were read before one failed. */
export interface ScanSoFar extends LeaseScan {
  /** When the first page was asked for, monotonic milliseconds. */
  readonly startedAt: number;
  /** The store's own word for the page that failed. */
  readonly next: unknown;
}

/** All rows of a lease table. */
export interface LeaseScan {
  readonly leases: readonly Lease[];
  /** Items that are no leases (KCL 3.x's `entityType`, or lacking `leaseCounter`/`checkpoint`): ignored. */
  readonly foreignItems: number;
}

/** Adapter to a lease table. Rejects with ConnectorError (THROTTLED, AWS_UNAVAILABLE …). */
export interface LeaseStore {
  /** The table's name, for the log and for errors. */
  readonly tableName: string;
  /** Makes the table when it is missing; resolves when it can be used. */
  open(signal: AbortSignal): Promise<"created" | "existed">;
  /** All pages; eventually consistent (half the price) unless `consistent`. */
  scan(options?: ScanOptions): Promise<LeaseScan>;
  /** Consistent read. */
  get(leaseKey: string): Promise<Lease | undefined>;
  /** Writes a new row unless there is one; false = there was one. */
  create(lease: Lease): Promise<boolean>;
  /**
   * Conditional on `leaseCounter` = `expectedCounter` and, unless the change says otherwise, on no `checkpointOwner`;
   * the counter becomes expectedCounter + 1.
   */
  update(leaseKey: string, expectedCounter: number, change: LeaseChange): Promise<WriteResult>;
  /** Deletes a row on condition of its counter; false = it has another one. A row that is gone is deleted. */
  delete(leaseKey: string, expectedCounter: number): Promise<boolean>;
  /** Sets attributes of an existing row, counter untouched: its holder need not know. A row that is gone stays so. */
  setMeta(leaseKey: string, meta: LeaseMeta): Promise<void>;
  /** State of a table in the same account, which need not be this store's own. */
  tableState(tableName: string): Promise<"missing" | "empty" | "used">;
  /** Looks in `<table>-CoordinatorState`, then in the lease table itself. */
  clientVersion(): Promise<ClientVersion>;
  close(): Promise<void>;
}
