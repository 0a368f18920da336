// A lease row as the table holds it: KCL 2.6.0's attributes with its types (kcl-compat §2.2; `parentShardId` is a
// string SET), ours beside them. Both stores read and write through here; attributes we do not know are never touched.

import { ConnectorError } from "../core/errors.ts";
import { isCheckpoint } from "../core/position.ts";
import { GENERATION_ATTRIBUTES, generationItem, readGeneration } from "./generation-row.ts";
import type { Lease, LeaseChange, LeaseMeta } from "./store.ts";

/** One attribute in DynamoDB's JSON form; other types may stand in a row but are not ours. */
export type Attribute =
  & Readonly<Record<string, unknown>>
  & {
    readonly S?: string;
    readonly N?: string;
    readonly SS?: readonly string[];
    readonly BOOL?: boolean;
    readonly M?: Readonly<Record<string, Attribute>>;
  };

/** A row: attribute name → value. */
export type LeaseItem = Readonly<Record<string, Attribute>>;

/** A change in terms of attributes: what to set, what to remove, what to count up by one. */
export interface ItemChange {
  readonly set: LeaseItem;
  readonly remove: readonly string[];
  readonly increment: readonly string[];
}

const PENDING_CHECKPOINT = [
  "pendingCheckpoint",
  "pendingCheckpointSubSequenceNumber",
  "pendingCheckpointState",
];

const string = (value: string): Attribute => ({ S: value });
const number = (value: number): Attribute => ({ N: String(value) });
const set = (values: readonly string[]): Attribute => ({ SS: values });

/** The full row of a new lease. Empty sets and absent values are omitted: DynamoDB stores neither. */
export function toItem(lease: Lease): LeaseItem {
  const item: Record<string, Attribute> = {
    leaseKey: string(lease.leaseKey),
    leaseCounter: number(lease.leaseCounter),
    ownerSwitchesSinceCheckpoint: number(lease.ownerSwitchesSinceCheckpoint),
    checkpoint: string(lease.checkpoint.sequenceNumber),
    checkpointSubSequenceNumber: number(lease.checkpoint.subSequenceNumber),
  };
  if (lease.leaseOwner !== undefined) item["leaseOwner"] = string(lease.leaseOwner);
  if (lease.checkpointOwner !== undefined) item["checkpointOwner"] = string(lease.checkpointOwner);
  if (lease.parentShardIds.length > 0) item["parentShardId"] = set(lease.parentShardIds);
  if (lease.childShardIds.length > 0) item["childShardIds"] = set(lease.childShardIds);
  if (lease.startingHashKey !== undefined) item["startingHashKey"] = string(lease.startingHashKey);
  if (lease.endingHashKey !== undefined) item["endingHashKey"] = string(lease.endingHashKey);
  if (lease.streamArn !== undefined) item["streamArn"] = string(lease.streamArn);
  if (lease.streamCreatedAt !== undefined) item["streamCreatedAt"] = number(lease.streamCreatedAt);
  if (lease.startedAt !== undefined) item["startedAt"] = number(lease.startedAt);
  return typeof lease.generation === "object" ? { ...item, ...generationItem(lease.generation) } : item;
}

/**
 * The lease in a row, or `undefined` for an item of another kind (KCL 3.5 keeps its coordination in the same table).
 * @throws ConnectorError LEASE_TABLE_MISMATCH for a lease whose checkpoint nobody can read.
 */
export function fromItem(item: LeaseItem, tableName: string): Lease | undefined {
  const leaseKey = item["leaseKey"]?.S;
  const counter = item["leaseCounter"]?.N;
  const checkpoint = item["checkpoint"]?.S;
  const entityType = item["entityType"]?.S;
  if (entityType !== undefined && entityType !== "LEASE") return undefined;
  if (leaseKey === undefined || counter === undefined || checkpoint === undefined) return undefined;
  if (!isCheckpoint(checkpoint)) {
    throw new ConnectorError(
      `lease "${leaseKey}" in table "${tableName}" has the checkpoint "${checkpoint}", which is neither a sequence ` +
        "number nor TRIM_HORIZON, LATEST, AT_TIMESTAMP or SHARD_END; correct or delete that row",
      { code: "LEASE_TABLE_MISMATCH", where: { table: tableName, shardId: leaseKey } },
    );
  }
  return {
    leaseKey,
    leaseOwner: item["leaseOwner"]?.S,
    leaseCounter: Number(counter),
    ownerSwitchesSinceCheckpoint: Number(item["ownerSwitchesSinceCheckpoint"]?.N ?? 0),
    checkpoint: {
      sequenceNumber: checkpoint,
      subSequenceNumber: Number(item["checkpointSubSequenceNumber"]?.N ?? 0),
    },
    parentShardIds: item["parentShardId"]?.SS ?? [],
    childShardIds: item["childShardIds"]?.SS ?? [],
    checkpointOwner: item["checkpointOwner"]?.S,
    streamArn: item["streamArn"]?.S,
    streamCreatedAt: optionalNumber(item["streamCreatedAt"]),
    startedAt: optionalNumber(item["startedAt"]),
    ...optionalGeneration(item),
    ...hashRange(item),
  };
}

/** What a conditional write does to a row whose counter is `expectedCounter`. */
export function toItemChange(change: LeaseChange, expectedCounter: number): ItemChange {
  const sets: Record<string, Attribute> = { leaseCounter: number(expectedCounter + 1) };
  const remove: string[] = [];
  const increment: string[] = [];
  const put = (name: string, value: Attribute | null | undefined) => {
    if (value === null) remove.push(name);
    else if (value !== undefined) sets[name] = value;
  };
  put("leaseOwner", optional(change.leaseOwner, string));
  put("startedAt", optional(change.startedAt, number));
  put("streamArn", optional(change.streamArn, string));
  put("streamCreatedAt", optional(change.streamCreatedAt, number));
  put("checkpointOwner", change.checkpointOwner);
  if (change.generation === null) remove.push(...GENERATION_ATTRIBUTES);
  else if (change.generation !== undefined) Object.assign(sets, generationItem(change.generation));
  if (change.checkpoint !== undefined) {
    sets["checkpoint"] = string(change.checkpoint.sequenceNumber);
    sets["checkpointSubSequenceNumber"] = number(change.checkpoint.subSequenceNumber);
    sets["ownerSwitchesSinceCheckpoint"] = number(0);
    remove.push(...PENDING_CHECKPOINT);
  } else if (change.ownerSwitched) {
    increment.push("ownerSwitchesSinceCheckpoint");
  }
  if (change.childShardIds !== undefined && change.childShardIds.length > 0) {
    sets["childShardIds"] = set(change.childShardIds);
  }
  return { set: sets, remove, increment };
}

/** What of a meta update can be stored (an empty set cannot), or `undefined` for nothing. */
export function toMetaChange(meta: LeaseMeta): ItemChange | undefined {
  const sets: Record<string, Attribute> = {};
  const { childShardIds, startingHashKey, endingHashKey } = meta;
  if (childShardIds !== undefined && childShardIds.length > 0) sets["childShardIds"] = set(childShardIds);
  if (startingHashKey !== undefined) sets["startingHashKey"] = string(startingHashKey);
  if (endingHashKey !== undefined) sets["endingHashKey"] = string(endingHashKey);
  return Object.keys(sets).length === 0 ? undefined : { set: sets, remove: [], increment: [] };
}

/** The row after a change; the given one stays as it is. */
export function applyItemChange(item: LeaseItem, change: ItemChange): LeaseItem {
  const next: Record<string, Attribute> = { ...item, ...change.set };
  for (const name of change.remove) delete next[name];
  for (const name of change.increment) next[name] = number(Number(item[name]?.N ?? 0) + 1);
  return next;
}

function optional<T extends string | number>(
  value: T | null | undefined,
  make: (value: T) => Attribute,
): Attribute | null | undefined {
  return value === null || value === undefined ? value : make(value);
}

function optionalNumber(attribute: Attribute | undefined): number | undefined {
  return attribute?.N === undefined ? undefined : Number(attribute.N);
}

function optionalGeneration(item: LeaseItem): Pick<Lease, "generation"> {
  const generation = readGeneration(item);
  return generation === undefined ? {} : { generation };
}

function hashRange(item: LeaseItem): { startingHashKey: string; endingHashKey: string } | undefined {
  const startingHashKey = item["startingHashKey"]?.S;
  const endingHashKey = item["endingHashKey"]?.S;
  return startingHashKey === undefined || endingHashKey === undefined
    ? undefined
    : { startingHashKey, endingHashKey };
}
