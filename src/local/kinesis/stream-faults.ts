// What a fault makes of an event stream: it counts events or bytes and, at its place, breaks what comes next.

import { Buffer } from "node:buffer";
import { setImmediate } from "node:timers";
import type { Clock } from "../../core/clock.ts";
import { KinesisError } from "./errors.ts";
import type { Fault } from "./faults.ts";
import type { StreamBody, StreamPiece } from "./stream-body.ts";
import type { Subscription } from "./subscription.ts";

/** A subscription under a fault. */
export class FaultyBody implements StreamBody {
  readonly #subscription: Subscription;
  readonly #fault: Fault;
  readonly #clock: Clock;
  readonly #closed = new AbortController();
  /** Taken from the subscription, not sent yet. */
  #held: Buffer[] = [];
  /** What was taken from the subscription besides its initial response. */
  #events = -1;
  #bytes = 0;
  #hasHit = false;

  constructor(subscription: Subscription, fault: Fault, clock: Clock) {
    this.#subscription = subscription;
    this.#fault = fault;
    this.#clock = clock;
  }

  async next(): Promise<StreamPiece> {
    if (this.#held.length === 0) {
      if (this.#isDue) {
        const effect = await this.#hit();
        if (effect) return effect;
      }
      const piece = await this.#subscription.next();
      if (piece.kind !== "bytes") return piece;
      this.#events++;
      this.#held = this.#cut(this.#spoiled(Buffer.concat(piece.chunks)));
    } else if (this.#fault.pieceBytes !== undefined) {
      // A turn of the event loop, so that each piece goes into a packet of its own.
      await new Promise((resolve) => setImmediate(resolve));
    }
    if (this.#isDue) {
      const effect = await this.#hit();
      if (effect) return effect;
    }
    const chunk = this.#held.shift()!;
    this.#bytes += chunk.length;
    return { kind: "bytes", chunks: [chunk] };
  }

  close(): void {
    this.#closed.abort();
    this.#subscription.close();
  }

  get #isDue(): boolean {
    const { afterEvents, afterBytes } = this.#fault;
    if (this.#hasHit) return false;
    if (afterBytes !== undefined) return this.#bytes >= afterBytes;
    return afterEvents !== undefined && this.#held.length === 0 && this.#events >= afterEvents;
  }

  async #hit(): Promise<StreamPiece | undefined> {
    this.#hasHit = true;
    const { delayMs, error, message, drop, refuse, hang, end } = this.#fault;
    if (delayMs) await this.#clock.sleep(delayMs, this.#closed.signal);
    if (error !== undefined) {
      this.#subscription.finish(new KinesisError(error, message ?? `${error} (injected)`));
    }
    if (end) this.#subscription.finish();
    if (drop || refuse) {
      this.#subscription.cut();
      return { kind: drop ? "cut" : "reset" };
    }
    if (hang) {
      await new Promise<void>((resolve) => {
        this.#closed.signal.addEventListener("abort", () => resolve(), { once: true });
      });
      return { kind: "end" };
    }
    return undefined;
  }

  // The event after `afterEvents` gets a wrong checksum.
  #spoiled(frame: Buffer): Buffer {
    if (this.#fault.corrupt && this.#hasHit && this.#events === (this.#fault.afterEvents ?? 0) + 1) {
      frame[frame.length - 1]! ^= 0xff;
    }
    return frame;
  }

  // Into pieces, and where the fault hits after so many bytes, there too.
  #cut(frame: Buffer): Buffer[] {
    const { afterBytes, pieceBytes } = this.#fault;
    const parts: Buffer[] = [];
    for (let at = 0; at < frame.length;) {
      const toFault = afterBytes === undefined ? 0 : afterBytes - this.#bytes - at;
      const length = Math.min(
        frame.length - at,
        pieceBytes ?? Infinity,
        toFault > 0 ? toFault : Infinity,
      );
      parts.push(frame.subarray(at, at + length));
      at += length;
    }
    return parts;
  }
}
