// One stream: its shards and how they split, merge and close. Invariants: the open shards cover the whole
// hash range without overlap (unless a test closed one by hand); shard numbers are never used twice.

import { createHash } from "node:crypto";
import { FULL_HASH_RANGE } from "../../core/shard.ts";
import { invalidArgument, KinesisError, noSuchShard, notActive, shardNotFound } from "./errors.ts";
import type { Consumer } from "./consumer.ts";
import { equalStarts, targetStarts } from "./scaling.ts";
import { type EncodedRecord, Shard, shardIndexOf } from "./shard.ts";

const MAX_HASH = BigInt(FULL_HASH_RANGE.endingHashKey);
const HOUR_MS = 3_600_000;

/** What a new stream is made of. */
export interface StreamOrigin {
  readonly name: string;
  readonly arn: string;
  readonly accountId: string;
  readonly tag: number;
  readonly shardCount: number;
  readonly mode: "PROVISIONED" | "ON_DEMAND";
  /** Epoch milliseconds. */
  readonly createdAt: number;
  /** Epoch seconds, whole: what DescribeStream tells. */
  readonly creationTimestamp: number;
  readonly activeAt: number;
  readonly maxRecordBytes: number;
  readonly retentionHours: number;
}

/** CREATING, ACTIVE, UPDATING or DELETING. */
export type StreamStatus = "CREATING" | "ACTIVE" | "UPDATING" | "DELETING";

/** A data stream. */
export class Stream {
  readonly origin: StreamOrigin;
  readonly name: string;
  /** By shard number, closed ones included. */
  readonly shards: Shard[] = [];
  /** By name, those that are being deregistered included. */
  readonly consumers = new Map<string, Consumer>();
  /** When each name was last registered, epoch seconds. */
  readonly consumersCreated = new Map<string, number>();
  retentionHours: number;
  maxRecordBytes: number;
  encryptionType: "NONE" | "KMS" = "NONE";
  keyId: string | undefined;
  /** When a change that is going on ends, epoch ms. */
  #updatingUntil = 0;
  /** When a deletion that is going on ends, epoch ms. */
  deletedAt: number | undefined;
  #open: Shard[] | undefined;

  constructor(origin: StreamOrigin) {
    this.origin = origin;
    this.name = origin.name;
    this.retentionHours = origin.retentionHours;
    this.maxRecordBytes = origin.maxRecordBytes;
    const starts = equalStarts(origin.shardCount, MAX_HASH);
    for (const [i, start] of starts.entries()) {
      this.#addShard(start, (starts[i + 1] ?? MAX_HASH + 1n) - 1n, [], origin.createdAt);
    }
  }

  status(now: number): StreamStatus {
    if (this.deletedAt !== undefined) return "DELETING";
    if (now < this.origin.activeAt) return "CREATING";
    return now < this.#updatingUntil ? "UPDATING" : "ACTIVE";
  }

  /** The oldest moment that can be read, epoch ms. */
  trimHorizon(now: number): number {
    return Math.max(this.origin.createdAt, now - this.retentionHours * HOUR_MS);
  }

  /** Open shards in order of their hash ranges. */
  get openShards(): readonly Shard[] {
    return this.#open ??= this.shards.filter((shard) => shard.closedAt === undefined)
      .sort((a, b) => a.firstHash < b.firstHash ? -1 : 1);
  }

  /** Shards that are still listed: closed ones vanish when their last record has expired. */
  listedShards(now: number): Shard[] {
    const expired = now - this.retentionHours * HOUR_MS;
    return this.shards.filter((shard) => shard.closedAt === undefined || shard.closedAt >= expired);
  }

  /** A shard that can be read. @throws KinesisError ResourceNotFoundException */
  readableShard(shardId: string, now: number): Shard {
    const shard = this.shards[shardIndexOf(shardId) ?? -1];
    const expired = now - this.retentionHours * HOUR_MS;
    if (!shard || (shard.closedAt !== undefined && shard.closedAt < expired)) {
      throw shardNotFound(shardId, this.name, this.origin.accountId);
    }
    shard.log.trim(shard.log.seekTime(expired));
    return shard;
  }

  /** The open shard of a key; `explicitHashKey` (decimal) takes the place of the key's MD5. */
  shardFor(partitionKey: string, explicitHashKey: string | undefined): Shard {
    const open = this.openShards;
    const hash = explicitHashKey === undefined ? hashOf(partitionKey) : BigInt(explicitHashKey);
    if (hash > MAX_HASH) {
      throw invalidArgument(
        "Invalid ExplicitHashKey. ExplicitHashKey must be in the range: [0, 2^128-1]. Specified value was " +
          explicitHashKey,
      );
    }
    let low = 0;
    let high = open.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (open[middle]!.lastHash < hash) low = middle + 1;
      else high = middle;
    }
    const shard = open[low];
    if (!shard || shard.firstHash > hash) {
      throw invalidArgument(
        `No open shard of stream ${this.name} covers hash key ${hash}: it was closed by hand.`,
      );
    }
    return shard;
  }

  /** Stores a record; its arrival decides its encryption as the stream stands now. */
  append(shard: Shard, record: Omit<EncodedRecord, "encryptionType">): string {
    return shard.append({ ...record, encryptionType: this.encryptionType });
  }

  /** Splits a shard at a hash key (default: its middle) and gives the two children. */
  split(
    shardId: string,
    newStartingHashKey: string | undefined,
    now: number,
    takesMs: number,
  ): [Shard, Shard] {
    this.requireActive(now);
    const shard = this.#changeable(shardId);
    const key = newStartingHashKey === undefined
      ? (shard.firstHash + shard.lastHash + 1n) / 2n
      : BigInt(newStartingHashKey);
    if (key <= shard.firstHash + 1n || key >= shard.lastHash) {
      throw invalidArgument(
        `NewStartingHashKey ${key} used in SplitShard() on shard ${shard.shardId} in stream ${this.name} under ` +
          `account ${this.origin.accountId} is not both greater than one plus the shard's StartingHashKey ` +
          `${shard.firstHash} and less than the shard's EndingHashKey ${shard.lastHash}.`,
      );
    }
    this.#updatingUntil = now + takesMs;
    return this.#divide(shard, key, now);
  }

  /** Merges two adjacent shards and gives the child. */
  merge(shardId: string, adjacentShardId: string, now: number, takesMs: number): Shard {
    this.requireActive(now);
    const shard = this.#changeable(shardId);
    const adjacent = this.#changeable(adjacentShardId);
    const [lower, upper] = shard.firstHash < adjacent.firstHash ? [shard, adjacent] : [adjacent, shard];
    if (lower.lastHash + 1n !== upper.firstHash) {
      throw invalidArgument(
        `Shards ${shard.shardId} and ${adjacent.shardId} in stream ${this.name} under account ` +
          `${this.origin.accountId} are not an adjacent pair of shards eligible for merging`,
      );
    }
    this.#updatingUntil = now + takesMs;
    return this.#unite(lower, upper, [shard, adjacent], now);
  }

  /** Splits and merges until there are `count` open shards of equal ranges. */
  rescale(count: number, now: number, takesMs: number): void {
    this.requireActive(now);
    this.#updatingUntil = now + takesMs;
    const starts = targetStarts(this.openShards, count, MAX_HASH);
    const wanted = new Set(starts);
    for (const shard of this.openShards) {
      let rest = shard;
      for (const start of starts) {
        if (start > rest.firstHash && start <= rest.lastHash) rest = this.#divide(rest, start, now)[1];
      }
    }
    let last: Shard | undefined;
    for (const shard of this.openShards) {
      last = last && !wanted.has(shard.firstHash) ? this.#unite(last, shard, [last, shard], now) : shard;
    }
  }

  /** Ends a shard without children. */
  close(shardId: string, now: number): void {
    const shard = this.#changeable(shardId);
    shard.close(now);
    this.#open = undefined;
    shard.wakeWatchers();
  }

  /** @throws KinesisError ResourceInUseException while the stream is created, changed or deleted */
  requireActive(now: number): void {
    const status = this.status(now);
    if (status !== "ACTIVE") throw notActive(this.name, status, this.origin.accountId);
  }

  #divide(shard: Shard, key: bigint, now: number): [Shard, Shard] {
    const at = changeTime([shard], now);
    shard.close(at);
    const lower = this.#addShard(shard.firstHash, key - 1n, [shard], at);
    const upper = this.#addShard(key, shard.lastHash, [shard], at);
    shard.wakeWatchers();
    return [lower, upper];
  }

  // `parents` are both, in the order in which the child shall name them.
  #unite(lower: Shard, upper: Shard, parents: readonly Shard[], now: number): Shard {
    const at = changeTime(parents, now);
    for (const parent of parents) parent.close(at);
    const child = this.#addShard(lower.firstHash, upper.lastHash, parents, at);
    for (const parent of parents) parent.wakeWatchers();
    return child;
  }

  #changeable(shardId: string): Shard {
    const shard = this.shards[shardIndexOf(shardId) ?? -1];
    if (!shard) throw noSuchShard(shardId, this.name, this.origin.accountId);
    if (shard.closedAt !== undefined) {
      throw new KinesisError(
        "ResourceInUseException",
        `Shard ${shard.shardId} in stream ${this.name} under account ${this.origin.accountId} is closed`,
      );
    }
    return shard;
  }

  #addShard(firstHash: bigint, lastHash: bigint, parents: readonly Shard[], createdAt: number): Shard {
    const shard = new Shard({
      index: this.shards.length,
      streamTag: this.origin.tag,
      firstHash,
      lastHash,
      parents,
      createdAt,
    });
    this.shards.push(shard);
    for (const parent of parents) parent.children.push(shard);
    this.#open = undefined;
    return shard;
  }
}

// No shard ends in the millisecond of its creation: else time filters could not tell parents from children.
function changeTime(parents: readonly Shard[], now: number): number {
  return Math.max(now, ...parents.map((parent) => parent.createdAt + 1));
}

function hashOf(partitionKey: string): bigint {
  return BigInt("0x" + createHash("md5").update(partitionKey, "utf8").digest("hex"));
}
