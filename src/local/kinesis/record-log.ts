// A shard's records, kept as the JSON that GetRecords will answer: each is encoded once, when it is put, and
// lies in a large buffer behind the one before, so that a page is a few slices and costs no work per record.
// Records are named by ordinal (1, 2, 3 … in order of their sequence numbers, without gaps).

import { Buffer } from "node:buffer";

const FIRST_SEGMENT_BYTES = 16 * 1024;
const MAX_SEGMENT_BYTES = 4 * 1024 * 1024;

interface Segment {
  /** Ordinal of the first record in it. */
  readonly first: number;
  /** Fragments, each with a comma before it. */
  readonly bytes: Buffer;
  /** Where each fragment ends. */
  readonly ends: number[];
  /** Each record's size as the service counts it. */
  readonly sizes: number[];
  /** Latest arrival up to and including each record: arrivals may go back, this never does. */
  readonly arrivals: number[];
}

/** One page of a log. */
export interface LogPage {
  /** The fragments, separated by commas. */
  readonly chunks: Uint8Array[];
  readonly records: number;
  /** Sum of the records' sizes. */
  readonly bytes: number;
  /** The ordinal to go on with. */
  readonly next: number;
  /** Latest arrival in the page, epoch milliseconds; undefined when it is empty. */
  readonly arrivedAt: number | undefined;
}

/** An append-only log of encoded records that can be trimmed at its old end. */
export class RecordLog {
  #segments: Segment[] = [];
  #first = 1;
  #next = 1;
  #arrivedAt = 0;

  /** Ordinal of the oldest record, or of the next one when there is none. */
  get first(): number {
    return this.#first;
  }

  /** Ordinal that the next record will have. */
  get next(): number {
    return this.#next;
  }

  /** Appends one record: its JSON object, its size as the service counts it, its arrival in epoch ms. */
  append(json: string, size: number, arrivedAt: number): void {
    const length = Buffer.byteLength(json) + 1;
    const segment = this.#segmentFor(length);
    const start = segment.ends.at(-1) ?? 0;
    segment.bytes[start] = 0x2c;
    segment.bytes.write(json, start + 1, "utf8");
    segment.ends.push(start + length);
    segment.sizes.push(size);
    this.#arrivedAt = Math.max(this.#arrivedAt, arrivedAt);
    segment.arrivals.push(this.#arrivedAt);
    this.#next++;
  }

  /** The records from an ordinal on, within both limits; at least one if there is one. */
  read(from: number, maxRecords: number, maxBytes: number): LogPage {
    const start = Math.max(from, this.#first);
    const chunks: Uint8Array[] = [];
    let next = start;
    let bytes = 0;
    let arrivedAt: number | undefined;
    for (let s = this.#segmentIndex(start); s < this.#segments.length; s++) {
      const segment = this.#segments[s]!;
      const begin = next - segment.first;
      let end = begin;
      const last = Math.min(segment.ends.length, begin + maxRecords - (next - start));
      while (end < last && (bytes + segment.sizes[end]! <= maxBytes || next + end - begin === start)) {
        bytes += segment.sizes[end++]!;
      }
      if (end === begin) break;
      const skipComma = chunks.length === 0 ? 1 : 0;
      chunks.push(segment.bytes.subarray((segment.ends[begin - 1] ?? 0) + skipComma, segment.ends[end - 1]));
      arrivedAt = segment.arrivals[end - 1];
      next += end - begin;
      if (end < segment.ends.length) break;
    }
    return { chunks, records: next - start, bytes, next, arrivedAt };
  }

  /** Ordinal of the first record that arrived at or after a time; `next` when there is none. */
  seekTime(time: number): number {
    const s = firstIndex(this.#segments.length, (i) => this.#segments[i]!.arrivals.at(-1)! >= time);
    const segment = this.#segments[s];
    if (!segment) return this.#next;
    return Math.max(
      this.#first,
      segment.first + firstIndex(segment.arrivals.length, (i) => segment.arrivals[i]! >= time),
    );
  }

  /** Forgets all records before an ordinal. */
  trim(before: number): void {
    this.#first = Math.min(Math.max(this.#first, before), this.#next);
    const keep = this.#first === this.#next ? this.#segments.length : this.#segmentIndex(this.#first);
    if (keep > 0) this.#segments.splice(0, keep);
  }

  #segmentIndex(ordinal: number): number {
    return firstIndex(this.#segments.length, (i) => {
      const segment = this.#segments[i]!;
      return segment.first + segment.ends.length > ordinal;
    });
  }

  #segmentFor(length: number): Segment {
    const last = this.#segments.at(-1);
    if (last && (last.ends.at(-1) ?? 0) + length <= last.bytes.length) return last;
    const grown = last ? Math.min(last.bytes.length * 2, MAX_SEGMENT_BYTES) : FIRST_SEGMENT_BYTES;
    const segment: Segment = {
      first: this.#next,
      bytes: Buffer.allocUnsafeSlow(Math.max(length, grown)),
      ends: [],
      sizes: [],
      arrivals: [],
    };
    this.#segments.push(segment);
    return segment;
  }
}

// First index in [0, length) for which a monotone condition holds, else length.
function firstIndex(length: number, holds: (index: number) => boolean): number {
  let low = 0;
  let high = length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (holds(middle)) high = middle;
    else low = middle + 1;
  }
  return low;
}
