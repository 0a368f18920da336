// The reader of one shard, which can be replaced while its consumer goes on: a new one begins after the last page that
// was given out, so that nothing is skipped and nothing comes twice. What a reader that was given up still brings is
// thrown away, and its grant with it.

import type { Clock } from "../core/clock.ts";
import { untilAborted } from "../core/until-aborted.ts";
import type {
  Admit,
  GrantedPage,
  ReadGrant,
  ReadShardOptions,
  RecordSource,
  ShardReader,
  StartPosition,
} from "../kinesis/source.ts";

/** Options of {@link ShardReading}. */
export interface ShardReadingOptions extends ReadShardOptions {
  readonly source: RecordSource;
  readonly clock: Clock;
  /** Waits for room for the next page; undefined when the signal aborted first. */
  readonly admit: Admit;
}

/** One reader, until it is given up. */
interface Attempt {
  readonly reader: ShardReader;
  readonly giveUp: AbortController;
  /** Aborted with the shard's, too. */
  readonly signal: AbortSignal;
  grant: ReadGrant | undefined;
  /** Monotonic milliseconds. */
  waitsForRoomSince: number | undefined;
}

/** Reads one shard, page by page. */
export class ShardReading {
  readonly #options: ShardReadingOptions;
  #attempt: Attempt | undefined;
  #connected = false;
  #lastReceived: string | undefined;
  #progressAt: number;
  #lag = Infinity;
  #reopened = 0;

  constructor(options: ShardReadingOptions) {
    this.#options = options;
    this.#progressAt = options.clock.monotonic();
  }

  /**
   * The next page; undefined when the signal was aborted. After the last page do not call it again.
   * @throws ConnectorError as the reader's `next`
   */
  async next(): Promise<GrantedPage | undefined> {
    while (!this.#options.signal.aborted) {
      const attempt = this.#attempt ??= this.#open();
      const reading = attempt.reader.next((signal, bytes) => this.#admit(attempt, signal, bytes));
      const granted = await untilAborted(reading, attempt.signal);
      if (granted !== undefined) return this.#received(attempt, granted);
      if (!attempt.signal.aborted) return undefined;
      this.#attempt = undefined;
      // What hangs would hold its grant for ever, and what comes late must not count as held.
      attempt.grant?.release();
      reading.then((late) => late?.grant.release(), () => {});
    }
    return undefined;
  }

  /** Gives the present reader up: the next page comes from a new one. */
  reopen(): void {
    this.#reopened++;
    this.#progressAt = this.#options.clock.monotonic();
    this.#lag = Infinity;
    this.#attempt?.giveUp.abort();
  }

  /** How often in a row it was opened anew without a page since. */
  get reopened(): number {
    return this.#reopened;
  }

  /** Since when the next read waits until there is room for what it brings, monotonic milliseconds. */
  get waitsForRoomSince(): number | undefined {
    return this.#attempt?.waitsForRoomSince;
  }

  /**
   * When the reading last came forward, monotonic milliseconds: by records, by a smaller lag, or by being caught up.
   * Empty pages that come no nearer to the tip are none.
   */
  get progressAt(): number {
    return this.#progressAt;
  }

  #open(): Attempt {
    const { source, shardId, start, restart, until, isHeld, onConnected } = this.#options;
    const from: Pick<ReadShardOptions, "start" | "restart"> = this.#lastReceived !== undefined
      ? { start: after(this.#lastReceived) }
      : { start: this.#connected ? restart ?? start : start, restart };
    const giveUp = new AbortController();
    const signal = AbortSignal.any([this.#options.signal, giveUp.signal]);
    const reader = source.open({
      shardId,
      ...from,
      until,
      isHeld,
      signal,
      onConnected: () => {
        if (this.#connected || signal.aborted) return;
        this.#connected = true;
        onConnected?.();
      },
    });
    return { reader, giveUp, signal, grant: undefined, waitsForRoomSince: undefined };
  }

  async #admit(attempt: Attempt, signal: AbortSignal, bytes?: number): Promise<ReadGrant | undefined> {
    const { clock, admit } = this.#options;
    const askedAt = clock.monotonic();
    attempt.waitsForRoomSince = askedAt;
    attempt.grant = await admit(signal, bytes);
    attempt.waitsForRoomSince = undefined;
    this.#progressAt += clock.monotonic() - askedAt; // the reader could not come forward meanwhile
    return attempt.grant;
  }

  #received(attempt: Attempt, granted: GrantedPage): GrantedPage {
    const { records, millisBehindLatest } = granted.page;
    attempt.grant = undefined; // the page's from now on
    this.#reopened = 0;
    this.#lastReceived = records.at(-1)?.sequenceNumber ?? this.#lastReceived;
    if (records.length > 0 || millisBehindLatest === 0 || millisBehindLatest < this.#lag) {
      this.#progressAt = this.#options.clock.monotonic();
      this.#lag = millisBehindLatest;
    }
    return granted;
  }
}

function after(sequenceNumber: string): StartPosition {
  return { type: "AFTER_SEQUENCE_NUMBER", sequenceNumber };
}
