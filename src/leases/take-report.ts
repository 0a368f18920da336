// What one round of taking looks like in the KCL's metrics (kcl-compat §7, operation TakeLeases). Pure.

import type { OperationReport } from "../core/telemetry.ts";
import type { Balance } from "./balance.ts";
import { isFinished } from "./lease.ts";

/** What came of a round. */
export interface TakeRound {
  /** How many leases the table has. */
  readonly total: number;
  /** What it decided by. */
  readonly balance: Balance;
  /** How many leases it was to take. */
  readonly chosen: number;
  readonly taken: number;
  readonly durationMs: number;
  readonly success: boolean;
}

/** The round as a report. `ExpiredLeases` counts, as the KCL does, rows without an owner too. */
export function takeReport(
  { total, balance: { counts, free, mine, target }, chosen, taken, durationMs, success }: TakeRound,
): OperationReport {
  return {
    operation: "TakeLeases",
    durationMs,
    success,
    data: {
      TotalLeases: total,
      NumWorkers: counts.size,
      ExpiredLeases: free.filter((lease) => !isFinished(lease)).length,
      NeededLeases: Math.max(target - mine, 0),
      LeasesToTake: chosen,
      TakenLeases: taken,
      UntakenLeases: chosen - taken,
    },
  };
}
