// Whether a table may be used at all, before anything is taken from it. Refusing is cheap; going on with another
// stream's checkpoints, or against a fleet with other rules, loses records or hands them out twice.

import { ConnectorError } from "../core/errors.ts";
import type { Logger } from "../core/log.ts";
import { compareSequenceNumbers, isSequenceNumber } from "../core/position.ts";
import type { Shard } from "../core/shard.ts";
import { ownerOf, type StreamIdentity } from "./lease.ts";
import type { Lease, LeaseScan, LeaseStore } from "./store.ts";
import { KCL_FAILOVER_TIME_MS } from "./times.ts";
import { isJavaWorkerId } from "./worker-id.ts";

/** The lease table of later Java connectors that were given no applicationName. */
export const JAVA_DEFAULT_TABLE = "pulsar-kinesis";

/** What a start asks of a table before anything is taken from it. */
export type TableAtStart = Pick<
  LeaseStore,
  "tableName" | "open" | "scan" | "tableState" | "clientVersion"
>;

/** Options of {@link openLeaseTable}. */
export interface OpenLeaseTableOptions {
  readonly store: TableAtStart;
  readonly stream: StreamIdentity;
  readonly log: Logger;
  readonly signal: AbortSignal;
  /** Whether `applicationName` or `leases.table` was given, so that the table is a choice. */
  readonly tableWasChosen: boolean;
}

/**
 * Makes or opens the table after all checks that need no shard; returns its rows (none = write the initial ones).
 * Rejects with LEASE_TABLE_CHOICE, LEASE_TABLE_MISMATCH, LEASE_TABLE_FOREIGN, ACCESS_DENIED … and retryable ones.
 */
export async function openLeaseTable(options: OpenLeaseTableOptions): Promise<LeaseScan> {
  const { store, stream, log, signal } = options;
  if (!options.tableWasChosen) await checkTableChoice(store, log);
  await store.open(signal);
  await checkClientVersion(store, log);
  const scan = await store.scan({ signal, consistent: true });
  checkStream(scan.leases, stream, store.tableName);
  return scan;
}

/**
 * Without an applicationName this connector and later Java ones mean different tables. Where ours is fresh and
 * Java's exists, starting anew would be a silent loss of position.
 * @throws ConnectorError LEASE_TABLE_CHOICE
 */
export async function checkTableChoice(
  store: Pick<TableAtStart, "tableName" | "tableState">,
  log: Logger,
): Promise<void> {
  if (store.tableName === JAVA_DEFAULT_TABLE || await store.tableState(store.tableName) === "used") return;
  let java: "missing" | "empty" | "used";
  try {
    java = await store.tableState(JAVA_DEFAULT_TABLE);
  } catch (error) {
    if (!(error instanceof ConnectorError) || error.code !== "ACCESS_DENIED") throw error;
    log.warn(
      `whether a Java connector has left a table "${JAVA_DEFAULT_TABLE}" is not known: ${error.message}`,
    );
    return;
  }
  if (java === "missing") return;
  throw new ConnectorError(
    `no applicationName is given, the lease table "${store.tableName}" is new, and a table "${JAVA_DEFAULT_TABLE}" ` +
      `exists, as Java connectors make it by default. To go on where the Java connector stopped, write ` +
      `applicationName = "${JAVA_DEFAULT_TABLE}"; to start anew, write applicationName = "Pulsar IO connector"`,
    { code: "LEASE_TABLE_CHOICE", where: { table: store.tableName, key: "applicationName" } },
  );
}

/**
 * Refuses a fleet that is natively KCL 3.x: there a leader assigns leases, and a worker that takes them by itself
 * never stops fighting with it (kcl-compat §2.6). Not being allowed to look is a warning.
 * @throws ConnectorError LEASE_TABLE_FOREIGN
 */
export async function checkClientVersion(
  store: Pick<TableAtStart, "tableName" | "clientVersion">,
  log: Logger,
): Promise<void> {
  const found = await store.clientVersion();
  if (!found.known) {
    log.warn(`whether KCL 3.x workers use table "${store.tableName}" is not known: ${found.error.message}`);
    return;
  }
  if (found.version !== "CLIENT_VERSION_3X" && found.version !== "CLIENT_VERSION_3X_WITH_ROLLBACK") return;
  throw new ConnectorError(
    `the lease table "${store.tableName}" belongs to a fleet of KCL 3.x workers (${found.version}), with which this ` +
      "connector cannot share leases; stop that fleet and set it back to 2.x with the KCL migration tool, or choose " +
      "another applicationName",
    { code: "LEASE_TABLE_FOREIGN", where: { table: store.tableName } },
  );
}

/**
 * Refuses rows that were written for another stream, or for an earlier one of the same name. Rows without our
 * attributes (Java's) prove nothing.
 * @throws ConnectorError LEASE_TABLE_FOREIGN
 */
export function checkStream(leases: readonly Lease[], stream: StreamIdentity, tableName: string): void {
  for (const lease of leases) {
    const where = { table: tableName, shardId: lease.leaseKey, stream: stream.streamArn };
    if (lease.streamArn !== undefined && lease.streamArn !== stream.streamArn) {
      throw new ConnectorError(
        `the lease table "${tableName}" belongs to stream ${lease.streamArn}, not to ${stream.streamArn} ` +
          `(lease ${lease.leaseKey}); give each stream its own applicationName`,
        { code: "LEASE_TABLE_FOREIGN", where },
      );
    }
    if (lease.streamCreatedAt !== undefined && lease.streamCreatedAt !== stream.streamCreatedAt) {
      throw new ConnectorError(
        `the lease table "${tableName}" belongs to a stream of this name that was created at ` +
          `${iso(lease.streamCreatedAt)}; the present one was created at ${
            iso(stream.streamCreatedAt)
          }, so its ` +
          "checkpoints mean nothing here. Let it begin anew (kinesis-pulsar leases reset FILE --to POSITION), delete the " +
          "table, or choose another applicationName",
        { code: "LEASE_TABLE_FOREIGN", where },
      );
    }
  }
}

/**
 * Refuses checkpoints that lie before the first record of their shard: they come from another stream. Rows of shards
 * that are not listed any more prove nothing (Java's tables have them).
 * @throws ConnectorError LEASE_TABLE_FOREIGN
 */
export function checkCheckpoints(
  leases: readonly Lease[],
  shards: readonly Shard[],
  tableName: string,
): void {
  const starts = new Map(shards.map((shard) => [shard.shardId, shard.startingSequenceNumber]));
  for (const { leaseKey, checkpoint: { sequenceNumber } } of leases) {
    const start = starts.get(leaseKey);
    if (start === undefined || !isSequenceNumber(sequenceNumber)) continue;
    if (compareSequenceNumbers(sequenceNumber, start) >= 0) continue;
    throw new ConnectorError(
      `the lease table "${tableName}" was written for another stream: the checkpoint ${sequenceNumber} of shard ` +
        `${leaseKey} lies before the shard's first sequence number ${start}; give each stream its own applicationName`,
      { code: "LEASE_TABLE_FOREIGN", where: { table: tableName, shardId: leaseKey, sequenceNumber } },
    );
  }
}

/**
 * Java connectors always use the KCL's failover time. With another one, either side would take the other's live
 * leases for dead.
 * @param renewed rows whose owner was seen to be alive
 * @throws ConnectorError CONFIG_INVALID
 */
export function checkJavaFailoverTime(
  renewed: readonly Lease[],
  failoverTimeMs: number,
  tableName: string,
): void {
  if (failoverTimeMs === KCL_FAILOVER_TIME_MS) return;
  const java = renewed.find((lease) => isJavaWorkerId(ownerOf(lease) ?? ""));
  if (java === undefined) return;
  throw new ConnectorError(
    `a Java connector (worker "${
      ownerOf(java)
    }", lease ${java.leaseKey}) is alive in table "${tableName}" and uses a ` +
      `failover time of ${KCL_FAILOVER_TIME_MS} ms; leases.failoverTimeMs is ${failoverTimeMs}: remove it, or stop ` +
      "the Java connector first",
    { code: "CONFIG_INVALID", where: { table: tableName, key: "leases.failoverTimeMs" } },
  );
}

function iso(epochMs: number): string {
  return new Date(epochMs).toISOString();
}
