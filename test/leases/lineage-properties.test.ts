// Random lines of shards under random sets of leases, worked off to the end by the product's own shard sync and child
// leases: nothing that is to be read is left out or read twice, no shard is read before its parents, nobody waits for
// ever. What the leases prove is told by the model, which remembers what a listing has forgotten.

import { test } from "node:test";
import assert from "node:assert/strict";
import fc from "fast-check";
import { sentinel } from "../../src/core/position.ts";
import { ChildLeases } from "../../src/leases/child-leases.ts";
import { isFinished } from "../../src/leases/lease.ts";
import type { InitialPosition } from "../../src/leases/new-leases.ts";
import { ShardSync } from "../../src/leases/shard-sync.ts";
import type { Lease } from "../../src/leases/store.ts";
import { FakeClock, RecordingLogger } from "../fakes.ts";
import { newRow, STREAM } from "./stores.ts";
import { StreamModel } from "./stream-model.ts";

const END = sentinel("SHARD_END");
const POSITIONS: readonly InitialPosition[] = ["LATEST", "TRIM_HORIZON", "AT_TIMESTAMP"];

/** Makes one reshard somewhere; the number says where and which. */
function reshard(stream: StreamModel, what: number): void {
  const open = stream.open();
  const at = (what >> 1) % open.length;
  if (what % 2 === 0 || open.length === 1) stream.split(open[at]!);
  else stream.merge(open[Math.min(at, open.length - 2)]!, open[Math.min(at, open.length - 2) + 1]!);
}

type State = "none" | "begun" | "finished";

const scenario = fc.record({
  shards: fc.integer({ min: 1, max: 3 }),
  reshards: fc.array(fc.nat(1000), { maxLength: 8 }),
  /** By shard. */
  states: fc.array(fc.constantFrom<State>("none", "none", "begun", "finished"), {
    minLength: 25,
    maxLength: 25,
  }),
  /** How much of the stream's life is forgotten, and where AT_TIMESTAMP lies. */
  forgotten: fc.double({ min: 0, max: 1.2, noNaN: true }),
  time: fc.double({ min: 0, max: 1, noNaN: true }),
  position: fc.constantFrom(...POSITIONS),
  /** Which of the leases that can be worked on is next. */
  order: fc.array(fc.nat(1000), { minLength: 1, maxLength: 30 }),
  /** Reshards while the leases are worked off. */
  later: fc.array(fc.option(fc.nat(1000), { freq: 3 }), { maxLength: 6 }),
});
type Scenario = typeof scenario extends fc.Arbitrary<infer T> ? T : never;

/** A shard that somebody reads, and where it begins. */
interface Reading {
  readonly id: string;
  readonly from: string;
}

class Fleet {
  readonly stream: StreamModel;
  readonly rows = new Map<string, Lease>();
  readonly readings: Reading[] = [];
  readonly time: number;
  readonly #clock = new FakeClock();
  readonly #sync: ShardSync;
  readonly #children: ChildLeases;
  readonly #log = new RecordingLogger();
  readonly #read = new Set<string>();
  readonly #signal = new AbortController().signal;

  constructor({ shards, reshards, forgotten, time, position }: Scenario) {
    this.stream = new StreamModel(shards);
    for (const what of reshards) reshard(this.stream, what);
    this.stream.forget(Math.floor(forgotten * this.stream.now));
    this.time = time * this.stream.now;
    const create = (leases: readonly Lease[]) => {
      const fresh = leases.filter(({ leaseKey }) => !this.rows.has(leaseKey));
      for (const lease of fresh) this.rows.set(lease.leaseKey, lease);
      return Promise.resolve(fresh.length);
    };
    this.#sync = new ShardSync({
      shards: {
        position,
        list: () => Promise.resolve(this.stream.listed()),
        listInitial: () =>
          Promise.resolve(this.stream.openAt(position === "AT_TIMESTAMP" ? this.time : Infinity)),
      },
      stream: STREAM,
      kinesisNow: () => 0,
      clock: this.#clock,
      log: this.#log,
      tableName: "leases",
      scan: () => Promise.resolve([...this.rows.values()]),
      create,
      stop: this.#signal,
    });
    this.#children = new ChildLeases({
      stream: STREAM,
      log: this.#log,
      read: (ids) =>
        Promise.resolve(
          new Map([...ids].flatMap((id) => this.rows.has(id) ? [[id, this.rows.get(id)!]] : [])),
        ),
      create,
      sync: this.#sync,
    });
  }

  async complete(): Promise<number> {
    return await this.#sync.complete(this.#signal);
  }

  /** Leases whose shards can be read to an end now. */
  #ready(): Lease[] {
    return [...this.rows.values()].filter((lease) =>
      !isFinished(lease) &&
      !(this.#read.has(lease.leaseKey) && this.stream.shard(lease.leaseKey).closedAt === undefined) &&
      lease.parentShardIds.every((id) => {
        const parent = this.rows.get(id);
        return parent === undefined || isFinished(parent);
      })
    ).sort((a, b) => Number(a.leaseKey) - Number(b.leaseKey));
  }

  /** Reads one shard that can be read. False = none can, or none comes to its end. */
  async step(which: number): Promise<boolean> {
    const ready = this.#ready();
    for (let i = 0; i < ready.length; i++) {
      const lease = ready[(which + i) % ready.length]!;
      const id = lease.leaseKey;
      const first = !this.#read.has(id);
      if (first && this.stream.isListed(id)) {
        this.readings.push({ id, from: lease.checkpoint.sequenceNumber });
      }
      this.#read.add(id);
      if (this.stream.shard(id).closedAt === undefined) return true; // open: read for ever
      await this.#clock.advance(30_000);
      const children = this.stream.children(id);
      if (await this.#children.create(children, this.#signal) === "created") {
        const childShardIds = children.map(({ shardId }) => shardId);
        this.rows.set(id, { ...lease, checkpoint: END, childShardIds });
        return true;
      }
      if (first) return true;
    }
    return false;
  }
}

/**
 * Random leases, but for what nobody makes: a finished lease of an open shard or below one that is not finished, and a
 * lease below a shard that is still to come from one above.
 */
function leasesOf(stream: StreamModel, states: readonly State[], position: InitialPosition): Lease[] {
  const stateOf = new Map(stream.ids().map((id, i) => [id, states[i % states.length]!]));
  for (const id of stream.open()) if (stateOf.get(id) === "finished") stateOf.set(id, "begun");
  for (const id of stream.ids().reverse()) { // children first
    if (stateOf.get(id) === "none") continue;
    const ancestors = [...stream.ancestors(id)];
    for (const ancestor of ancestors.filter((one) => stateOf.get(one) === "begun")) {
      const gap = ancestors.some((one) => stateOf.get(one) === "none" && stream.ancestors(one).has(ancestor));
      if (gap || stateOf.get(id) === "finished") stateOf.set(ancestor, "finished");
    }
  }
  return stream.ids().flatMap((id) => {
    const state = stateOf.get(id)!;
    if (state === "none") return [];
    const { startingHashKey, endingHashKey, parentShardIds } = stream.shard(id);
    const checkpoint = state === "finished" ? END : sentinel(position);
    return [newRow(id, { startingHashKey, endingHashKey, parentShardIds, checkpoint, leaseCounter: 1 })];
  });
}

/** Whether records of a key went from the one to the other. */
function overlaps(stream: StreamModel, a: string, b: string): boolean {
  const [x, y] = [stream.shard(a), stream.shard(b)];
  return BigInt(x.startingHashKey) <= BigInt(y.endingHashKey) &&
    BigInt(y.startingHashKey) <= BigInt(x.endingHashKey);
}

/** Whether a listing shows that the one is an ancestor of the other. */
function linked(stream: StreamModel, ancestor: string, id: string): boolean {
  return stream.shard(id).parentShardIds.some((parent) =>
    parent === ancestor || stream.isListed(parent) && linked(stream, ancestor, parent)
  );
}

test("lineage: property: after the walk every shard that is to be read is read once, in order, and nobody waits for ever", async () => {
  let written = 0;
  let merges = 0;
  await fc.assert(
    fc.asyncProperty(scenario, async (one) => {
      const fleet = new Fleet(one);
      const { stream, rows } = fleet;
      const initial = leasesOf(stream, one.states, one.position);
      fc.pre(initial.length > 0);
      for (const lease of initial) rows.set(lease.leaseKey, lease);
      const leased = new Map(initial.map((lease) => [lease.leaseKey, lease]));
      const proved = new Set(initial.flatMap(({ leaseKey }) => [...stream.ancestors(leaseKey)]));
      written += await fleet.complete();
      const later = [...one.later];
      for (let i = 0; i < 500; i++) {
        if (await fleet.step(one.order[i % one.order.length]!)) {
          const what = later.shift();
          if (what !== undefined && what !== null) reshard(stream, what);
        } else if (await fleet.complete() === 0) break;
      }
      merges += stream.ids().filter((id) => stream.shard(id).parentShardIds.length === 2).length;

      const said = () =>
        `${JSON.stringify(fleet.readings)} of ${
          JSON.stringify([...rows.values()].map((r) => [r.leaseKey, r.checkpoint.sequenceNumber]))
        }`;
      for (const lease of rows.values()) {
        const open = stream.shard(lease.leaseKey).closedAt === undefined;
        assert.ok(open || isFinished(lease), `${lease.leaseKey} waits for ever: ${said()}`);
      }
      for (const id of stream.open()) {
        assert.ok(rows.has(id), `nobody reads open shard ${id}: ${said()}`);
      }
      // Once: no id twice. Which: those that are promised and not behind a lease.
      const read = new Map(fleet.readings.map((reading, i) => [reading.id, { ...reading, i }]));
      assert.equal(read.size, fleet.readings.length, `read twice: ${said()}`);
      for (const id of stream.ids()) {
        if (!stream.isListed(id)) continue;
        const lease = leased.get(id);
        const over = lease === undefined ? proved.has(id) : isFinished(lease);
        const ancestors = stream.ancestors(id);
        const continues = [...ancestors].some((ancestor) =>
          leased.has(ancestor) && (overlaps(stream, ancestor, id) || linked(stream, ancestor, id))
        );
        const { closedAt = Infinity } = stream.shard(id);
        const wanted = one.position === "TRIM_HORIZON" ||
          one.position === "AT_TIMESTAMP" && !stream.isClosedAt(id, fleet.time) ||
          one.position === "LATEST" && closedAt === Infinity;
        if (over) {
          assert.ok(!read.has(id), `${id} was read before: ${said()}`);
          continue;
        }
        if (lease === undefined && !continues && !wanted) continue;
        const reading = read.get(id);
        assert.ok(reading !== undefined, `nobody has read ${id}: ${said()}`);
        if (lease === undefined && continues) assert.equal(reading.from, "TRIM_HORIZON", `${id}: ${said()}`);
        for (const ancestor of ancestors) {
          const before = read.get(ancestor);
          if (before !== undefined) assert.ok(before.i < reading.i, `${id} before ${ancestor}: ${said()}`);
        }
      }
    }),
    { numRuns: 1_500 },
  );
  assert.ok(written > 300, `only ${written} leases were missing`);
  assert.ok(merges > 1_000, `only ${merges} merges`);
});
