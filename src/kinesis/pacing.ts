// When a shard may be read again. Pure decisions about times that the reader gives; all in milliseconds of the
// monotonic clock. Idle shards are read once a second, full ones at once; a stream that has throttled once is read
// within the service's limits from then on, because another consumer shares them. A process that reads many shards
// reads the idle ones less often: a call costs about 1 ms of CPU, and the leases have to stay alive.

/** How fast to read. */
export interface PacingOptions {
  /** `kinesis.idlePollMs`: the longest pause of an idle shard; below 1 000 it is the pause. */
  readonly idlePollMs: number;
  /** After the first throttle: reads per second and shard. */
  readonly maxReadsPerSecond: number;
  /** After the first throttle: bytes per second and shard. */
  readonly maxReadBytesPerSecond: number;
}

/** What the shards of a stream share. */
export interface StreamPace {
  /** Whether Kinesis has ever throttled a read of the stream. */
  throttled: boolean;
  /** Shards that this process reads now. */
  readers: number;
  /** How late they wake up from their pauses, milliseconds on average: whether this process gets the CPU that it wants. */
  lateMs: number;
}

/** A read that gave a page. */
export interface ReadResult {
  readonly startedAt: number;
  readonly endedAt: number;
  readonly records: number;
  readonly bytes: number;
  /** Whether more records are known to wait behind it. */
  readonly more: boolean;
}

const IDLE_READ_MS = 1000;
// A shard without records for a minute is read every six seconds, if idlePollMs allows.
const IDLE_SHARE = 10;
/** All idle shards of a process together are read so often at most: a fifth of a core. */
const IDLE_READS_PER_SECOND = 200;
/** They are so many fewer where this process gets no CPU: at this lateness half, at twice of it a third of them. */
const LATE_MS = 25;
const LONGEST_LATE_PAUSE_MS = 10_000;
/** Wake-ups that the lateness is told by. */
const LATE_WEIGHT = 1 / 20;
/** Decoding so much costs as much as the call that brought it: a shard that gives it is not idle. */
const BUSY_PAGE_BYTES = 256 * 1024;

/** The pace of one shard. */
export class ShardPace {
  readonly #options: PacingOptions;
  readonly #stream: StreamPace;
  #lastRecordsAt: number | undefined;
  /** By what the last page said. */
  #notBefore = -Infinity;
  /** By the service's limits, after a throttle. */
  #withinLimitsAt = -Infinity;

  constructor(options: PacingOptions, stream: StreamPace) {
    this.#options = options;
    this.#stream = stream;
  }

  /** How long the next read has to wait; 0 = now. */
  delay(now: number): number {
    const at = this.#stream.throttled ? Math.max(this.#notBefore, this.#withinLimitsAt) : this.#notBefore;
    return Math.max(0, at - now);
  }

  /** A pause has ended so much later than it should have, milliseconds. */
  woke(lateMs: number): void {
    this.#stream.lateMs += (lateMs - this.#stream.lateMs) * LATE_WEIGHT;
  }

  /** Takes note of a page. */
  pageRead({ startedAt, endedAt, records, bytes, more }: ReadResult): void {
    if (records > 0) this.#lastRecordsAt = startedAt;
    this.#lastRecordsAt ??= startedAt;
    this.#notBefore = more ? endedAt : startedAt + this.#idlePause(startedAt - this.#lastRecordsAt, bytes);
    const { maxReadsPerSecond, maxReadBytesPerSecond } = this.#options;
    this.#withinLimitsAt = Math.max(
      // From the end, so that no latency brings two reads closer together at the service.
      endedAt + 1000 / maxReadsPerSecond,
      startedAt + (bytes / maxReadBytesPerSecond) * 1000,
    );
  }

  /** The more its last page brought, the less a shard has to wait for the sake of the others. */
  #idlePause(idleForMs: number, bytes: number): number {
    const longest = this.#options.idlePollMs;
    const pause = Math.min(longest, Math.max(IDLE_READ_MS, idleForMs / IDLE_SHARE));
    const inTurn = this.#stream.readers * 1000 / IDLE_READS_PER_SECOND;
    const shared = inTurn + Math.min(LONGEST_LATE_PAUSE_MS, inTurn * this.#stream.lateMs / LATE_MS);
    const idleness = Math.max(0, 1 - bytes / BUSY_PAGE_BYTES);
    return pause + Math.max(0, shared - pause) * idleness;
  }
}
