// What `kinesis-pulsar leases` tells: the table's rows, who of their owners is alive, and how far behind each shard is.
// Only looks: one scan, a few more while owners are watched, and two calls of Kinesis per unfinished shard. What Kinesis
// does not tell is left out and said; the table is shown in any case.

import { ConnectorError, type ErrorCode, messageOf, toConnectorError } from "../core/errors.ts";
import type { Checkpoint } from "../core/position.ts";
import type { IteratorPosition } from "../kinesis/client.ts";
import { isFinished, ownerOf, unfinishedParents } from "../leases/lease.ts";
import { type OwnerState, ownerStates } from "../leases/live-owners.ts";
import { checkStream } from "../leases/preflight.ts";
import { resumableScan } from "../leases/resumable-scan.ts";
import { forEachBounded } from "../leases/retry.ts";
import type { Lease } from "../leases/store.ts";
import { type LeaseParts, requireTable } from "./lease-parts.ts";
import type { StreamDescription } from "./parts.ts";
import { patientTable } from "./patient-store.ts";
import { withPatience } from "./preflight.ts";
import { startPosition } from "./start-position.ts";

/** What is told of a table. Times in epoch milliseconds. */
export interface LeaseReport {
  readonly tableName: string;
  readonly streamName: string;
  /** By Kinesis' clock, where Kinesis answered. */
  readonly at: number;
  /** In order of their shard ids. */
  readonly leases: readonly LeaseLine[];
  readonly owners: readonly OwnerLine[];
  /** Items of the table that are no leases (KCL 3.x keeps some). */
  readonly foreignItems: number;
  /** What could not be found out, and why. */
  readonly notes: readonly string[];
}

/** One owner of leases. */
export interface OwnerLine {
  readonly owner: string;
  readonly state: OwnerState | "unknown";
  /** Of unfinished shards. */
  readonly leases: number;
  /** Of shards that are read to their end, and kept for their children. */
  readonly finished: number;
}

/** One lease. */
export interface LeaseLine {
  readonly shardId: string;
  readonly owner: string | undefined;
  readonly ownerState: OwnerState | "unknown" | undefined;
  readonly checkpoint: Checkpoint;
  readonly finished: boolean;
  readonly parentShardIds: readonly string[];
  readonly childShardIds: readonly string[];
  /** Parents that have to be finished first. */
  readonly waitsFor: readonly string[];
  /** Effectively once: messages of the shard are numbered. */
  readonly hasGeneration: boolean;
  /** How long its oldest record after the checkpoint has been waiting; 0 = nothing is waiting. Absent = not known. */
  readonly lagMs?: number;
  /** When that record arrived. */
  readonly oldestUnreadAt?: number;
  /** When that record will be gone. */
  readonly expiresAt?: number;
  /** Why its lag is not known. */
  readonly lagError?: ErrorCode;
}

/** How to look. */
export interface LeaseReportOptions {
  /** One look at the table and nothing else: no lag, owners unknown. */
  readonly quick: boolean;
}

const PARALLEL_LOOKS = 20;
// What every further shard would be answered, too.
const HOPELESS: ReadonlySet<ErrorCode> = new Set<ErrorCode>(["ACCESS_DENIED", "CREDENTIALS_INVALID"]);

/** @throws ConnectorError LEASE_TABLE_MISSING, LEASE_TABLE_MISMATCH, ACCESS_DENIED … of the table, not of the stream */
export async function leaseReport(parts: LeaseParts, { quick }: LeaseReportOptions): Promise<LeaseReport> {
  const { store, signal, clock, log, failoverTimeMs } = parts;
  await requireTable(parts);
  const { leases, foreignItems } = await withPatience(resumableScan(store, { signal }), parts);
  const watched = quick
    ? undefined
    : ownerStates({ store: patientTable(store, parts), clock, signal, log, observeMs: failoverTimeMs });
  const looked = quick ? NO_LAGS : lagsOf(parts, leases);
  const [states, { lags, at, notes }] = await Promise.all([watched, looked]);
  const rows = new Map(leases.map((lease) => [lease.leaseKey, lease]));
  const lines = leases.map((lease) => lineOf(lease, rows, states, lags.get(lease.leaseKey)));
  return {
    tableName: store.tableName,
    streamName: parts.streamName,
    at: at ?? clock.now(),
    leases: lines.sort((a, b) => a.shardId < b.shardId ? -1 : 1),
    owners: ownersOf(lines),
    foreignItems,
    notes,
  };
}

type Lag = Pick<LeaseLine, "lagMs" | "oldestUnreadAt" | "expiresAt" | "lagError">;

interface Lags {
  readonly lags: ReadonlyMap<string, Lag>;
  readonly at?: number;
  readonly notes: readonly string[];
}

const NO_LAGS: Lags = { lags: new Map(), notes: [] };

async function lagsOf(parts: LeaseParts, leases: readonly Lease[]): Promise<Lags> {
  const { stream, signal, startAtTime } = parts;
  const lags = new Map<string, Lag>();
  try {
    const description = await stream.describe(signal);
    const foreign = foreignNote(leases, description, parts.store.tableName);
    if (foreign !== undefined) return { lags, at: stream.now(), notes: [foreign] };
    await forEachBounded(leases, PARALLEL_LOOKS, async (lease) => {
      if (isFinished(lease)) return;
      const lag = await lagOf(parts, lease, startAtTime, description.retentionHours);
      if (lag !== undefined) lags.set(lease.leaseKey, lag);
    });
    return { lags, at: stream.now(), notes: [] };
  } catch (thrown) {
    signal.throwIfAborted();
    return { lags, notes: [`how far shards are behind is not known: ${toConnectorError(thrown).message}`] };
  }
}

/** Why the rows' checkpoints say nothing of this stream. */
function foreignNote(
  leases: readonly Lease[],
  stream: StreamDescription,
  tableName: string,
): string | undefined {
  try {
    checkStream(leases, stream, tableName);
    return undefined;
  } catch (error) {
    return messageOf(error);
  }
}

async function lagOf(
  { stream, signal }: LeaseParts,
  lease: Lease,
  startAtTime: number | undefined,
  retentionHours: number,
): Promise<Lag | undefined> {
  // A Java worker's LATEST: it means the moment when somebody connects.
  if (lease.checkpoint.sequenceNumber === "LATEST" && lease.startedAt === undefined) return undefined;
  try {
    const { record, millisBehindLatest } = await stream.first(
      lease.leaseKey,
      unread(lease, startAtTime),
      signal,
    );
    if (record === undefined) return { lagMs: millisBehindLatest };
    const oldestUnreadAt = record.approximateArrivalTimestamp;
    return {
      lagMs: Math.max(1, stream.now() - oldestUnreadAt),
      oldestUnreadAt,
      expiresAt: oldestUnreadAt + retentionHours * 3_600_000,
    };
  } catch (error) {
    if (!(error instanceof ConnectorError) || HOPELESS.has(error.code)) throw error;
    return { lagError: error.code };
  }
}

/** Where what is not done begins; the rest of an aggregate in whose middle the checkpoint lies is not counted. */
function unread(lease: Lease, startAtTime: number | undefined): IteratorPosition {
  const { start, resumeAfter } = startPosition(lease, { connectLatestOnce: false, startAtTime });
  if (start.type !== "AT_SEQUENCE_NUMBER" || (resumeAfter?.subSequenceNumber ?? -1) < 0) return start;
  return { type: "AFTER_SEQUENCE_NUMBER", sequenceNumber: start.sequenceNumber };
}

function lineOf(
  lease: Lease,
  rows: ReadonlyMap<string, Lease>,
  states: ReadonlyMap<string, OwnerState> | undefined,
  lag: Lag | undefined,
): LeaseLine {
  const owner = ownerOf(lease);
  return {
    shardId: lease.leaseKey,
    owner,
    ownerState: owner === undefined ? undefined : states?.get(owner) ?? "unknown",
    checkpoint: lease.checkpoint,
    finished: isFinished(lease),
    parentShardIds: lease.parentShardIds,
    childShardIds: lease.childShardIds,
    waitsFor: isFinished(lease) ? [] : unfinishedParents(lease, (id) => rows.get(id)),
    hasGeneration: lease.generation !== undefined,
    ...lag,
  };
}

function ownersOf(lines: readonly LeaseLine[]): OwnerLine[] {
  const owners = new Map<string, OwnerLine>();
  for (const { owner, ownerState = "unknown", finished } of lines) {
    if (owner === undefined) continue;
    const { leases, finished: ended } = owners.get(owner) ?? { leases: 0, finished: 0 };
    owners.set(owner, {
      owner,
      state: ownerState,
      leases: leases + (finished ? 0 : 1),
      finished: ended + (finished ? 1 : 0),
    });
  }
  return [...owners.values()].sort((a, b) => a.owner < b.owner ? -1 : 1);
}
