// What it means that Kinesis does not find a shard. Only the stream can tell: deleted or made again ends the
// connector; a shard of the same stream that is no longer listed is over, its records have expired.

import { ConnectorError } from "../core/errors.ts";
import type { KinesisApi } from "./client.ts";
import { listShards } from "./shards.ts";
import { type ThrottleScope, whileThrottled } from "./throttle.ts";

/** What is needed to find out whether a stream is still the same. */
export interface SameStreamScope extends ThrottleScope {
  readonly api: Pick<KinesisApi, "describeStreamSummary">;
  readonly streamName: string;
  /** Creation time of the stream that the leases belong to, epoch milliseconds. */
  readonly streamCreatedAt?: number | undefined;
}

/** What is needed to find out what became of a shard. */
export interface MissingShardScope extends SameStreamScope {
  readonly api: Pick<KinesisApi, "listShards" | "describeStreamSummary">;
}

/**
 * Whether a shard that was not found is listed after all, or has expired.
 * @throws ConnectorError STREAM_GONE; AWS_UNAVAILABLE (retryable) and the others of the calls
 */
export async function fateOfShard(
  scope: MissingShardScope,
  shardId: string,
  signal: AbortSignal,
): Promise<"listed" | "expired"> {
  await assertSameStream(scope, shardId, signal);
  const shards = await listShards(scope, undefined, signal);
  return shards.some((shard) => shard.shardId === shardId) ? "listed" : "expired";
}

/** @throws ConnectorError STREAM_GONE when the stream was deleted, or deleted and made again; those of the call */
export async function assertSameStream(
  scope: SameStreamScope,
  shardId: string,
  signal: AbortSignal,
): Promise<void> {
  const { api, streamName, streamCreatedAt } = scope;
  const gone = (how: string, cause?: unknown) =>
    new ConnectorError(
      `stream "${streamName}" was ${how} while shard ${shardId} was read. Its leases are left as they are; to read a ` +
        "new stream of this name, start with another applicationName or delete the lease table",
      { code: "STREAM_GONE", cause, where: { stream: streamName, shardId } },
    );
  try {
    const summary = await whileThrottled(() => api.describeStreamSummary(signal), scope, signal);
    if (summary.status === "DELETING") throw gone("deleted");
    if (streamCreatedAt !== undefined && summary.streamCreatedAt !== streamCreatedAt) {
      throw gone("deleted and made again");
    }
  } catch (error) {
    if (error instanceof ConnectorError && error.code === "STREAM_NOT_FOUND") throw gone("deleted", error);
    throw error;
  }
}
