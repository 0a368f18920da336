// Looks after shards that stand still. One whose reader gives nothing and waits for nobody gets a new reader; of all
// others the log says whom they wait for, once per time limit and reason, however many shards it is.

import type { Clock } from "../core/clock.ts";
import type { Logger } from "../core/log.ts";
import type { Counter, MetricsRegistry } from "../metrics/registry.ts";
import type { Health } from "./health.ts";
import { findStalls, type FirstSeen, type ShardActivity, type Stall } from "./stall.ts";

/** A shard's consumer, as the watch sees it. */
export interface Watched {
  readonly shardId: string;
  activity(): Omit<ShardActivity, "trouble"> | undefined;
  reopenReader(): void;
}

/** Options of {@link StallWatch}. */
export interface StallWatchOptions {
  readonly clock: Clock;
  readonly log: Logger;
  readonly metrics: MetricsRegistry;
  readonly health: Pick<Health, "troubleOf" | "readerReopened">;
  /** `kinesis.stallTimeoutMs` */
  readonly timeoutMs: number;
  readonly consumers: () => Iterable<Watched>;
}

/** How often the shards are looked at: a stall is found at most a tenth of the limit late. */
const LOOKS_PER_TIMEOUT = 10;
const SHARDS_NAMED = 5;

const WAITS: Readonly<Record<Exclude<Stall["reason"], "reader">, string>> = {
  pulsar: "Pulsar has not acknowledged what they were handed to",
  hook: "a hook has not answered",
  leases: "the lease table has not answered, or a lease that they need does not exist yet",
  room:
    "there is no room for what they would read (kinesis.maxBufferedBytes, receiveQueueSize) until Pulsar has " +
    "acknowledged other records",
  kinesis: "reading fails",
};

/** See the top of this file. */
export class StallWatch {
  readonly #options: StallWatchOptions;
  readonly #restarts: Counter;
  readonly #saidAt = new Map<Stall["reason"], number>();
  #seen: FirstSeen = new Map();

  constructor(options: StallWatchOptions) {
    this.#options = options;
    this.#restarts = options.metrics.counter(
      "reader_restarts_total",
      {},
      "Readers of shards that gave nothing for kinesis.stallTimeoutMs and were opened anew",
    );
  }

  get restarts(): number {
    return this.#restarts.value;
  }

  /** Looks until the signal aborts. */
  async run(signal: AbortSignal): Promise<void> {
    const { clock, timeoutMs } = this.#options;
    while (!signal.aborted) {
      await clock.sleep(timeoutMs / LOOKS_PER_TIMEOUT, signal);
      if (!signal.aborted) this.look();
    }
  }

  /** One look at all shards. */
  look(): void {
    const { clock, timeoutMs, consumers, health } = this.#options;
    const watched = new Map<string, Watched>();
    const shards: ShardActivity[] = [];
    for (const consumer of consumers()) {
      const activity = consumer.activity();
      if (activity === undefined) continue;
      watched.set(consumer.shardId, consumer);
      health.readerReopened(consumer.shardId, activity.reopened);
      shards.push({ ...activity, trouble: health.troubleOf(consumer.shardId)?.message });
    }
    const { stalls, seen } = findStalls(shards, this.#seen, clock.monotonic(), timeoutMs);
    this.#seen = seen;
    const byReason = new Map<Stall["reason"], Stall[]>();
    for (const stall of stalls) {
      byReason.set(stall.reason, [...byReason.get(stall.reason) ?? [], stall]);
      if (stall.reason === "reader") this.#restart(watched.get(stall.shardId)!, stall);
    }
    for (const [reason, some] of byReason) if (reason !== "reader") this.#say(reason, some);
  }

  #restart(consumer: Watched, { shardId, forMs }: Stall): void {
    const { log } = this.#options;
    this.#restarts.add();
    consumer.reopenReader();
    log.warn(
      `shard ${shardId} has not come forward for ${
        seconds(forMs)
      }, and waits for nothing: its reader is opened anew, ` +
        "after the last record that it gave",
      { shardId },
    );
  }

  #say(reason: Exclude<Stall["reason"], "reader">, stalls: readonly Stall[]): void {
    const { clock, log, timeoutMs, health } = this.#options;
    const now = clock.monotonic();
    if (now - (this.#saidAt.get(reason) ?? -Infinity) < timeoutMs) return;
    this.#saidAt.set(reason, now);
    const [first] = stalls;
    const named = stalls.slice(0, SHARDS_NAMED).map(({ shardId }) => shardId).join(", ");
    const more = stalls.length > SHARDS_NAMED ? ` and ${stalls.length - SHARDS_NAMED} more` : "";
    const why = reason === "kinesis" ? `: ${health.troubleOf(first!.shardId)?.message ?? ""}` : "";
    const longest = Math.max(...stalls.map(({ forMs }) => forMs));
    log.warn(
      `${stalls.length === 1 ? "shard" : "shards"} ${named}${more}: no progress for ${
        seconds(longest)
      }, because ${WAITS[reason]}${why}`,
      { reason, shards: stalls.length },
    );
  }
}

function seconds(ms: number): string {
  return `${Math.round(ms / 1000)} s`;
}
