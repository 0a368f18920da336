// What GetRecords and SubscribeToShard have in common: a slice of a shard's log, whether the shard ends with it,
// and how far behind the tip it leaves the reader.

import type { Account } from "./account.ts";
import type { LogPage } from "./record-log.ts";
import type { Shard } from "./shard.ts";

/** Most records in a page or event. */
export const MAX_PAGE_RECORDS = 10_000;

/** A page of a shard. */
export interface ShardPage extends LogPage {
  /** Nothing comes after it, now and ever. */
  readonly isAtEnd: boolean;
  /** 0 at the tip, else at least 1. */
  readonly millisBehindLatest: number;
}

/** The records from an ordinal on, within both limits; at least one if there is one. */
export function readPage(
  account: Account,
  shard: Shard,
  from: number,
  maxRecords: number,
  maxBytes: number,
): ShardPage {
  const page = shard.log.read(from, maxRecords, maxBytes);
  const isAtTip = page.next >= shard.log.next;
  const now = account.now();
  return {
    ...page,
    isAtEnd: isAtTip && shard.closedAt !== undefined &&
      (page.records === 0 || !account.options.emptyPageAtShardEnd),
    // At least 1 while there is more, even when all of it came in the same millisecond.
    millisBehindLatest: isAtTip ? 0 : Math.max(1, now - (page.arrivedAt ?? now)),
  };
}

/** ChildShards of the page that ends a shard. */
export function childShards(shard: Shard): object[] {
  return shard.children.map((child) => ({
    HashKeyRange: { StartingHashKey: String(child.firstHash), EndingHashKey: String(child.lastHash) },
    ParentShards: child.parents.map((parent) => parent.shardId),
    ShardId: child.shardId,
  }));
}
