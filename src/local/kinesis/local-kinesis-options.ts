// What the local Kinesis server is started with, and the plain values that its direct interface takes and gives.

import type { Clock } from "../../core/clock.ts";
import type { LocalCredentials } from "./access.ts";
import type { TlsIdentity } from "./listener.ts";
import type { ShardLimits } from "./limits.ts";

/** How a local Kinesis server is started. */
export interface LocalKinesisOptions {
  /** 0 takes a free one. @default 0 */
  readonly port?: number | undefined;
  /** A loopback address: 127.x.x.x, ::1 or localhost. @default "127.0.0.1" */
  readonly host?: string | undefined;
  /**
   * Certificate and key, PEM: then the server speaks TLS, and its url begins with https. On Deno an unread stream over
   * HTTP/1.1 with TLS is not held back: Deno takes all that is written. @default none
   */
  readonly tls?: TlsIdentity | undefined;
  /** Limits per shard: true for AWS's (AWS_SHARD_LIMITS), or each by itself. @default false, unlimited */
  readonly limits?: boolean | ShardLimits | undefined;
  /** Accepted key pairs, with their permissions. @default everything is accepted, signed or not */
  readonly credentials?: readonly LocalCredentials[] | undefined;
  /** Decides arrival times, expiry, limits and the Date header. @default the machine's */
  readonly clock?: Clock | undefined;
  /** @default "us-east-1" */
  readonly region?: string | undefined;
  /** Twelve digits. @default "000000000000" */
  readonly accountId?: string | undefined;
  /** How long iterators live, milliseconds. @default 300 000, as on AWS */
  readonly iteratorLifeMs?: number | undefined;
  /** Largest record (data and partition key) of a new stream, bytes, up to 10 MiB. @default 1 MiB, as on AWS */
  readonly maxRecordBytes?: number | undefined;
  /** Retention of a new stream, hours; fractions are allowed. @default 24 */
  readonly retentionHours?: number | undefined;
  /** How long a stream stays CREATING, UPDATING or DELETING, milliseconds. @default 0 */
  readonly transitionMs?: number | undefined;
  /** How long a consumer stays CREATING or DELETING, milliseconds. @default as transitionMs */
  readonly consumerTransitionMs?: number | undefined;
  /** How long a subscription lives, milliseconds. @default 300 000, as on AWS */
  readonly subscriptionLifeMs?: number | undefined;
  /**
   * How soon after a successful SubscribeToShard the same consumer may ask for the same shard again, milliseconds;
   * until then ResourceInUseException, afterwards the earlier subscription ends. @default 5 000, as on AWS
   */
  readonly resubscribeAfterMs?: number | undefined;
  /** How often a subscription without records sends an empty event, milliseconds. @default 5 000 */
  readonly heartbeatMs?: number | undefined;
  /** Most bytes of data and partition keys in an event that holds more than one record. @default 1 MiB */
  readonly maxEventBytes?: number | undefined;
  /** Open shards over all streams before LimitExceededException. @default 20 000 */
  readonly shardLimit?: number | undefined;
  /** Whether a closed shard ends with a page of its own instead of its last records'. Both occur. @default false */
  readonly emptyPageAtShardEnd?: boolean | undefined;
  /** How many requests `requests` remembers at least; 0 for none. @default 10 000 */
  readonly requestLogSize?: number | undefined;
}

/** A record to put. */
export interface LocalRecord {
  /** A string is stored as UTF-8. */
  readonly data: Uint8Array | string;
  readonly partitionKey: string;
  /** Decimal; decides the shard in place of the partition key. */
  readonly explicitHashKey?: string | undefined;
  /** Decides the shard in place of any key; it must be open. */
  readonly shardId?: string | undefined;
  /** Arrival, epoch milliseconds; what is older than the retention is gone at once. @default the server's now */
  readonly arrivedAt?: number | undefined;
}

/** Where a record went. */
export interface PutPosition {
  readonly shardId: string;
  readonly sequenceNumber: string;
}

/** A record as it is stored. */
export interface StoredRecord extends PutPosition {
  readonly data: Uint8Array;
  readonly partitionKey: string;
  /** Epoch milliseconds. */
  readonly approximateArrivalTimestamp: number;
  readonly encryptionType: "NONE" | "KMS";
}

/** What `fill` puts into each shard. */
export interface FillOptions {
  /** Records per shard. */
  readonly records: number;
  /** Bytes of each record's data. */
  readonly bytes: number;
  /** @default every open shard */
  readonly shardIds?: readonly string[] | undefined;
}

/** Which logged requests `calls` picks. */
export interface CallFilter {
  readonly streamName?: string | undefined;
  readonly shardId?: string | undefined;
}
