// Where a shard's reading begins, by what its lease row says (design: LATEST is a promise). The lease's checkpoint
// is always the last word: a connector never goes back to its initial position once a row exists.

import { ConnectorError } from "../core/errors.ts";
import { anchorOf } from "../core/generation.ts";
import { isSequenceNumber, type Position } from "../core/position.ts";
import type { StartPosition } from "../kinesis/source.ts";
import type { Lease } from "../leases/store.ts";

/** How to begin a shard. */
export interface ShardStart {
  readonly start: StartPosition;
  /** In place of `start` when the connection breaks before a record came. */
  readonly restart?: StartPosition | undefined;
  /** Records at or before it are done already: not published again. */
  readonly resumeAfter?: Position | undefined;
  /** For onShardStart and the log: digits or a sentinel. */
  readonly from: string;
}

/** What the row's reader knows beside the row. */
export interface StartOptions {
  /** This worker is the first that ever connects, so LATEST means now. */
  readonly connectLatestOnce: boolean;
  /** `startAtTime`, epoch milliseconds. */
  readonly startAtTime: number | undefined;
}

/**
 * The start of a shard by its lease.
 * @throws ConnectorError CONFIG_INVALID for a row at AT_TIMESTAMP when no `startAtTime` is configured
 */
export function startPosition(lease: Lease, options: StartOptions): ShardStart {
  // Nothing lies between the checkpoint and the anchor. Also where messages have no sequence ids now: what a worker
  // that was killed had from LATEST is read again, and nothing that came before it.
  const anchor = anchorOf(lease.generation, lease.checkpoint);
  if (anchor !== undefined) {
    const { sequenceNumber, subSequenceNumber } = anchor;
    return {
      start: { type: "AT_SEQUENCE_NUMBER", sequenceNumber },
      resumeAfter: { sequenceNumber, subSequenceNumber: subSequenceNumber - 1 },
      from: sequenceNumber,
    };
  }
  const from = lease.checkpoint.sequenceNumber;
  if (isSequenceNumber(from)) {
    return {
      start: { type: "AT_SEQUENCE_NUMBER", sequenceNumber: from },
      resumeAfter: lease.checkpoint,
      from,
    };
  }
  if (from === "LATEST") {
    // Every LATEST row that is held has `startedAt`: its creation or its take wrote it.
    const since: StartPosition = { type: "AT_TIMESTAMP", timestamp: lease.startedAt ?? 0 };
    return options.connectLatestOnce
      ? { start: { type: "LATEST" }, restart: since, from }
      : { start: since, from };
  }
  if (from === "AT_TIMESTAMP") {
    if (options.startAtTime === undefined) {
      throw new ConnectorError(
        `the lease of shard ${lease.leaseKey} starts AT_TIMESTAMP, but no startAtTime is configured; give the ` +
          "startAtTime that the lease table was made with",
        { code: "CONFIG_INVALID", where: { shardId: lease.leaseKey, key: "startAtTime" } },
      );
    }
    return { start: { type: "AT_TIMESTAMP", timestamp: options.startAtTime }, from };
  }
  return { start: { type: "TRIM_HORIZON" }, from };
}
