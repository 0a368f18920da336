// How old the oldest record of a shard is that is not finished yet (acknowledged by Pulsar, dropped, or a dead letter):
// what the stream's retention will take first. Kept per page, so that it costs nothing per record.

/** A page of which all is handed on. */
export interface HandedPage {
  /** Arrival of its first record, epoch milliseconds; undefined when it had none. */
  readonly arrivedAt: number | undefined;
  /** Ordinal of the record after its last one. */
  readonly end: number;
  readonly millisBehindLatest: number;
  /** Kinesis' clock when the page had come, epoch milliseconds. */
  readonly receivedAt: number;
}

/** So many pages are told apart; what comes behind them counts as old as the last of them. */
const MOST_PAGES = 256;

/** The age of one shard's unfinished part. */
export class UnreadAge {
  /** Those that had records. Bounded: Pulsar may keep the first one waiting for days while others go on. */
  readonly #pages: { readonly arrivedAt: number; end: number }[] = [];
  #last: HandedPage | undefined;

  /** @param first ordinal of the shard's first record that is not finished */
  handedOn(page: HandedPage, first: number): void {
    this.#last = page;
    this.#forget(first);
    const { arrivedAt, end } = page;
    if (arrivedAt === undefined || end <= first) return;
    if (this.#pages.length < MOST_PAGES) this.#pages.push({ arrivedAt, end });
    else this.#pages.at(-1)!.end = end;
  }

  /**
   * Milliseconds; undefined before the first page. Where all that was handed on is finished, the next record is as far
   * from the shard's tip as the last page was, and has been growing older since.
   * @param now Kinesis' clock, epoch milliseconds
   */
  at(now: number, first: number): number | undefined {
    this.#forget(first);
    if (this.#last === undefined) return undefined;
    const behind = this.#last.millisBehindLatest + Math.max(now - this.#last.receivedAt, 0);
    const oldest = this.#pages[0]?.arrivedAt;
    return oldest === undefined ? behind : Math.max(now - oldest, behind);
  }

  #forget(first: number): void {
    while (this.#pages.length > 0 && this.#pages[0]!.end <= first) this.#pages.shift();
  }
}
