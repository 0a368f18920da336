// All shards of a stream. A listing is taken whole or not at all: a token that has expired begins it anew.

import type { Shard } from "../core/shard.ts";
import type { KinesisApi, ShardFilter } from "./client.ts";
import { isException } from "./errors.ts";
import { type ThrottleScope, whileThrottled } from "./throttle.ts";

/** What a listing needs. */
export interface ShardListScope extends ThrottleScope {
  readonly api: Pick<KinesisApi, "listShards">;
}

/** Tokens live for five minutes; a listing that cannot be finished three times will not be. */
const LISTINGS = 3;

/**
 * Every page of ListShards (up to 1 000 shards each); throttles are waited for.
 * @param filter only shards that were open then; absent: all that hold or may hold records
 * @throws ConnectorError STREAM_NOT_FOUND, ACCESS_DENIED, CREDENTIALS_INVALID; AWS_UNAVAILABLE (retryable)
 */
export async function listShards(
  scope: ShardListScope,
  filter: ShardFilter | undefined,
  signal: AbortSignal,
): Promise<Shard[]> {
  for (let listing = 1;; listing++) {
    try {
      return await listOnce(scope, filter, signal);
    } catch (error) {
      if (!isException(error, "ExpiredNextTokenException") || listing === LISTINGS) throw error;
    }
  }
}

async function listOnce(scope: ShardListScope, filter: ShardFilter | undefined, signal: AbortSignal) {
  const shards = new Map<string, Shard>();
  let nextToken: string | undefined;
  do {
    const request = nextToken === undefined ? { filter } : { nextToken };
    const page = await whileThrottled(() => scope.api.listShards(request, signal), scope, signal);
    for (const shard of page.shards) shards.set(shard.shardId, shard);
    nextToken = page.nextToken;
  } while (nextToken !== undefined);
  return [...shards.values()];
}
