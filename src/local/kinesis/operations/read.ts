// Reading: GetShardIterator and GetRecords. A page is a few slices of the shard's log between a head and a
// tail, so that serving costs nothing per record.

import { Buffer } from "node:buffer";
import type { Account, StreamReference } from "../account.ts";
import { invalidArgument, rateExceeded } from "../errors.ts";
import { parseSequenceNumber } from "../sequence-number.ts";
import { type Shard, shardIdOf } from "../shard.ts";
import { followIterator, issueIterator, readIterator } from "../shard-iterator.ts";
import type { Stream } from "../stream.ts";
import {
  EncodedAnswer,
  type Operation,
  required,
  SEQUENCE_NUMBER,
  SHARD_ID,
  STREAM,
  streamTarget,
} from "./operation.ts";
import { hashKeyRange } from "./shards.ts";

/** Most records in a page. */
const MAX_PAGE_RECORDS = 10_000;
/** Most bytes of data and partition keys in a page: 10 MiB. */
const MAX_PAGE_BYTES = 10 * 1024 * 1024;
const HEAD = Buffer.from('{"Records":[');

type GetShardIteratorInput = StreamReference & {
  readonly ShardId: string;
  readonly ShardIteratorType:
    | "AT_SEQUENCE_NUMBER"
    | "AFTER_SEQUENCE_NUMBER"
    | "TRIM_HORIZON"
    | "LATEST"
    | "AT_TIMESTAMP";
  readonly StartingSequenceNumber?: string;
  readonly Timestamp?: number;
};

export const GetShardIterator: Operation<GetShardIteratorInput> = {
  shape: {
    ...STREAM,
    ShardId: required(SHARD_ID),
    ShardIteratorType: {
      type: "string",
      required: true,
      values: ["AFTER_SEQUENCE_NUMBER", "LATEST", "AT_TIMESTAMP", "AT_SEQUENCE_NUMBER", "TRIM_HORIZON"],
    },
    StartingSequenceNumber: SEQUENCE_NUMBER,
    Timestamp: { type: "timestamp" },
  },
  target: (input, account) => ({ ...streamTarget(input, account), shardId: input.ShardId }),
  run(input, account) {
    const stream = account.findReady(input);
    const shard = stream.readableShard(input.ShardId, account.now());
    const ordinal = startOf(input, stream, shard, account);
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
    const page = shard.log.read(iterator.ordinal, input.Limit ?? MAX_PAGE_RECORDS, MAX_PAGE_BYTES);
    shard.use.add("readsPerSecond", readsPerSecond, clock, 1);
    shard.use.add("readBytesPerSecond", readBytesPerSecond, clock, page.bytes);
    const isAtTip = page.next >= shard.log.next;
    const isAtEnd = isAtTip && shard.closedAt !== undefined &&
      (page.records === 0 || !account.options.emptyPageAtShardEnd);
    const tail = JSON.stringify({
      ...(isAtEnd
        ? { ChildShards: shard.children.map(describeChild) }
        : { NextShardIterator: issueIterator(account, stream, shard, page.next) }),
      // At least 1 while there is more, even when all of it came in the same millisecond.
      MillisBehindLatest: isAtTip ? 0 : Math.max(1, account.now() - (page.arrivedAt ?? account.now())),
    });
    return new EncodedAnswer([HEAD, ...page.chunks, Buffer.from(`],${tail.slice(1)}`)], page.records);
  },
};

function startOf(input: GetShardIteratorInput, stream: Stream, shard: Shard, account: Account): number {
  const { ShardIteratorType: type, StartingSequenceNumber: number } = input;
  const needsNumber = type === "AT_SEQUENCE_NUMBER" || type === "AFTER_SEQUENCE_NUMBER";
  if (needsNumber !== (number !== undefined)) {
    throw invalidArgument(
      "Must either specify (1) AT_SEQUENCE_NUMBER or AFTER_SEQUENCE_NUMBER and StartingSequenceNumber or (2) " +
        `TRIM_HORIZON or LATEST and no StartingSequenceNumber. Request specified ${type} and ` +
        (number === undefined ? "no StartingSequenceNumber." : "also a StartingSequenceNumber."),
    );
  }
  if (number !== undefined) {
    const ordinal = ordinalOf(number, stream, shard);
    return type === "AT_SEQUENCE_NUMBER" ? ordinal : ordinal + 1;
  }
  if (type === "TRIM_HORIZON") return shard.log.first;
  if (type === "LATEST") return shard.log.next;
  if (input.Timestamp === undefined) {
    throw invalidArgument(
      "Must specify timestampInMillis parameter for iterator of type AT_TIMESTAMP. Current request has no " +
        "timestamp parameter.",
    );
  }
  const time = Math.round(input.Timestamp * 1000);
  if (time > account.now()) {
    throw invalidArgument(
      "The timestampInMillis parameter cannot be greater than the currentTimestampInMillis. timestampInMillis: " +
        `${time}, currentTimestampInMillis: ${account.now()}`,
    );
  }
  return shard.log.seekTime(time);
}

// Refuses numbers of other shards and streams as the service does; clients tell the cases apart by its words.
function ordinalOf(number: string, stream: Stream, shard: Shard): number {
  const parsed = parseSequenceNumber(number);
  const said =
    `StartingSequenceNumber ${number} used in GetShardIterator on shard ${shard.shardId} in stream ` +
    `${stream.name} under account ${stream.origin.accountId} is invalid`;
  if (!parsed) throw invalidArgument(`${said}.`);
  if (parsed.shardIndex !== shard.index) {
    throw invalidArgument(
      `Invalid StartingSequenceNumber. It encodes ${
        shardIdOf(parsed.shardIndex)
      }, while it was used in a call ` +
        `to a shard with ${shard.shardId}`,
    );
  }
  if (parsed.streamTag !== stream.origin.tag || parsed.createdSeconds !== shard.createdSeconds) {
    throw invalidArgument(`${said} because it did not come from this stream.`);
  }
  return parsed.ordinal;
}

function describeChild(child: Shard): object {
  return {
    HashKeyRange: hashKeyRange(child),
    ParentShards: child.parents.map((parent) => parent.shardId),
    ShardId: child.shardId,
  };
}
