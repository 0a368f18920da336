// Who may write to a connection's socket, and when. Invariants: a producer's frame is asked for only when the socket
// has no unsent bytes (G5), so that what a producer checks before handing it over is still true when the bytes leave;
// producers take turns; commands do not queue behind frames that were not asked for yet.

import type { Buffer } from "node:buffer";
import type { Transport } from "./transport.ts";

/** The most that is given to an empty socket at once: enough for its buffer, little to be outdated by a lost lease. */
const WRITE_BYTES = 512 * 1024;

/** A producer, as far as writing goes. */
export interface FrameSource {
  /** Gets frames ready, up to so many bytes; returns how many bytes. */
  prepareFrames(maxBytes: number): number;
  /**
   * Adds the next frame to write, in one piece or several, and returns its bytes; 0 = none. It is given to an empty
   * socket right after, so this must be quick.
   */
  takeFrame(frames: Buffer[]): number;
}

/** One per connection. */
export class FrameWriter {
  readonly #onDefect: (error: unknown) => void;
  /** Sources that may have frames, the longest waiting first. */
  readonly #waiting = new Set<FrameSource>();
  #transport: Transport | undefined;
  #unflushed = 0;
  #isPumping = false;

  /** @param onDefect a source threw */
  constructor(onDefect: (error: unknown) => void) {
    this.#onDefect = onDefect;
  }

  /** From now on bytes go there. */
  open(transport: Transport): void {
    this.#transport = transport;
  }

  /** Nothing is asked for or written any more. */
  close(): void {
    this.#transport = undefined;
    this.#waiting.clear();
  }

  /** The source has frames: it is asked for them when its turn comes. */
  wants(source: FrameSource): void {
    this.#waiting.add(source);
    this.#pump();
  }

  forget(source: FrameSource): void {
    this.#waiting.delete(source);
  }

  /** Writes a command at once. */
  write(frames: readonly Buffer[]): void {
    if (this.#transport === undefined) return;
    this.#unflushed++;
    this.#transport.write(frames, this.#flushed);
  }

  readonly #flushed = (): void => {
    this.#unflushed--;
    this.#pump();
  };

  /** Whenever the socket is empty: what waits, up to WRITE_BYTES, source after source. */
  #pump(): void {
    if (this.#unflushed > 0 || this.#isPumping || this.#waiting.size === 0) return;
    this.#isPumping = true; // whom a source asks or tells something may send more: it waits its turn
    try {
      const frames = this.#takeFrames();
      if (frames.length > 0) this.write(frames);
    } catch (error) {
      this.#onDefect(error);
    } finally {
      this.#isPumping = false;
    }
  }

  #takeFrames(): Buffer[] {
    let prepared = 0;
    for (const source of this.#waiting) {
      prepared += source.prepareFrames(WRITE_BYTES - prepared);
      if (prepared >= WRITE_BYTES) break;
    }
    const frames: Buffer[] = [];
    let bytes = 0;
    for (const source of this.#waiting) {
      this.#waiting.delete(source);
      for (let size = source.takeFrame(frames); size > 0; size = source.takeFrame(frames)) {
        bytes += size;
        if (bytes < WRITE_BYTES) continue;
        this.#waiting.add(source); // to the end of the line
        return frames;
      }
    }
    return frames;
  }
}
