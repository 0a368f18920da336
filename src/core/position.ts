// Positions in a shard and their order. Kinesis' sequence numbers have up to 56 digits: strings at the
// edges, bigint to compare, never number.

/** A user record's place in its shard: Kinesis' sequence number and the index inside a KPL aggregate. */
export interface Position {
  /** Decimal digits. */
  readonly sequenceNumber: string;
  /** 0 for a record that is no aggregate; −1, in checkpoints only: before the whole record (see {@link justBefore}). */
  readonly subSequenceNumber: number;
}

/** What a lease row may hold instead of digits (KCL: SentinelCheckpoint). */
export type Sentinel = "TRIM_HORIZON" | "LATEST" | "AT_TIMESTAMP" | "SHARD_END";

/**
 * A lease row's checkpoint: everything at or before it is done. `sequenceNumber` is digits or a
 * {@link Sentinel}; sentinels have subsequence number 0.
 */
export type Checkpoint = Position;

/** A checkpoint that is a sentinel. */
export function sentinel(name: Sentinel): Checkpoint {
  return { sequenceNumber: name, subSequenceNumber: 0 };
}

/**
 * The checkpoint after which a record is the next to come. A number of its own could not say so: only numbers of
 * records may be stored, and the one before it is not known. The KCL reads AT the number and drops what is not after
 * (number, −1), so nothing (its ExtendedSequenceNumber takes any subsequence number).
 */
export function justBefore(sequenceNumber: string): Checkpoint {
  return { sequenceNumber, subSequenceNumber: -1 };
}

const RANK: Readonly<Record<string, bigint>> = { AT_TIMESTAMP: -3n, TRIM_HORIZON: -2n, LATEST: -1n };
const DIGITS = /^\d+$/;

/** Whether a checkpoint's sequence number is digits, not a sentinel. */
export function isSequenceNumber(text: string): boolean {
  return DIGITS.test(text);
}

/** Whether a text is digits or a sentinel, so something {@link compareSequenceNumbers} understands. */
export function isCheckpoint(text: string): boolean {
  return text in RANK || text === "SHARD_END" || DIGITS.test(text);
}

/**
 * Order of two sequence numbers, sentinels included: AT_TIMESTAMP < TRIM_HORIZON < LATEST < digits < SHARD_END
 * (KCL: ExtendedSequenceNumber). Throws RangeError on anything else.
 */
export function compareSequenceNumbers(a: string, b: string): number {
  if (a === b) return 0;
  if (a.length !== b.length || !isSameKind(a, b)) {
    const x = rank(a);
    const y = rank(b);
    return x === y ? 0 : x < y ? -1 : 1;
  }
  return a < b ? -1 : 1; // digits of the same length sort as text
}

/** Order of two positions: by sequence number, then subsequence number. */
export function comparePositions(a: Position, b: Position): number {
  return compareSequenceNumbers(a.sequenceNumber, b.sequenceNumber) ||
    a.subSequenceNumber - b.subSequenceNumber;
}

function isSameKind(a: string, b: string): boolean {
  return DIGITS.test(a) && DIGITS.test(b);
}

// SHARD_END sorts after every number: Kinesis' numbers have at most 186 bits.
const AFTER_ALL = 1n << 256n;

function rank(text: string): bigint {
  if (text === "SHARD_END") return AFTER_ALL;
  const known = RANK[text];
  if (known !== undefined) return known;
  if (!DIGITS.test(text)) {
    throw new RangeError(`"${text}" is neither a sequence number nor a checkpoint sentinel`);
  }
  return BigInt(text);
}
