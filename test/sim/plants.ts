// Faults that are planted into workers from outside, by a store, a reader or a clock that lies: what the product would
// do if one of its rules were missing. The simulation has to find each of them.

import { isSequenceNumber, sentinel } from "../../src/core/position.ts";
import type { Lease, LeaseChange, LeaseScan, LeaseStore, WriteResult } from "../../src/leases/store.ts";
import type { Plant, Planted } from "./worker.ts";

type Update = LeaseStore["update"];

/** An object with some of its methods replaced. */
function override<T extends object>(whole: T, part: Partial<T>): T {
  return new Proxy(whole, {
    get(target, name) {
      const value: unknown = Reflect.get(name in part ? part : target, name);
      return typeof value === "function" ? value.bind(name in part ? part : target) : value;
    },
  });
}

const isRenewal = (change: LeaseChange): boolean => Object.keys(change).length === 0;
const isTake = (change: LeaseChange): boolean => typeof change.leaseOwner === "string";

/** The store whose updates are made otherwise. */
const updates = (make: (store: LeaseStore, planted: Planted) => Update) => (planted: Planted): Plant => ({
  store: (store) => override(store, { update: make(store, planted) }),
});

/** Updates of a kind go on any condition that the row meets just now. */
const unconditional = (is: (change: LeaseChange) => boolean) =>
  updates((store) => async (key, counter, change) => {
    const row = is(change) ? await store.get(key) : undefined;
    return await store.update(key, row?.leaseCounter ?? counter, change);
  });

/** What a worker makes of a row after a condition failed. */
const mistaken =
  (reread: (row: Lease | undefined, failed: Failed, planted: Planted) => Lease | undefined) =>
  (planted: Planted): Plant => ({
    store(store) {
      const failed = new Map<string, Failed>();
      const known = new Map<string, Lease>();
      return override(store, {
        async update(key, counter, change) {
          const result = await store.update(key, counter, change);
          if (result.done) known.set(key, result.lease);
          else failed.set(key, { counter, change, known: known.get(key) });
          return result;
        },
        async get(key) {
          const failure = failed.get(key);
          failed.delete(key);
          const row = await store.get(key);
          return failure === undefined ? row : reread(row, failure, planted);
        },
      });
    },
  });

interface Failed {
  readonly counter: number;
  readonly change: LeaseChange;
  readonly known: Lease | undefined;
}

/** Rows are seen otherwise, wherever they come from. */
const seen = (change: (row: Lease) => Lease) => (_: Planted): Plant => ({
  store: (store) =>
    override(store, {
      async scan(options) {
        const scan = await store.scan(options);
        return { ...scan, leases: scan.leases.map(change) };
      },
      async get(key) {
        const row = await store.get(key);
        return row && change(row);
      },
      async update(key, counter, what) {
        const result = await store.update(key, counter, what);
        return result.done ? { done: true, lease: change(result.lease) } : result;
      },
    }),
});

/** All planted faults by name. */
export const PLANTS: Readonly<Record<string, (planted: Planted) => Plant>> = {
  "a renewal without a condition": unconditional(isRenewal),
  "a checkpoint without a condition": unconditional((change) => change.checkpoint !== undefined),
  "a take without a condition": unconditional(isTake),
  "a failed condition is not read again": mistaken((_, { known, counter }, { workerId }) =>
    known && { ...known, leaseCounter: counter + 1, leaseOwner: workerId }
  ),
  "a counter is adopted though the row holds other values": mistaken((row, { change }, { workerId }) => {
    if (row === undefined || change.checkpoint === undefined || row.leaseOwner !== workerId) return row;
    const children = change.childShardIds === undefined ? {} : { childShardIds: change.childShardIds };
    return { ...row, checkpoint: change.checkpoint, startedAt: undefined, ...children };
  }),
  "a taken lease is as the scan saw it": (_) => ({
    store(store) {
      const scanned = new Map<string, Lease>();
      return override(store, {
        async scan(options) {
          const scan = await store.scan(options);
          for (const row of scan.leases) if (!scanned.has(row.leaseKey)) scanned.set(row.leaseKey, row);
          return scan;
        },
        async update(key, counter, change): Promise<WriteResult> {
          const result = await store.update(key, counter, change);
          const old = scanned.get(key);
          if (!result.done || !isTake(change) || old === undefined) return result;
          return { done: true, lease: { ...result.lease, checkpoint: old.checkpoint } };
        },
      });
    },
  }),
  "a checkpoint of the highest position, not of the contiguous one": updates(
    (store, { workerId, judge }) => (key, counter, change) => {
      if (!isSequenceNumber(change.checkpoint?.sequenceNumber ?? "")) {
        return store.update(key, counter, change);
      }
      const checkpoint = judge.highestAcknowledged(workerId, key) ?? change.checkpoint!;
      return store.update(key, counter, { ...change, checkpoint });
    },
  ),
  "a lease counts as renewed from the answer": ({ clock }) => {
    let latencyMs = 0;
    let last = -Infinity;
    return {
      clock: (real) =>
        override(real, { monotonic: () => last = Math.max(last, real.monotonic() - latencyMs) }),
      store: (store) =>
        override(store, {
          async update(key, counter, change) {
            const sentAt = clock.monotonic();
            const result = await store.update(key, counter, change);
            latencyMs = clock.monotonic() - sentAt;
            return result;
          },
        }),
    };
  },
  "nobody asks whether the lease is alive": () => ({ isAlive: () => true }),
  "expiry by the wall clock": () => {
    let last = -Infinity; // what counts time must not see it go back, only stand still
    return { clock: (real) => override(real, { monotonic: () => last = Math.max(last, real.now()) }) };
  },
  "children do not wait for their parents": seen((row) => ({ ...row, parentShardIds: [] })),
  "a merged shard waits for one parent only": seen((row) => ({
    ...row,
    parentShardIds: row.parentShardIds.slice(0, 1),
  })),
  "children start at LATEST": () => ({
    store: (store) =>
      override(store, {
        create: (lease) =>
          store.create(
            lease.parentShardIds.length === 0 ? lease : { ...lease, checkpoint: sentinel("LATEST") },
          ),
      }),
  }),
  "a shard ends before its children have leases": () => ({
    store: (store) =>
      override(store, {
        create: (lease) => lease.parentShardIds.length === 0 ? store.create(lease) : Promise.resolve(true),
      }),
  }),
  "LATEST is connected anew without startedAt": ({ settings }) => ({
    kinesis: (api) =>
      override(api, {
        getShardIterator: (shardId, position, signal) =>
          api.getShardIterator(
            shardId,
            settings.start.type === "LATEST" && position.type === "AT_TIMESTAMP"
              ? { type: "LATEST" }
              : position,
            signal,
          ),
      }),
  }),
  "a checkpoint's own record is not read again": () => ({
    kinesis: (api) =>
      override(api, {
        getShardIterator: (shardId, position, signal) =>
          api.getShardIterator(
            shardId,
            position.type === "AT_SEQUENCE_NUMBER"
              ? { ...position, type: "AFTER_SEQUENCE_NUMBER" }
              : position,
            signal,
          ),
      }),
  }),
  "startedAt by the worker's own clock": ({ clock }) => ({
    kinesis: (api) => override(api, { now: () => Math.floor(clock.now() / 1000) * 1000 }),
  }),
  "a start does not look at the table again before it writes leases": () => ({
    store(store) {
      let first: LeaseScan | undefined;
      let hasWritten = false;
      return override(store, {
        scan: async (options) =>
          options?.consistent && !hasWritten
            ? first ??= await store.scan(options)
            : await store.scan(options),
        create(lease) {
          hasWritten = true;
          return store.create(lease);
        },
      });
    },
  }),
  "all other workers count as one": ({ workerId }) => ({
    store: (store) =>
      override(store, {
        async scan(options) {
          const scan = await store.scan(options);
          const seen = ({ leaseOwner = workerId, ...row }: Lease): Lease =>
            leaseOwner === workerId ? { ...row, leaseOwner } : { ...row, leaseOwner: "others" };
          return {
            ...scan,
            leases: scan.leases.map((row) => row.leaseOwner === undefined ? row : seen(row)),
          };
        },
      }),
  }),
  "a child that has not begun does not keep its parent's row": () => ({
    store: (store) =>
      override(store, {
        async scan(options) {
          const scan = await store.scan(options);
          const begun = (row: Lease): Lease =>
            row.checkpoint.sequenceNumber === "TRIM_HORIZON"
              ? { ...row, checkpoint: sentinel("LATEST") }
              : row;
          return { ...scan, leases: scan.leases.map(begun) };
        },
      }),
  }),
  "a finished row is deleted too early": updates((store) => async (key, counter, change) => {
    const result = await store.update(key, counter, change);
    if (change.checkpoint?.sequenceNumber === "SHARD_END" && result.done) {
      await store.delete(key, counter + 1);
    }
    return result;
  }),
};
