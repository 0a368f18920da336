// Several workers on one table in one fake time: each with its own line to the table and its own clock, which can be
// stopped (as SIGSTOP does) while time goes on for the others.

import type { Clock } from "../../src/core/clock.ts";
import type { ConnectorError } from "../../src/core/errors.ts";
import { LeaseCoordinator, type LeaseCoordinatorOptions } from "../../src/leases/coordinator.ts";
import type { HeldLease, LeaseLoss } from "../../src/leases/held-lease.ts";
import { MemoryLeaseStore, MemoryLeaseTable } from "../../src/leases/memory.ts";
import type { Lease } from "../../src/leases/store.ts";
import { leaseTimes } from "../../src/leases/times.ts";
import { FakeClock, RecordingLogger } from "../fakes.ts";
import { FaultyStore } from "./faulty-store.ts";
import { newRow, STREAM } from "./stores.ts";

export const KINESIS_NOW = 1_760_000_000_500;

/** A clock that can be stopped without time standing still. */
export class WorkerClock implements Clock {
  frozen = false;
  readonly #base: FakeClock;
  #thawed: (() => void)[] = [];

  constructor(base: FakeClock) {
    this.#base = base;
  }

  now(): number {
    return this.#base.now();
  }
  monotonic(): number {
    return this.#base.monotonic();
  }
  random(): number {
    return this.#base.random();
  }
  async sleep(ms: number, signal?: AbortSignal): Promise<void> {
    await this.#base.sleep(ms, signal);
    while (this.frozen) await new Promise<void>((resolve) => this.#thawed.push(resolve));
  }
  thaw(): void {
    this.frozen = false;
    for (const resolve of this.#thawed.splice(0)) resolve();
  }
}

/** One worker and what happened to it. */
export interface TestWorker {
  readonly id: string;
  readonly clock: WorkerClock;
  readonly store: FaultyStore;
  readonly log: RecordingLogger;
  readonly coordinator: LeaseCoordinator;
  readonly acquired: HeldLease[];
  readonly lost: { readonly held: HeldLease; readonly loss: LeaseLoss }[];
  readonly faults: ConnectorError[];
}

/** One table, one time. */
export class World {
  readonly clock: FakeClock;
  readonly table = new MemoryLeaseTable();
  readonly store = new MemoryLeaseStore(this.table);
  readonly failoverTimeMs: number;

  constructor(options: { readonly failoverTimeMs?: number; readonly random?: () => number } = {}) {
    this.failoverTimeMs = options.failoverTimeMs ?? 10_000;
    this.clock = new FakeClock(options.random === undefined ? {} : { random: options.random });
  }

  async rows(...rows: readonly (string | Lease)[]): Promise<void> {
    for (const row of rows) await this.store.create(typeof row === "string" ? newRow(row) : row);
  }

  /** A worker that is not started yet. */
  worker(id: string, options: Partial<LeaseCoordinatorOptions> = {}): TestWorker {
    const clock = new WorkerClock(this.clock);
    const log = new RecordingLogger();
    const times = leaseTimes(this.failoverTimeMs);
    const store = new FaultyStore(this.store, clock, times.writeTimeoutMs);
    const acquired: HeldLease[] = [];
    const lost: { held: HeldLease; loss: LeaseLoss }[] = [];
    const faults: ConnectorError[] = [];
    const coordinator = new LeaseCoordinator({
      workerId: id,
      failoverTimeMs: this.failoverTimeMs,
      store,
      stream: STREAM,
      clock,
      log,
      kinesisNow: () => KINESIS_NOW,
      onAcquired: (held) => acquired.push(held),
      onLost: (held, loss) => lost.push({ held, loss }),
      onFault: (error) => faults.push(error),
      ...options,
    });
    return { id, clock, store, log, coordinator, acquired, lost, faults };
  }

  /** A started worker that has made its first round. */
  async started(id: string, options: Partial<LeaseCoordinatorOptions> = {}): Promise<TestWorker> {
    const worker = this.worker(id, options);
    worker.coordinator.start();
    await this.clock.advance(0);
    return worker;
  }

  /** A Java connector's heartbeat: the counter moves, nothing else. */
  async heartbeat(leaseKey: string): Promise<void> {
    await this.store.update(leaseKey, (await this.store.get(leaseKey))!.leaseCounter, {});
  }
}

/** Ids of the shards that a worker holds alive. */
export function alive(worker: TestWorker): string[] {
  return worker.coordinator.held().filter((held) => held.isAlive()).map((held) => held.shardId).sort();
}
