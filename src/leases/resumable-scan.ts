// A scan in several attempts. A large table has many pages; one that begins anew whenever a page is throttled reads the
// first pages again and again, which throttles it all the more, and may never come to its end.

import type { LeaseScan, LeaseStore, ScanCursor, ScanOptions } from "./store.ts";

/**
 * Scans for who repeats calls that fail: each call of the function goes on with the page at which the one before
 * failed; after one that succeeded the next begins anew. Every failed page is a failed call, to be waited for, counted
 * and told as any other. Rejects as {@link LeaseStore.scan} does.
 */
export function resumableScan(
  store: Pick<LeaseStore, "scan">,
  options: Omit<ScanOptions, "cursor"> = {},
): () => Promise<LeaseScan> {
  let cursor: ScanCursor = {};
  return async () => {
    const scan = await store.scan({ ...options, cursor });
    cursor = {};
    return scan;
  };
}
