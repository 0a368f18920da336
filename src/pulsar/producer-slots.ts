// How many producers there may be at a time, over all topics. When there are enough, the one that was used longest ago
// and has nothing to do makes room; while all are busy, topics wait in line, and are refused after a while.

import type { Clock } from "../core/clock.ts";
import { ConnectorError, toConnectorError } from "../core/errors.ts";

/** A producer, as its slot knows it. */
export interface SlotHolder {
  /** Nothing is pending: it may be closed, to be opened again on demand. */
  readonly isIdle: boolean;
  /** When a batch was opened last, monotonic milliseconds. */
  readonly usedAt: number;
  /** Closes the producer, and gives its slot back by {@link ProducerSlots.give}. */
  evict(): void;
}

/** A topic with messages but no producer for them. */
export interface SlotWaiter {
  readonly name: string;
  /** There is a slot now. */
  slotFree(): void;
  /** There will be none. */
  noSlot(error: ConnectorError): void;
}

/** What slots need. */
export interface ProducerSlotsOptions {
  readonly max: number;
  /** How long a topic waits, milliseconds. */
  readonly patienceMs: number;
  readonly clock: Clock;
  readonly signal: AbortSignal;
  /** This topic always has room. */
  readonly exempt: string | undefined;
  onDefect(error: ConnectorError): void;
}

/** One per sink. */
export class ProducerSlots {
  readonly #options: ProducerSlotsOptions;
  readonly #holders = new Set<SlotHolder>();
  /** Since when each waits, monotonic; the longest waiting first. */
  readonly #waiting = new Map<SlotWaiter, number>();
  #isServing = false;
  #isWatching = false;

  constructor(options: ProducerSlotsOptions) {
    this.#options = options;
  }

  /** Makes room for one more producer; false when all are busy. To be followed by {@link take}. */
  makeRoom(topic: string): boolean {
    if (this.#holders.size < this.#options.max || topic === this.#options.exempt) return true;
    let idlest: SlotHolder | undefined;
    for (const holder of this.#holders) {
      if (holder.isIdle && (idlest === undefined || holder.usedAt < idlest.usedAt)) idlest = holder;
    }
    idlest?.evict();
    return idlest !== undefined;
  }

  take(topic: string, holder: SlotHolder): void {
    if (topic !== this.#options.exempt) this.#holders.add(holder);
  }

  /** The producer is closed. */
  give(holder: SlotHolder): void {
    this.#holders.delete(holder);
    this.idle();
  }

  /** Waits for a slot, behind who waits already. */
  wait(waiter: SlotWaiter): void {
    if (this.#waiting.has(waiter)) return;
    this.#waiting.set(waiter, this.#options.clock.monotonic());
    if (this.#isWatching) return;
    this.#isWatching = true;
    this.#watch().catch((error: unknown) => this.#options.onDefect(toConnectorError(error)));
  }

  /** Does not wait any more. */
  forget(waiter: SlotWaiter): void {
    this.#waiting.delete(waiter);
  }

  /** A producer has nothing to do just now: it may make room, when whoever told this is done. */
  idle(): void {
    if (this.#waiting.size === 0 || this.#isServing) return;
    this.#isServing = true;
    queueMicrotask(() => {
      this.#isServing = false;
      try {
        for (const waiter of [...this.#waiting.keys()]) {
          if (!this.makeRoom(waiter.name)) return;
          this.#waiting.delete(waiter);
          waiter.slotFree();
        }
      } catch (error) {
        this.#options.onDefect(toConnectorError(error));
      }
    });
  }

  /** Refuses who has waited too long. */
  async #watch(): Promise<void> {
    const { clock, signal, patienceMs, max } = this.#options;
    while (!signal.aborted && this.#waiting.size > 0) {
      const [oldest] = this.#waiting.values();
      await clock.sleep(oldest! + patienceMs - clock.monotonic(), signal);
      const now = clock.monotonic();
      for (const [waiter, since] of [...this.#waiting]) {
        if (signal.aborted || since + patienceMs > now + 0.5) break; // timers may fire a little early
        this.#waiting.delete(waiter);
        waiter.noSlot(tooManyTopics(waiter.name, max, patienceMs));
      }
    }
    this.#isWatching = false;
  }
}

function tooManyTopics(topic: string, max: number, patienceMs: number): ConnectorError {
  return new ConnectorError(
    `no producer for topic ${topic}: there are ${max} already (topics and their partitions), and for ` +
      `${
        patienceMs / 1000
      } s each had messages on their way. Raise pulsar.maxProducers, or check whether a hook ` +
      "makes topic names without end",
    { code: "TOO_MANY_TOPICS", where: { topic } },
  );
}
