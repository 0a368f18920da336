// Where reading begins: the ordinal that a position means in a shard, or the service's refusal. Sequence numbers
// of other shards and streams are refused in the service's words; clients tell the cases apart by them.

import type { Account } from "./account.ts";
import { invalidArgument } from "./errors.ts";
import { type ParsedSequenceNumber, parseSequenceNumber } from "./sequence-number.ts";
import { type Shard, shardIdOf } from "./shard.ts";
import type { Stream } from "./stream.ts";
import type { Rule } from "./validation.ts";

/** The names of all positions. */
export type StartType =
  | "AT_SEQUENCE_NUMBER"
  | "AFTER_SEQUENCE_NUMBER"
  | "TRIM_HORIZON"
  | "LATEST"
  | "AT_TIMESTAMP";

/** A field that holds one of them. */
export const START_TYPE: Rule = {
  type: "string",
  required: true,
  values: ["AFTER_SEQUENCE_NUMBER", "LATEST", "AT_TIMESTAMP", "AT_SEQUENCE_NUMBER", "TRIM_HORIZON"],
};

/** A position, as GetShardIterator and SubscribeToShard both take it. */
export interface Start {
  readonly type: StartType;
  readonly sequenceNumber: string | undefined;
  /** Epoch seconds. */
  readonly timestamp: number | undefined;
}

/** The ordinal of the first record to read. @throws KinesisError InvalidArgumentException */
export function ordinalOfStart(start: Start, stream: Stream, shard: Shard, account: Account): number {
  const { type, sequenceNumber } = start;
  const needsNumber = type === "AT_SEQUENCE_NUMBER" || type === "AFTER_SEQUENCE_NUMBER";
  if (needsNumber !== (sequenceNumber !== undefined)) {
    throw invalidArgument(
      "Must either specify (1) AT_SEQUENCE_NUMBER or AFTER_SEQUENCE_NUMBER and StartingSequenceNumber or (2) " +
        `TRIM_HORIZON or LATEST and no StartingSequenceNumber. Request specified ${type} and ` +
        (sequenceNumber === undefined ? "no StartingSequenceNumber." : "also a StartingSequenceNumber."),
    );
  }
  if (sequenceNumber !== undefined) {
    const { ordinal, isContinuation } = placeOf(sequenceNumber, stream, shard);
    return type === "AT_SEQUENCE_NUMBER" && !isContinuation ? ordinal : ordinal + 1;
  }
  if (type === "TRIM_HORIZON") return shard.log.first;
  if (type === "LATEST") return shard.log.next;
  return shard.log.seekTime(timeOf(start.timestamp, account));
}

function timeOf(timestamp: number | undefined, account: Account): number {
  if (timestamp === undefined) {
    throw invalidArgument(
      "Must specify timestampInMillis parameter for iterator of type AT_TIMESTAMP. Current request has no " +
        "timestamp parameter.",
    );
  }
  const time = Math.round(timestamp * 1000);
  if (time > account.now()) {
    throw invalidArgument(
      "The timestampInMillis parameter cannot be greater than the currentTimestampInMillis. timestampInMillis: " +
        `${time}, currentTimestampInMillis: ${account.now()}`,
    );
  }
  return time;
}

function placeOf(number: string, stream: Stream, shard: Shard): ParsedSequenceNumber {
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
  return parsed;
}
