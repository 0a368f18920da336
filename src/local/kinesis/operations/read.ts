// Reading: GetShardIterator and GetRecords. A page is a few slices of the shard's log between a head and a
// tail, so that serving costs nothing per record.

import { Buffer } from "node:buffer";
import type { StreamReference } from "../account.ts";
import { rateExceeded } from "../errors.ts";
import { childShards, MAX_PAGE_RECORDS, readPage } from "../page.ts";
import { followIterator, issueIterator, readIterator } from "../shard-iterator.ts";
import { ordinalOfStart, START_TYPE, type StartType } from "../starting-position.ts";
import {
  EncodedAnswer,
  type Operation,
  required,
  SEQUENCE_NUMBER,
  SHARD_ID,
  STREAM,
  streamTarget,
} from "./operation.ts";

/** Most bytes of data and partition keys in a page: 10 MiB. */
const MAX_PAGE_BYTES = 10 * 1024 * 1024;
const HEAD = Buffer.from('{"Records":[');

type GetShardIteratorInput = StreamReference & {
  readonly ShardId: string;
  readonly ShardIteratorType: StartType;
  readonly StartingSequenceNumber?: string;
  readonly Timestamp?: number;
};

export const GetShardIterator: Operation<GetShardIteratorInput> = {
  shape: {
    ...STREAM,
    ShardId: required(SHARD_ID),
    ShardIteratorType: START_TYPE,
    StartingSequenceNumber: SEQUENCE_NUMBER,
    Timestamp: { type: "timestamp" },
  },
  target: (input, account) => ({ ...streamTarget(input, account), shardId: input.ShardId }),
  run(input, account) {
    const stream = account.findReady(input);
    const shard = stream.readableShard(input.ShardId, account.now());
    const { ShardIteratorType: type, StartingSequenceNumber: sequenceNumber, Timestamp: timestamp } = input;
    const ordinal = ordinalOfStart({ type, sequenceNumber, timestamp }, stream, shard, account);
    const { iteratorsPerSecond } = account.limits;
    const now = account.options.clock.monotonic();
    if (!shard.use.admits("iteratorsPerSecond", iteratorsPerSecond, now)) {
      throw rateExceeded(shard.shardId, stream.name, account.options.accountId);
    }
    shard.use.add("iteratorsPerSecond", iteratorsPerSecond, now, 1);
    return { ShardIterator: issueIterator(account, stream, shard, ordinal) };
  },
};

export const GetRecords: Operation<{ ShardIterator: string; Limit?: number; StreamARN?: string }> = {
  shape: {
    ShardIterator: { type: "string", required: true, min: 1, max: 512 },
    Limit: { type: "integer", min: 1, max: MAX_PAGE_RECORDS },
    StreamARN: STREAM.StreamARN!,
  },
  target: (input, account) => readIterator(account, input.ShardIterator),
  run(input, account) {
    const iterator = readIterator(account, input.ShardIterator);
    const { stream, shard } = followIterator(account, iterator);
    const { readsPerSecond, readBytesPerSecond } = account.limits;
    const clock = account.options.clock.monotonic();
    if (
      !shard.use.admits("readsPerSecond", readsPerSecond, clock) ||
      !shard.use.admits("readBytesPerSecond", readBytesPerSecond, clock)
    ) throw rateExceeded(shard.shardId, stream.name, account.options.accountId);
    const limit = input.Limit ?? MAX_PAGE_RECORDS;
    const page = readPage(account, shard, iterator.ordinal, limit, MAX_PAGE_BYTES);
    shard.use.add("readsPerSecond", readsPerSecond, clock, 1);
    shard.use.add("readBytesPerSecond", readBytesPerSecond, clock, page.bytes);
    const tail = JSON.stringify({
      ...(page.isAtEnd
        ? { ChildShards: childShards(shard) }
        : { NextShardIterator: issueIterator(account, stream, shard, page.next) }),
      MillisBehindLatest: page.millisBehindLatest,
    });
    return new EncodedAnswer([HEAD, ...page.chunks, Buffer.from(`],${tail.slice(1)}`)], page.records);
  },
};
