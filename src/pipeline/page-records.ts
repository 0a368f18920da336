// What of a page is to be published: taken apart, without what an earlier run has finished, and not beyond the time
// of a bounded run. Skipped aggregates keep their place, so that a checkpoint can pass them.

import { deaggregate, type SkippedRecord } from "../core/deaggregate.ts";
import { comparePositions, type Position } from "../core/position.ts";
import type { RecordPage, UserRecord } from "../core/record.ts";
import type { HashKeyRange } from "../core/shard.ts";

/** The part of a page that is to be worked on. */
export interface PageRecords {
  readonly records: readonly UserRecord[];
  /** `encoded` counts those that are not done. */
  readonly skipped: readonly SkippedRecord[];
  /** Sum of the data of `records`. */
  readonly bytes: number;
  readonly misindexed: number;
  /** A record at or after the time of a bounded run stands here: it and all behind it are left alone. */
  readonly pastUntil: boolean;
}

/** The position of the first record that is not done, of those that are skipped too; undefined when there is none. */
export function firstPosition({ records, skipped }: PageRecords): Position | undefined {
  const [record] = records;
  const [pass] = skipped;
  if (pass === undefined || (record !== undefined && pass.before > 0)) {
    return record && { sequenceNumber: record.sequenceNumber, subSequenceNumber: record.subSequenceNumber };
  }
  const { sequenceNumber, subSequenceNumber, encoded } = pass;
  return { sequenceNumber, subSequenceNumber: Math.max(subSequenceNumber + 1 - encoded, 0) };
}

/** What decides. */
export interface PageFilter {
  readonly range: HashKeyRange;
  /** Records at or before it are done. */
  readonly resumeAfter: Position | undefined;
  /** Epoch milliseconds. */
  readonly until: number | undefined;
}

/** Applies the filter to a page. */
export function pageRecords(page: RecordPage, filter: PageFilter): PageRecords {
  const { until, resumeAfter } = filter;
  let raw = page.records;
  const end = until === undefined
    ? -1
    : raw.findIndex((record) => record.approximateArrivalTimestamp >= until);
  if (end !== -1) raw = raw.slice(0, end);
  const apart = deaggregate(raw, filter.range);
  let { records, skipped } = apart;
  if (resumeAfter !== undefined) {
    let done = records.findIndex((record) => comparePositions(record, resumeAfter) > 0);
    if (done === -1) done = records.length;
    records = records.slice(done);
    skipped = skipped.filter((one) => comparePositions(one, resumeAfter) > 0)
      .map((one) => ({ ...rest(one, resumeAfter), before: Math.max(0, one.before - done) }));
  }
  const whole = records.length === page.records.length && records === page.records;
  return {
    records,
    skipped,
    bytes: whole ? page.bytes : records.reduce((sum, record) => sum + record.data.length, 0),
    misindexed: apart.misindexed,
    pastUntil: end !== -1,
  };
}

/** Of an aggregate in whose middle an earlier run stopped, before its shard's range was known, only the rest counts. */
function rest(one: SkippedRecord, resumeAfter: Position): SkippedRecord {
  if (one.sequenceNumber !== resumeAfter.sequenceNumber) return one;
  return { ...one, encoded: Math.max(one.encoded - (resumeAfter.subSequenceNumber + 1), 0) };
}
