// What one round of taking looks like in the KCL's metrics (kcl-compat §7, operation TakeLeases). Pure.

import type { OperationReport } from "../core/telemetry.ts";
import type { TableView } from "./balance.ts";
import { isFinished, ownerOf } from "./lease.ts";
import type { Lease } from "./store.ts";
import type { TakeDecision } from "./take.ts";

/** After so many failover times without a renewal the KCL calls a row very old. */
const VERY_OLD_FAILOVERS = 3;

/** What came of a round. */
export interface TakeRound {
  /** What it decided by. */
  readonly view: TableView;
  readonly decision: TakeDecision;
  readonly taken: number;
  readonly durationMs: number;
  readonly success: boolean;
}

/**
 * The round as a report. `ExpiredLeases` counts, as the KCL does, rows without an owner too. `LeaseSpillover` is what a
 * limit of leases per worker keeps it from taking: there is no such limit, as the KCL has none unless it is told one.
 */
export function takeReport({ view, decision, taken, durationMs, success }: TakeRound): OperationReport {
  const { take, steal, balance: { counts, free, mine, target } } = decision;
  const chosen = take.length + (steal === undefined ? 0 : 1);
  return {
    operation: "TakeLeases",
    durationMs,
    success,
    data: {
      TotalLeases: view.leases.length,
      NumWorkers: counts.size,
      ExpiredLeases: free.filter((lease) => !isFinished(lease)).length,
      VeryOldLeases: take.filter((lease) => isVeryOld(lease, view)).length,
      LeaseSpillover: 0,
      NeededLeases: Math.max(target - mine, 0),
      LeasesToTake: chosen,
      TakenLeases: taken,
      UntakenLeases: chosen - taken,
    },
  };
}

/**
 * The KCL takes such rows before all others and counts those that it is about to take; here they are taken with the rest,
 * and counted alike: nobody renewed them for three failover times, or ever since they were written. (The KCL's takers
 * hold every unowned row that they see for the first time for such a one, a released one too: only their memory.)
 * A finished shard's row is none, it keeps nobody waiting.
 */
function isVeryOld(lease: Lease, { observations, now, failoverTimeMs }: TableView): boolean {
  const observation = observations.get(lease.leaseKey);
  if (observation === undefined || isFinished(lease)) return false;
  if (ownerOf(lease) === undefined && lease.leaseCounter === 0) return true;
  return now - observation.since > VERY_OLD_FAILOVERS * failoverTimeMs;
}
