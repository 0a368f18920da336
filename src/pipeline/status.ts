// What a connector says of itself: `connector.status()`, and the line that is logged once a minute.

import type { Clock } from "../core/clock.ts";

/** What a shard's consumer is doing. */
export type ShardState =
  | "waiting-for-parents"
  | "starting"
  | "processing"
  /** All is read, the last records wait for their receipts. */
  | "ending"
  /** Its end is reached, or the time of `--until`. */
  | "done"
  | "stopping"
  | "lost";

/** One shard that this process holds. */
export interface ShardStatus {
  readonly shardId: string;
  readonly state: ShardState;
  /** Milliseconds; undefined before the first read. */
  readonly millisBehindLatest: number | undefined;
  /**
   * How long the stream will still keep the oldest record of the shard that is not finished (acknowledged by Pulsar,
   * dropped, or a dead letter), milliseconds: its retention less that record's age. Negative: records may be lost
   * already. Undefined before the first read.
   */
  readonly millisUntilExpiry: number | undefined;
  /** Records handed to Pulsar that cannot be checkpointed yet. */
  readonly inFlight: number;
  /** The stored checkpoint: digits or a sentinel. */
  readonly checkpoint: string;
  /** Since a checkpoint was stored, or looked for and found up to date, milliseconds. */
  readonly checkpointAgeMs: number;
  /** Since this process took the lease. */
  readonly records: number;
  /** Of their data, as read. */
  readonly bytes: number;
}

/** A connector as it stands. */
export interface ConnectorStatus {
  readonly state: "starting" | "running" | "stopping" | "stopped";
  readonly streamName: string;
  readonly shards: readonly ShardStatus[];
  /** Totals since the start of this process. */
  readonly records: number;
  readonly bytes: number;
  /** By hooks, or skipped after their errors. */
  readonly dropped: number;
  /** Stored in the dead-letter topic. */
  readonly deadLettered: number;
  /** Messages that the broker had already and did not store again (effectively once). */
  readonly duplicates: number;
  readonly checkpoints: number;
  /** Given up after `numRetries`; the next interval tried again. */
  readonly failedCheckpoints: number;
  readonly throttles: number;
  /** Readers that stood still and were opened anew. */
  readonly readerRestarts: number;
  /** Leases that this process holds, those of finished shards included. */
  readonly leases: number;
  /** Bytes read or asked for that are not finished. */
  readonly bufferedBytes: number;
  /** Messages sent or queued and not yet acknowledged by Pulsar. */
  readonly pendingMessages: number;
  /** The largest of the shards; undefined when nothing was read. */
  readonly millisBehindLatest: number | undefined;
}

const EVERY_MS = 60_000;

/** Tells of the status once a minute until the signal aborts. */
export async function reportStatus(
  status: () => ConnectorStatus,
  { clock, signal }: { readonly clock: Clock; readonly signal: AbortSignal },
  tell: (now: ConnectorStatus, line: string) => void,
): Promise<void> {
  let before: ConnectorStatus | undefined;
  for (;;) {
    await clock.sleep(EVERY_MS, signal);
    if (signal.aborted) return;
    const now = status();
    tell(now, statusLine(now, before, EVERY_MS));
    before = now;
  }
}

/** One line for the log. `before` is the status one interval earlier. */
export function statusLine(
  now: ConnectorStatus,
  before: ConnectorStatus | undefined,
  intervalMs: number,
): string {
  const seconds = intervalMs / 1000;
  const records = (now.records - (before?.records ?? 0)) / seconds;
  const bytes = (now.bytes - (before?.bytes ?? 0)) / seconds;
  const lag = now.millisBehindLatest;
  const waiting = now.shards.filter((shard) => shard.state === "waiting-for-parents").length;
  return [
    `${records.toFixed(records < 10 ? 1 : 0)} records/s`,
    `${(bytes / 1e6).toFixed(bytes < 1e7 ? 2 : 0)} MB/s`,
    `${now.shards.length} shards${waiting > 0 ? ` (${waiting} wait for their parents)` : ""}`,
    lag === undefined ? "nothing read yet" : lag === 0 ? "caught up" : `${duration(lag)} behind`,
    `${now.pendingMessages} in flight`,
    totalsLine(now),
  ].join(", ");
}

/** What was done since the start, in words. */
export function totalsLine(status: ConnectorStatus): string {
  const { records, dropped, deadLettered, duplicates, throttles } = status;
  return [
    `${records} records read in all`,
    ...dropped > 0 ? [`${dropped} dropped by hooks`] : [],
    ...deadLettered > 0 ? [`${deadLettered} dead-lettered`] : [],
    ...duplicates > 0 ? [`${duplicates} duplicates left out by Pulsar`] : [],
    ...throttles > 0 ? [`${throttles} throttles`] : [],
  ].join(", ");
}

function duration(ms: number): string {
  const seconds = Math.round(ms / 1000);
  if (seconds < 120) return `${seconds} s`;
  const minutes = Math.round(seconds / 60);
  if (minutes < 120) return `${minutes} min`;
  return `${(minutes / 60).toFixed(1)} h`;
}
