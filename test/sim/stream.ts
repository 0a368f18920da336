// A Kinesis stream as a value: shards with their records, split and merged; listings lag behind as the service's do.
// It knows nothing of readers.

import { Buffer } from "node:buffer";
import type { ChildShard, Shard } from "../../src/core/shard.ts";
import type { ShardFilter } from "../../src/kinesis/client.ts";
import type { Chance } from "../chance.ts";
import { encodeAggregate } from "../core/aggregate.ts";
import { EPOCH, type Timeline } from "./timeline.ts";

export const STREAM_NAME = "orders";
export const STREAM_ARN = "arn:aws:kinesis:x:1:stream/orders";
export const STREAM_CREATED_AT = EPOCH - 1_000_000;

/** What one call of PutRecord wrote. */
export interface KinesisRecord {
  readonly sequenceNumber: string;
  readonly sequence: bigint;
  /** Epoch milliseconds. */
  readonly arrival: number;
  readonly partitionKey: string;
  readonly data: Uint8Array;
}

/** A record as its producer made it: to be delivered. */
export interface UserRecord {
  /** Its payload, unique in the stream. */
  readonly id: string;
  readonly shard: SimShard;
  /** Place among the shard's user records. */
  readonly index: number;
  readonly sequenceNumber: string;
  readonly subSequenceNumber: number;
  /** Epoch milliseconds. */
  readonly arrival: number;
  /** In an aggregate that holds a key of another shard: never delivered (its producer sends it again). */
  readonly misplaced: boolean;
  /** When it was first stored in the topic. */
  storedAt?: number;
}

/** A shard. */
export interface SimShard {
  readonly id: string;
  readonly parents: readonly SimShard[];
  readonly start: bigint;
  readonly end: bigint;
  readonly firstSequence: bigint;
  /** Milliseconds of the timeline. */
  readonly openedAt: number;
  closedAt?: number;
  children: SimShard[];
  readonly records: KinesisRecord[];
  readonly users: UserRecord[];
}

const ALL_KEYS = 2n ** 128n;

/** See the file's header. */
export class SimStream {
  readonly shards: SimShard[] = [];
  readonly users = new Map<string, UserRecord>();
  readonly #timeline: Timeline;
  readonly #chance: Chance;
  // Numbers grow by a digit on the way: as texts they are out of order.
  #sequence: bigint;

  constructor(timeline: Timeline, chance: Chance, shards: number) {
    this.#timeline = timeline;
    this.#chance = chance;
    this.#sequence = chance.pick(90n, 9_999_980n, 99_999_999_999_999_999_970n);
    const width = ALL_KEYS / BigInt(shards);
    for (let i = 0n; i < shards; i++) {
      const end = i === BigInt(shards) - 1n ? ALL_KEYS : (i + 1n) * width;
      this.#open([], i * width, end - 1n);
    }
  }

  get open(): SimShard[] {
    return this.shards.filter((shard) => shard.closedAt === undefined);
  }

  shard(id: string): SimShard {
    return this.shards.find((shard) => shard.id === id)!;
  }

  /** Writes some records; some of them KPL aggregates. */
  put(count: number): void {
    for (let left = count; left > 0; left--) this.#putOne(this.#chance.pick(...this.open));
  }

  #putOne(shard: SimShard): void {
    const chance = this.#chance;
    const arrival = Math.floor(EPOCH + this.#timeline.now);
    const sequence = this.#next();
    const sequenceNumber = String(sequence);
    const aggregated = chance.percent(20);
    const misplaced = aggregated && chance.percent(10) && shard.end - shard.start < ALL_KEYS - 1n;
    const count = aggregated ? 1 + chance.int(5) : 1;
    const ids = Array.from({ length: count }, (_, sub) => {
      const id = `${shard.id}:${shard.users.length} ${sequenceNumber}/${sub}`;
      const user = {
        id,
        shard,
        index: shard.users.length,
        sequenceNumber,
        subSequenceNumber: sub,
        arrival,
        misplaced,
      };
      shard.users.push(user);
      this.users.set(id, user);
      return id;
    });
    const explicitHashKey = String(misplaced ? (shard.end + 1n) % ALL_KEYS : shard.start);
    const partitionKey = `key ${chance.int(5)}`;
    const data = aggregated
      ? encodeAggregate(ids.map((id) => ({ partitionKey, explicitHashKey, data: Buffer.from(id) })))
      : Buffer.from(ids[0]!);
    shard.records.push({ sequenceNumber, sequence, arrival, partitionKey, data });
  }

  /** Splits an open shard. */
  split(): SimShard | undefined {
    const parent = this.#chance.pick(...this.open);
    if (this.open.length >= 4 || parent.end - parent.start < 4n) return undefined;
    const middle = (parent.start + parent.end) / 2n;
    this.#close([parent]);
    this.#open([parent], parent.start, middle);
    this.#open([parent], middle + 1n, parent.end);
    return parent;
  }

  /** Merges two neighbours. */
  merge(): SimShard | undefined {
    const open = this.open.sort((a, b) => a.start < b.start ? -1 : 1);
    if (open.length < 2) return undefined;
    const first = this.#chance.int(open.length - 1);
    const parents = [open[first]!, open[first + 1]!];
    this.#close(parents);
    return this.#open(parents, parents[0]!.start, parents[1]!.end);
  }

  /** ListShards as it stood at a moment. */
  list(filter: ShardFilter | undefined, at: number = this.#timeline.now): Shard[] {
    const known = this.shards.filter((shard) => shard.openedAt <= at);
    const isOpen = (shard: SimShard) => shard.closedAt === undefined || shard.closedAt > at;
    // A filter asks for the shards that were open at its moment.
    const moment = filter === undefined || filter.type === "AT_LATEST"
      ? at
      : filter.type === "AT_TIMESTAMP"
      ? filter.timestamp - EPOCH
      : 0;
    return known.filter((shard) => {
      if (filter === undefined) return true;
      return shard.openedAt <= moment && (shard.closedAt === undefined || shard.closedAt > moment);
    }).map((shard) => ({
      ...childOf(shard),
      startingSequenceNumber: String(shard.firstSequence),
      ...isOpen(shard) ? {} : { endingSequenceNumber: String(this.#sequence) },
    }));
  }

  /** What GetRecords tells at a shard's end. */
  childrenOf(shard: SimShard): ChildShard[] {
    return shard.children.map(childOf);
  }

  #open(parents: readonly SimShard[], start: bigint, end: bigint): SimShard {
    const id = `shardId-${String(this.shards.length).padStart(3, "0")}`;
    const openedAt = this.shards.length === 0 || parents.length > 0 ? this.#timeline.now : 0;
    const shard: SimShard = {
      id,
      parents,
      start,
      end,
      firstSequence: this.#next(),
      openedAt,
      children: [],
      records: [],
      users: [],
    };
    this.shards.push(shard);
    for (const parent of parents) parent.children.push(shard);
    return shard;
  }

  #close(shards: readonly SimShard[]): void {
    for (const shard of shards) shard.closedAt = this.#timeline.now;
  }

  #next(): bigint {
    return this.#sequence += 1n + BigInt(this.#chance.int(3));
  }
}

function childOf({ id, parents, start, end }: SimShard): ChildShard {
  return {
    shardId: id,
    parentShardIds: parents.map((parent) => parent.id),
    startingHashKey: String(start),
    endingHashKey: String(end),
  };
}
