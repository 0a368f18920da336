// How much may be read (G6): bytes over all shards from the moment a read is asked for until its records are
// finished, and records that wait for a producer. Whoever asks first is served first, so no shard starves.

import type { ReadGrant } from "../kinesis/source.ts";

/** The service's largest GetRecords answer; what a shard's first read is assumed to bring. */
export const LARGEST_PAGE_BYTES = 10 * 1024 * 1024;
// What is asked for once a shard's record size is known. Larger pages cost more CPU per byte (measured: 7.6 ms per MB
// at 10 MB, 5.4 at 1 MB) and several times their size in memory while they are decoded; at the service's five reads
// a second this is still more than twice what a shard gives.
const PAGE_BYTES = 1024 * 1024;
/** The service's largest `Limit`. */
const LARGEST_PAGE_RECORDS = 10_000;
/** `Limit` of the first read of a backlog: enough to learn the size of its records, few if they are large. */
const FIRST_PAGE_RECORDS = 4;
/** Of a shard that was not read yet, records may be so many times as large as the largest ones that others gave. */
const UNLIKE_OTHERS = 4;
/** `Limit` at the tip, where little can come at once. */
const TIP_PAGE_RECORDS = 1_000;
// A shard whose last page was small may grow again: a read is reserved at least this much.
const SMALLEST_RESERVATION = 256 * 1024;

/** Limits of a {@link ReadBudget}. */
export interface ReadBudgetOptions {
  /** `kinesis.maxBufferedBytes`: bytes read or asked for and not yet finished. */
  readonly maxBytes: number;
  /** `receiveQueueSize`: records read and not yet handed to a producer. */
  readonly maxWaitingRecords: number;
  /** The largest record that the stream takes, once that is known. @default unknown */
  readonly maxRecordBytes?: (() => number | undefined) | undefined;
}

/** What a shard's reads have been like lately; one per shard, kept by its consumer. */
export interface PageSizes {
  /** Bytes of the last page that had records, undefined before it. */
  bytes?: number;
  recordBytes?: number;
  /** It was read to its tip: the next read brings at most what arrives meanwhile (a shard takes 1 MB a second). */
  caughtUp?: boolean;
}

interface Waiter {
  readonly bytes: number;
  readonly maxRecords: number;
  readonly resolve: (grant: ReadGrant | undefined) => void;
}

/** The budget of all shards of a connector. */
export class ReadBudget {
  readonly #options: ReadBudgetOptions;
  readonly #waiters: Waiter[] = [];
  #bytes = 0;
  #waiting = 0;
  /** The largest mean of a page so far. */
  #recordBytes = 0;

  constructor(options: ReadBudgetOptions) {
    this.#options = options;
  }

  /** Bytes reserved or held. */
  get bytes(): number {
    return this.#bytes;
  }

  /** Records read that no producer has yet. */
  get waitingRecords(): number {
    return this.#waiting;
  }

  /**
   * Waits until a page of this shard may be read; undefined when the signal aborted first.
   * @param known bytes that the page holds at most, where the reader knows that already
   */
  admit(sizes: PageSizes, signal: AbortSignal, known?: number): Promise<ReadGrant | undefined> {
    if (signal.aborted) return Promise.resolve(undefined);
    this.#recordBytes = Math.max(this.#recordBytes, sizes.recordBytes ?? 0);
    const { bytes, maxRecords } = known === undefined
      ? reservation(sizes, this.#likelyRecordBytes)
      : { bytes: known, maxRecords: LARGEST_PAGE_RECORDS };
    if (this.#waiters.length === 0 && this.#fits(bytes)) {
      return Promise.resolve(this.#grant(bytes, maxRecords));
    }
    return new Promise((resolve) => {
      const abandon = () => {
        this.#waiters.splice(this.#waiters.indexOf(waiter), 1);
        resolve(undefined);
        this.#serve(); // the one that waited before the others may have been too large
      };
      const waiter: Waiter = {
        bytes,
        maxRecords,
        resolve: (grant) => {
          signal.removeEventListener("abort", abandon);
          resolve(grant);
        },
      };
      this.#waiters.push(waiter);
      signal.addEventListener("abort", abandon, { once: true });
    });
  }

  /** Bytes of finished records come back. Negative when hooks made a record larger. */
  release(bytes: number): void {
    this.#bytes -= bytes;
    this.#serve();
  }

  /** Records were handed to a producer, dropped, or given up. */
  handedOn(records: number): void {
    this.#waiting -= records;
    this.#serve();
  }

  /** Of a shard that was not read yet. */
  get #likelyRecordBytes(): number {
    const largest = this.#options.maxRecordBytes?.() ?? LARGEST_PAGE_BYTES;
    return this.#recordBytes === 0 ? largest : Math.min(largest, UNLIKE_OTHERS * this.#recordBytes);
  }

  // One page is always admitted, so that a budget smaller than a page cannot stop everything.
  #fits(bytes: number): boolean {
    if (this.#waiting >= this.#options.maxWaitingRecords) return false;
    return this.#bytes <= 0 || this.#bytes + bytes <= this.#options.maxBytes;
  }

  #serve(): void {
    for (let first = this.#waiters[0]; first && this.#fits(first.bytes); first = this.#waiters[0]) {
      this.#waiters.shift();
      first.resolve(this.#grant(first.bytes, first.maxRecords));
    }
  }

  #grant(reserved: number, maxRecords: number): ReadGrant {
    this.#bytes += reserved;
    let open = true;
    return {
      maxRecords,
      release: () => {
        if (open) this.release(reserved);
        open = false;
      },
      settle: (bytes, records) => {
        open = false;
        this.#waiting += records;
        this.release(reserved - bytes);
      },
    };
  }
}

/**
 * What to reserve for a shard's next page: twice its last one, within bounds, and at least one record. Of a first page
 * nothing is known but what the stream takes and what its other shards gave: with the service's largest page for each, a
 * thousand shards would begin six at a time.
 */
function reservation(sizes: PageSizes, likelyRecordBytes: number): { bytes: number; maxRecords: number } {
  if (sizes.bytes === undefined || sizes.recordBytes === undefined) {
    if (sizes.caughtUp) return { bytes: PAGE_BYTES, maxRecords: TIP_PAGE_RECORDS };
    const likely = Math.max(FIRST_PAGE_RECORDS * likelyRecordBytes, PAGE_BYTES);
    const bytes = Math.min(likely, LARGEST_PAGE_BYTES);
    return { bytes, maxRecords: FIRST_PAGE_RECORDS };
  }
  const wanted = Math.min(Math.max(2 * sizes.bytes, SMALLEST_RESERVATION), PAGE_BYTES);
  const fitting = Math.floor(wanted / Math.max(sizes.recordBytes, 1));
  const maxRecords = Math.min(Math.max(fitting, 1), LARGEST_PAGE_RECORDS);
  return { bytes: Math.max(wanted, sizes.recordBytes), maxRecords };
}
