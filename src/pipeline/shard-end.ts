// A shard's end, in the order that keeps its children waiting until all of it is in Pulsar: leases for the children,
// then the last receipts, then SHARD_END (kcl-compat §4.4).

import type { ChildShard } from "../core/shard.ts";
import type { ConsumerParts } from "./parts.ts";
import type { ShardCheckpoints } from "./shard-checkpoints.ts";
import type { ShardDelivery } from "./shard-delivery.ts";
import type { WaitsFor } from "./stall.ts";

/** The shard, all of which is handed on. */
export interface EndingShard {
  readonly shardId: string;
  readonly delivery: ShardDelivery;
  readonly checkpoints: ShardCheckpoints;
  /** Aborted by a stop, and by the loss of the lease. */
  readonly signal: AbortSignal;
  /** Lets it be seen for whom the shard waits. */
  waitFor<T>(what: WaitsFor, promise: Promise<T>): Promise<T>;
}

// A merge whose other parent has no lease yet is looked at again after this long.
const POSTPONED_CHILDREN_MS = 2_000;

/** True = SHARD_END is stored and told; false = interrupted. Rejects with what waiting does not cure. */
export async function finishShard(
  shard: EndingShard,
  children: readonly ChildShard[],
  parts: ConsumerParts,
): Promise<boolean> {
  const { shardId, delivery, checkpoints, signal } = shard;
  const { clock, hooks, events, streamName, log, sink, telemetry } = parts;
  const startedAt = clock.monotonic();
  sink.flush();
  try {
    await shard.waitFor("leases", childLeases(children, signal, parts));
  } catch (error) {
    if (signal.aborted) return false;
    throw error;
  }
  await shard.waitFor("pulsar", delivery.drained(signal));
  if (signal.aborted) return false;
  const childShardIds = children.map((child) => child.shardId);
  if (!await shard.waitFor("leases", checkpoints.storeEnd(childShardIds, signal))) return false;
  delivery.closeProducers();
  log.info(`shard ${shardId} is finished; children: ${childShardIds.join(", ") || "none"}`);
  const event = { streamName, shardId, childShardIds };
  await checkpoints.told();
  await hooks.shardEnd(event);
  const durationMs = clock.monotonic() - startedAt;
  telemetry.report({ operation: "ShutdownTask", shardId, durationMs, success: true });
  events.emit("shardEnd", event);
  return true;
}

async function childLeases(
  children: readonly ChildShard[],
  signal: AbortSignal,
  { leases, clock }: ConsumerParts,
): Promise<void> {
  while (await leases.createChildLeases(children, signal) === "postponed") {
    await clock.sleep(POSTPONED_CHILDREN_MS, signal);
  }
}
