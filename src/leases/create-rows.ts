// Writes leases that do not exist, together with whoever else does the same: a fleet that starts on an empty table would
// otherwise write every row as often as it has workers. Each goes through the rows in an order of its own, and looks at
// the table again when much of what it wrote was there already.

import { shuffled } from "./balance.ts";
import { forEachBounded, PARALLEL_CALLS, type Retry } from "./retry.ts";
import type { Lease, LeaseStore } from "./store.ts";

/** What {@link createRows} writes with. */
export interface RowWriter {
  readonly store: Pick<LeaseStore, "create">;
  /** All rows by a consistent scan. */
  readonly scan: (signal: AbortSignal) => Promise<readonly Lease[]>;
  readonly retry: Retry;
  readonly clock: { random(): number };
}

/** So many are written before the table may be looked at again. */
const BATCH = 5 * PARALLEL_CALLS;

/**
 * Returns how many were new. Each row is there when it returns.
 * Rejects with a ConnectorError that is not retryable, or with the signal's reason.
 */
export async function createRows(
  leases: readonly Lease[],
  { store, scan, retry, clock }: RowWriter,
  signal: AbortSignal,
): Promise<number> {
  let created = 0;
  let rest = leases.length > BATCH ? shuffled(leases, () => clock.random()) : leases;
  while (rest.length > 0) {
    let existed = 0;
    await forEachBounded(rest.slice(0, BATCH), PARALLEL_CALLS, async (lease) => {
      if (await retry.run(() => store.create(lease), signal)) created++;
      else existed++;
      signal.throwIfAborted();
    });
    rest = rest.slice(BATCH);
    if (rest.length === 0 || existed < PARALLEL_CALLS) continue;
    const there = new Set((await scan(signal)).map(({ leaseKey }) => leaseKey));
    rest = rest.filter(({ leaseKey }) => !there.has(leaseKey));
  }
  return created;
}
