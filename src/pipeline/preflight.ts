// What has to be true before the first read: the stream exists, the lease table is ours and complete. Services that
// do not answer are asked again for a minute, then the start fails: a supervisor restarts, a CI job hears of it.

import { backoffDelay } from "../core/backoff.ts";
import type { Clock } from "../core/clock.ts";
import { ConnectorError, type ErrorCode, toConnectorError } from "../core/errors.ts";
import type { Logger } from "../core/log.ts";
import type { Shard } from "../core/shard.ts";
import type { OnThrottle } from "../kinesis/source.ts";
import type { LeaseCoordinator } from "../leases/coordinator.ts";
import { hashRangeHole } from "../leases/new-leases.ts";
import { checkCheckpoints } from "../leases/preflight.ts";
import type { Lease } from "../leases/store.ts";
import type { InitialPosition, KinesisStream, StreamDescription } from "./parts.ts";

/** How long a start keeps asking services that do not answer. */
export const START_PATIENCE_MS = 60_000;
const BACKOFF = { firstMs: 500, maxMs: 5_000, jitter: 0.3 };
// As the KCL: a listing with a hole was made in the middle of a reshard.
const LISTINGS = 3;
const LISTING_PAUSE_MS = 1_000;

const NOT_IN_TIME = new ConnectorError("it is not done", { code: "AWS_UNAVAILABLE", retryable: true });

/** What the steps of a start share. */
export interface StartScope {
  readonly clock: Clock;
  readonly log: Logger;
  /** Aborted by a stop during the start. */
  readonly signal: AbortSignal;
  /** Told of throttles; a number it returns replaces the delay. */
  readonly onThrottle?: OnThrottle | undefined;
}

/**
 * The result of a call that may need patience.
 * @param call is given a signal that aborts with the scope's, and when the minute is over: for calls that wait for
 * themselves while they are throttled
 * @throws ConnectorError the last retryable one after a minute, any other at once
 */
export async function withPatience<T>(
  call: (signal: AbortSignal) => Promise<T>,
  scope: StartScope,
): Promise<T> {
  const { clock, signal } = scope;
  const over = new AbortController();
  const done = new AbortController();
  const timer = clock.sleep(START_PATIENCE_MS, done.signal).then(() => over.abort(NOT_IN_TIME));
  try {
    return await repeat(call, scope, AbortSignal.any([signal, over.signal]));
  } finally {
    done.abort();
    await timer;
  }
}

async function repeat<T>(
  call: (signal: AbortSignal) => Promise<T>,
  { clock, log, signal, onThrottle }: StartScope,
  inTime: AbortSignal,
): Promise<T> {
  const deadline = clock.monotonic() + START_PATIENCE_MS;
  let last: ConnectorError | undefined;
  for (let attempt = 1;; attempt++) {
    signal.throwIfAborted();
    try {
      return await call(inTime);
    } catch (thrown) {
      signal.throwIfAborted();
      if (thrown === NOT_IN_TIME && last !== undefined) throw gaveUp(last, attempt);
      const error = toConnectorError(thrown);
      const delayMs = backoffDelay(BACKOFF, attempt, clock.random());
      if (!error.retryable) throw error;
      if (clock.monotonic() + delayMs > deadline) throw gaveUp(error, attempt);
      last = error;
      log.warn(`${error.message}; asking again in ${delayMs} ms`, { code: error.code, attempt });
      const { operation = "", shardId } = error.where;
      const wanted = error.code === "THROTTLED" // Kinesis' own throttles are waited for inside of its calls
        ? await onThrottle?.({ service: "dynamodb", operation, shardId, attempt, delayMs })
        : undefined;
      await clock.sleep(wanted ?? delayMs, signal);
    }
  }
}

const ADVICE: Partial<Record<ErrorCode, string>> = {
  AWS_UNAVAILABLE: "Check the network from here, awsRegion, awsEndpoint and dynamoEndpoint",
  THROTTLED: "Others use up the limits of this stream, table or account: raise them, or start again later",
  PULSAR_UNREACHABLE: "Check pulsar.serviceUrl, and whether the broker runs and can be reached from here",
  PULSAR_UNAVAILABLE: "Check whether the broker is healthy, and start again",
};

function gaveUp(error: ConnectorError, tries: number): ConnectorError {
  const { code, where, message } = error;
  const advice = ADVICE[code];
  return new ConnectorError(
    `gave up the start after ${START_PATIENCE_MS / 1000} s${tries === 1 ? "" : ` and ${tries} tries`}: ${
      message.replace(/\.$/, "")
    }` +
      (advice === undefined ? "" : `. ${advice}`),
    { code, retryable: true, cause: error, where },
  );
}

/** Options of {@link ensureLeases}. */
export interface EnsureLeasesOptions extends StartScope {
  readonly kinesis: Pick<KinesisStream, "listShards">;
  /** Rows of the table, as it was opened. */
  readonly leases: readonly Lease[];
  readonly tableName: string;
  readonly coordinator: Pick<LeaseCoordinator, "completeLeases">;
}

/**
 * Writes leases for shards that have none: all of an empty table; otherwise what is missing by the rules by which a
 * running connector's auditor completes it, but at once.
 * @throws ConnectorError LEASE_TABLE_FOREIGN, and AWS_UNAVAILABLE when the shards do not cover all keys, or for a minute
 * are those of a stream in the middle of a reshard
 */
export async function ensureLeases(options: EnsureLeasesOptions): Promise<void> {
  const { kinesis, leases, tableName, coordinator, signal, clock, log } = options;
  const list = () => withPatience((inTime) => kinesis.listShards(undefined, inTime), options);
  const deadline = clock.monotonic() + START_PATIENCE_MS;
  for (;;) {
    const shards = leases.length === 0 ? [] : await list();
    checkCheckpoints(leases, shards, tableName);
    try {
      await coordinator.completeLeases(leases, shards, signal);
      return;
    } catch (thrown) {
      signal.throwIfAborted();
      const error = toConnectorError(thrown);
      if (!error.retryable || clock.monotonic() >= deadline) throw error;
      log.warn(`${error.message}; listing the shards again`, { code: error.code });
    }
    await clock.sleep(LISTING_PAUSE_MS, signal);
    signal.throwIfAborted();
  }
}

/** What {@link listCompletely} needs. */
export interface ListingScope extends Pick<StartScope, "clock" | "signal"> {
  readonly kinesis: Pick<KinesisStream, "listShards">;
  readonly stream: Pick<StreamDescription, "streamName">;
  readonly position: InitialPosition;
}

/**
 * The shards of a position, without a hole in their hash ranges.
 * @throws ConnectorError AWS_UNAVAILABLE when three listings in a row have one; those of the call
 */
export async function listCompletely(scope: ListingScope): Promise<Shard[]> {
  const { kinesis, position, signal, clock, stream } = scope;
  for (let listing = 1;; listing++) {
    const shards = await kinesis.listShards(position, signal);
    const hole = hashRangeHole(shards);
    if (hole === undefined) return shards;
    if (listing === LISTINGS) {
      throw new ConnectorError(
        `the shards of stream ${stream.streamName} leave hash key ${hole} uncovered, as in the middle of a reshard; ` +
          "start again in a moment",
        {
          code: "AWS_UNAVAILABLE",
          retryable: true,
          where: { stream: stream.streamName, operation: "ListShards" },
        },
      );
    }
    await clock.sleep(LISTING_PAUSE_MS, signal);
    signal.throwIfAborted();
  }
}
