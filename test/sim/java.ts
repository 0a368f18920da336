// A worker of the Java connector, by the rules of its KCL 2.6.0 (kcl-compat §3 and §4), written from those alone: it
// shares no decision with the product. Its id is "0" after every restart; it renews by a fixed rhythm, takes every
// two failover times, never gives a lease up, and knows nothing of `startedAt`.

import { ConnectorError } from "../../src/core/errors.ts";
import { type Checkpoint, comparePositions, isSequenceNumber, sentinel } from "../../src/core/position.ts";
import type { Lease, LeaseChange, LeaseStore, WriteResult } from "../../src/leases/store.ts";
import type { Chance } from "../chance.ts";
import type { Judge, Start } from "./judge.ts";
import type { Line } from "./line.ts";
import type { SimShard, SimStream, UserRecord } from "./stream.ts";
import type { Process, ProcessClock } from "./timeline.ts";
import type { SinkWatch } from "./topic.ts";

export const JAVA_ID = "0";

/** What a {@link JavaWorker} lives in. */
export interface JavaOptions {
  readonly process: Process;
  readonly clock: ProcessClock;
  readonly line: Line;
  readonly store: LeaseStore;
  readonly stream: SimStream;
  readonly judge: Judge;
  readonly chance: Chance;
  readonly start: Start;
  readonly failoverTimeMs: number;
  readonly checkpointIntervalMs: number;
}

interface Held {
  lease: Lease;
  /** When its last renewal was answered. */
  renewedAt: number;
  lost: boolean;
  /** Its writes go out one after the other. */
  queue: Promise<unknown>;
}

const READ_EVERY_MS = 1_500;
const PARENT_POLL_MS = 10_000;
const TASK_BACKOFF_MS = 1_500;

/** See the file's header. */
export class JavaWorker {
  readonly id = JAVA_ID;
  readonly process: Process;
  readonly #options: JavaOptions;
  readonly #watch: SinkWatch;
  readonly #held = new Map<string, Held>();
  readonly #seen = new Map<string, { readonly counter: number; readonly since: number }>();

  constructor(options: JavaOptions) {
    this.process = options.process;
    this.#options = options;
    this.#watch = options.judge.watch(JAVA_ID);
  }

  get isWorking(): boolean {
    return !this.process.dead;
  }

  /** A Java connector is never stopped otherwise: its rows keep their owner. */
  get isLiving(): boolean {
    return this.isWorking;
  }

  get clock(): ProcessClock {
    return this.#options.clock;
  }

  /** Nothing gets through, or all does again. */
  cut(isCut: boolean): void {
    this.#options.line.isCut = isCut;
  }

  async start(): Promise<void> {
    const { clock, failoverTimeMs } = this.#options;
    await clock.sleep(1_000);
    await this.#patiently(() => this.#fillEmptyTable());
    await this.#patiently(() => this.#adoptOwn());
    void this.#every(2 * (failoverTimeMs + 25), () => this.#takeRound());
    void this.#every(Math.floor(failoverTimeMs / 3) - 25, () => this.#renewRound());
  }

  async #every(ms: number, round: () => Promise<void>): Promise<void> {
    for (;;) {
      await round().catch(expected);
      await this.#options.clock.sleep(ms);
    }
  }

  async #patiently<T>(work: () => Promise<T>): Promise<T> {
    for (;;) {
      try {
        return await work();
      } catch (error) {
        expected(error);
        await this.#options.clock.sleep(1_000);
      }
    }
  }

  async #fillEmptyTable(): Promise<void> {
    const { store, stream, start } = this.#options;
    if ((await store.scan()).leases.length > 0) return;
    const filter = start.type === "AT_TIMESTAMP"
      ? start
      : { type: start.type === "LATEST" ? "AT_LATEST" as const : "AT_TRIM_HORIZON" as const };
    for (const { shardId } of stream.list(filter)) {
      await store.create(newRow(stream.shard(shardId), sentinel(start.type)));
    }
  }

  /** After a restart the leases with its id are its own, also when they have expired. */
  async #adoptOwn(): Promise<void> {
    const { store } = this.#options;
    for (const row of (await store.scan()).leases) {
      if (row.leaseOwner !== JAVA_ID || this.#held.has(row.leaseKey)) continue;
      const result = await store.update(row.leaseKey, row.leaseCounter, {});
      if (result.done) this.#hold(result.lease);
    }
  }

  async #takeRound(): Promise<void> {
    const { store, failoverTimeMs } = this.#options;
    const { leases } = await store.scan();
    const now = this.#now;
    for (const { leaseKey, leaseCounter, leaseOwner } of leases) {
      const before = this.#seen.get(leaseKey);
      if (before?.counter === leaseCounter) continue;
      const since = before === undefined && leaseOwner === undefined ? -Infinity : now;
      this.#seen.set(leaseKey, { counter: leaseCounter, since });
    }
    const age = ({ leaseKey }: Lease) => now - this.#seen.get(leaseKey)!.since;
    const others = leases.filter(({ leaseKey }) => !this.#held.has(leaseKey));
    const available = others.filter((lease) => lease.leaseOwner === undefined || age(lease) > failoverTimeMs);
    const counts = new Map([[JAVA_ID, this.#held.size]]);
    for (const { leaseOwner } of others.filter((lease) => !available.includes(lease))) {
      counts.set(leaseOwner!, (counts.get(leaseOwner!) ?? 0) + 1);
    }
    const target = counts.size >= leases.length ? 1 : Math.ceil(leases.length / counts.size);
    const veryOld = available.filter((lease) => age(lease) > 3 * failoverTimeMs);
    if (veryOld.length > 0) return await this.#take(veryOld);
    const need = target - this.#held.size;
    if (need <= 0) return;
    if (available.length > 0) return await this.#take(this.#shuffled(available).slice(0, need));
    const [loaded, count] = [...counts].reduce((most, one) => one[1] > most[1] ? one : most);
    if (loaded === JAVA_ID || count < target) return;
    if (Math.min(need, count - target) === 0 && need <= 1) return;
    await this.#take(this.#shuffled(others.filter(({ leaseOwner }) => leaseOwner === loaded)).slice(0, 1));
  }

  async #take(leases: readonly Lease[]): Promise<void> {
    const { store } = this.#options;
    for (const lease of leases) {
      const ownerSwitched = lease.leaseOwner !== undefined && lease.leaseOwner !== JAVA_ID;
      const change = { leaseOwner: JAVA_ID, checkpointOwner: null, ownerSwitched };
      const result = await store.update(lease.leaseKey, lease.leaseCounter, change).catch(expected);
      if (result?.done) this.#hold(result.lease);
    }
  }

  #hold(lease: Lease): void {
    const held = { lease, renewedAt: this.#now, lost: false, queue: Promise.resolve() };
    this.#held.set(lease.leaseKey, held);
    void this.#work(held);
  }

  async #renewRound(): Promise<void> {
    await Promise.all([...this.#held.values()].map(async (held) => {
      if (this.#now - held.renewedAt > this.#options.failoverTimeMs) return this.#lose(held);
      await this.#write(held, {}, true).catch(expected);
    }));
  }

  /** A renewal that fails is read again; a checkpoint that fails has lost the lease. */
  #write(held: Held, change: LeaseChange, isRenewal: boolean): Promise<void> {
    const run = held.queue.then(async () => {
      if (held.lost) return;
      const { store } = this.#options;
      const { leaseKey, leaseCounter } = held.lease;
      let result: WriteResult = await store.update(leaseKey, leaseCounter, change);
      if (!result.done && isRenewal) {
        const row = await store.get(leaseKey);
        if (row?.leaseOwner === JAVA_ID && row.leaseCounter === leaseCounter + 1) {
          result = { done: true, lease: row };
        }
      }
      if (!result.done) return this.#lose(held);
      held.lease = result.lease;
      held.renewedAt = this.#now;
    });
    held.queue = run.catch(() => {});
    return run;
  }

  #lose(held: Held): void {
    held.lost = true;
    if (this.#held.get(held.lease.leaseKey) === held) this.#held.delete(held.lease.leaseKey);
  }

  /** A shard's life: wait for its parents, read, publish, checkpoint, end. */
  async #work(held: Held): Promise<void> {
    const { clock, stream, judge, checkpointIntervalMs } = this.#options;
    if (isEnd(held.lease)) return;
    const shard = stream.shard(held.lease.leaseKey);
    while (!await this.#parentsAreOver(held)) {
      await clock.sleep(PARENT_POLL_MS);
      if (held.lost) return;
    }
    if (held.lost) return;
    judge.begins(JAVA_ID, shard);
    let next = this.#indexAfter(shard, held.lease.checkpoint);
    let storedAt = this.#now;
    let done: UserRecord | undefined;
    for (;;) {
      await clock.sleep(READ_EVERY_MS);
      if (held.lost) return;
      // Also in the middle of an aggregate: its checkpoints stand there.
      for (const user of shard.users.slice(next, next + 1 + this.#options.chance.int(8))) {
        next = user.index + 1;
        if (user.misplaced) continue;
        this.#publish(user);
        done = user;
      }
      if (shard.closedAt !== undefined && next === shard.users.length) break;
      if (done === undefined || this.#now - storedAt < checkpointIntervalMs) continue;
      const { sequenceNumber, subSequenceNumber } = done;
      const checkpoint = { sequenceNumber, subSequenceNumber };
      if (comparePositions(checkpoint, held.lease.checkpoint) > 0) {
        await this.#write(held, { checkpoint }, false).catch(expected);
      }
      storedAt = this.#now;
    }
    while (!held.lost && !isEnd(held.lease)) {
      await this.#end(held, shard).catch(expected);
      await clock.sleep(TASK_BACKOFF_MS);
    }
  }

  #publish(user: UserRecord): void {
    const sent = { id: user.id, ordinal: 0, delivery: NOBODY };
    this.#watch.stored(sent);
    this.#watch.acknowledged(sent);
  }

  async #parentsAreOver(held: Held): Promise<boolean> {
    for (const parent of held.lease.parentShardIds) {
      const row = await this.#patiently(() => this.#options.store.get(parent));
      if (row !== undefined && !isEnd(row)) return false;
    }
    return true;
  }

  async #end(held: Held, shard: SimShard): Promise<void> {
    const { store } = this.#options;
    for (const child of shard.children) {
      if (await store.get(child.id) !== undefined) continue;
      const parents = await Promise.all(child.parents.map(({ id }) => store.get(id)));
      if (parents.length === 2 && parents.filter((row) => row === undefined).length === 1) return;
      await store.create(newRow(child, sentinel("TRIM_HORIZON")));
    }
    await store.setMeta(shard.id, { childShardIds: shard.children.map(({ id }) => id) });
    await this.#write(held, { checkpoint: sentinel("SHARD_END") }, false);
  }

  #indexAfter(shard: SimShard, checkpoint: Checkpoint): number {
    const { start } = this.#options;
    const first = (is: (user: UserRecord) => boolean): number => {
      const index = shard.users.findIndex(is);
      return index === -1 ? shard.users.length : index;
    };
    if (isSequenceNumber(checkpoint.sequenceNumber)) {
      return first((user) => comparePositions(user, checkpoint) > 0);
    }
    return start.type === "AT_TIMESTAMP" && checkpoint.sequenceNumber === "AT_TIMESTAMP"
      ? first(({ arrival }) => arrival >= start.timestamp)
      : 0;
  }

  #shuffled<T>(values: readonly T[]): T[] {
    return values.map((value) => ({ value, key: this.#options.chance.fraction() }))
      .sort((a, b) => a.key - b.key).map(({ value }) => value);
  }

  get #now(): number {
    return this.#options.clock.monotonic();
  }
}

/** It keeps no books about its own messages. */
const NOBODY = { isAlive: () => true, acknowledged: () => {}, refused: () => {} };

const isEnd = ({ checkpoint }: Lease): boolean => checkpoint.sequenceNumber === "SHARD_END";

function newRow({ id, parents, start, end }: SimShard, checkpoint: Checkpoint): Lease {
  return {
    leaseKey: id,
    leaseCounter: 0,
    ownerSwitchesSinceCheckpoint: 0,
    checkpoint,
    parentShardIds: parents.map((parent) => parent.id),
    childShardIds: [],
    startingHashKey: String(start),
    endingHashKey: String(end),
  };
}

/** What its lines do to it passes; anything else is a fault of this file. */
function expected(error: unknown): undefined {
  if (!(error instanceof ConnectorError)) throw error;
}
