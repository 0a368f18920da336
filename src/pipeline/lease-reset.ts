// `leases reset` and `leases release`. What is to be written is decided in leases/reset-plan.ts; here it is written under
// conditions, so that a worker that writes at the same time is noticed and never overwritten unseen.

import { ConnectorError } from "../core/errors.ts";
import type { Checkpoint } from "../core/position.ts";
import { ownerOf } from "../leases/lease.ts";
import { isWritten, RELEASE, type ResetPlan, type ResetWrite } from "../leases/reset-plan.ts";
import { resumableScan } from "../leases/resumable-scan.ts";
import { forEachBounded } from "../leases/retry.ts";
import type { Lease } from "../leases/store.ts";
import { type LeaseParts, requireNobody, requireOwnTable, requireTable } from "./lease-parts.ts";
import { noSuchShard, planAll, planOne, type ResetPosition, settlePosition } from "./lease-targets.ts";
import { withPatience } from "./preflight.ts";

/** What to do. */
export interface ResetOptions {
  readonly position: ResetPosition;
  /** One shard instead of all. */
  readonly shardId?: string | undefined;
  /** Also while an owner is alive. */
  readonly force: boolean;
  /** Finds out, and writes nothing. */
  readonly dryRun: boolean;
}

/** One row of a reset. */
export interface ResetRow {
  readonly shardId: string;
  /** Absent: it had no lease. */
  readonly from?: Checkpoint | undefined;
  /** Absent: its lease is removed. */
  readonly to?: Checkpoint | undefined;
  /** With LATEST, epoch milliseconds. */
  readonly startedAt?: number | undefined;
}

const PARALLEL_CALLS = 20;

/**
 * Brings the table to a position; gives what was written, or with `dryRun` what would be.
 * @throws ConnectorError LEASE_TABLE_MISSING, LEASE_TABLE_FOREIGN, LEASE_IN_USE, CONFIG_INVALID (no such position) …
 */
export async function resetLeases(parts: LeaseParts, options: ResetOptions): Promise<ResetRow[]> {
  const { store, signal } = parts;
  await requireTable(parts);
  const stream = await withPatience(() => parts.stream.describe(signal), parts);
  const position = settlePosition(options.position, parts.stream.now(), stream.retentionHours);
  if (!options.force && !options.dryRun) await requireNobody(parts, options.shardId);
  const { leases } = await withPatience(resumableScan(store, { signal, consistent: true }), parts);
  await requireOwnTable(parts, leases, stream);
  const plan = options.shardId === undefined
    ? await planAll(parts, position, leases, stream)
    : await planOne(parts, position, options.shardId, leases, stream);
  if (!options.dryRun) await apply(parts, plan);
  return rowsOf(plan);
}

/** A lease that had an owner. */
export interface ReleasedRow {
  readonly shardId: string;
  readonly owner: string;
}

/**
 * Takes the owners out of all leases, or of one; gives those that had one.
 * @throws ConnectorError as {@link resetLeases}
 */
export async function releaseLeases(
  parts: LeaseParts,
  options: Omit<ResetOptions, "position">,
): Promise<ReleasedRow[]> {
  const { store, signal } = parts;
  const { shardId, force, dryRun } = options;
  await requireTable(parts);
  if (!force && !dryRun) await requireNobody(parts, shardId);
  const { leases } = await withPatience(resumableScan(store, { signal, consistent: true }), parts);
  if (shardId !== undefined && !leases.some(({ leaseKey }) => leaseKey === shardId)) {
    throw noSuchShard(shardId, `table "${store.tableName}" has no lease of it`);
  }
  const owned = leases.filter((lease) =>
    ownerOf(lease) !== undefined && (shardId === undefined || lease.leaseKey === shardId)
  );
  if (!dryRun) {
    const taken = new Map<string, string | undefined>();
    await forEachBounded(owned, PARALLEL_CALLS, (lease) => release(parts, lease, taken));
    refuseTaken(parts, taken, "released");
  }
  return owned.map((lease) => ({ shardId: lease.leaseKey, owner: ownerOf(lease)! }));
}

/** @throws ConnectorError LEASE_IN_USE when a worker wrote rows meanwhile: the others are written */
async function apply(parts: LeaseParts, { writes, removes }: ResetPlan): Promise<void> {
  const taken = new Map<string, string | undefined>();
  for (const wave of writes) {
    await forEachBounded(wave, PARALLEL_CALLS, (write) => perform(parts, write, taken));
  }
  refuseTaken(parts, taken, "reset");
  await forEachBounded(removes, PARALLEL_CALLS, async (lease) => {
    const { leaseKey, leaseCounter } = lease;
    if (await withPatience(() => parts.store.delete(leaseKey, leaseCounter), parts)) return;
    const row = await withPatience(() => parts.store.get(leaseKey), parts);
    if (row !== undefined) taken.set(leaseKey, ownerOf(row));
  });
  refuseTaken(parts, taken, "removed");
}

const leaseOf = (write: ResetWrite): Lease => write.type === "create" ? write.lease : write.before;

async function perform(
  parts: LeaseParts,
  write: ResetWrite,
  taken: Map<string, string | undefined>,
): Promise<void> {
  const { store } = parts;
  const { leaseKey, leaseCounter } = leaseOf(write);
  const done = await withPatience(
    async () =>
      write.type === "create"
        ? await store.create(write.lease)
        : (await store.update(leaseKey, leaseCounter, write.change)).done,
    parts,
  );
  if (done) return;
  const row = await withPatience(() => store.get(leaseKey), parts);
  if (!isWritten(row, write)) taken.set(leaseKey, row && ownerOf(row));
}

/** A row that is gone, or was without an owner already, is as good. */
async function release(
  parts: LeaseParts,
  lease: Lease,
  taken: Map<string, string | undefined>,
): Promise<void> {
  const { store } = parts;
  const { leaseKey, leaseCounter } = lease;
  if ((await withPatience(() => store.update(leaseKey, leaseCounter, RELEASE), parts)).done) return;
  const row = await withPatience(() => store.get(leaseKey), parts);
  if (row === undefined || isWritten(row, { type: "update", before: lease, change: RELEASE })) return;
  taken.set(leaseKey, ownerOf(row));
}

function refuseTaken(
  { store }: LeaseParts,
  taken: ReadonlyMap<string, string | undefined>,
  verb: string,
): void {
  const [first] = taken;
  if (first === undefined) return;
  const [shardId, owner] = first;
  const more = taken.size === 1 ? "" : ` and ${taken.size - 1} more leases`;
  throw new ConnectorError(
    `the lease of ${shardId}${more} in table "${store.tableName}" was written by ` +
      `${
        owner === undefined ? "somebody else" : `worker "${owner}"`
      } at the same time and was not ${verb}; stop all ` +
      "workers of this table and run the command again",
    { code: "LEASE_IN_USE", where: { table: store.tableName, shardId } },
  );
}

function rowsOf({ writes, removes }: ResetPlan): ResetRow[] {
  const written = writes.flat().map((write): ResetRow =>
    write.type === "create"
      ? { shardId: write.lease.leaseKey, to: write.lease.checkpoint, startedAt: write.lease.startedAt }
      : {
        shardId: write.before.leaseKey,
        from: write.before.checkpoint,
        to: write.change.checkpoint,
        startedAt: write.change.startedAt ?? undefined,
      }
  );
  const removed = removes.map(({ leaseKey, checkpoint }): ResetRow => ({
    shardId: leaseKey,
    from: checkpoint,
  }));
  return [...written, ...removed].sort((a, b) => a.shardId < b.shardId ? -1 : 1);
}
