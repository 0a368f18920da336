// The KCL 2.6.0's taker, written from its description (kcl-compat §3.4) and not from ours: what it keeps, the age of
// counters, lives in the worker; what it sees is a table. An oracle for fleets in which Java works beside us.

/** A row as this taker sees it. */
export interface KclRow {
  readonly leaseKey: string;
  readonly leaseOwner?: string | undefined;
  readonly leaseCounter: number;
}

interface SeenLease {
  readonly counter: number;
  /** Monotonic milliseconds; 0 for a row first seen without an owner. */
  readonly incrementedAt: number;
}

const VERY_OLD_FACTOR = 3;
const MAX_LEASES_TO_STEAL = 1;

/** One worker's taker. */
export class KclTaker {
  #seen = new Map<string, SeenLease>();
  readonly #workerId: string;
  readonly #failoverTimeMs: number;
  readonly #random: () => number;

  constructor(workerId: string, failoverTimeMs: number, random: () => number) {
    this.#workerId = workerId;
    this.#failoverTimeMs = failoverTimeMs;
    this.#random = random;
  }

  /** Keys of the leases to take, with the counters to take them at. `now` counts from a boot long ago. */
  round(rows: readonly KclRow[], now: number): KclRow[] {
    const seen = new Map<string, SeenLease>();
    for (const { leaseKey, leaseOwner, leaseCounter: counter } of rows) {
      const before = this.#seen.get(leaseKey);
      if (before?.counter === counter) seen.set(leaseKey, before);
      else if (before !== undefined || leaseOwner !== undefined) {
        seen.set(leaseKey, { counter, incrementedAt: now });
      } else seen.set(leaseKey, { counter, incrementedAt: 0 });
    }
    this.#seen = seen;
    const age = (row: KclRow) => now - seen.get(row.leaseKey)!.incrementedAt;
    const available = rows.filter((row) => row.leaseOwner === undefined || age(row) > this.#failoverTimeMs);

    // Step 1: who holds how much of what is not available.
    const counts = new Map([[this.#workerId, 0]]);
    const isAvailable = new Set(available);
    for (const row of rows) {
      if (isAvailable.has(row)) continue;
      counts.set(row.leaseOwner!, (counts.get(row.leaseOwner!) ?? 0) + 1);
    }
    // Step 2: the target.
    const target = counts.size >= rows.length ? 1 : Math.ceil(rows.length / counts.size);
    // Step 3: very old leases first, whatever the target.
    const veryOld = rows.filter((row) => age(row) > VERY_OLD_FACTOR * this.#failoverTimeMs);
    if (veryOld.length > 0) return this.#shuffle(veryOld);
    // Step 4
    const need = target - counts.get(this.#workerId)!;
    if (need <= 0) return [];
    // Step 5
    if (available.length > 0) return this.#shuffle(available).slice(0, need);
    // Step 6
    let victim: string | undefined;
    for (const [worker, count] of counts) {
      if (victim === undefined || count > counts.get(victim)!) victim = worker;
    }
    const most = counts.get(victim!)!;
    if (most < target) return [];
    let number = Math.min(need, most - target);
    if (number === 0 && need > 1) number = 1;
    number = Math.min(number, MAX_LEASES_TO_STEAL);
    return this.#shuffle(rows.filter((row) => row.leaseOwner === victim)).slice(0, number);
  }

  #shuffle(rows: readonly KclRow[]): KclRow[] {
    return rows.map((row) => [this.#random(), row] as const).sort(([a], [b]) => a - b).map(([, row]) => row);
  }
}
