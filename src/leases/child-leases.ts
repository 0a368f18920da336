// The leases of a finished shard's children, written before its SHARD_END is (kcl-compat §4.4), so that no child is
// ever without a lease while its parents are done with. A merged shard whose other parent has no lease waits only as
// long as that one gets a lease from somebody: what would wait for ever is settled here, by a listing.

import { toConnectorError } from "../core/errors.ts";
import type { Logger } from "../core/log.ts";
import type { ChildShard } from "../core/shard.ts";
import type { Telemetry } from "../core/telemetry.ts";
import { coverAll } from "./hash-ranges.ts";
import type { StreamIdentity } from "./lease.ts";
import { childLease, childLeases } from "./new-leases.ts";
import type { ShardSync } from "./shard-sync.ts";
import type { Lease } from "./store.ts";

/** Options of {@link ChildLeases}. */
export interface ChildLeasesOptions {
  readonly stream: StreamIdentity;
  readonly log: Logger;
  /** Rows by consistent reads; the missing ones are missing. */
  readonly read: (shardIds: Iterable<string>, signal: AbortSignal) => Promise<ReadonlyMap<string, Lease>>;
  readonly create: (leases: readonly Lease[], signal: AbortSignal) => Promise<number>;
  /** Without it a merged shard waits for a lease of each parent. */
  readonly sync: ShardSync | undefined;
  /** Told of what is missing of a merge, at each look. */
  readonly telemetry?: Telemetry | undefined;
}

/** Writes children's leases. */
export class ChildLeases {
  readonly #options: ChildLeasesOptions;
  /** Merged shards that are known to wait: said once. */
  readonly #waiting = new Set<string>();

  constructor(options: ChildLeasesOptions) {
    this.#options = options;
  }

  /**
   * "postponed": call again after a while. Rejects with a ConnectorError that waiting does not cure.
   * @param children those that are known. Where some are missing, or all, they have expired like the shard itself: then
   * whatever descends from it and is still listed gets its lease.
   */
  async create(children: readonly ChildShard[], signal: AbortSignal): Promise<"created" | "postponed"> {
    const { read, create, stream } = this.#options;
    if (children.length === 0) return await this.#completeTable(signal);
    // A child alone is a merge's and should name two parents. Where it does not, the KCL gives the shard's lease up; here
    // a listing decides below: the name is missing, or the other child of a split, which has expired.
    if (children.length === 1 && children[0]!.parentShardIds.length !== 2) {
      this.#reportMissing("MissingMergeParent");
    }
    const ids = new Set(children.flatMap((child) => [child.shardId, ...child.parentShardIds]));
    const existing = await read(ids, signal);
    signal.throwIfAborted();
    const decision = childLeases(children, (id) => existing.has(id), stream);
    if (decision.type === "postpone") {
      const { child, missingParent } = decision;
      // Told at each try, as by the KCL, which now and then gives the shard's lease up. It tells it also of a merged shard
      // that has its lease; here that one waits for nobody.
      this.#reportMissing("MissingMergeParentLease");
      return await this.#patiently(() => this.#settle(child, missingParent, signal), signal);
    }
    for (const { shardId } of children) this.#waiting.delete(shardId);
    await create(decision.leases, signal);
    const parents = children.flatMap(({ parentShardIds }) =>
      parentShardIds.flatMap((id) => existing.get(id) ?? [])
    );
    // Of a split both children are known, unless one has expired.
    return coverAll(children, parents) ? "created" : await this.#completeTable(signal);
  }

  /** The KCL's names (kcl-compat §7): its task for a shard's end measures without the shard. */
  #reportMissing(name: "MissingMergeParent" | "MissingMergeParentLease"): void {
    this.#options.telemetry?.report({ operation: "ShutdownTask", data: { [name]: 1 } });
  }

  async #completeTable(signal: AbortSignal): Promise<"created" | "postponed"> {
    return await this.#patiently(async () => {
      await this.#options.sync?.complete(signal);
      return "created";
    }, signal);
  }

  async #settle(child: ChildShard, parent: string, signal: AbortSignal): Promise<"created" | "postponed"> {
    const { create, stream, sync, log } = this.#options;
    const verdict = await sync?.judgeMerge(child.shardId, parent, signal) ?? "wait";
    if (verdict === "wait") {
      if (!this.#waiting.has(child.shardId)) {
        log.info(`the lease of merged shard ${child.shardId} waits: parent ${parent} has none yet`);
      }
      this.#waiting.add(child.shardId);
      return "postponed";
    }
    this.#waiting.delete(child.shardId);
    if (verdict === "create") await create([childLease(child, stream)], signal);
    log.info(`merged shard ${child.shardId} does not wait for parent ${parent}, which will have no lease`);
    return "created";
  }

  /** What a service does not answer now is asked again later. */
  async #patiently(
    work: () => Promise<"created" | "postponed">,
    signal: AbortSignal,
  ): Promise<"created" | "postponed"> {
    try {
      return await work();
    } catch (thrown) {
      signal.throwIfAborted();
      const error = toConnectorError(thrown);
      if (!error.retryable) throw error;
      this.#options.log.warn(`the leases of a finished shard's children wait: ${error.message}`);
      return "postponed";
    }
  }
}
