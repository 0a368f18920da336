// Writing: PutRecord and PutRecords. Invariant: a record that was answered with a sequence number is stored,
// one that was refused is not; within a request and shard the order is that of the request.

import { Buffer } from "node:buffer";
import type { Account, StreamReference } from "../account.ts";
import { invalidArgument, KinesisError, rateExceeded, validationError } from "../errors.ts";
import type { Shard } from "../shard.ts";
import type { Stream } from "../stream.ts";
import { decodedLength, type Shape } from "../validation.ts";
import { HASH_KEY, type Operation, SEQUENCE_NUMBER, STREAM, streamTarget } from "./operation.ts";

/** The service's limits of one PutRecords request. */
const MAX_REQUEST_RECORDS = 500;
const MAX_REQUEST_BYTES = 10 * 1024 * 1024;

/** One record of PutRecords. */
export interface Entry {
  /** Base64. */
  readonly Data: string;
  readonly PartitionKey: string;
  readonly ExplicitHashKey?: string;
}

const ENTRY: Shape = {
  Data: { type: "blob", required: true },
  PartitionKey: { type: "string", required: true, min: 1, max: 256 },
  ExplicitHashKey: HASH_KEY,
};

export const PutRecord: Operation<StreamReference & Entry> = {
  shape: { ...STREAM, ...ENTRY, SequenceNumberForOrdering: SEQUENCE_NUMBER },
  target: (input, account) => ({
    ...streamTarget(input, account),
    shardId: shardIdOf(input, account),
  }),
  run(input, account) {
    const stream = account.findReady(input);
    const size = sizeOf(input);
    if (size > stream.maxRecordBytes) throw tooLarge("data", decodedLength(input.Data), stream);
    const shard = stream.shardFor(input.PartitionKey, input.ExplicitHashKey);
    return put(input, size, stream, shard, account);
  },
};

export const PutRecords: Operation<StreamReference & { Records: readonly Entry[] }> = {
  shape: {
    ...STREAM,
    Records: {
      type: "list",
      required: true,
      min: 1,
      max: MAX_REQUEST_RECORDS,
      member: { type: "structure", required: true, fields: ENTRY },
    },
  },
  target: streamTarget,
  run(input, account) {
    const stream = account.findReady(input);
    const sizes = input.Records.map(sizeOf);
    const large = sizes.findIndex((size) => size > stream.maxRecordBytes);
    if (large >= 0) {
      throw tooLarge(`records.${large + 1}.member.data`, decodedLength(input.Records[large]!.Data), stream);
    }
    if (sizes.reduce((sum, size) => sum + size, 0) > MAX_REQUEST_BYTES) {
      throw invalidArgument("Records size exceeds 10 MB limit");
    }
    const shards = input.Records.map((entry) => stream.shardFor(entry.PartitionKey, entry.ExplicitHashKey));
    let failed = 0;
    const results = input.Records.map((entry, i) => {
      try {
        const { EncryptionType: _, ...result } = put(entry, sizes[i]!, stream, shards[i]!, account);
        return result;
      } catch (error) {
        // Throttling is per record here: the request as a whole succeeds.
        if (!(error instanceof KinesisError)) throw error;
        failed++;
        return { ErrorCode: error.name, ErrorMessage: error.message };
      }
    });
    return {
      ...(stream.encryptionType === "NONE" ? {} : { EncryptionType: stream.encryptionType }),
      FailedRecordCount: failed,
      Records: results,
    };
  },
};

interface PutResult {
  readonly ShardId: string;
  readonly SequenceNumber: string;
  readonly EncryptionType?: string;
}

function put(entry: Entry, size: number, stream: Stream, shard: Shard, account: Account): PutResult {
  const { writeRecordsPerSecond, writeBytesPerSecond } = account.limits;
  const now = account.options.clock.monotonic();
  if (
    !shard.use.admits("writeRecordsPerSecond", writeRecordsPerSecond, now, 1) ||
    !shard.use.admits("writeBytesPerSecond", writeBytesPerSecond, now, size)
  ) throw rateExceeded(shard.shardId, stream.name, account.options.accountId);
  shard.use.add("writeRecordsPerSecond", writeRecordsPerSecond, now, 1);
  shard.use.add("writeBytesPerSecond", writeBytesPerSecond, now, size);
  const number = stream.append(shard, {
    partitionKey: entry.PartitionKey,
    base64: entry.Data,
    size,
    arrivedAt: account.now(),
  });
  return {
    ...(stream.encryptionType === "NONE" ? {} : { EncryptionType: stream.encryptionType }),
    SequenceNumber: number,
    ShardId: shard.shardId,
  };
}

/** What a record counts: its data and its partition key. */
function sizeOf(entry: Entry): number {
  return decodedLength(entry.Data) + Buffer.byteLength(entry.PartitionKey);
}

function tooLarge(field: string, length: number, stream: Stream): KinesisError {
  return validationError(
    `1 validation error detected: Value 'java.nio.HeapByteBuffer[pos=0 lim=${length} cap=${length}]' at '${field}' ` +
      `failed to satisfy constraint: Member must have length less than or equal to ${stream.maxRecordBytes}`,
  );
}

// For faults only: what cannot be told yet is told by `run`.
function shardIdOf(input: StreamReference & Entry, account: Account): string | undefined {
  try {
    return account.findReady(input).shardFor(input.PartitionKey, input.ExplicitHashKey).shardId;
  } catch (error) {
    if (error instanceof KinesisError) return undefined;
    throw error;
  }
}
