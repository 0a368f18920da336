// Who works on a table right now, for runs that want it for themselves. An owner is alive if one of its counters
// moves while we look; dead owners' rows stand still.

import type { Clock } from "../core/clock.ts";
import { ConnectorError } from "../core/errors.ts";
import type { Logger } from "../core/log.ts";
import { ownerOf } from "./lease.ts";
import { type Observations, observe } from "./observation.ts";
import type { LeaseStore } from "./store.ts";

/** Options of {@link liveOwners}. */
export interface LiveOwnersOptions {
  readonly store: Pick<LeaseStore, "tableName" | "scan">;
  readonly clock: Clock;
  readonly signal: AbortSignal;
  /** Told why it takes a while. @default nobody */
  readonly log?: Logger | undefined;
  /** How long to look: one failover time. Milliseconds. */
  readonly observeMs: number;
}

const LOOK_EVERY_MS = 500;

/**
 * Owners that are alive, with one lease of each. Looks until it has seen one, at most `observeMs`, and not at all when
 * no row has an owner. An aborted signal ends it with what was seen. Rejects with ConnectorError, retryable ones too.
 */
export async function liveOwners(options: LiveOwnersOptions): Promise<ReadonlyMap<string, string>> {
  return (await watchOwners(options, LOOK_EVERY_MS, ({ alive }) => alive.size > 0)).alive;
}

/** What was seen of an owner: one of its counters moved, or none did for one failover time. */
export type OwnerState = "alive" | "silent";

/**
 * The state of every owner. Ends as soon as all are seen alive, at the latest after `observeMs`; scans sparsely, at
 * most eight times. An aborted signal ends it with what was seen. Rejects with ConnectorError, retryable ones too.
 */
export async function ownerStates(options: LiveOwnersOptions): Promise<ReadonlyMap<string, OwnerState>> {
  const everyMs = Math.max(LOOK_EVERY_MS, options.observeMs / 6);
  const isEnough = ({ alive, owners }: SeenOwners) => [...owners].every((owner) => alive.has(owner));
  const { alive, owners } = await watchOwners(options, everyMs, isEnough);
  return new Map([...owners].map((owner) => [owner, alive.has(owner) ? "alive" : "silent"]));
}

interface SeenOwners {
  /** All rows, for who goes on looking. */
  readonly observations: Observations;
  /** With one lease of each. */
  readonly alive: ReadonlyMap<string, string>;
  /** Of the last scan. */
  readonly owners: ReadonlySet<string>;
}

async function watchOwners(
  { store, clock, signal, observeMs, log }: LiveOwnersOptions,
  everyMs: number,
  isEnough: (seen: SeenOwners) => boolean,
): Promise<SeenOwners> {
  const alive = new Map<string, string>();
  let end = Infinity;
  let owners: ReadonlySet<string> = new Set();
  let seen: Observations = new Map();
  let told = false;
  while (!signal.aborted) {
    const askedAt = clock.monotonic();
    const { leases } = await store.scan({ signal });
    const now = clock.monotonic();
    // However long scans take (throttled ones a minute), between the first one and the last the whole time has passed.
    end = Math.min(end, now + observeMs);
    const { observations, renewed } = observe(seen, leases, now);
    seen = observations;
    for (const lease of renewed) alive.set(ownerOf(lease)!, lease.leaseKey);
    owners = new Set(leases.flatMap((lease) => ownerOf(lease) ?? []));
    if (!told && owners.size > 0) {
      told = true;
      log?.info(
        `the lease table "${store.tableName}" names ${
          [...owners].map((owner) => `"${owner}"`).join(", ")
        } as owner; ` +
          `looking for up to ${Math.ceil(observeMs / 1000)} s whether it is alive`,
      );
    }
    if (owners.size === 0 || askedAt >= end || isEnough({ alive, owners, observations })) break;
    await clock.sleep(Math.max(0, Math.min(everyMs, end - now)), signal);
  }
  return { alive, owners, observations: seen };
}

/**
 * Refuses a run that needs all leases while somebody else works on them. Returns what it saw meanwhile, so that dead
 * owners need not be looked at for another failover time.
 * @throws ConnectorError LEASE_IN_USE
 */
export async function refuseLiveOwners(options: LiveOwnersOptions): Promise<Observations> {
  const { alive, observations } = await watchOwners(options, LOOK_EVERY_MS, ({ alive }) => alive.size > 0);
  const [first, ...more] = alive;
  if (first === undefined) return observations;
  const [owner, shardId] = first;
  const others = more.length === 0 ? "" : ` and ${more.length} more`;
  throw new ConnectorError(
    `worker "${owner}"${others} is reading with the lease table "${options.store.tableName}" (it renewed the lease of ` +
      `${shardId} just now); stop it first, or choose another applicationName for this run`,
    { code: "LEASE_IN_USE", where: { table: options.store.tableName, shardId } },
  );
}
