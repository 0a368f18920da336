// Every operation this server knows, by the name in the X-Amz-Target header. What is missing
// here is refused as UnknownOperationException.

import {
  DeregisterStreamConsumer,
  DescribeStreamConsumer,
  ListStreamConsumers,
  RegisterStreamConsumer,
  SubscribeToShard,
} from "./consumers.ts";
import type { Operation } from "./operation.ts";
import { GetRecords, GetShardIterator } from "./read.ts";
import { ListShards, MergeShards, SplitShard, UpdateShardCount } from "./shards.ts";
import {
  CreateStream,
  DecreaseStreamRetentionPeriod,
  DeleteStream,
  DescribeStream,
  DescribeStreamSummary,
  IncreaseStreamRetentionPeriod,
  ListStreams,
  StartStreamEncryption,
  StopStreamEncryption,
  UpdateMaxRecordSize,
} from "./streams.ts";
import { PutRecord, PutRecords } from "./write.ts";

const OPERATIONS = {
  CreateStream,
  DecreaseStreamRetentionPeriod,
  DeleteStream,
  DeregisterStreamConsumer,
  DescribeStream,
  DescribeStreamConsumer,
  DescribeStreamSummary,
  GetRecords,
  GetShardIterator,
  IncreaseStreamRetentionPeriod,
  ListShards,
  ListStreamConsumers,
  ListStreams,
  MergeShards,
  PutRecord,
  PutRecords,
  RegisterStreamConsumer,
  SplitShard,
  StartStreamEncryption,
  StopStreamEncryption,
  SubscribeToShard,
  UpdateMaxRecordSize,
  UpdateShardCount,
};

/** The name of an operation that the local server knows. */
export type OperationName = keyof typeof OPERATIONS;

/** An operation by its name; undefined when this server does not know it. */
export function operationNamed(name: string): Operation | undefined {
  return Object.hasOwn(OPERATIONS, name) ? OPERATIONS[name as OperationName] : undefined;
}
