// Every operation this server knows, by the name in the X-Amz-Target header. What is missing here (consumers
// and SubscribeToShard) is added here.

import type { Operation } from "./operation.ts";
import { GetRecords, GetShardIterator } from "./read.ts";
import { ListShards, MergeShards, SplitShard } from "./shards.ts";
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
  DescribeStream,
  DescribeStreamSummary,
  GetRecords,
  GetShardIterator,
  IncreaseStreamRetentionPeriod,
  ListShards,
  ListStreams,
  MergeShards,
  PutRecord,
  PutRecords,
  SplitShard,
  StartStreamEncryption,
  StopStreamEncryption,
  UpdateMaxRecordSize,
};

/** The name of an operation that the local server knows. */
export type OperationName = keyof typeof OPERATIONS;

/** An operation by its name; undefined when this server does not know it. */
export function operationNamed(name: string): Operation | undefined {
  return Object.hasOwn(OPERATIONS, name) ? OPERATIONS[name as OperationName] : undefined;
}
