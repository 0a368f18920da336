// Workers on one table whose stream can be split and merged under them: listings come from a model, shards end when
// the test says so.

import type { ConnectorError } from "../../src/core/errors.ts";
import { sentinel } from "../../src/core/position.ts";
import type { LeaseCoordinatorOptions } from "../../src/leases/coordinator.ts";
import type { HeldLease } from "../../src/leases/held-lease.ts";
import type { InitialPosition } from "../../src/leases/new-leases.ts";
import type { Lease } from "../../src/leases/store.ts";
import { newRow } from "./stores.ts";
import type { StreamModel } from "./stream-model.ts";
import { type TestWorker, World } from "./world.ts";

/** The row of a shard as it was created. */
export function streamRow(stream: StreamModel, id: string, change: Partial<Lease> = {}): Lease {
  const { startingHashKey, endingHashKey, parentShardIds } = stream.shard(id);
  return newRow(id, { startingHashKey, endingHashKey, parentShardIds, ...change });
}

/** The same row as old KCL versions wrote it. */
export function withoutRange({ startingHashKey: _start, endingHashKey: _end, ...row }: Lease): Lease {
  return row;
}

export async function leaseKeys(world: World): Promise<string[]> {
  return (await world.store.scan()).leases.map(({ leaseKey }) => leaseKey).sort();
}

/** A {@link World} with a stream. */
export class StreamWorld extends World {
  readonly stream: StreamModel;
  readonly #position: InitialPosition;
  readonly #time: number;
  /** How many listings were made. */
  listings = 0;
  /** What listings fail with. */
  failure: ConnectorError | undefined;

  constructor(
    stream: StreamModel,
    options: {
      readonly position?: InitialPosition;
      readonly time?: number;
      readonly failoverTimeMs?: number;
    } = {},
  ) {
    super(options);
    this.stream = stream;
    this.#position = options.position ?? "TRIM_HORIZON";
    this.#time = options.time ?? 0;
  }

  override worker(id: string, options: Partial<LeaseCoordinatorOptions> = {}): TestWorker {
    const at = this.#position === "LATEST" ? Infinity : this.#position === "AT_TIMESTAMP" ? this.#time : 0;
    const shards = {
      position: this.#position,
      list: () => this.#listing(() => this.stream.listed()),
      listInitial: () => this.#listing(() => this.stream.openAt(at)),
    };
    return super.worker(id, { shards, ...options });
  }

  /** Rows of these shards, parents finished or not as they are told. */
  async streamRows(ids: string, change: Partial<Lease> = {}): Promise<void> {
    for (const id of ids.split(" ")) await this.store.create(streamRow(this.stream, id, change));
  }

  /** The held lease of a worker. */
  held(worker: TestWorker, id: string): HeldLease {
    const held = worker.coordinator.held().find((one) => one.shardId === id);
    if (held === undefined) throw new Error(`${worker.id} does not hold ${id}`);
    return held;
  }

  /** What a consumer does when it has read a shard to its end: false while the children cannot be given leases. */
  async end(worker: TestWorker, id: string): Promise<boolean> {
    const held = this.held(worker, id);
    const children = this.stream.children(id);
    if (await worker.coordinator.createChildLeases(children) === "postponed") return false;
    await held.checkpoint(sentinel("SHARD_END"), { childShardIds: children.map(({ shardId }) => shardId) });
    return true;
  }

  // deno-lint-ignore require-await
  async #listing<T>(list: () => T): Promise<T> {
    this.listings++;
    if (this.failure !== undefined) throw this.failure;
    return list();
  }
}
