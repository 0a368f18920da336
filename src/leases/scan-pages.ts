// A scan page by page, with its place in the cursor of who repeats it. Keeps: an attempt goes on with the page that
// failed, and never with rows so old that whoever compares them with newer ones is misled.

import type { Clock } from "../core/clock.ts";
import type { LeaseScan, ScanCursor } from "./store.ts";

/** A part of a table; `Place` is the store's own word for where the next one begins. */
export interface ScanPage<Place> extends LeaseScan {
  /** `undefined` on the last page. */
  readonly next: Place | undefined;
}

// How long after its begin a failed scan may be gone on with. Of a finished shard and its children a scan should see one
// at least. Our finished rows stay for five minutes (`keepFinishedMs`); the KCL's may go as soon as the children have
// begun (it waits for five minutes since its last deletion, not since the shard's end), so who writes leases by what a
// scan lacks looks twice (shard-sync.ts).
const RESUME_WITHIN_MS = 60_000;

/**
 * All pages, one after the other. Rejects as `readPage` does; the cursor then knows the pages before.
 * @param readPage begins at the place; `undefined` is the first page
 */
export async function scanPages<Place>(
  readPage: (from: Place | undefined) => Promise<ScanPage<Place>>,
  clock: Pick<Clock, "monotonic">,
  cursor: ScanCursor = {},
): Promise<LeaseScan> {
  const now = clock.monotonic();
  if (cursor.soFar !== undefined && now - cursor.soFar.startedAt > RESUME_WITHIN_MS) {
    cursor.soFar = undefined;
  }
  const { startedAt = now, leases: read = [], foreignItems: foreign = 0, next } = cursor.soFar ?? {};
  const leases = [...read];
  let foreignItems = foreign;
  let from = next as Place | undefined;
  do {
    let page: ScanPage<Place>;
    try {
      page = await readPage(from);
    } catch (error) {
      if (from !== undefined) cursor.soFar = { startedAt, leases, foreignItems, next: from };
      throw error;
    }
    leases.push(...page.leases);
    foreignItems += page.foreignItems;
    from = page.next;
  } while (from !== undefined);
  return { leases, foreignItems };
}
