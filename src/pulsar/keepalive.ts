// Notices connections that are dead without saying so (half-open TCP), as Pulsar's Java client does: a PING each
// interval, and the connection is lost when nothing but PINGs was heard until the next. Closes unused ones too.

import type { Clock } from "../core/clock.ts";
import { messageOf } from "../core/errors.ts";

/** What a keepalive needs of its connection. */
export interface KeepaliveOptions {
  readonly clock: Clock;
  /** Milliseconds. */
  readonly everyMs: number;
  /** Milliseconds without use after which the connection is closed. */
  readonly idleMs: number;
  inUse(): boolean;
  ping(): void;
  lost(why: string): void;
}

/** One per connection. */
export class Keepalive {
  readonly #options: KeepaliveOptions;
  readonly #stop = new AbortController();
  #pingOpen = false;

  constructor(options: KeepaliveOptions) {
    this.#options = options;
  }

  /** Anything but PING came from the broker. */
  heard(): void {
    this.#pingOpen = false;
  }

  start(): void {
    this.#run().catch((error: unknown) => this.#options.lost(messageOf(error)));
  }

  stop(): void {
    this.#stop.abort();
  }

  async #run(): Promise<void> {
    const { clock, everyMs, idleMs, inUse, ping, lost } = this.#options;
    const { signal } = this.#stop;
    let usedAt = clock.monotonic();
    for (;;) {
      await clock.sleep(everyMs, signal);
      if (signal.aborted) return;
      if (inUse()) usedAt = clock.monotonic();
      if (clock.monotonic() - usedAt >= idleMs) return lost(`unused for ${idleMs} ms`);
      if (this.#pingOpen) return lost(`it did not answer for ${everyMs} ms`);
      this.#pingOpen = true;
      ping();
    }
  }
}
