// Which shards of a table that has leases need one of their own (kcl-compat §4.3), decided from one listing and one
// scan. Keeps: every record that is to be read is read by exactly one chain of leases; a shard that continues one
// that was read starts at TRIM_HORIZON (G1); what was read before a lease further down is not read again (G2).
//
// The rule is the KCL 2.6.0's, and its published cases are our test vectors. It is stricter in five cases in which
// the KCL's loses records, waits for ever, or reads again:
// - Below a lease at SHARD_END nothing comes by itself any more: its missing children get leases at TRIM_HORIZON.
//   (The KCL takes them for descendants whose parent's end will make them.)
// - Leases of shards that have expired from the listing count: their hash ranges tell what continues them. (The KCL
//   begins such a shard at the initial position: with LATEST its records are lost.)
// - A shard with a lease further down its line was finished, so it is not read again, and its other children are
//   read from themselves. (The KCL reads the shard again, older records after newer ones.)
// - With AT_TIMESTAMP, shards that were closed before the time are passed over where it is known which they are.
//   (The KCL gives them leases, and their children then start at TRIM_HORIZON, before the time.)
// - It needs no recursion: chains of ten thousand generations are walked with a stack of its own.

import { compareSequenceNumbers } from "../core/position.ts";
import type { HashKeyRange, Shard } from "../core/shard.ts";
import { hasRange, RangeIndex } from "./hash-ranges.ts";
import { isFinished } from "./lease.ts";
import type { InitialPosition } from "./new-leases.ts";
import type { Lease } from "./store.ts";

/** A shard that needs a lease. */
export interface MissingLease {
  readonly shard: Shard;
  readonly position: InitialPosition;
  /** Leases of expired shards that it continues and that are not at SHARD_END: it is not read before they are. */
  readonly waitFor: readonly string[];
}

/** What a {@link Lineage} is made of. */
export interface LineageOptions {
  /** ListShards without a filter. */
  readonly shards: readonly Shard[];
  /** All rows, by a consistent scan; it may have been made after the listing. */
  readonly leases: readonly Lease[];
  /** Where lines begin that were never read. */
  readonly position: InitialPosition;
  /** With AT_TIMESTAMP: the shards that were open at that time. */
  readonly openAtTime?: readonly Shard[] | undefined;
}

/** What is to become of a shard without a lease. */
type Fate =
  /** A lease above it, or one that is missing there, leads to it. */
  | "comes"
  /** It gets a lease by this walk. */
  | "missing"
  /** It is behind a lease, or before the time. */
  | "over"
  /** Nobody is to read it (closed, LATEST). */
  | "unread";

/** Shards and leases, and what follows from them. Linear in both, but for the expired ranges (n log n). */
export class Lineage {
  readonly #position: InitialPosition;
  readonly #shards: ReadonlyMap<string, Shard>;
  readonly #leases: ReadonlyMap<string, Lease>;
  /** Shards of which a descendant has a lease. */
  readonly #proved: ReadonlySet<string>;
  /** Shards that were closed before the time. */
  readonly #early: ReadonlySet<string>;
  /** Leases of shards that are not listed any more. */
  readonly #expired: RangeIndex<Lease & HashKeyRange>;
  readonly #fates = new Map<string, Fate>();
  /** Shards behind a lease whose line was read before. */
  readonly #continued = new Set<string>();
  readonly #missing = new Map<string, MissingLease>();

  constructor({ shards, leases, position, openAtTime = [] }: LineageOptions) {
    this.#position = position;
    this.#shards = new Map(shards.map((shard) => [shard.shardId, shard]));
    this.#leases = new Map(leases.map((lease) => [lease.leaseKey, lease]));
    this.#proved = this.#strictAncestors(leases.map(({ leaseKey }) => leaseKey));
    this.#early = this.#strictAncestors(openAtTime.map(({ shardId }) => shardId));
    const younger = this.#youngerThanListing();
    this.#expired = new RangeIndex(
      leases.filter(hasRange).filter(({ leaseKey }) => !this.#shards.has(leaseKey) && !younger.has(leaseKey)),
    );
  }

  /** Children of shards that are listed as open: the listing was made in the middle of a reshard, list again. */
  get inconsistent(): string[] {
    return [...this.#shards.values()]
      .filter((shard) => shard.parentShardIds.some((id) => isOpen(this.#shards.get(id))))
      .map(({ shardId }) => shardId);
  }

  /** Whether the listing has it. */
  isListed(shardId: string): boolean {
    return this.#shards.has(shardId);
  }

  /** Whether a listed shard without a lease gets one by the end of another lease, or by {@link missing}. */
  isAwaited(shardId: string): boolean {
    if (!this.#shards.has(shardId) || this.#leases.has(shardId)) return false;
    this.#walk(shardId);
    const fate = this.#fates.get(shardId);
    return fate === "comes" || fate === "missing";
  }

  /** Whether a descendant of the shard has a lease: it was finished once. */
  isProved(shardId: string): boolean {
    return this.#proved.has(shardId);
  }

  /**
   * The leases that have to be written, in the order of the shards' starts: none is an ancestor of another.
   * @param below the shards whose ancestors are looked at; absent: all open ones
   */
  missing(below?: Iterable<string>): MissingLease[] {
    for (const id of below ?? this.#open()) {
      if (!this.#leases.has(id) && this.#shards.has(id)) this.#walk(id);
    }
    return [...this.#missing.values()].sort((a, b) => compareShards(a.shard, b.shard));
  }

  *#open(): Generator<string> {
    for (const shard of this.#shards.values()) if (isOpen(shard)) yield shard.shardId;
  }

  /** Decides about a shard after all of its ancestors up to the next leases. */
  #walk(start: string): void {
    const path = [start];
    const onPath = new Set(path);
    while (path.length > 0) {
      const id = path.at(-1)!;
      const next = this.#fates.has(id)
        ? undefined
        : this.#parents(id).find((parent) =>
          !this.#leases.has(parent) && !this.#fates.has(parent) && !onPath.has(parent)
        );
      if (next === undefined) {
        if (!this.#fates.has(id)) this.#decide(this.#shards.get(id)!);
        path.pop();
      } else {
        path.push(next);
        onPath.add(next);
      }
    }
  }

  #decide(shard: Shard): void {
    const { shardId } = shard;
    const parents = this.#parents(shardId);
    if (parents.some((parent) => this.#leads(parent))) {
      this.#fates.set(shardId, "comes");
      // A merged shard gets its lease when both of its parents have had one.
      for (const parent of parents) {
        if (this.#fates.get(parent) === "unread") this.#need(this.#shards.get(parent)!, this.#position, []);
      }
      return;
    }
    const expired = this.#expiredAncestors(shard);
    const continues = expired.length > 0 || parents.some((parent) => this.#wasRead(parent));
    if (this.#proved.has(shardId)) {
      if (continues) this.#continued.add(shardId);
      this.#fates.set(shardId, "over");
    } else if (continues) {
      const waitFor = expired.filter((lease) => !isFinished(lease)).map(({ leaseKey }) => leaseKey);
      this.#need(shard, "TRIM_HORIZON", waitFor);
    } else if (this.#early.has(shardId)) {
      this.#fates.set(shardId, "over");
    } else if (this.#position !== "LATEST" || isOpen(shard)) {
      this.#need(shard, this.#position, []);
    } else {
      this.#fates.set(shardId, "unread");
    }
  }

  /** Whether a parent's end, now or later, gives its children leases. */
  #leads(parent: string): boolean {
    const lease = this.#leases.get(parent);
    if (lease !== undefined) return !isFinished(lease);
    const fate = this.#fates.get(parent);
    return fate === "comes" || fate === "missing";
  }

  /** Whether a parent that leads nowhere was read. */
  #wasRead(parent: string): boolean {
    return this.#leases.has(parent) || this.#continued.has(parent);
  }

  #expiredAncestors(shard: Shard): Lease[] {
    const gone = shard.parentShardIds.filter((id) => !this.#shards.has(id));
    if (gone.length === 0) return [];
    const found = new Set<Lease>(this.#expired.overlapping(shard));
    for (const id of gone) { // also where a row lacks its range
      const lease = this.#leases.get(id);
      if (lease !== undefined) found.add(lease);
    }
    return [...found];
  }

  #need(shard: Shard, position: InitialPosition, waitFor: readonly string[]): void {
    this.#fates.set(shard.shardId, "missing");
    this.#missing.set(shard.shardId, { shard, position, waitFor });
  }

  #parents(shardId: string): string[] {
    return this.#shards.get(shardId)!.parentShardIds.filter((id) => this.#shards.has(id));
  }

  /** Shards with leases that are below listed ones: not expired, but made since the listing. */
  #youngerThanListing(): Set<string> {
    const children = new Map<string, string[]>();
    const younger = new Set<string>();
    for (const { leaseKey, parentShardIds } of this.#leases.values()) {
      if (this.#shards.has(leaseKey)) continue;
      for (const parent of parentShardIds) {
        if (this.#shards.has(parent)) younger.add(leaseKey);
        const siblings = children.get(parent);
        if (siblings === undefined) children.set(parent, [leaseKey]);
        else siblings.push(leaseKey);
      }
    }
    for (const id of younger) for (const child of children.get(id) ?? []) younger.add(child);
    return younger;
  }

  #strictAncestors(of: Iterable<string>): Set<string> {
    const reached = new Set<string>();
    const add = (id: string) => {
      const known = this.#shards.get(id) ?? this.#leases.get(id);
      for (const parent of known?.parentShardIds ?? []) reached.add(parent);
    };
    for (const id of of) add(id);
    for (const id of reached) add(id); // a set grows while it is walked
    return reached;
  }
}

/** By starting sequence number, then id: parents before their children. */
export function compareShards(a: Shard, b: Shard): number {
  return compareSequenceNumbers(a.startingSequenceNumber, b.startingSequenceNumber) ||
    (a.shardId < b.shardId ? -1 : 1);
}

/**
 * Shards in waves: each wave's parents are in earlier ones, or not among them. To be written wave by wave, because a
 * child's lease proves that its parents had theirs.
 */
export function inGenerations(shards: readonly Shard[]): Shard[][] {
  const waiting = new Map<string, number>();
  const children = new Map<string, Shard[]>();
  const ids = new Set(shards.map(({ shardId }) => shardId));
  for (const shard of shards) {
    const parents = shard.parentShardIds.filter((id) => ids.has(id));
    waiting.set(shard.shardId, parents.length);
    for (const parent of parents) {
      const siblings = children.get(parent);
      if (siblings === undefined) children.set(parent, [shard]);
      else siblings.push(shard);
    }
  }
  const waves: Shard[][] = [];
  let wave = shards.filter(({ shardId }) => waiting.get(shardId) === 0);
  while (wave.length > 0) {
    waves.push(wave);
    const next: Shard[] = [];
    for (const { shardId } of wave) {
      for (const child of children.get(shardId) ?? []) {
        const left = waiting.get(child.shardId)! - 1;
        waiting.set(child.shardId, left);
        if (left === 0) next.push(child);
      }
    }
    wave = next;
  }
  return waves;
}

function isOpen(shard: Shard | undefined): boolean {
  return shard !== undefined && shard.endingSequenceNumber === undefined;
}
