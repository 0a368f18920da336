// When a shard counts as stalled, and why. Pure: what waits for somebody else is named, and only a reader that waits
// for nobody and gives nothing is opened anew.

/** Whom a shard's publisher waits for. */
export type WaitsFor = "hook" | "pulsar" | "leases";

/** What a loop waits for. Setting it is all that a wait costs. */
export interface Waiting {
  readonly what: WaitsFor;
  /** Monotonic milliseconds. */
  readonly since: number;
}

/** One shard, as far as its progress goes. Times are monotonic milliseconds. */
export interface ShardActivity {
  readonly shardId: string;
  /** Its reader is to give further pages: when it last came forward; undefined when all is read or nothing yet is. */
  readonly readingSince: number | undefined;
  /** How often in a row its reader was opened anew without a page since. */
  readonly reopened: number;
  /** Since when its next read waits until there is room for it. */
  readonly waitsForRoomSince: number | undefined;
  readonly publisher: Waiting | undefined;
  /** Ordinal of the first record that is not finished. */
  readonly first: number;
  /** Records that Pulsar has not acknowledged. */
  readonly inFlight: number;
  /** Why its reads fail at present. */
  readonly trouble: string | undefined;
}

/** A shard without progress. */
export interface Stall {
  readonly shardId: string;
  /** "reader": it waits for nobody. */
  readonly reason: WaitsFor | "room" | "kinesis" | "reader";
  readonly forMs: number;
}

/** What the first unfinished record of each shard was, and since when. */
export type FirstSeen = ReadonlyMap<string, { readonly first: number; readonly since: number }>;

/** The shards that have made no progress for so long, and what to give the next call. */
export function findStalls(
  shards: readonly ShardActivity[],
  before: FirstSeen,
  now: number,
  timeoutMs: number,
): { readonly stalls: Stall[]; readonly seen: FirstSeen } {
  const stalls: Stall[] = [];
  const seen = new Map<string, { first: number; since: number }>();
  for (const shard of shards) {
    const { shardId, first, inFlight, publisher, readingSince, waitsForRoomSince, trouble } = shard;
    const known = before.get(shardId);
    const unchanged = known?.first === first ? known : { first, since: now };
    if (inFlight > 0) seen.set(shardId, unchanged);
    const add = (reason: Stall["reason"], since: number): boolean => {
      const forMs = now - since;
      if (forMs >= timeoutMs) stalls.push({ shardId, reason, forMs });
      return forMs >= timeoutMs;
    };
    const isNamed = publisher !== undefined && add(publisher.what, publisher.since);
    if (!isNamed && inFlight > 0) add("pulsar", unchanged.since);
    if (waitsForRoomSince !== undefined) add("room", waitsForRoomSince);
    else if (readingSince !== undefined) add(trouble === undefined ? "reader" : "kinesis", readingSince);
  }
  return { stalls, seen };
}
