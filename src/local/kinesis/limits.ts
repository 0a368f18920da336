// The service's limits per shard, off by default. A page that is larger than one second's share blocks the
// shard for as many seconds as it is worth, as the service does (a 10 MiB page: five seconds).

/** Limits of each shard, per second; a missing one does not limit, 0 refuses everything. */
export interface ShardLimits {
  /** GetRecords calls. AWS: 5 */
  readonly readsPerSecond?: number | undefined;
  /** Bytes out through GetRecords. AWS: 2 MiB */
  readonly readBytesPerSecond?: number | undefined;
  /** GetShardIterator calls. AWS: 5 */
  readonly iteratorsPerSecond?: number | undefined;
  /** Records put. AWS: 1000 */
  readonly writeRecordsPerSecond?: number | undefined;
  /** Bytes put (data and partition keys). AWS: 1 MiB */
  readonly writeBytesPerSecond?: number | undefined;
  /** SubscribeToShard calls of each consumer. AWS: 1 */
  readonly subscribesPerSecond?: number | undefined;
  /** Bytes out to each consumer through a subscription, which are held back, not refused. AWS: 2 MiB */
  readonly subscribeBytesPerSecond?: number | undefined;
}

/** What AWS allows each shard. */
export const AWS_SHARD_LIMITS: Required<ShardLimits> = {
  readsPerSecond: 5,
  readBytesPerSecond: 2 * 1024 * 1024,
  iteratorsPerSecond: 5,
  writeRecordsPerSecond: 1000,
  writeBytesPerSecond: 1024 * 1024,
  subscribesPerSecond: 1,
  subscribeBytesPerSecond: 2 * 1024 * 1024,
};

/** One shard's use of its limits. */
export class ShardUse {
  readonly #windows = new Map<keyof ShardLimits, { until: number; amount: number }[]>();

  /**
   * Whether a call may go on at `now` (monotonic ms). A read is judged before its size is known (amount 0);
   * what alone exceeds the limit, as a 10 MiB record does, is admitted when nothing else was used.
   */
  admits(limit: keyof ShardLimits, perSecond: number | undefined, now: number, amount = 0): boolean {
    if (perSecond === undefined) return true;
    if (perSecond <= 0) return false;
    const window = (this.#windows.get(limit) ?? []).filter((use) => use.until > now);
    this.#windows.set(limit, window);
    const used = window.reduce((sum, use) => sum + use.amount, 0);
    return used === 0 || (amount > 0 ? used + amount <= perSecond : used < perSecond);
  }

  /** Counts what a call used. */
  add(limit: keyof ShardLimits, perSecond: number | undefined, now: number, amount: number): void {
    if (perSecond === undefined || amount === 0) return;
    const window = this.#windows.get(limit) ?? [];
    window.push({ until: now + Math.max(1000, amount / perSecond * 1000), amount });
    this.#windows.set(limit, window);
  }
}
