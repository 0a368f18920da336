// Sequence numbers: 47 hexadecimal digits, printed as 56 decimal ones, laid out as the service's (version 2):
//   2 | shard created, s (9) | shard's low digit (1) | sequence index (16) | 00 | put, s (9) | shard (8) | 2
// (01 in place of 00: what a subscription gives to go on after, between its record and the next one).
// Of the index we use 23 bits for the stream and 40 for the record's ordinal, so that a number tells stream,
// shard and place: another stream's number is recognized even when both were created in the same second.

const ORDINAL_SHIFT = 80n;
const STREAM_SHIFT = 120n;
const CONTINUATION_SHIFT = 72n;
const PUT_SHIFT = 36n;
const MAX_ORDINAL = 2 ** 40 - 1;

/** What all numbers of one shard have in common. */
export interface SequenceScope {
  /** The shard's creation, epoch seconds. */
  readonly createdSeconds: number;
  /** Identifies the stream within this server, 23 bits. */
  readonly streamTag: number;
  readonly shardIndex: number;
}

/** A sequence number taken apart. */
export interface ParsedSequenceNumber extends SequenceScope {
  /** Counts a shard's records from 1; 0 is the shard's start, {@link END_ORDINAL} its end. */
  readonly ordinal: number;
  /** It is no record's: it lies between that record and the next one. */
  readonly isContinuation: boolean;
}

/** The ordinal of a closed shard's EndingSequenceNumber. */
export const END_ORDINAL = MAX_ORDINAL;
/** How many different stream tags there are. */
export const STREAM_TAGS = 2 ** 23;

/** The constant part of a shard's numbers. */
export function sequenceBase(scope: SequenceScope): bigint {
  const index = BigInt(scope.shardIndex);
  return (2n << 184n) | (BigInt(scope.createdSeconds) << 148n) | ((index & 15n) << 144n) |
    (BigInt(scope.streamTag) << STREAM_SHIFT) | (index << 4n) | 2n;
}

/** A record's number, decimal. */
export function sequenceNumber(base: bigint, ordinal: number, putSeconds: number): string {
  return (base + (BigInt(ordinal) << ORDINAL_SHIFT) + (BigInt(putSeconds) << PUT_SHIFT)).toString();
}

/** A number after a record's and before the next one's, which grows with time. */
export function continuationNumber(base: bigint, ordinal: number, seconds: number): string {
  return (BigInt(sequenceNumber(base, ordinal, seconds)) + (1n << CONTINUATION_SHIFT)).toString();
}

/** Takes a number apart; undefined for what no stream of this kind can have given. */
export function parseSequenceNumber(text: string): ParsedSequenceNumber | undefined {
  const value = BigInt(text);
  if (value >> 184n !== 2n || (value & 15n) !== 2n || field(value, 143n, 1n) !== 0) return undefined;
  return {
    createdSeconds: field(value, 148n, 36n),
    streamTag: field(value, STREAM_SHIFT, 23n),
    ordinal: field(value, ORDINAL_SHIFT, 40n),
    isContinuation: field(value, CONTINUATION_SHIFT, 8n) !== 0,
    shardIndex: field(value, 4n, 32n),
  };
}

function field(value: bigint, shift: bigint, bits: bigint): number {
  return Number((value >> shift) & ((1n << bits) - 1n));
}
