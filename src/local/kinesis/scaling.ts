// UpdateShardCount: which splits and merges lead from the open shards to equal ones. Pure. As the service does it,
// a boundary that is wanted is split in, one that is not is merged away, so counts that do not divide one another
// make short-lived shards in between.

/** Hash range, both ends inclusive. */
export interface HashRange {
  readonly firstHash: bigint;
  readonly lastHash: bigint;
}

/** How many equal parts of the hash keys 0 … `maxHash` begin where; the first begins at 0. */
export function equalStarts(count: number, maxHash: bigint): bigint[] {
  const width = (maxHash + 1n) / BigInt(count);
  return Array.from({ length: count }, (_, i) => width * BigInt(i));
}

/**
 * The starts that shards shall have, for `count` equal ones. A shard that begins within rounding of a wanted start
 * stays as it is: thirds and sixths of 2^128 do not meet exactly.
 */
export function targetStarts(open: readonly HashRange[], count: number, maxHash: bigint): bigint[] {
  const rounding = BigInt(count + open.length);
  let i = 0;
  return equalStarts(count, maxHash).map((start) => {
    while (i < open.length && open[i]!.firstHash < start - rounding) i++;
    const near = open[i]?.firstHash;
    return near !== undefined && near <= start + rounding ? near : start;
  });
}
