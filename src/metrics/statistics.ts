// Values of metrics, gathered until they are sent: per metric, dimensions and minute one statistic set, whatever the
// number of values. CloudWatch keeps minutes, so a set that is sent late still counts in its own.

import type { Datum, Dimensions, Unit } from "./kcl-names.ts";

/** All values of one metric in one minute. */
export interface StatisticSet {
  readonly name: string;
  readonly unit: Unit;
  readonly dimensions: Dimensions;
  /** Start of the minute, epoch milliseconds. */
  readonly minute: number;
  count: number;
  sum: number;
  min: number;
  max: number;
}

const MINUTE_MS = 60_000;

/** Gathers values. */
export class Statistics {
  #sets = new Map<string, StatisticSet>();

  /** @param now epoch milliseconds */
  add(datum: Datum, now: number): void {
    const { value } = datum;
    this.#merge({ ...datum, minute: now - now % MINUTE_MS, count: 1, sum: value, min: value, max: value });
  }

  get size(): number {
    return this.#sets.size;
  }

  /** All that was gathered; it begins anew. */
  take(): StatisticSet[] {
    const sets = [...this.#sets.values()];
    this.#sets = new Map();
    return sets;
  }

  /** What could not be sent is kept for the next time, unless it is older than `oldest` (epoch milliseconds). */
  putBack(sets: readonly StatisticSet[], oldest: number): void {
    for (const set of sets) if (set.minute >= oldest) this.#merge(set);
  }

  #merge(set: StatisticSet): void {
    const key = `${set.minute} ${set.name} ${set.dimensions.join(" ")}`;
    const known = this.#sets.get(key);
    if (known === undefined) {
      this.#sets.set(key, { ...set });
      return;
    }
    known.count += set.count;
    known.sum += set.sum;
    known.min = Math.min(known.min, set.min);
    known.max = Math.max(known.max, set.max);
  }
}
