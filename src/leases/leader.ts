// Which worker audits the table: the KCL's election (kcl-compat §3.5, DeterministicShuffleShardSyncLeaderDecider of
// 2.6.0), so that Java workers and ours name the same one without a word between them. Pure.

import type { Lease } from "./store.ts";

/** Who leads, and until when that is taken for granted. */
export interface Election {
  /** `undefined` while nobody owns a lease: then everybody leads. */
  readonly leader: string | undefined;
  /** When it is held again, monotonic milliseconds. */
  readonly nextAt: number;
}

const SEED = 1947n;
// As the KCL: a minute after the first use, then every five.
const SECOND_AFTER_MS = 60_000;
const EVERY_MS = 300_000;

/** The election that holds now. While nobody leads it is held at every use. */
export function elect(previous: Election | undefined, leases: Iterable<Lease>, now: number): Election {
  if (previous?.leader !== undefined && now < previous.nextAt) return previous;
  const owners = new Set<string>();
  for (const { leaseOwner } of leases) if (leaseOwner !== undefined) owners.add(leaseOwner);
  const first = previous?.leader === undefined;
  return { leader: leaderOf(owners), nextAt: now + (first ? SECOND_AFTER_MS : EVERY_MS) };
}

/** Whether a worker leads; where nobody does, everybody. */
export function isLeader({ leader }: Election, workerId: string): boolean {
  return leader === undefined || leader === workerId;
}

/** The first of the owners in {@link electionOrder}. */
export function leaderOf(owners: Iterable<string>): string | undefined {
  return electionOrder(owners)[0];
}

/** The owners, sorted by UTF-16 code units as Java's strings are, then shuffled as `Collections.shuffle` does. */
export function electionOrder(owners: Iterable<string>): string[] {
  const order = [...new Set(owners)].sort();
  const random = new JavaRandom(SEED);
  for (let i = order.length - 1; i > 0; i--) {
    const j = random.nextInt(i + 1);
    [order[i], order[j]] = [order[j]!, order[i]!];
  }
  return order;
}

/** `java.util.Random`, whose algorithm is part of Java's documentation: 48 bits, linear congruential. */
class JavaRandom {
  #seed: bigint;

  constructor(seed: bigint) {
    this.#seed = BigInt.asUintN(48, seed ^ 0x5DEECE66Dn);
  }

  /** 0 … bound − 1; `bound` at most 2^31 − 1. */
  nextInt(bound: number): number {
    if ((bound & (bound - 1)) === 0) return Number((BigInt(bound) * BigInt(this.#next31())) >> 31n);
    for (;;) {
      const bits = this.#next31();
      const value = bits % bound;
      // Java's sum overflows there: the last, incomplete run of remainders is not used.
      if (bits - value + (bound - 1) < 2 ** 31) return value;
    }
  }

  #next31(): number {
    this.#seed = BigInt.asUintN(48, this.#seed * 0x5DEECE66Dn + 0xBn);
    return Number(this.#seed >> 17n);
  }
}
