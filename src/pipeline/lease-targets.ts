// Where the position of a `leases reset` lies in each shard. A position is stored as a sentinel or as the number of a
// record, never as a time: the table's AT_TIMESTAMP means the `startAtTime` of whoever reads the row.

import { ConnectorError } from "../core/errors.ts";
import {
  type Checkpoint,
  compareSequenceNumbers,
  isSequenceNumber,
  justBefore,
  sentinel,
} from "../core/position.ts";
import type { Shard } from "../core/shard.ts";
import type { StartPosition } from "../kinesis/source.ts";
import type { StreamIdentity } from "../leases/lease.ts";
import { inGenerations } from "../leases/lineage.ts";
import {
  leasedDescendants,
  planReset,
  type ResetPlan,
  type ResetTarget,
  writeOf,
} from "../leases/reset-plan.ts";
import { forEachBounded } from "../leases/retry.ts";
import type { Lease } from "../leases/store.ts";
import type { LeaseParts } from "./lease-parts.ts";
import type { InitialPosition } from "./parts.ts";
import { listCompletely, withPatience } from "./preflight.ts";

/** Where shards are to begin. */
export type ResetPosition =
  | InitialPosition
  /** This record is the next; for one shard only. */
  | { readonly type: "AT_SEQUENCE_NUMBER"; readonly sequenceNumber: string };

const PARALLEL_CALLS = 20;
/** How Kinesis refuses a row's number, at once or with the first read. */
const NO_NUMBER_OF_IT: ReadonlySet<string> = new Set([
  "FOREIGN_CHECKPOINT",
  "AWS_REFUSED",
  "ITERATOR_EXPIRED",
]);
const MANY_SHARDS = 100;
const MOST_NAMED = 5;

/** Kinesis takes no time in the future, and one before the oldest record means the oldest record. */
export function settlePosition(position: ResetPosition, now: number, retentionHours: number): ResetPosition {
  if (position.type !== "AT_TIMESTAMP") return position;
  if (position.timestamp <= now - retentionHours * 3_600_000) return { type: "TRIM_HORIZON" };
  return { type: "AT_TIMESTAMP", timestamp: Math.min(position.timestamp, now) };
}

/** @throws ConnectorError CONFIG_INVALID for a sequence number, which is of one shard only; those of the calls */
export async function planAll(
  parts: LeaseParts,
  position: ResetPosition,
  leases: readonly Lease[],
  stream: StreamIdentity & { readonly streamName: string },
): Promise<ResetPlan> {
  const { clock, signal } = parts;
  if (position.type === "AT_SEQUENCE_NUMBER") {
    throw new ConnectorError("a sequence number is a position of one shard: say which by --shard", {
      code: "CONFIG_INVALID",
    });
  }
  const shards = await withPatience(
    () => listCompletely({ clock, signal, stream, position, kinesis: parts.stream }),
    parts,
  );
  if (position.type === "AT_TIMESTAMP" && shards.length > MANY_SHARDS) {
    parts.log.info(`looking for the first record in each of ${shards.length} shards`);
  }
  const targets = new Map<Shard, ResetTarget>();
  const rows = new Map(leases.map((lease) => [lease.leaseKey, lease]));
  await forEachBounded(shards, PARALLEL_CALLS, async (shard) => {
    targets.set(
      shard,
      await targetOf(parts, position, shard, doneIn(rows.get(shard.shardId), shard, stream)),
    );
  });
  const waves = inGenerations(shards).map((wave) => wave.map((shard) => targets.get(shard)!));
  return planReset(waves, leases, stream);
}

/** @throws ConnectorError CONFIG_INVALID for a shard that is none, or what descends from which is read already; those of the calls */
export async function planOne(
  parts: LeaseParts,
  position: ResetPosition,
  shardId: string,
  leases: readonly Lease[],
  stream: StreamIdentity,
): Promise<ResetPlan> {
  const shards = await withPatience(() => parts.stream.listShards(undefined, parts.signal), parts);
  const shard = shards.find((one) => one.shardId === shardId);
  if (shard === undefined) throw noSuchShard(shardId, `stream "${parts.streamName}" has no such shard`);
  const later = leasedDescendants(shardId, leases, shards);
  if (later.length > 0) {
    const more = later.length > MOST_NAMED ? `, and ${later.length - MOST_NAMED} more` : "";
    throw new ConnectorError(
      `shard ${shardId} cannot be reset alone: what came after it is read already from what descends from it ` +
        `(${later.slice(0, MOST_NAMED).join(", ")}${more}), and would be out of order. Reset all shards`,
      { code: "CONFIG_INVALID", where: { shardId } },
    );
  }
  const row = leases.find(({ leaseKey }) => leaseKey === shardId);
  const write = writeOf(await targetOf(parts, position, shard, doneIn(row, shard, stream)), row, stream);
  return { writes: [[write]], removes: [] };
}

/** What a row says is done of its shard, if it says it by a record of this very stream. */
function doneIn(
  row: Lease | undefined,
  shard: Shard,
  { streamCreatedAt }: StreamIdentity,
): Checkpoint | undefined {
  if (row === undefined || !isSequenceNumber(row.checkpoint.sequenceNumber)) return undefined;
  if ((row.streamCreatedAt ?? streamCreatedAt) !== streamCreatedAt) return undefined;
  const isOlder = compareSequenceNumbers(row.checkpoint.sequenceNumber, shard.startingSequenceNumber) < 0;
  return isOlder ? undefined : row.checkpoint; // an older one is of a stream that had this name before
}

async function targetOf(
  parts: LeaseParts,
  position: ResetPosition,
  shard: Shard,
  done: Checkpoint | undefined,
): Promise<ResetTarget> {
  const { stream, signal } = parts;
  const { shardId } = shard;
  switch (position.type) {
    case "TRIM_HORIZON":
      return { shard, checkpoint: sentinel("TRIM_HORIZON") };
    case "LATEST":
      return { shard, checkpoint: sentinel("LATEST"), startedAt: stream.now() };
    case "AT_TIMESTAMP": {
      const { record } = await withPatience(() => stream.first(shardId, position, signal), parts);
      if (record !== undefined) return { shard, checkpoint: justBefore(record.sequenceNumber) };
      return await quietTarget(parts, position.timestamp, shard, done);
    }
    case "AT_SEQUENCE_NUMBER":
      return { shard, checkpoint: justBefore(await numberOf(parts, shardId, position)) };
  }
}

/**
 * Where a shard begins in which nothing has arrived since the time. LATEST with the time as `startedAt` says it to our
 * workers, but to a Java one LATEST is the moment when it connects: what arrives before that would be lost. So where
 * all is done, or nothing is there, the row says that. (Of an aggregate that was done in part, the rest comes, too.)
 */
async function quietTarget(
  parts: LeaseParts,
  timestamp: number,
  shard: Shard,
  done: Checkpoint | undefined,
): Promise<ResetTarget> {
  const { stream, signal } = parts;
  const latest = { shard, checkpoint: sentinel("LATEST"), startedAt: timestamp };
  if (shard.endingSequenceNumber !== undefined) return latest; // nothing can come before somebody connects
  const look = async () => {
    try {
      return await stream.first(shard.shardId, unread(done), signal);
    } catch (error) {
      const isRefused = error instanceof ConnectorError && NO_NUMBER_OF_IT.has(error.code);
      if (isRefused && done !== undefined) return undefined;
      throw error;
    }
  };
  const next = await withPatience(look, parts);
  if (next === undefined) return latest;
  const { record } = next;
  if (record === undefined) return { shard, checkpoint: done ?? sentinel("TRIM_HORIZON") };
  // Older than the time, and to be skipped; or it has come only just now.
  const isOlder = record.approximateArrivalTimestamp < timestamp;
  return isOlder ? latest : { shard, checkpoint: justBefore(record.sequenceNumber) };
}

/** Where what is not done begins; all that is kept, if nothing is known to be. */
function unread(done: Checkpoint | undefined): StartPosition {
  if (done === undefined) return { type: "TRIM_HORIZON" };
  const { sequenceNumber, subSequenceNumber } = done;
  return { type: subSequenceNumber < 0 ? "AT_SEQUENCE_NUMBER" : "AFTER_SEQUENCE_NUMBER", sequenceNumber };
}

/** The record's number, or that of the next one where it has expired. */
async function numberOf(
  parts: LeaseParts,
  shardId: string,
  position: ResetPosition & { readonly type: "AT_SEQUENCE_NUMBER" },
): Promise<string> {
  const { stream, signal, log } = parts;
  const { sequenceNumber } = position;
  const refuse = (why: string, cause?: unknown) =>
    new ConnectorError(`${sequenceNumber} is not a position of shard ${shardId}: ${why}`, {
      code: "CONFIG_INVALID",
      cause,
      where: { shardId, sequenceNumber },
    });
  try {
    const { record } = await withPatience(() => stream.first(shardId, position, signal), parts);
    if (record === undefined) throw refuse("no record has this number or a higher one");
    if (record.sequenceNumber !== sequenceNumber) {
      log.warn(`shard ${shardId} has no record ${sequenceNumber} (any more); the next one is taken`);
    }
    return record.sequenceNumber;
  } catch (error) {
    if (error instanceof ConnectorError && error.code === "FOREIGN_CHECKPOINT") {
      throw refuse("Kinesis does not know the number", error);
    }
    throw error;
  }
}

/** For a shard that a command names. */
export function noSuchShard(shardId: string, why: string): ConnectorError {
  return new ConnectorError(`--shard ${shardId}: ${why}`, { code: "CONFIG_INVALID", where: { shardId } });
}
