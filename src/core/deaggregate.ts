// Takes KPL aggregates apart: Kinesis records in, user records out, in shard order. Keeps two promises: every
// Kinesis record is seen in the result (as records, or as skipped), so a position can pass it; and bytes that are no
// valid aggregate come out as they went in.

import { type Aggregate, looksAggregated, readAggregate } from "./aggregate.ts";
import { type HashFilter, hashFilter } from "./hash-range.ts";
import type { Position } from "./position.ts";
import type { RawRecord, UserRecord } from "./record.ts";
import type { HashKeyRange } from "./shard.ts";

/**
 * A Kinesis record of which nothing is to be published. It is finished as soon as all before it is: a tracker adds
 * its position as a record with no messages, between `records[before - 1]` and `records[before]`.
 */
export interface SkippedRecord extends Position {
  /** That of the last encoded user record; 0 when there is none. */
  readonly subSequenceNumber: number;
  /** How many of the page's user records come before it. */
  readonly before: number;
  /** How many user records are encoded in it; ordinals of effectively-once count them. */
  readonly encoded: number;
  /** `outside-range`: its producer knew an old shard map and sends its records again; `empty`: it holds none. */
  readonly reason: "outside-range" | "empty";
}

/** A page taken apart. */
export interface Deaggregated {
  /** User records in shard order. The very array that was given, when it needed no work. */
  readonly records: readonly UserRecord[];
  /** In shard order, nearly always empty. */
  readonly skipped: readonly SkippedRecord[];
  /**
   * User records whose aggregate names a partition key or hash key that it does not hold. The KCL loses them and
   * all behind them; here they carry the partition key of their Kinesis record. To be told to the operator.
   */
  readonly misindexed: number;
}

const NONE: readonly SkippedRecord[] = [];

/**
 * The user records of a page, and the aggregates that were skipped: an aggregate with any user record whose hash key
 * lies outside of the shard's `range` is skipped as a whole, as in the KCL (unknown range: FULL_HASH_RANGE).
 * A damaged aggregate passes as one plain record. Data are views. Never throws.
 */
export function deaggregate(records: readonly RawRecord[], range: HashKeyRange): Deaggregated {
  for (let index = 0; index < records.length; index++) {
    const record = records[index]!;
    if (record.last !== true || looksAggregated(record.data)) return takeApart(records, range, index);
  }
  return { records: records as readonly UserRecord[], skipped: NONE, misindexed: 0 };
}

/** As above, where all records before `start` are plain and complete. */
function takeApart(raw: readonly RawRecord[], range: HashKeyRange, start: number): Deaggregated {
  const records = raw.slice(0, start) as UserRecord[];
  let skipped: SkippedRecord[] | undefined;
  let misindexed = 0;
  for (let index = start; index < raw.length; index++) {
    const record = raw[index]!;
    const aggregate = readAggregate(record.data);
    if (aggregate === undefined) {
      records.push(asUserRecord(record));
      continue;
    }
    const before = records.length;
    misindexed += expand(record, aggregate, hashFilter(range), records);
    if (records.length > before) continue;
    const encoded = aggregate.entries.length;
    skipped ??= [];
    skipped.push({
      sequenceNumber: record.sequenceNumber,
      subSequenceNumber: Math.max(encoded - 1, 0),
      before,
      encoded,
      reason: encoded === 0 ? "empty" : "outside-range",
    });
  }
  return { records, skipped: skipped ?? NONE, misindexed };
}

function asUserRecord(record: RawRecord): UserRecord {
  if (record.last === true) return record as UserRecord;
  return userRecord(record, record.partitionKey, record.data, 0, true);
}

function userRecord(
  container: RawRecord,
  partitionKey: string,
  data: Uint8Array,
  subSequenceNumber: number,
  last: boolean,
): UserRecord {
  return {
    data,
    partitionKey,
    sequenceNumber: container.sequenceNumber,
    approximateArrivalTimestamp: container.approximateArrivalTimestamp,
    encryptionType: container.encryptionType,
    subSequenceNumber,
    last,
  };
}

/**
 * Appends the user records of one aggregate, or none when one is outside of the range.
 * Returns how many had an index without an entry.
 */
function expand(
  container: RawRecord,
  { partitionKeys, explicitHashKeys, entries }: Aggregate,
  filter: HashFilter | undefined,
  into: UserRecord[],
): number {
  const before = into.length;
  let misindexed = 0;
  // The key that was judged last: producers write records of one key in runs.
  let judgedKey = -1;
  for (let sub = 0; sub < entries.length; sub++) {
    const entry = entries[sub]!;
    const partitionKey = partitionKeys[entry.partitionKeyIndex];
    const explicit = entry.explicitHashKeyIndex;
    const explicitHashKey = explicit < 0 ? undefined : explicitHashKeys[explicit];
    if (partitionKey === undefined || (explicit >= 0 && explicitHashKey === undefined)) {
      misindexed++;
    } else if (filter !== undefined && explicitHashKey !== undefined) {
      if (filter.holdsHashKey(explicitHashKey) === false) return withdraw(into, before);
    } else if (filter !== undefined && judgedKey !== entry.partitionKeyIndex) {
      if (!filter.holdsPartitionKey(partitionKey)) return withdraw(into, before);
      judgedKey = entry.partitionKeyIndex;
    }
    const last = sub === entries.length - 1;
    into.push(userRecord(container, partitionKey ?? container.partitionKey, entry.data, sub, last));
  }
  return misindexed;
}

function withdraw(into: UserRecord[], length: number): number {
  into.length = length;
  return 0;
}
