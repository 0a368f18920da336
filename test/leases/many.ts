// Tables of many leases, as they look after a reshard: a third of the shards is finished, each with two open children;
// spread over many workers. What works on them is measured (test/bench/leases.ts) and counted (scale.test.ts).

import { sentinel } from "../../src/core/position.ts";
import type { Shard } from "../../src/core/shard.ts";
import { missingRanges, sightHoles } from "../../src/leases/audit.ts";
import type { TableView } from "../../src/leases/balance.ts";
import { leasesToGiveAway } from "../../src/leases/give-away.ts";
import { elect } from "../../src/leases/leader.ts";
import { childrenByParent, reasonToKeep } from "../../src/leases/lease.ts";
import { Lineage } from "../../src/leases/lineage.ts";
import { hashRangeHole, initialLeases } from "../../src/leases/new-leases.ts";
import { observe } from "../../src/leases/observation.ts";
import { nextScanDelay } from "../../src/leases/rhythm.ts";
import type { Lease } from "../../src/leases/store.ts";
import { decideTakes } from "../../src/leases/take.ts";
import { leaseTimes } from "../../src/leases/times.ts";
import { newRow, ourId, STREAM } from "./stores.ts";

const F = 10_000;
const WORKERS = 50;
const MAX = (1n << 128n) - 1n;
const id = (n: number) => `shardId-${String(n).padStart(12, "0")}`;

/** A table, the stream that it belongs to, and what one of its workers knows. */
export interface Many {
  readonly leases: readonly Lease[];
  readonly shards: readonly Shard[];
  readonly view: TableView;
}

/**
 * @param count how many leases, about
 * @param seen wraps each row and shard, so that reads of them can be counted
 */
export function manyLeases(count: number, seen: <T extends object>(value: T) => T = (value) => value): Many {
  const parents = Math.floor(count / 3);
  const leases: Lease[] = [];
  const shards: Shard[] = [];
  const held = new Set<string>();
  const range = (n: number, of: number) => ({
    startingHashKey: String(BigInt(n) * MAX / BigInt(of) + (n === 0 ? 0n : 1n)),
    endingHashKey: String(BigInt(n + 1) * MAX / BigInt(of)),
  });
  const add = (
    n: number,
    parentShardIds: string[],
    hashes: ReturnType<typeof range>,
    more: Partial<Lease>,
  ) => {
    const owner = ourId(n % 3 === 0 ? 0 : n % WORKERS); // the first one has far too many
    const isFinished = more.checkpoint !== undefined;
    shards.push(seen({
      shardId: id(n),
      parentShardIds,
      ...hashes,
      startingSequenceNumber: String(n + 1),
      ...(isFinished ? { endingSequenceNumber: String(n + 2) } : {}),
    }));
    leases.push(
      seen(newRow(id(n), { leaseOwner: owner, leaseCounter: 5, parentShardIds, ...hashes, ...more })),
    );
    if (owner === ourId(0)) held.add(id(n));
  };
  for (let i = 0; i < parents; i++) {
    const childShardIds = [id(parents + 2 * i), id(parents + 2 * i + 1)];
    add(i, [], range(i, parents), { checkpoint: sentinel("SHARD_END"), childShardIds });
  }
  for (let i = 0; i < 2 * parents; i++) add(parents + i, [id(i >> 1)], range(i, 2 * parents), {});
  const { observations } = observe(new Map(), leases, 0);
  const view = { leases, observations, now: 1000, failoverTimeMs: F, workerId: ourId(0), held };
  return { leases, shards, view };
}

/** Everything that is done with a whole table; each returns something, so that nothing is left out. */
export const STEPS: Readonly<Record<string, (many: Many) => unknown>> = {
  "observe a scan": ({ leases, view }) => observe(view.observations, leases, 2000).observations.size,
  "decide: nothing to take": ({ view }) => decideTakes(view, { maySteal: true, random: () => 0.5 }).take,
  "decide: a half is free": ({ view }) =>
    decideTakes({ ...view, workerId: "me", held: new Set(), now: 5000 + F, observations: halfDead(view) }, {
      maySteal: true,
      random: () => 0.5,
    }).take,
  "decide: steal": ({ view }) =>
    decideTakes({ ...view, workerId: "me", held: new Set() }, { maySteal: true, random: () => 0.5 }).steal,
  "give away": ({ view }) => leasesToGiveAway(view, () => 0.5),
  "next scan": ({ view }) => nextScanDelay(view, leaseTimes(F)),
  "elect a leader": ({ leases }) => elect(undefined, leases, 0),
  "audit: holes": ({ leases }) => sightHoles(new Map(), leases),
  "audit: missing ranges": ({ leases, shards }) => missingRanges(leases, shards),
  "sync: an empty table": ({ shards }) => {
    assertNoHole(shards);
    return initialLeases(shards, { position: "TRIM_HORIZON", stream: STREAM, kinesisNow: 0 });
  },
  "lineage: every tenth lease is missing": ({ leases, shards }) =>
    new Lineage({ shards, leases: leases.filter((_, i) => i % 10 > 0), position: "TRIM_HORIZON" }).missing(),
  "lineage: nothing is missing": ({ leases, shards }) =>
    new Lineage({ shards, leases, position: "LATEST" }).missing(),
  "cleanup: all finished": ({ leases }) => {
    const rows = new Map(leases.map((lease) => [lease.leaseKey, lease]));
    const children = childrenByParent(leases);
    return leases.filter((lease) => reasonToKeep(lease, rows, children) === undefined);
  },
};

function halfDead({ observations }: TableView): TableView["observations"] {
  return new Map(
    [...observations].map(([key, seen], i) => [key, i % 2 === 0 ? seen : { ...seen, since: 4000 }]),
  );
}

function assertNoHole(shards: readonly Shard[]): void {
  if (hashRangeHole(shards) !== undefined) throw new Error("the shards are made with a hole");
}
