// A fleet on one table in simulated time: workers that decide as this program does, by its own functions, and workers
// that decide as the KCL does (kcl-taker.ts). They join, leave and die; scans may be stale, writes take a while and
// apply on condition of the counter. No I/O, no promises: an hour of ten workers is a matter of milliseconds.

import { leasesToGiveAway } from "../../src/leases/give-away.ts";
import { type Observations, observe } from "../../src/leases/observation.ts";
import { nextScanDelay, SharingRhythm, SHORTEST_GAP_MS } from "../../src/leases/rhythm.ts";
import type { Lease } from "../../src/leases/store.ts";
import { decideTakes } from "../../src/leases/take.ts";
import { leaseTimes } from "../../src/leases/times.ts";
import { KclTaker } from "./kcl-taker.ts";
import { newRow, ourId } from "./stores.ts";

export const F = 10_000;
const TIMES = leaseTimes(F);
/** The KCL counts nanoseconds since a boot: what it calls time 0 was long ago. */
const BOOT_MS = 1e9;

export type Kind = "ours" | "java";

/** Who held a row, since when, and whether somebody cared for it. */
export interface Change {
  readonly at: number;
  readonly leaseKey: string;
  readonly owner: string | undefined;
}

/** Options of {@link Fleet}. */
export interface FleetOptions {
  readonly leases: number;
  readonly random: () => number;
  /** A scan may show what was true up to so long ago. @default 0 */
  readonly staleMs?: number;
  /** A lease that is given away is drained for up to so long. @default 500 */
  readonly drainMs?: number;
  /** From the scan to the write. @default 100 */
  readonly latencyMs?: number;
}

/** One worker of a fleet. */
export interface Member {
  readonly kind: Kind;
  readonly id: string;
  /** By lease key: the counter as it was last written. */
  readonly held: Map<string, number>;
  isRunning: boolean;
}

/** The fleet and its table. */
export class Fleet {
  now = 0;
  readonly members: Member[] = [];
  /** Every change of an owner. */
  readonly changes: Change[] = [];
  /** Longest time that a row was not read although one of ours was there: after a death, and after a release. */
  readonly longest = { afterDeath: 0, afterRelease: 0 };
  readonly #options: Required<FleetOptions>;
  #rows = new Map<string, Lease>();
  #events: { at: number; run: () => void }[] = [];
  #old: { at: number; rows: Map<string, Lease> } | undefined;
  /** When nobody read a row any more. */
  readonly #unread = new Map<string, { since: number; why: keyof Fleet["longest"] }>();
  #ids = 0;

  constructor(options: FleetOptions) {
    this.#options = { staleMs: 0, drainMs: 500, latencyMs: 100, ...options };
    for (let i = 0; i < options.leases; i++) this.#rows.set(`s${i}`, newRow(`s${i}`));
  }

  /** Lets time pass. */
  run(ms: number): void {
    const end = this.now + ms;
    for (;;) {
      const next = this.#events[0];
      if (next === undefined || next.at > end) break;
      this.#pop();
      this.now = next.at;
      next.run();
    }
    this.now = end;
  }

  join(kind: Kind): Member {
    const n = this.#ids++;
    const member: Member = {
      kind,
      id: kind === "java" ? String(n) : ourId(n),
      held: new Map(),
      isRunning: true,
    };
    this.members.push(member);
    if (kind === "java") this.#runJava(member);
    else this.#runOurs(member);
    return member;
  }

  /** `kill -9`. */
  die(member: Member): void {
    member.isRunning = false;
    for (const [key, counter] of member.held) {
      if (this.#rows.get(key)?.leaseCounter === counter) {
        this.#unread.set(key, { since: this.now, why: "afterDeath" });
      }
    }
  }

  /** Ours gives its leases up; Java's connector simply stops. */
  leave(member: Member): void {
    if (member.kind === "java") return this.die(member);
    member.isRunning = false;
    for (const key of [...member.held.keys()]) this.#release(member, key);
  }

  running(): Member[] {
    return this.members.filter((member) => member.isRunning);
  }

  /** How many leases each running worker owns. */
  counts(): number[] {
    const owners = [...this.#rows.values()].map((row) => row.leaseOwner);
    return this.running().map(({ id }) => owners.filter((owner) => owner === id).length);
  }

  /** The difference between the most and the least loaded; Infinity while a row belongs to nobody who runs. */
  spread(): number {
    const counts = this.counts();
    const sum = counts.reduce((total, count) => total + count, 0);
    return sum < this.#rows.size ? Infinity : Math.max(...counts) - Math.min(...counts);
  }

  /** Rows that nobody reads; ours have to take them in time. */
  checkUnread(): void {
    for (const { since, why } of this.#unread.values()) this.#noteUnread(since, why);
  }

  #noteUnread(since: number, why: keyof Fleet["longest"]): void {
    this.longest[why] = Math.max(this.longest[why], this.now - since);
  }

  #after(ms: number, run: () => void): void {
    const event = { at: this.now + ms, run };
    // A binary heap would be faster, and longer to read.
    let low = 0;
    let high = this.#events.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.#events[middle]!.at <= event.at) low = middle + 1;
      else high = middle;
    }
    this.#events.splice(low, 0, event);
  }

  #pop(): void {
    this.#events.shift();
  }

  #scan(): Lease[] {
    const { staleMs, random } = this.#options;
    if (staleMs === 0) return [...this.#rows.values()];
    if (this.#old === undefined || this.now - this.#old.at > staleMs) {
      this.#old = { at: this.now, rows: new Map(this.#rows) };
    }
    return [...(random() < 0.5 ? this.#old.rows : this.#rows).values()];
  }

  /** A conditional write. */
  #write(key: string, counter: number, owner: string | undefined): boolean {
    const row = this.#rows.get(key)!;
    if (row.leaseCounter !== counter) return false;
    this.#rows.set(key, { ...row, leaseCounter: counter + 1, leaseOwner: owner });
    if (row.leaseOwner !== owner) this.changes.push({ at: this.now, leaseKey: key, owner });
    return true;
  }

  #take(member: Member, key: string, counter: number): void {
    if (!member.isRunning || !this.#write(key, counter, member.id)) return;
    member.held.set(key, counter + 1);
    const unread = this.#unread.get(key);
    if (unread === undefined) return;
    this.#unread.delete(key);
    this.#noteUnread(unread.since, unread.why);
  }

  #release(member: Member, key: string): void {
    const counter = member.held.get(key);
    member.held.delete(key);
    if (counter === undefined || !this.#write(key, counter, undefined)) return;
    this.#unread.set(key, { since: this.now, why: "afterRelease" });
  }

  #renewAll(member: Member, onLoss: () => void): void {
    if (!member.isRunning) return;
    let lost = false;
    for (const [key, counter] of member.held) {
      if (this.#write(key, counter, member.id)) member.held.set(key, counter + 1);
      else {
        member.held.delete(key);
        lost = true;
      }
    }
    if (lost) onLoss();
    this.#after(TIMES.renewEveryMs, () => this.#renewAll(member, onLoss));
  }

  #runJava(member: Member): void {
    const { random, latencyMs } = this.#options;
    const taker = new KclTaker(member.id, F, random);
    const round = () => {
      if (!member.isRunning) return;
      const chosen = taker.round(this.#scan(), BOOT_MS + this.now);
      const took = latencyMs * random();
      for (const { leaseKey, leaseCounter } of chosen) {
        this.#after(took, () => this.#take(member, leaseKey, leaseCounter));
      }
      this.#after(took + TIMES.scanEveryMs, round);
    };
    round();
    this.#after(TIMES.renewEveryMs, () => this.#renewAll(member, () => {}));
  }

  #runOurs(member: Member): void {
    const { random, latencyMs, drainMs } = this.#options;
    const rhythm = new SharingRhythm(TIMES, random);
    const leaving = new Set<string>();
    let observations: Observations = new Map();
    let next = 0;
    const lookAfter = (ms: number) => {
      const at = next = this.now + ms;
      this.#after(ms, () => {
        if (at === next) round(); // not overtaken by an earlier look
      });
    };
    const round = () => {
      if (!member.isRunning) return;
      const leases = this.#scan();
      ({ observations } = observe(observations, leases, this.now));
      for (const { leaseKey, leaseCounter, leaseOwner } of leases) {
        const counter = member.held.get(leaseKey);
        if (counter !== undefined && leaseCounter > counter && leaseOwner !== member.id) {
          member.held.delete(leaseKey);
        }
      }
      const view = {
        leases,
        observations,
        now: this.now,
        failoverTimeMs: F,
        workerId: member.id,
        held: new Set(member.held.keys()),
        leaving: new Set([...leaving].filter((key) => member.held.has(key))),
      };
      const { take, steal, lookAgainAt, balance } = decideTakes(view, {
        maySteal: rhythm.maySteal(this.now, member.held.size),
        random,
      });
      rhythm.saw(balance, this.now);
      const chosen = steal === undefined ? take : [steal];
      const took = chosen.length === 0 ? 0 : latencyMs * random();
      for (const { leaseKey, leaseCounter } of chosen) {
        this.#after(took, () => this.#take(member, leaseKey, leaseCounter));
      }
      if (chosen.length === 0 && rhythm.mayGive(this.now)) {
        const keys = leasesToGiveAway(view, random);
        if (keys.length > 0) rhythm.gave(this.now);
        for (const key of keys) {
          leaving.add(key);
          this.#after(drainMs * random(), () => {
            leaving.delete(key);
            if (member.isRunning) this.#release(member, key);
          });
        }
      }
      this.#after(took, () => {
        if (!member.isRunning) return;
        if (steal !== undefined && member.held.size > 0) rhythm.stole(this.now);
        const { held } = member;
        lookAfter(nextScanDelay({ leases, observations, now: this.now, held, leaving }, TIMES, lookAgainAt));
      });
    };
    round();
    this.#after(TIMES.renewEveryMs, () => this.#renewAll(member, () => lookAfter(SHORTEST_GAP_MS)));
  }
}
