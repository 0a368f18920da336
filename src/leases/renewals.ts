// Keeps held leases alive: each is renewed so long after its last renewal was sent, at most twenty at once (as the
// KCL). A lease that hangs delays no other. The loop also sees leases expire that nobody asks about.

import type { Clock } from "../core/clock.ts";
import { type ConnectorError, toConnectorError } from "../core/errors.ts";
import type { Telemetry } from "../core/telemetry.ts";
import { Bell } from "./bell.ts";
import type { HeldLease } from "./held-lease.ts";
import { PARALLEL_CALLS, type Retry } from "./retry.ts";

/** Options of {@link RenewalLoop}. */
export interface RenewalLoopOptions {
  readonly clock: Clock;
  readonly renewEveryMs: number;
  readonly retry: Retry;
  /** The leases to keep alive, now. */
  readonly held: () => Iterable<HeldLease>;
  /** A renewal was refused for a reason that waiting does not cure; it is tried again all the same. */
  readonly onFault: (error: ConnectorError) => void;
  /** Told of how things stand about every `renewEveryMs`. */
  readonly telemetry?: Telemetry | undefined;
}

// With all slots taken, answers come in bunches: looking through all leases once serves many of them.
const BUNCH_MS = 2;

/** Renews until aborted. */
export class RenewalLoop {
  readonly #options: RenewalLoopOptions;
  readonly #bell: Bell;
  readonly #inFlight = new Map<HeldLease, Promise<void>>();
  /** Leases whose last renewal failed: how often in a row, and when the next try is due. */
  readonly #failing = new Map<HeldLease, { readonly attempt: number; readonly retryAt: number }>();
  #reportedAt = -Infinity;
  /** Since the last report, milliseconds. */
  #slowestMs = 0;

  constructor(options: RenewalLoopOptions) {
    this.#options = options;
    this.#bell = new Bell(options.clock);
  }

  /** To be called when a lease was taken. */
  wake(): void {
    this.#bell.ring();
  }

  /** Ends when aborted and the last renewal was answered. */
  async run(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      const version = this.#bell.version;
      const next = this.#startDue(signal);
      this.#report();
      await this.#bell.wait(version, next - this.#options.clock.monotonic(), signal);
      if (this.#inFlight.size >= PARALLEL_CALLS - 1) await this.#options.clock.sleep(BUNCH_MS, signal);
    }
    await Promise.all(this.#inFlight.values());
  }

  /** Starts what is due and returns when to look again. */
  #startDue(signal: AbortSignal): number {
    const { clock, renewEveryMs } = this.#options;
    const now = clock.monotonic();
    let next = now + renewEveryMs;
    for (const held of this.#options.held()) {
      if (!held.isAlive()) {
        this.#failing.delete(held);
        continue;
      }
      next = Math.min(next, held.expiresAt);
      if (this.#inFlight.has(held)) continue;
      const due = this.#failing.get(held)?.retryAt ?? held.renewedAt + renewEveryMs;
      if (due > now) next = Math.min(next, due);
      else if (this.#inFlight.size < PARALLEL_CALLS) this.#start(held, signal);
    }
    return next;
  }

  #start(held: HeldLease, signal: AbortSignal): void {
    const renewal = this.#renew(held, signal).finally(() => {
      this.#inFlight.delete(held);
      this.#bell.ring();
    });
    this.#inFlight.set(held, renewal);
  }

  async #renew(held: HeldLease, signal: AbortSignal): Promise<void> {
    const { clock, renewEveryMs, retry, onFault } = this.#options;
    const startedAt = clock.monotonic();
    try {
      await held.renew();
      this.#slowestMs = Math.max(this.#slowestMs, clock.monotonic() - startedAt);
      this.#failing.delete(held);
    } catch (thrown) {
      const attempt = (this.#failing.get(held)?.attempt ?? 0) + 1;
      let delayMs = renewEveryMs;
      try {
        const quiet = this.#failing.size > 0 && !this.#failing.has(held);
        delayMs = Math.min(delayMs, await retry.delayAfter(toConnectorError(thrown), attempt, quiet));
      } catch (error) {
        if (!signal.aborted) onFault(toConnectorError(error));
      }
      this.#failing.set(held, { attempt, retryAt: clock.monotonic() + delayMs });
    }
  }

  /** In the KCL's words: a round lasts as long as its slowest renewal. Lost leases are reported when they are lost. */
  #report(): void {
    const { clock, renewEveryMs, held, telemetry } = this.#options;
    const now = clock.monotonic();
    if (telemetry === undefined || now - this.#reportedAt < renewEveryMs) return;
    this.#reportedAt = now;
    const data = { CurrentLeases: [...held()].length, LostLeases: 0 };
    const success = this.#failing.size === 0;
    telemetry.report({ operation: "RenewAllLeases", durationMs: this.#slowestMs, success, data });
    this.#slowestMs = 0;
  }
}
