// What one round of taking looks like in the KCL's metrics (kcl-compat §7, operation TakeLeases). Pure.

import type { OperationReport } from "../core/telemetry.ts";
import type { TableView } from "./balance.ts";
import { isFinished, ownerOf } from "./lease.ts";
import { isAvailable } from "./observation.ts";

/** What came of a round. */
export interface TakeRound {
  /** What it saw and decided by. */
  readonly view: TableView;
  /** How many leases it was to take. */
  readonly chosen: number;
  readonly taken: number;
  readonly durationMs: number;
  readonly success: boolean;
}

/** The round as a report. `ExpiredLeases` counts, as the KCL does, rows without an owner too. */
export function takeReport({ view, chosen, taken, durationMs, success }: TakeRound): OperationReport {
  const workers = new Set([view.workerId]);
  let expired = 0;
  for (const lease of view.leases) {
    const observation = view.observations.get(lease.leaseKey);
    const owner = ownerOf(lease);
    if (observation === undefined || isAvailable(observation, view.now, view.failoverTimeMs)) {
      if (!isFinished(lease)) expired++;
    } else if (owner !== undefined) workers.add(owner);
  }
  const total = view.leases.length;
  const fairShare = Math.ceil(total / workers.size);
  return {
    operation: "TakeLeases",
    durationMs,
    success,
    data: {
      TotalLeases: total,
      NumWorkers: workers.size,
      ExpiredLeases: expired,
      NeededLeases: Math.max(fairShare - view.held.size, 0),
      LeasesToTake: chosen,
      TakenLeases: taken,
      UntakenLeases: chosen - taken,
    },
  };
}
