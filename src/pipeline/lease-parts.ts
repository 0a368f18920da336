// What the commands about leases work with, and what they ask before they touch anything: is there a table, is it of
// this stream, is somebody working on it.

import type { Clock } from "../core/clock.ts";
import { ConnectorError } from "../core/errors.ts";
import type { Logger } from "../core/log.ts";
import type { StreamPeek } from "../kinesis/peek.ts";
import type { StreamIdentity } from "../leases/lease.ts";
import { refuseLiveOwners } from "../leases/live-owners.ts";
import { checkClientVersion, checkStream } from "../leases/preflight.ts";
import { resumableScan } from "../leases/resumable-scan.ts";
import type { Lease, LeaseStore } from "../leases/store.ts";
import { type StartScope, withPatience } from "./preflight.ts";

/** A table, its stream, and how to wait. */
export interface LeaseParts extends Pick<StartScope, "clock" | "log" | "signal"> {
  readonly store: LeaseStore;
  readonly stream: StreamPeek;
  /** As configured. */
  readonly streamName: string;
  readonly failoverTimeMs: number;
  /** `startAtTime`, epoch milliseconds. */
  readonly startAtTime: number | undefined;
  readonly clock: Clock;
  readonly log: Logger;
}

/** @throws ConnectorError LEASE_TABLE_MISSING, LEASE_TABLE_MISMATCH, ACCESS_DENIED … */
export async function requireTable(parts: LeaseParts): Promise<void> {
  const { store, signal } = parts;
  if (await withPatience(() => store.tableState(store.tableName), parts) === "missing") {
    throw new ConnectorError(
      `there is no lease table "${store.tableName}" yet: no worker has been started with this configuration. If one ` +
        "has, look at applicationName (or leases.table), and at the region and account of the leases",
      { code: "LEASE_TABLE_MISSING", where: { table: store.tableName } },
    );
  }
  await withPatience(() => store.open(signal), parts); // it exists: this looks at its shape
}

/**
 * Refuses a table of another stream, or of a KCL 3.x fleet. One of an earlier stream of this name passes: to reset it
 * is what cures it.
 * @throws ConnectorError LEASE_TABLE_FOREIGN
 */
export async function requireOwnTable(
  parts: LeaseParts,
  leases: readonly Lease[],
  stream: StreamIdentity,
): Promise<void> {
  const { store, log } = parts;
  await withPatience(() => checkClientVersion(store, log), parts);
  checkStream(leases.map((lease) => ({ ...lease, streamCreatedAt: undefined })), stream, store.tableName);
}

/**
 * Refuses to go on while an owner is alive, of one shard where one is given.
 * @throws ConnectorError LEASE_IN_USE
 */
export async function requireNobody(parts: LeaseParts, shardId: string | undefined): Promise<void> {
  const { store, clock, signal, log, failoverTimeMs } = parts;
  const scan = async () => {
    const { leases, foreignItems } = await withPatience(resumableScan(store, { signal }), parts);
    return {
      leases: leases.filter((lease) => shardId === undefined || lease.leaseKey === shardId),
      foreignItems,
    };
  };
  try {
    const observed = { tableName: store.tableName, scan };
    await refuseLiveOwners({ store: observed, clock, signal, log, observeMs: failoverTimeMs });
  } catch (error) {
    if (!(error instanceof ConnectorError) || error.code !== "LEASE_IN_USE") throw error;
    throw new ConnectorError(
      `${
        error.message.replace(/; stop it first.*$/, "")
      }; stop all workers of this table first (--force does ` +
        "it under their hands: they lose their leases, and what they have in flight is read again)",
      { code: "LEASE_IN_USE", where: error.where },
    );
  }
}
