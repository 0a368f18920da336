// One client's socket: bytes to frames, answers back in order (late ones hold up those behind them), keepalive.
// It knows nothing of topics. Invariant: after `cut` or `close` nothing is read or written any more.

import { Buffer } from "node:buffer";
import type { Socket } from "node:net";
import { encodeCommand } from "../../pulsar/wire/frames.ts";
import { FrameSplitter } from "../../pulsar/wire/splitter.ts";

/** What a connection tells its owner. */
export interface ConnectionEvents {
  frame(frame: Buffer): void;
  /** The socket takes more again. */
  drained(): void;
  /** Once, whoever closed it; with the reason where it is a fault of the client. */
  closed(reason: Error | undefined): void;
  /** How many of these received bytes may still be looked at; fewer means: cut behind them. */
  admit(bytes: number): number;
}

/** What {@link Connection} needs beside its socket. */
export interface ConnectionOptions {
  /** Largest frame, bytes. */
  readonly maxFrameSize: number;
  /** A PING so often; the connection is closed when nothing was heard until the next one. */
  readonly keepAliveMs: number;
}

/** See the top of this file. */
export class Connection {
  readonly #socket: Socket;
  readonly #events: ConnectionEvents;
  readonly #splitter: FrameSplitter;
  readonly #keepAlive: ReturnType<typeof setInterval>;
  readonly #late: { readonly at: number; readonly bytes: Buffer }[] = [];
  #timer: ReturnType<typeof setTimeout> | undefined;
  #heard = true;
  #open = true;
  #isEnding = false;

  constructor(socket: Socket, options: ConnectionOptions, events: ConnectionEvents) {
    this.#socket = socket;
    this.#events = events;
    this.#splitter = new FrameSplitter((frame) => {
      if (this.#open) events.frame(frame);
    });
    this.#splitter.maxFrameSize = options.maxFrameSize;
    socket.setNoDelay(true);
    socket.on("data", (chunk: Buffer) => this.#received(chunk));
    socket.on("drain", () => events.drained());
    socket.on("error", () => this.cut());
    socket.on("close", () => this.cut());
    socket.on("end", () => this.cut());
    this.#keepAlive = setInterval(() => {
      if (!this.#heard) return this.cut(new Error("the client has fallen silent"));
      this.#heard = false;
      this.write(encodeCommand("PING", {}));
    }, options.keepAliveMs);
  }

  get open(): boolean {
    return this.#open;
  }

  get writable(): boolean {
    return this.#open && !this.#socket.writableNeedDrain;
  }

  /** Writes behind everything that waits; `delayMs` from now at the earliest. */
  write(bytes: Buffer, delayMs = 0): void {
    if (!this.#open || this.#isEnding) return;
    if (delayMs === 0 && this.#late.length === 0) {
      this.#socket.write(bytes);
      return;
    }
    const at = Math.max(performance.now() + delayMs, this.#late.at(-1)?.at ?? 0);
    this.#late.push({ at, bytes });
    this.#timer ??= setTimeout(() => this.#writeLate(), delayMs);
  }

  /** Writes now, before what waits: for PONG. */
  writeFirst(bytes: Buffer): void {
    if (this.#open && !this.#isEnding) this.#socket.write(bytes);
  }

  /** Ends the connection without a word; `reason` where the client is to blame. */
  cut(reason?: Error): void {
    if (!this.#open) return;
    this.#open = false;
    clearInterval(this.#keepAlive);
    clearTimeout(this.#timer);
    this.#socket.destroy();
    this.#events.closed(reason);
  }

  /** Writes these bytes and everything before them, and nothing behind them, then cuts. */
  cutAfter(bytes: Buffer): void {
    if (!this.#open || this.#isEnding) return;
    this.#isEnding = true;
    const all = Buffer.concat([...this.#late.map((one) => one.bytes), bytes]);
    this.#late.length = 0;
    this.#socket.write(all, () => this.cut());
  }

  pauseReading(): void {
    this.#socket.pause();
  }

  resumeReading(): void {
    this.#socket.resume();
  }

  #received(chunk: Buffer): void {
    if (!this.#open) return;
    this.#heard = true;
    const admitted = this.#events.admit(chunk.length);
    this.#socket.cork(); // one write for all answers to what came together
    try {
      this.#splitter.push(admitted < chunk.length ? chunk.subarray(0, admitted) : chunk);
    } catch (error) {
      this.cut(error as Error);
    } finally {
      this.#socket.uncork();
    }
    if (admitted < chunk.length) this.cut();
  }

  #writeLate(): void {
    this.#timer = undefined;
    const now = performance.now();
    while (this.#late.length > 0 && this.#late[0]!.at <= now) this.#socket.write(this.#late.shift()!.bytes);
    if (this.#late.length > 0) {
      this.#timer = setTimeout(() => this.#writeLate(), Math.ceil(this.#late[0]!.at - now));
    }
  }
}
