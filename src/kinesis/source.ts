// The port by which the pipeline reads shards. Implementations: polling.ts, fan-out.ts.
// Readers pull: nothing is asked of Kinesis before the pipeline granted the bytes for it (G6).

import type { RecordPage } from "../core/record.ts";

/** Where a reader starts. */
export type StartPosition =
  | { readonly type: "TRIM_HORIZON" }
  | { readonly type: "LATEST" }
  /** First record that arrived at or after this time (epoch milliseconds). */
  | { readonly type: "AT_TIMESTAMP"; readonly timestamp: number }
  /**
   * The stored checkpoint or anchor. Read AT this number (never AFTER it, also when reconnecting before a first
   * record came), so that the rest of a half-done aggregate is seen; the pipeline drops what is done.
   */
  | { readonly type: "AT_SEQUENCE_NUMBER"; readonly sequenceNumber: string }
  /** A record that an earlier reader of the same consumer has given out whole. Never a stored position. */
  | { readonly type: "AFTER_SEQUENCE_NUMBER"; readonly sequenceNumber: string };

/** What one shard is to be read from. */
export interface ReadShardOptions {
  readonly shardId: string;
  /** First connection. */
  readonly start: StartPosition;
  /**
   * What takes the place of `start` when a connection has to be made anew before any record was received:
   * a LATEST start that breaks goes on AT_TIMESTAMP of its lease's `startedAt`. @default start
   */
  readonly restart?: StartPosition | undefined;
  /**
   * A bounded run wants to hear that the shard was read to its tip at or after this time (Kinesis' clock, epoch
   * milliseconds); see `asOf` of a page.
   */
  readonly until?: number | undefined;
  /** Aborted when the lease is lost or the connector stops; pending reads then end with `undefined`. */
  readonly signal: AbortSignal;
  /**
   * Whether the lease is still ours, by the clock: asked right before a subscription is made, which would cut off the
   * new owner's. A process that was frozen may subscribe before anything aborts `signal`. @default always
   */
  readonly isHeld?: (() => boolean) | undefined;
  /** Runs once, when the first iterator or subscription exists. */
  readonly onConnected?: (() => void) | undefined;
}

/** The bytes and records that may be read now; held by the page until it is finished, or released. */
export interface ReadGrant {
  /** Largest number of records to ask for, 1 … 10 000. */
  readonly maxRecords: number;
  /** Gives the grant back: the read failed or will not happen. Called by the reader. */
  release(): void;
  /**
   * The page has come: the reservation becomes `bytes` held and `records` that wait for a producer. Called by the
   * pipeline, never by the reader.
   */
  settle(bytes: number, records: number): void;
}

/**
 * Waits until a page may be read; undefined when the signal aborted first.
 * @param bytes what the page holds at most, where that is known already
 */
export type Admit = (signal: AbortSignal, bytes?: number) => Promise<ReadGrant | undefined>;

/** A page with the grant it was read under. */
export interface GrantedPage {
  readonly page: RecordPage;
  readonly grant: ReadGrant;
}

/** Reads one shard, page by page, in order. */
export interface ShardReader {
  /**
   * The next page; `undefined` when the signal was aborted. Waits for pacing or for an event, then for `admit`, then
   * reads; throttling, network errors and expired iterators are retried inside for ever (each throttle is reported).
   * Nothing else than the last page (with `shardEnd`) may be followed by the end: after it do not call again.
   * @throws ConnectorError STREAM_NOT_FOUND, STREAM_GONE, FOREIGN_CHECKPOINT, ACCESS_DENIED, CREDENTIALS_INVALID …
   */
  next(admit: Admit): Promise<GrantedPage | undefined>;
}

/** Opens readers of one stream's shards. */
export interface RecordSource {
  open(options: ReadShardOptions): ShardReader;
  close(): Promise<void>;
}

/** One throttle of an AWS service, as `onThrottle` hooks see it. */
export interface ThrottleEvent {
  readonly service: "kinesis" | "dynamodb" | "cloudwatch";
  /** The API's name, e.g. GetRecords. */
  readonly operation: string;
  readonly shardId?: string | undefined;
  /** Counts from 1; back to 1 after a success. */
  readonly attempt: number;
  /** The delay that will follow, milliseconds. */
  readonly delayMs: number;
}

/** Told of each throttle; a number it returns replaces the delay. */
export type OnThrottle = (event: ThrottleEvent) => Promise<number | undefined> | number | undefined;
