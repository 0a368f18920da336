// Effectively once, for one shard under one lease: which producer name and sequence ids its records have. Nothing of a
// shard is handed on before its row says under which generation, and a row is believed only where it is certain that
// a record gets the id that it had before (design §9; the decisions are in core/generation.ts).
//
// A gap within a run (a reader goes on behind a record that has expired meanwhile) needs no notice: ids only rise in
// this run; a later run that begins before the gap misses its first record, because what has expired stays so also when
// the retention is made longer, and begins anew; one that begins behind it counts from where this run did.

import { randomBytes } from "node:crypto";
import { ConnectorError, toConnectorError } from "../core/errors.ts";
import {
  GENERATION_REASONS,
  type GenerationPlan,
  planGeneration,
  producerNameOf,
  type PulsarGeneration,
} from "../core/generation.ts";
import type { Checkpoint, Position } from "../core/position.ts";
import type { RecordPage } from "../core/record.ts";
import type { GenerationUpdate, HeldLease } from "../leases/held-lease.ts";
import type { Lease } from "../leases/store.ts";
import { storePatiently } from "./checkpoints.ts";
import { firstPosition, type PageRecords } from "./page-records.ts";
import type { ConsumerParts } from "./parts.ts";
import type { ShardDelivery, ShardIdentity } from "./shard-delivery.ts";

/** What a connector under effectively-once gives all its shards. */
export interface OnceSettings {
  readonly applicationName: string;
  /** Of the hooks and the routing: see `hooksDigest`. */
  readonly digest: string;
}

// Topics that a shard's messages are routed to stand in its row until the shard is drained; DynamoDB takes rows of
// 400 KB.
const MOST_BYTES_OF_TOPICS = 300_000;

/** The generation of one held lease. */
export class ShardGeneration {
  readonly #lease: HeldLease;
  readonly #delivery: ShardDelivery;
  readonly #parts: ConsumerParts;
  readonly #once: OnceSettings;
  #plan: GenerationPlan | undefined;
  /** The row's checkpoint when the shard was begun. */
  #startedAt: Checkpoint | undefined;
  /** The first record that came was compared with the one that should come. */
  #checked = false;
  /** What is in force, as it was when it began to be. */
  #generation: PulsarGeneration | undefined;
  /** Numbers of partitions that are stored, or being stored. */
  #partitions: Readonly<Record<string, number>> = {};
  readonly #routed = new Map<string, number>();
  /** Whether a predecessor may have given Pulsar records that this process has not handed on yet. */
  #mayLagBehind = false;
  #isMarking = false;
  /** The ordinal of the next record. */
  next = 0;

  constructor(lease: HeldLease, delivery: ShardDelivery, parts: ConsumerParts, once: OnceSettings) {
    this.#lease = lease;
    this.#delivery = delivery;
    this.#parts = parts;
    this.#once = once;
  }

  /** To be called with the row that decides where reading begins. */
  start(row: Lease): void {
    this.#startedAt = row.checkpoint;
    this.#plan = planGeneration(row.generation, row.checkpoint, this.#once.digest);
  }

  /**
   * Resolves with true when the row says under which generation the records of this page are handed on; with false when
   * the lease is lost or the signal aborted. At once, with true, for all pages but the first with something to hand on.
   */
  admit(page: RecordPage, part: PageRecords, signal: AbortSignal): true | Promise<boolean> {
    if (this.#generation !== undefined) return true;
    const [firstRead] = page.records;
    if (firstRead !== undefined) this.#compare(firstRead.sequenceNumber);
    const first = firstPosition(part);
    return first === undefined ? true : this.#begin(first, signal);
  }

  /** All records of a page were handed on behind which the shard held none. */
  caughtUp(): void {
    // A predecessor cannot have read what was not there: its lease had ended before this process read. Until then
    // records behind the checkpoint may be in the topic: to call the shard drained would let changed hooks give an old
    // id to a message that was never sent, and the broker would drop it.
    this.#mayLagBehind = false;
  }

  /** Whether nothing behind the finished position was ever given to Pulsar; only asked when nothing more is handed on. */
  get isDrained(): boolean {
    return this.#generation !== undefined && !this.#mayLagBehind && this.#delivery.isDrained;
  }

  /** What a checkpoint writes. @param ordinal of the first record after it */
  atCheckpoint(ordinalAt: Checkpoint, ordinal: number, drained: boolean): GenerationUpdate {
    return (stored) => ({ ...this.#inForce(stored), ordinal, ordinalAt, drained });
  }

  /** Stores what a checkpoint would, where the checkpoint itself is stored already. Writes nothing that the row holds. */
  async storeMarks(drained: boolean, signal: AbortSignal): Promise<void> {
    if (this.#generation === undefined) return;
    const write = () => this.#lease.storeGeneration((stored) => ({ ...this.#inForce(stored), drained }));
    const what = "the mark whether something is on its way";
    await storePatiently(write, what, this.#lease.shardId, { ...this.#parts, signal });
  }

  /** What the row holds, if it is of this generation: an answer that got lost may have been a success. */
  #inForce(stored: Lease["generation"]): PulsarGeneration {
    const known = this.#generation!;
    const base = typeof stored === "object" && stored.id === known.id ? stored : known;
    return { ...base, refused: this.#delivery.hasRefused, partitions: this.#partitions };
  }

  /**
   * Stores the mark of a refusal at once, and takes it back when the dead letter is stored. Not waited for: what remains
   * is a kill between the broker's refusal and this write. The broker refuses the record again at the replay (it looks at
   * sizes and policies before it looks for duplicates), unless its limit was raised meanwhile.
   */
  async #mark(): Promise<void> {
    if (this.#isMarking) return;
    this.#isMarking = true;
    try {
      while (this.#refusedInRow !== this.#delivery.hasRefused) {
        const what = "the mark that Pulsar refused a message";
        if (!await this.#store((row) => this.#inForce(row), what, this.#lease.lost)) return;
      }
    } finally {
      this.#isMarking = false;
    }
  }

  get #refusedInRow(): boolean {
    const { generation } = this.#lease.lease;
    return typeof generation === "object" && generation.refused;
  }

  #compare(firstRead: string): void {
    if (this.#checked) return;
    this.#checked = true;
    if (this.#plan?.type === "continue" && this.#plan.expected !== firstRead) {
      this.#plan = { type: "begin", reason: "record-missing" };
    }
  }

  /** Writes what has to be in the row before the first record is handed on. */
  async #begin(first: Position, signal: AbortSignal): Promise<boolean> {
    const plan = this.#plan!;
    const { digest } = this.#once;
    let generation: PulsarGeneration;
    if (plan.type === "begin") {
      generation = {
        id: randomBytes(8).toString("hex"),
        anchor: first,
        ordinal: 0,
        // Not what the row may say by now: what was read began behind this one.
        ordinalAt: this.#startedAt!,
        digest,
        drained: false,
        refused: false,
        partitions: {},
      };
    } else if (plan.generation.drained) {
      // Nothing is on its way: hooks, and numbers of partitions that have grown, are adopted.
      generation = { ...plan.generation, digest, drained: false, partitions: {} };
    } else {
      generation = plan.generation;
      this.#mayLagBehind = true;
    }
    const stored = await this.#store(() => generation, "the generation of sequence ids", signal);
    if (!stored || signal.aborted || !this.#lease.isAlive()) return false;
    this.#generation = generation;
    this.#partitions = generation.partitions;
    for (const [topic, count] of Object.entries(generation.partitions)) this.#routed.set(topic, count);
    this.next = generation.ordinal;
    this.#delivery.once = this.#identity(generation.id);
    this.#tell(plan, first);
    return true;
  }

  #identity(id: string): ShardIdentity {
    const { streamName } = this.#parts;
    const { applicationName } = this.#once;
    const { shardId } = this.#lease;
    return {
      producerName: producerNameOf({ applicationName, streamName, shardId }, id),
      partitions: (topic) => this.#routed.get(topic),
      storePartitions: (topic, count) => this.#storePartitions(topic, count),
      refusalsChanged: () =>
        void this.#mark().catch((error: unknown) => this.#parts.onFault(toConnectorError(error))),
    };
  }

  /** Stored before anything is routed by it: after a restart the same records go to the same partitions. */
  async #storePartitions(topic: string, count: number): Promise<void> {
    const { streamName: stream, onFault } = this.#parts;
    const { shardId } = this.#lease;
    const where = { stream, shardId, topic };
    if (this.#routed.get(topic) === count) return;
    const known = this.#partitions[topic] ?? count;
    if (known !== count) {
      throw new ConnectorError(
        `shard ${shardId}: topic ${topic} is routed over ${known} partitions, and cannot be over ${count} before the ` +
          "shard is drained",
        { code: "INTERNAL", where },
      );
    }
    this.#partitions = { ...this.#partitions, [topic]: count };
    const bytes = Object.keys(this.#partitions).reduce((sum, name) => sum + name.length + 8, 0);
    if (bytes > MOST_BYTES_OF_TOPICS) {
      const error = new ConnectorError(
        `shard ${shardId} of stream ${stream}: a hook named so many topics (${this.#routed.size}) that a lease row ` +
          "cannot hold them; a clean stop empties the list. Name fewer topics, or use at-least-once delivery",
        { code: "TOO_MANY_TOPICS", where },
      );
      onFault(error);
      throw error;
    }
    const stored = await this.#store(
      (row) => this.#inForce(row),
      `the number of partitions of ${topic}`,
      this.#lease.lost,
    ).catch((error) => {
      onFault(error); // the sink only hears that nothing can be routed
      throw error;
    });
    if (!stored) {
      throw new ConnectorError(`the lease of shard ${shardId} is lost`, {
        code: "AWS_UNAVAILABLE",
        retryable: true,
        where,
      });
    }
    this.#routed.set(topic, count);
  }

  /** Tried for as long as the lease is ours: false = it is not, or the signal aborted. */
  async #store(update: GenerationUpdate, what: string, signal: AbortSignal): Promise<boolean> {
    const write = () => this.#lease.storeGeneration(update);
    const options = { ...this.#parts, numRetries: Infinity, signal };
    return await storePatiently(write, what, this.#lease.shardId, options) === "stored";
  }

  #tell(plan: GenerationPlan, first: Position): void {
    const { log, totals } = this.#parts;
    const { shardId } = this.#lease;
    const { producerName } = this.#delivery.once!;
    const place = `${first.sequenceNumber}/${first.subSequenceNumber}`;
    if (plan.type === "continue") {
      log.info(`shard ${shardId}: sequence ids go on at ${place}`, { producerName, ordinal: this.next });
      return;
    }
    const { reason } = plan;
    totals.generations(reason).add();
    const message = `shard ${shardId}: new producer name and sequence ids from ${place} on: ${
      GENERATION_REASONS[reason]
    }`;
    if (reason === "first") log.info(message, { producerName, reason });
    else log.warn(`${message}. ${RISK}`, { producerName, reason });
  }
}

const RISK = "Records that were published before and not checkpointed are in the topic twice";
