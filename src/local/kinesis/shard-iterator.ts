// Shard iterators: a place in a shard (the ordinal of the next record) and when the token was made, for the
// service refuses those older than five minutes.

import { expiredIterator, invalidArgument, shardNotFound } from "./errors.ts";
import type { Account } from "./account.ts";
import type { Shard } from "./shard.ts";
import type { Stream } from "./stream.ts";

/** What an iterator says, before anybody looked whether its shard exists. */
export interface ShardIterator {
  readonly streamName: string;
  readonly streamTag: number;
  readonly shardId: string;
  readonly ordinal: number;
  /** Epoch milliseconds. */
  readonly createdAt: number;
}

/** A new iterator. */
export function issueIterator(account: Account, stream: Stream, shard: Shard, ordinal: number): string {
  return account.seal.seal([
    "iterator",
    stream.name,
    stream.origin.tag,
    shard.shardId,
    ordinal,
    account.now(),
  ]);
}

/** Reads an iterator. @throws KinesisError InvalidArgumentException */
export function readIterator(account: Account, token: string): ShardIterator {
  const [kind, streamName, streamTag, shardId, ordinal, createdAt] = account.seal.open(token) ?? [];
  if (kind !== "iterator" || !streamName || !shardId) throw invalidArgument("Invalid ShardIterator.");
  return {
    streamName,
    streamTag: Number(streamTag),
    shardId,
    ordinal: Number(ordinal),
    createdAt: Number(createdAt),
  };
}

/** The shard an iterator points into. @throws KinesisError ExpiredIteratorException, ResourceNotFoundException */
export function followIterator(account: Account, iterator: ShardIterator): { stream: Stream; shard: Shard } {
  const now = account.now();
  const { accountId, iteratorLifeMs } = account.options;
  if (now - iterator.createdAt > iteratorLifeMs) {
    throw expiredIterator(iterator.createdAt, now, iteratorLifeMs);
  }
  const stream = account.findReady({ StreamName: iterator.streamName });
  if (stream.origin.tag !== iterator.streamTag) {
    throw shardNotFound(iterator.shardId, iterator.streamName, accountId);
  }
  return { stream, shard: stream.readableShard(iterator.shardId, now) };
}
