// One shard: its hash range, its parents and children, its records. Invariants: a child's first sequence
// number is above its parents' last; a closed shard takes no more records.

import { RecordLog } from "./record-log.ts";
import { continuationNumber, END_ORDINAL, sequenceBase, sequenceNumber } from "./sequence-number.ts";
import { ShardUse } from "./limits.ts";

/** What a new shard is made of. */
export interface ShardOrigin {
  readonly index: number;
  readonly streamTag: number;
  /** First and last partition key hash, inclusive. */
  readonly firstHash: bigint;
  readonly lastHash: bigint;
  readonly parents: readonly Shard[];
  /** Epoch milliseconds. */
  readonly createdAt: number;
}

/** A record that is ready to be stored. */
export interface EncodedRecord {
  readonly partitionKey: string;
  readonly base64: string;
  /** Bytes of the data and of the partition key. */
  readonly size: number;
  readonly encryptionType: "NONE" | "KMS";
  /** Epoch milliseconds. */
  readonly arrivedAt: number;
}

/** A shard of a stream. */
export class Shard {
  readonly shardId: string;
  readonly index: number;
  readonly firstHash: bigint;
  readonly lastHash: bigint;
  readonly parents: readonly Shard[];
  readonly children: Shard[] = [];
  readonly createdAt: number;
  readonly createdSeconds: number;
  readonly log = new RecordLog();
  readonly use = new ShardUse();
  /** Told when a record was stored or the shard was closed. */
  readonly watchers = new Set<{ wake(): void }>();
  readonly startingSequenceNumber: string;
  readonly #base: bigint;
  #closedAt: number | undefined;
  #endingSequenceNumber: string | undefined;

  constructor(origin: ShardOrigin) {
    this.index = origin.index;
    this.shardId = shardIdOf(origin.index);
    this.firstHash = origin.firstHash;
    this.lastHash = origin.lastHash;
    this.parents = origin.parents;
    this.createdAt = origin.createdAt;
    // Only seconds are in the numbers: a child of the same second is moved into the next one.
    this.createdSeconds = Math.max(
      Math.floor(origin.createdAt / 1000),
      ...origin.parents.map((parent) => parent.createdSeconds + 1),
    );
    this.#base = sequenceBase({
      createdSeconds: this.createdSeconds,
      streamTag: origin.streamTag,
      shardIndex: origin.index,
    });
    this.startingSequenceNumber = sequenceNumber(this.#base, 0, this.createdSeconds);
  }

  /** Epoch milliseconds; undefined while open. */
  get closedAt(): number | undefined {
    return this.#closedAt;
  }

  get endingSequenceNumber(): string | undefined {
    return this.#endingSequenceNumber;
  }

  /** Stores a record and gives its sequence number. */
  append(record: EncodedRecord): string {
    const number = sequenceNumber(this.#base, this.log.next, Math.floor(record.arrivedAt / 1000));
    const encryption = record.encryptionType === "NONE" ? "" : `"EncryptionType":"${record.encryptionType}",`;
    this.log.append(
      `{"ApproximateArrivalTimestamp":${record.arrivedAt / 1000},"Data":"${record.base64}",${encryption}` +
        `"PartitionKey":${JSON.stringify(record.partitionKey)},"SequenceNumber":"${number}"}`,
      record.size,
      record.arrivedAt,
    );
    this.wakeWatchers();
    return number;
  }

  /** Ends the shard. */
  close(now: number): void {
    this.#closedAt = now;
    this.#endingSequenceNumber = sequenceNumber(this.#base, END_ORDINAL, Math.floor(now / 1000));
  }

  /**
   * The number with which reading goes on at `ordinal`: it lies before that record and after the one before it,
   * and grows with time also while nothing is put.
   */
  continuationNumber(ordinal: number, now: number): string {
    return continuationNumber(this.#base, ordinal - 1, Math.floor(now / 1000));
  }

  /** Lets all who wait for this shard look again. */
  wakeWatchers(): void {
    for (const watcher of this.watchers) watcher.wake();
  }
}

/** "shardId-000000000012" */
export function shardIdOf(index: number): string {
  return "shardId-" + String(index).padStart(12, "0");
}

/** The number in a shard id; undefined when it is none. The service also takes the bare number. */
export function shardIndexOf(shardId: string): number | undefined {
  const digits = /^(?:[a-zA-Z0-9_.]*-)?(\d+)$/.exec(shardId)?.[1];
  const index = Number(digits);
  return digits !== undefined && index <= 2147483647 ? index : undefined;
}
