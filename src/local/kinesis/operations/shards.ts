// Operations on the shards of a stream: list, split, merge, update their count.

import type { Account, StreamReference } from "../account.ts";
import { invalidArgument, KinesisError, notActive, validationError } from "../errors.ts";
import type { Shard } from "../shard.ts";
import type { Stream } from "../stream.ts";
import { HASH_KEY, type Operation, required, SHARD_ID, STREAM, streamTarget } from "./operation.ts";

// The service's page tokens live 300 seconds.
const TOKEN_LIFE_MS = 300_000;

/** ListShards' filter; Timestamp in epoch seconds. */
export interface ShardFilter {
  readonly Type: keyof typeof FILTERS;
  readonly ShardId?: string;
  readonly Timestamp?: number;
}

type ListShardsInput = StreamReference & {
  readonly NextToken?: string;
  readonly MaxResults?: number;
  readonly ExclusiveStartShardId?: string;
  readonly StreamCreationTimestamp?: number;
  readonly ShardFilter?: ShardFilter;
};

export const ListShards: Operation<ListShardsInput> = {
  shape: {
    ...STREAM,
    NextToken: { type: "string", min: 1, max: 1048576 },
    MaxResults: { type: "integer", min: 1, max: 10000 },
    ExclusiveStartShardId: SHARD_ID,
    StreamCreationTimestamp: { type: "timestamp" },
    ShardFilter: {
      type: "structure",
      fields: {
        Type: {
          type: "string",
          required: true,
          values: [
            "AFTER_SHARD_ID",
            "AT_TRIM_HORIZON",
            "FROM_TRIM_HORIZON",
            "AT_LATEST",
            "AT_TIMESTAMP",
            "FROM_TIMESTAMP",
          ],
        },
        ShardId: SHARD_ID,
        Timestamp: { type: "timestamp" },
      },
    },
  },
  target: (input, account) => ({
    streamName: input.NextToken === undefined
      ? account.nameOf(input)
      : account.seal.open(input.NextToken)?.[1],
  }),
  run(input, account) {
    const { stream, after, filter, now } = listing(input, account);
    if (stream.status(now) === "CREATING") {
      throw notActive(stream.name, "CREATING", stream.origin.accountId);
    }
    if (
      input.StreamCreationTimestamp !== undefined &&
      Math.floor(input.StreamCreationTimestamp) !== stream.origin.creationTimestamp
    ) {
      throw new KinesisError(
        "ResourceNotFoundException",
        `Stream ${stream.name} under account ${stream.origin.accountId} with that creation timestamp not found.`,
      );
    }
    const holds = filter ? FILTERS[filter.Type](filter, stream, now) : () => true;
    const shards = stream.listedShards(now).filter((shard) => shard.shardId > after && holds(shard));
    const page = shards.slice(0, input.MaxResults ?? 1000);
    return {
      Shards: page.map(describeShard),
      ...(page.length < shards.length
        ? { NextToken: pageToken(account, stream, page.at(-1)!.shardId, filter) }
        : {}),
    };
  },
};

export const SplitShard: Operation<StreamReference & { ShardToSplit: string; NewStartingHashKey: string }> = {
  shape: { ...STREAM, ShardToSplit: required(SHARD_ID), NewStartingHashKey: required(HASH_KEY) },
  target: (input, account) => ({ ...streamTarget(input, account), shardId: input.ShardToSplit }),
  run(input, account) {
    const stream = account.find(input);
    account.requireShards(1);
    stream.split(input.ShardToSplit, input.NewStartingHashKey, account.now(), account.options.transitionMs);
    return undefined;
  },
};

export const MergeShards: Operation<
  StreamReference & { ShardToMerge: string; AdjacentShardToMerge: string }
> = {
  shape: { ...STREAM, ShardToMerge: required(SHARD_ID), AdjacentShardToMerge: required(SHARD_ID) },
  target: (input, account) => ({ ...streamTarget(input, account), shardId: input.ShardToMerge }),
  run(input, account) {
    account.find(input).merge(
      input.ShardToMerge,
      input.AdjacentShardToMerge,
      account.now(),
      account.options.transitionMs,
    );
    return undefined;
  },
};

export const UpdateShardCount: Operation<StreamReference & { TargetShardCount: number }> = {
  shape: {
    ...STREAM,
    TargetShardCount: { type: "integer", required: true, min: 1, max: 100000 },
    ScalingType: { type: "string", required: true, values: ["UNIFORM_SCALING"] },
  },
  target: streamTarget,
  run(input, account) {
    const stream = account.find(input);
    const now = account.now();
    stream.requireActive(now);
    const current = stream.openShards.length;
    const target = input.TargetShardCount;
    if (stream.origin.mode === "ON_DEMAND") {
      throw validationError(
        `Request is invalid. Stream ${stream.name} under account ${stream.origin.accountId} is in On-Demand mode.`,
      );
    }
    const bound = target > current * 2
      ? "up over double"
      : target * 2 < current
      ? "down below half"
      : undefined;
    if (bound !== undefined) {
      throw invalidArgument(
        `UpdateShardCount cannot scale ${bound} your current open shard count. Current open shard count: ` +
          `${current} Target shard count: ${target}`,
      );
    }
    account.requireShards(target - current);
    stream.rescale(target, now, account.options.transitionMs);
    return {
      CurrentShardCount: current,
      StreamARN: stream.origin.arn,
      StreamName: stream.name,
      TargetShardCount: target,
    };
  },
};

/** A shard as DescribeStream and ListShards tell it. */
export function describeShard(shard: Shard): object {
  const [parent, adjacent] = shard.parents;
  return {
    ...(adjacent ? { AdjacentParentShardId: adjacent.shardId } : {}),
    HashKeyRange: hashKeyRange(shard),
    ...(parent ? { ParentShardId: parent.shardId } : {}),
    SequenceNumberRange: {
      ...(shard.endingSequenceNumber ? { EndingSequenceNumber: shard.endingSequenceNumber } : {}),
      StartingSequenceNumber: shard.startingSequenceNumber,
    },
    ShardId: shard.shardId,
  };
}

/** A shard's range of partition key hashes. */
function hashKeyRange(shard: Shard): { StartingHashKey: string; EndingHashKey: string } {
  return { StartingHashKey: String(shard.firstHash), EndingHashKey: String(shard.lastHash) };
}

// Which shards each filter keeps, as the API reference defines them.
const FILTERS = {
  AFTER_SHARD_ID: (filter: ShardFilter) => {
    if (filter.ShardId === undefined) {
      throw invalidArgument("ShardId must be specified for the ShardFilter type AFTER_SHARD_ID.");
    }
    const after = filter.ShardId;
    return (shard: Shard) => shard.shardId > after;
  },
  AT_TRIM_HORIZON: (_: ShardFilter, stream: Stream, now: number) => openAt(stream.trimHorizon(now)),
  FROM_TRIM_HORIZON: (_: ShardFilter, stream: Stream, now: number) => endedAfter(stream.trimHorizon(now)),
  AT_LATEST: () => (shard: Shard) => shard.closedAt === undefined,
  AT_TIMESTAMP: (filter: ShardFilter, stream: Stream, now: number) => openAt(timeOf(filter, stream, now)),
  FROM_TIMESTAMP: (filter: ShardFilter, stream: Stream, now: number) =>
    endedAfter(timeOf(filter, stream, now)),
};

function openAt(time: number): (shard: Shard) => boolean {
  return (shard) => shard.createdAt <= time && (shard.closedAt === undefined || shard.closedAt >= time);
}

function endedAfter(time: number): (shard: Shard) => boolean {
  return (shard) => shard.closedAt === undefined || shard.closedAt >= time;
}

// A time before the trim horizon means the trim horizon.
function timeOf(filter: ShardFilter, stream: Stream, now: number): number {
  if (filter.Timestamp === undefined) {
    throw invalidArgument(`Timestamp must be specified for the ShardFilter type ${filter.Type}.`);
  }
  const time = filter.Timestamp * 1000;
  if (time > now) throw invalidArgument("The Timestamp of the ShardFilter cannot be in the future.");
  return Math.max(time, stream.trimHorizon(now));
}

interface Listing {
  readonly stream: Stream;
  /** Shard id after which the page begins. */
  readonly after: string;
  readonly filter: ShardFilter | undefined;
  readonly now: number;
}

function listing(input: ListShardsInput, account: Account): Listing {
  if (input.NextToken === undefined) {
    return {
      stream: account.find(input),
      after: input.ExclusiveStartShardId ?? "",
      filter: input.ShardFilter,
      now: account.now(),
    };
  }
  for (
    const other of ["StreamName", "ExclusiveStartShardId", "StreamCreationTimestamp", "ShardFilter"] as const
  ) {
    if (input[other] !== undefined) {
      throw invalidArgument(`NextToken and ${other} cannot be provided together.`);
    }
  }
  const [kind, streamName, tag, after, createdAt, filter] = account.seal.open(input.NextToken) ?? [];
  if (kind !== "shards" || after === undefined) throw invalidArgument("Invalid NextToken.");
  if (account.now() - Number(createdAt) > TOKEN_LIFE_MS) {
    throw new KinesisError(
      "ExpiredNextTokenException",
      "The NextToken has expired: it is valid for 300 seconds.",
    );
  }
  const stream = account.find({ StreamName: streamName, StreamARN: input.StreamARN });
  if (stream.origin.tag !== Number(tag)) throw invalidArgument("Invalid NextToken.");
  return { stream, after, filter: filter ? JSON.parse(filter) : undefined, now: account.now() };
}

function pageToken(account: Account, stream: Stream, after: string, filter: ShardFilter | undefined): string {
  return account.seal.seal([
    "shards",
    stream.name,
    stream.origin.tag,
    after,
    account.now(),
    filter ? JSON.stringify(filter) : "",
  ]);
}
