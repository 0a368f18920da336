// Operations on whole streams: create, delete, describe, list, and their settings (encryption, retention,
// largest record).

import type { StreamReference } from "../account.ts";
import { consumersOf } from "../consumer.ts";
import { invalidArgument, validationError } from "../errors.ts";
import type { Stream } from "../stream.ts";
import {
  type Operation,
  required,
  SHARD_ID,
  STREAM,
  STREAM_ARN,
  STREAM_NAME,
  streamTarget,
} from "./operation.ts";
import { describeShard } from "./shards.ts";

const KIB = 1024;
const MAX_RECORD_SIZE = { type: "integer", min: 1024, max: 10240 } as const;
const HOURS = { type: "integer", required: true, min: 24, max: 8760 } as const;
const ON_DEMAND_SHARDS = 4;

export const CreateStream: Operation<{
  StreamName: string;
  ShardCount?: number;
  StreamModeDetails?: { StreamMode: "PROVISIONED" | "ON_DEMAND" };
  MaxRecordSizeInKiB?: number;
}> = {
  shape: {
    StreamName: required(STREAM_NAME),
    ShardCount: { type: "integer", min: 1 },
    StreamModeDetails: {
      type: "structure",
      fields: { StreamMode: { type: "string", required: true, values: ["PROVISIONED", "ON_DEMAND"] } },
    },
    MaxRecordSizeInKiB: MAX_RECORD_SIZE,
  },
  target: streamTarget,
  run(input, account) {
    const mode = input.StreamModeDetails?.StreamMode ?? "PROVISIONED";
    if (mode === "PROVISIONED" && input.ShardCount === undefined) {
      throw validationError("ShardCount must be specified for a stream in PROVISIONED mode.");
    }
    account.create(input.StreamName, {
      shards: input.ShardCount ?? ON_DEMAND_SHARDS,
      mode,
      ...(input.MaxRecordSizeInKiB === undefined ? {} : { maxRecordBytes: input.MaxRecordSizeInKiB * KIB }),
    });
    return undefined;
  },
};

export const DeleteStream: Operation<StreamReference & { EnforceConsumerDeletion?: boolean }> = {
  shape: { ...STREAM, EnforceConsumerDeletion: { type: "boolean" } },
  target: streamTarget,
  run(input, account) {
    account.delete(account.find(input), input.EnforceConsumerDeletion ?? false);
    return undefined;
  },
};

export const DescribeStream: Operation<
  StreamReference & { Limit?: number; ExclusiveStartShardId?: string }
> = {
  shape: {
    ...STREAM,
    Limit: { type: "integer", min: 1, max: 10000 },
    ExclusiveStartShardId: SHARD_ID,
  },
  target: streamTarget,
  run(input, account) {
    const stream = account.find(input);
    const now = account.now();
    const after = input.ExclusiveStartShardId ?? "";
    const shards = stream.status(now) === "CREATING"
      ? []
      : stream.listedShards(now).filter((shard) => shard.shardId > after);
    const page = shards.slice(0, input.Limit ?? 100);
    return {
      StreamDescription: {
        ...settings(stream, now),
        HasMoreShards: page.length < shards.length,
        Shards: page.map(describeShard),
      },
    };
  },
};

export const DescribeStreamSummary: Operation<StreamReference> = {
  shape: STREAM,
  target: streamTarget,
  run(input, account) {
    const stream = account.find(input);
    const now = account.now();
    return {
      StreamDescriptionSummary: {
        ...settings(stream, now),
        ConsumerCount: consumersOf(stream, now).length,
        MaxRecordSizeInKiB: stream.maxRecordBytes / KIB,
        OpenShardCount: stream.status(now) === "CREATING" ? 0 : stream.openShards.length,
      },
    };
  },
};

export const ListStreams: Operation<
  { Limit?: number; ExclusiveStartStreamName?: string; NextToken?: string }
> = {
  shape: {
    Limit: { type: "integer", min: 1, max: 10000 },
    ExclusiveStartStreamName: STREAM_NAME,
    NextToken: { type: "string", min: 1 },
  },
  target: () => ({}),
  run(input, account) {
    const [kind, last] = input.NextToken === undefined
      ? []
      : account.seal.open(input.NextToken) ?? ["invalid"];
    if (kind !== undefined && kind !== "streams") throw invalidArgument("Invalid NextToken.");
    const after = last ?? input.ExclusiveStartStreamName ?? "";
    const streams = account.list().filter((stream) => stream.name > after);
    const page = streams.slice(0, input.Limit ?? 100);
    const hasMore = page.length < streams.length;
    const now = account.now();
    return {
      HasMoreStreams: hasMore,
      StreamNames: page.map((stream) => stream.name),
      StreamSummaries: page.map((stream) => {
        const { StreamARN, StreamCreationTimestamp, StreamModeDetails, StreamName, StreamStatus } = settings(
          stream,
          now,
        );
        return { StreamARN, StreamCreationTimestamp, StreamModeDetails, StreamName, StreamStatus };
      }),
      ...(hasMore ? { NextToken: account.seal.seal(["streams", page.at(-1)!.name]) } : {}),
    };
  },
};

export const StartStreamEncryption: Operation<StreamReference & { EncryptionType: string; KeyId: string }> = {
  shape: {
    ...STREAM,
    EncryptionType: { type: "string", required: true, values: ["NONE", "KMS"] },
    KeyId: { type: "string", required: true, min: 1, max: 2048 },
  },
  target: streamTarget,
  run(input, account) {
    const stream = account.find(input);
    stream.requireActive(account.now());
    if (input.EncryptionType !== "KMS") throw invalidArgument("EncryptionType must be KMS.");
    stream.encryptionType = "KMS";
    stream.keyId = input.KeyId;
    return undefined;
  },
};

export const StopStreamEncryption: Operation<StreamReference> = {
  shape: StartStreamEncryption.shape,
  target: streamTarget,
  run(input, account) {
    const stream = account.find(input);
    stream.requireActive(account.now());
    stream.encryptionType = "NONE";
    stream.keyId = undefined;
    return undefined;
  },
};

export const IncreaseStreamRetentionPeriod: Operation<StreamReference & { RetentionPeriodHours: number }> = {
  shape: { ...STREAM, RetentionPeriodHours: HOURS },
  target: streamTarget,
  run(input, account) {
    const stream = account.find(input);
    if (input.RetentionPeriodHours < stream.retentionHours) {
      throw invalidArgument(
        `Requested retention period (${input.RetentionPeriodHours} hours) for stream ${stream.name} can not be ` +
          `shorter than existing retention period (${stream.retentionHours} hours). Use ` +
          "DecreaseRetentionPeriod API.",
      );
    }
    stream.retentionHours = input.RetentionPeriodHours;
    return undefined;
  },
};

export const DecreaseStreamRetentionPeriod: Operation<StreamReference & { RetentionPeriodHours: number }> = {
  shape: { ...STREAM, RetentionPeriodHours: HOURS },
  target: streamTarget,
  run(input, account) {
    const stream = account.find(input);
    if (input.RetentionPeriodHours > stream.retentionHours) {
      throw invalidArgument(
        `Requested retention period (${input.RetentionPeriodHours} hours) for stream ${stream.name} can not be ` +
          `longer than existing retention period (${stream.retentionHours} hours). Use IncreaseRetentionPeriod API.`,
      );
    }
    stream.retentionHours = input.RetentionPeriodHours;
    return undefined;
  },
};

export const UpdateMaxRecordSize: Operation<{ StreamARN: string; MaxRecordSizeInKiB: number }> = {
  shape: { StreamARN: required(STREAM_ARN), MaxRecordSizeInKiB: { ...MAX_RECORD_SIZE, required: true } },
  target: streamTarget,
  run(input, account) {
    account.find(input).maxRecordBytes = input.MaxRecordSizeInKiB * KIB;
    return undefined;
  },
};

function settings(stream: Stream, now: number) {
  return {
    EncryptionType: stream.encryptionType,
    EnhancedMonitoring: [{ ShardLevelMetrics: [] }],
    ...(stream.keyId === undefined ? {} : { KeyId: stream.keyId }),
    RetentionPeriodHours: stream.retentionHours,
    StreamARN: stream.origin.arn,
    StreamCreationTimestamp: stream.origin.creationTimestamp,
    StreamModeDetails: { StreamMode: stream.origin.mode },
    StreamName: stream.name,
    StreamStatus: stream.status(now),
  };
}
