// What flows: pages of Kinesis records in, messages out.

import type { ChildShard } from "./shard.ts";

/** Properties that messages may carry: the values of `kinesisRecordProperties`. The first four are the default. */
export const RECORD_PROPERTIES = [
  "kinesis.arrival.timestamp",
  "kinesis.encryption.type",
  "kinesis.partition.key",
  "kinesis.sequence.number",
  "kinesis.shard.id",
  "kinesis.millis.behind.latest",
  "kinesis.subsequence.number",
  "kinesis.stream.name",
] as const;

/** Server-side encryption of a stream; the service has decrypted the data already. */
export type EncryptionType = "NONE" | "KMS";

/** A Kinesis record as read: possibly a KPL aggregate of several user records. */
export interface RawRecord {
  readonly data: Uint8Array;
  readonly partitionKey: string;
  readonly sequenceNumber: string;
  /** Epoch milliseconds. */
  readonly approximateArrivalTimestamp: number;
  readonly encryptionType: EncryptionType;
  /** Always 0. A reader that sets it, and `last`, spares `deaggregate` a copy of the record. */
  readonly subSequenceNumber?: number;
  /** Always true. */
  readonly last?: boolean;
}

/** A record as its producer made it: one out of an aggregate, or the Kinesis record itself. */
export interface UserRecord extends RawRecord {
  /** Index inside the aggregate; 0 for a plain record. */
  readonly subSequenceNumber: number;
  /** True for the last user record of its Kinesis record. */
  readonly last: boolean;
}

/** One read of a shard: a GetRecords page or a fan-out event. */
export interface RecordPage {
  /** In shard order; often empty. */
  readonly records: readonly RawRecord[];
  /** Sum of the data of `records`. */
  readonly bytes: number;
  /** How far this read is behind the shard's tip, milliseconds. */
  readonly millisBehindLatest: number;
  /**
   * A time (Kinesis' clock, epoch milliseconds) at or before which the page was made, where that may be long before
   * it came; absent: it was made after it was asked for.
   */
  readonly asOf?: number | undefined;
  /** Set on the last page of a closed shard: nothing comes after this page. Empty = children unknown. */
  readonly shardEnd?: { readonly childShards: readonly ChildShard[] } | undefined;
}

/** A message as the Pulsar side takes it, all choices made. */
export interface SinkMessage {
  /** Full or short topic name. */
  readonly topic: string;
  readonly data: Uint8Array;
  readonly key?: string | undefined;
  readonly orderingKey?: Uint8Array | undefined;
  readonly properties?: Readonly<Record<string, string>> | undefined;
  /** Epoch milliseconds, 0 or absent = none. */
  readonly eventTime?: number | undefined;
  /** Epoch milliseconds. */
  readonly deliverAt?: number | undefined;
  /** What a message without key is routed by (effectively once: never round robin); it is not sent. */
  readonly routingKey?: string | undefined;
}
