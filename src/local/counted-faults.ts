// Which injected fault hits the n-th matching call: the counting that the Kinesis server and the broker share. What a
// fault does, and what it matches, is theirs.

/** When a fault hits, among the calls that it matches. */
export interface FaultCount {
  /** The first matching call that is hit, from 1. */
  readonly nth?: number | undefined;
  /** How many are hit from there on. */
  readonly times?: number | undefined;
}

/** A fault that was injected. */
export interface InjectedFault {
  /** How many calls it has hit. */
  readonly hits: number;
  /** Ends it. */
  remove(): void;
}

interface Active<Fault> {
  readonly fault: Fault;
  seen: number;
  hits: number;
}

/** Faults that wait for their calls, in order of injection. */
export class CountedFaults<Fault extends FaultCount> {
  readonly #active = new Set<Active<Fault>>();

  inject(fault: Fault): InjectedFault {
    const active: Active<Fault> = { fault, seen: 0, hits: 0 };
    this.#active.add(active);
    return {
      get hits() {
        return active.hits;
      },
      remove: () => void this.#active.delete(active),
    };
  }

  clear(): void {
    this.#active.clear();
  }

  /** The fault that hits this call, if any. To be asked once per call: it counts for all that match. */
  next(matches: (fault: Fault) => boolean): Fault | undefined {
    let chosen: Active<Fault> | undefined;
    for (const active of this.#active) {
      if (!matches(active.fault)) continue;
      active.seen++;
      if (!chosen && active.seen >= (active.fault.nth ?? 1)) chosen = active;
    }
    if (!chosen) return undefined;
    chosen.hits++;
    if (chosen.hits >= (chosen.fault.times ?? 1)) this.#active.delete(chosen);
    return chosen.fault;
  }
}
