// Effectively once: what a lease row says of a shard's producer names and sequence ids, and what follows from it. A
// message gets the id that it had before only where that is certain; else a new producer name begins, under which
// nothing is known to the broker: duplicates at worst, never loss. All pure.

import { ConnectorError } from "./errors.ts";
import { type Checkpoint, comparePositions, isSequenceNumber, type Position } from "./position.ts";

/** The numbering of a shard's user records that its messages' sequence ids come from, as a lease row keeps it. */
export interface PulsarGeneration {
  /** Random, never used twice: a part of the producer name. */
  readonly id: string;
  /** Position of the record with ordinal 0. */
  readonly anchor: Position;
  /** Ordinal of the first record after `ordinalAt`; 0 while no checkpoint was stored in this generation. */
  readonly ordinal: number;
  /** The row's checkpoint when `ordinal` was written: another one now means that somebody else moved it. */
  readonly ordinalAt: Checkpoint;
  /** Of the hooks and the routing: the same digest makes the same messages of a record. */
  readonly digest: string;
  /** Nothing behind `ordinalAt` was ever given to Pulsar. */
  readonly drained: boolean;
  /**
   * Pulsar refused a message behind `ordinalAt` for good, and no dead letter keeps its record. Later ids may have been
   * accepted: the same id again would be taken for a duplicate, and the record be lost.
   */
  readonly refused: boolean;
  /** Over how many partitions a topic's messages are routed (0 = none), by full name. */
  readonly partitions: Readonly<Record<string, number>>;
}

/** What a row holds: `"unreadable"` when its attributes make no generation, undefined when there are none. */
export type StoredGeneration = PulsarGeneration | "unreadable" | undefined;

/** Why a generation begins. */
export type GenerationReason =
  | "first"
  | "unreadable"
  | "checkpoint-moved"
  | "refused"
  | "hooks-changed"
  | "record-missing";

/** The reasons in words, for the log. */
export const GENERATION_REASONS: Readonly<Record<GenerationReason, string>> = {
  "first": "the shard has none yet",
  "unreadable": "the lease row's Pulsar attributes cannot be read",
  "checkpoint-moved":
    "the checkpoint was moved by somebody else (a Java worker, an at-least-once run, a person)",
  "refused": "Pulsar refused a message for good, and no dead letter keeps its record",
  "hooks-changed": "hooks, their options or the routing changed while messages were on their way",
  "record-missing": "the record to go on from is not in the stream any more",
};

/** What to do with a row's generation when its shard is begun. */
export type GenerationPlan =
  | { readonly type: "begin"; readonly reason: GenerationReason }
  /** Go on, if the first record that the stream returns is the one with the sequence number `expected`. */
  | { readonly type: "continue"; readonly generation: PulsarGeneration; readonly expected: string };

/** Decides by what the row holds and by the present digest. */
export function planGeneration(
  stored: StoredGeneration,
  checkpoint: Checkpoint,
  digest: string,
): GenerationPlan {
  if (stored === undefined) return { type: "begin", reason: "first" };
  if (stored === "unreadable") return { type: "begin", reason: "unreadable" };
  if (comparePositions(stored.ordinalAt, checkpoint) !== 0) {
    return { type: "begin", reason: "checkpoint-moved" };
  }
  if (stored.refused) return { type: "begin", reason: "refused" };
  if (stored.digest !== digest && !stored.drained) return { type: "begin", reason: "hooks-changed" };
  const { sequenceNumber: expected } = stored.ordinal === 0 ? stored.anchor : checkpoint;
  return { type: "continue", generation: stored, expected };
}

/**
 * The position at which a row's generation begins, if no checkpoint was stored in it yet: there is nothing to be read
 * before it. Holds under every delivery guarantee.
 */
export function anchorOf(stored: StoredGeneration, checkpoint: Checkpoint): Position | undefined {
  if (stored === undefined || stored === "unreadable" || stored.ordinal !== 0) return undefined;
  return comparePositions(stored.ordinalAt, checkpoint) === 0 ? stored.anchor : undefined;
}

/** Whether a generation can be one that this program wrote: with digits where digits belong. */
export function isPossible({ anchor, ordinal, ordinalAt }: PulsarGeneration): boolean {
  if (!isSequenceNumber(anchor.sequenceNumber)) return false;
  if (ordinalAt.sequenceNumber === "SHARD_END") return false;
  return ordinal === 0 || isSequenceNumber(ordinalAt.sequenceNumber);
}

/** Whether two are the same in every value. */
export function isSameGeneration(a: StoredGeneration, b: StoredGeneration): boolean {
  if (typeof a !== "object" || typeof b !== "object") return a === b;
  const topics = Object.keys(a.partitions);
  return a.id === b.id && a.digest === b.digest && a.drained === b.drained && a.refused === b.refused &&
    a.ordinal === b.ordinal && comparePositions(a.anchor, b.anchor) === 0 &&
    comparePositions(a.ordinalAt, b.ordinalAt) === 0 &&
    topics.length === Object.keys(b.partitions).length &&
    topics.every((topic) => a.partitions[topic] === b.partitions[topic]);
}

/** Sequence ids of one record: an ordinal's messages are numbered within it. */
export const IDS_PER_RECORD = 1024;
/** Above it sequence ids are no exact numbers any more: 270 years at a million records per second. */
export const MAX_ORDINAL = 2 ** 53 / IDS_PER_RECORD - 1;

/**
 * The sequence id of a record's message.
 * @throws ConnectorError INTERNAL when it cannot be represented
 */
export function sequenceIdOf(ordinal: number, index: number): number {
  if (ordinal >= 0 && ordinal <= MAX_ORDINAL && index < IDS_PER_RECORD) {
    return ordinal * IDS_PER_RECORD + index;
  }
  throw new ConnectorError(`no sequence id for message ${index} of the record with ordinal ${ordinal}`, {
    code: "INTERNAL",
  });
}

/** The producer name of a generation: `{applicationName}/{stream}/{shardId}/{generation}` (design §9). */
export function producerNameOf(
  names: { readonly applicationName: string; readonly streamName: string; readonly shardId: string },
  generationId: string,
): string {
  return `${names.applicationName}/${names.streamName}/${names.shardId}/${generationId}`;
}
