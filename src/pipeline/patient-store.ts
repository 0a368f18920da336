// The lease table during a start: each call has its own patience, so that a throttled one is repeated alone and not
// the whole preflight with it, which would only make the throttling worse.

import type { TableAtStart } from "../leases/preflight.ts";
import { resumableScan } from "../leases/resumable-scan.ts";
import { type StartScope, withPatience } from "./preflight.ts";

/** The same table; calls reject as {@link withPatience} does. */
export function patientTable(store: TableAtStart, scope: StartScope): TableAtStart {
  return {
    tableName: store.tableName,
    open: (signal) => withPatience(() => store.open(signal), scope),
    scan: (options) => withPatience(resumableScan(store, options), scope),
    tableState: (tableName) => withPatience(() => store.tableState(tableName), scope),
    clientVersion: () => withPatience(() => store.clientVersion(), scope),
  };
}
