// Which records of a shard are finished, and how far a checkpoint may go: never past an unfinished record (G1).
// Records are numbered by ordinals in shard order; rings of typed arrays instead of an object per record.

import type { Position } from "./position.ts";

// Most shards of a wide stream are idle: a ring begins small, and doubles.
const FIRST_CAPACITY = 16;

/** The records of one shard between the checkpointable position and the last one read. */
export class InFlight {
  /** Called with the bytes of records that were just finished, so that their budget can be given back. */
  readonly #onFinished: (bytes: number) => void;
  #capacity = FIRST_CAPACITY;
  // Per ordinal (masked by the capacity): messages that must still be acknowledged.
  #open = new Uint32Array(FIRST_CAPACITY);
  #bytes = new Float64Array(FIRST_CAPACITY);
  #sub = new Uint32Array(FIRST_CAPACITY);
  #sequence: string[] = new Array<string>(FIRST_CAPACITY);
  /** Effectively once: per ordinal the generation's ordinal of the record after it. */
  #following: Float64Array | undefined;
  /** First ordinal that is not finished contiguously. */
  #head = 0;
  #next = 0;
  #finished: Position | undefined;
  #finishedFollowing: number | undefined;
  #finishedRecords = 0;
  #finishedBytes = 0;

  constructor(onFinished: (bytes: number) => void) {
    this.#onFinished = onFinished;
  }

  /**
   * Adds the next record in shard order, which is finished when `messages` acknowledgements came; 0 = at once
   * (dropped or skipped). Returns its ordinal.
   * @param following effectively once: the ordinal of the record after it in the shard's generation
   */
  add(
    sequenceNumber: string,
    subSequenceNumber: number,
    bytes: number,
    messages: number,
    following?: number,
  ): number {
    if (this.#next - this.#head === this.#capacity) this.#grow();
    const ordinal = this.#next++;
    const slot = ordinal & (this.#capacity - 1);
    this.#open[slot] = messages;
    this.#bytes[slot] = bytes;
    this.#sub[slot] = subSequenceNumber;
    this.#sequence[slot] = sequenceNumber;
    if (following !== undefined) {
      this.#following ??= new Float64Array(this.#capacity);
      this.#following[slot] = following;
    }
    if (messages === 0) {
      this.#onFinished(bytes);
      this.#advance();
    }
    return ordinal;
  }

  /** One message of each record `from` … `to` was acknowledged. */
  acknowledged(from: number, to: number): void {
    const mask = this.#capacity - 1;
    let finishedBytes = 0;
    for (let ordinal = Math.max(from, this.#head); ordinal <= to; ordinal++) {
      const slot = ordinal & mask;
      const left = this.#open[slot]! - 1;
      this.#open[slot] = left;
      if (left === 0) finishedBytes += this.#bytes[slot]!;
    }
    if (from <= this.#head) this.#advance();
    if (finishedBytes > 0) this.#onFinished(finishedBytes);
  }

  /** Highest position at and before which everything is finished; undefined before the first. */
  get finished(): Position | undefined {
    return this.#finished;
  }

  /** The generation's ordinal of the record after {@link InFlight.finished}; undefined where none was given. */
  get finishedFollowing(): number | undefined {
    return this.#finishedFollowing;
  }

  /** Ordinal of the first record that is not finished; of the next one to come, when all are. */
  get first(): number {
    return this.#head;
  }

  /** Whether a record that was added is finished, also where a checkpoint cannot pass it yet. */
  isFinished(ordinal: number): boolean {
    return ordinal < this.#head || this.#open[ordinal & (this.#capacity - 1)] === 0;
  }

  /** Records that are not finished, or wait behind one that is not. */
  get size(): number {
    return this.#next - this.#head;
  }

  /** Records and bytes of the finished prefix since the last call. */
  takeCounts(): { records: number; bytes: number } {
    const counts = { records: this.#finishedRecords, bytes: this.#finishedBytes };
    this.#finishedRecords = 0;
    this.#finishedBytes = 0;
    return counts;
  }

  /** Forgets all that is open, giving its budget back: the lease was lost, or a stop has run out of time. */
  abandon(): void {
    let bytes = 0;
    for (let ordinal = this.#head; ordinal < this.#next; ordinal++) {
      const slot = ordinal & (this.#capacity - 1);
      if (this.#open[slot] !== 0) bytes += this.#bytes[slot]!;
    }
    this.#head = this.#next;
    if (bytes > 0) this.#onFinished(bytes);
  }

  #advance(): void {
    const mask = this.#capacity - 1;
    let head = this.#head;
    let bytes = 0;
    while (head < this.#next && this.#open[head & mask] === 0) bytes += this.#bytes[head++ & mask]!;
    if (head === this.#head) return;
    const last = (head - 1) & mask;
    this.#finished = { sequenceNumber: this.#sequence[last]!, subSequenceNumber: this.#sub[last]! };
    this.#finishedFollowing = this.#following?.[last];
    this.#finishedRecords += head - this.#head;
    this.#finishedBytes += bytes;
    this.#head = head;
  }

  #grow(): void {
    const capacity = this.#capacity * 2;
    const open = new Uint32Array(capacity);
    const bytes = new Float64Array(capacity);
    const sub = new Uint32Array(capacity);
    const sequence = new Array<string>(capacity);
    const following = this.#following && new Float64Array(capacity);
    for (let ordinal = this.#head; ordinal < this.#next; ordinal++) {
      const from = ordinal & (this.#capacity - 1);
      const to = ordinal & (capacity - 1);
      open[to] = this.#open[from]!;
      bytes[to] = this.#bytes[from]!;
      sub[to] = this.#sub[from]!;
      sequence[to] = this.#sequence[from]!;
      if (following !== undefined) following[to] = this.#following![from]!;
    }
    this.#capacity = capacity;
    this.#open = open;
    this.#bytes = bytes;
    this.#sub = sub;
    this.#sequence = sequence;
    this.#following = following;
  }
}
