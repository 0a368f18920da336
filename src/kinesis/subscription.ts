// One SubscribeToShard stream as events. Invariants: nothing is read from the network while nobody waits for an event,
// and of an event no more than its head before it was admitted (G6; flow control holds back the rest); an event is
// given out whole and unharmed or not at all; a stream that says nothing for too long is cut.

import { Buffer } from "node:buffer";
import { sdkErrorShape } from "../core/aws-failure.ts";
import type { Clock } from "../core/clock.ts";
import type { EventStream } from "./client.ts";
import { PageDecoder, type ShardEvent } from "./decode.ts";
import { FrameDecoder } from "./event-stream.ts";
import type { Admit, ReadGrant } from "./source.ts";

/** An event with the grant it was read under. */
export interface GrantedEvent {
  readonly event: ShardEvent;
  readonly grant: ReadGrant;
}

/** Options of a {@link Subscription}. */
export interface SubscriptionOptions {
  readonly clock: Clock;
  /** Ends it when aborted. */
  readonly signal: AbortSignal;
  /** What says nothing for so long is cut. @default 30000 */
  readonly silenceMs?: number | undefined;
}

/** Kinesis sends an event every few seconds, empty ones too. */
const SILENCE_MS = 30_000;

interface Waiter {
  readonly admit: Admit;
  readonly resolve: (event: GrantedEvent | undefined) => void;
  readonly reject: (error: unknown) => void;
}

/** What the present frame is. */
type Frame =
  | { readonly type: "event"; readonly page: PageDecoder }
  | { readonly type: "exception"; readonly pieces: Uint8Array[] }
  | { readonly type: "other" };

const OTHER: Frame = { type: "other" };

/** A running subscription. */
export class Subscription {
  readonly #stream: EventStream;
  readonly #clock: Clock;
  readonly #signal: AbortSignal;
  readonly #silenceMs: number;
  readonly #frames = new FrameDecoder();
  readonly #closed = new AbortController();
  readonly #abort = (): void => this.close();
  #waiter: Waiter | undefined;
  #isAdmitting = false;
  #frame: Frame = OTHER;
  #grant: ReadGrant | undefined;
  #ended = false;
  #failure: { readonly error: unknown } | undefined;
  /** When bytes came, or were first waited for; monotonic. */
  #heardAt = 0;

  constructor(stream: EventStream, { clock, signal, silenceMs = SILENCE_MS }: SubscriptionOptions) {
    this.#stream = stream;
    this.#clock = clock;
    this.#signal = signal;
    this.#silenceMs = silenceMs;
    const { body } = stream;
    body.on("data", (chunk: Uint8Array) => {
      this.#heardAt = clock.monotonic();
      this.#frames.push(chunk);
      this.#advance();
    });
    body.pause();
    body.once("end", () => {
      this.#ended = true;
      this.#advance();
    });
    body.on("error", (error) => this.#fail(error));
    // Some runtimes end a broken connection without an error.
    body.once("close", () => {
      if (!this.#ended) this.#fail(brokenOff());
    });
    signal.addEventListener("abort", this.#abort, { once: true });
    if (signal.aborted) this.close();
    this.#watch().catch((error) => this.#fail(error));
  }

  /**
   * The next event; undefined when the stream has ended between two events, or was closed. To be called again only
   * after it settled.
   * @throws ConnectorError what broke the stream, or one of its exceptions
   */
  next(admit: Admit): Promise<GrantedEvent | undefined> {
    this.#heardAt = this.#clock.monotonic();
    return new Promise((resolve, reject) => {
      if (this.#failure !== undefined) return reject(this.#stream.toError(this.#failure.error));
      if (this.#closed.signal.aborted) return resolve(undefined);
      this.#waiter = { admit, resolve, reject };
      this.#advance();
    });
  }

  /** Ends it; whoever waits for an event gets undefined. */
  close(): void {
    this.#end(undefined);
  }

  #fail(error: unknown): void {
    this.#end({ error });
  }

  #end(failure: { readonly error: unknown } | undefined): void {
    if (this.#closed.signal.aborted) return;
    this.#failure = failure;
    this.#closed.abort();
    this.#signal.removeEventListener("abort", this.#abort);
    if (this.#frame.type === "event") this.#frame.page.close();
    this.#frame = OTHER;
    this.#grant?.release();
    this.#grant = undefined;
    // With the error, so that nothing else is asked over a dead connection; an exception came over a good one.
    const broke = failure?.error instanceof Error && sdkErrorShape(failure.error).$fault === undefined;
    this.#stream.body.destroy(broke ? failure.error as Error : undefined);
    const waiter = this.#waiter;
    this.#waiter = undefined;
    if (failure === undefined) waiter?.resolve(undefined);
    else waiter?.reject(this.#stream.toError(failure.error));
  }

  /** Goes on with the bytes that are there, as far as somebody wants them. */
  #advance(): void {
    const { body } = this.#stream;
    try {
      while (this.#waiter !== undefined && !this.#isAdmitting) {
        switch (this.#frames.step()) {
          case undefined:
            if (this.#ended) this.#finish();
            else body.resume();
            return;
          case "headers":
            this.#frame = this.#begin();
            if (this.#frame.type === "event") this.#askForRoom(this.#waiter.admit);
            break;
          case "payload":
            if (this.#frame.type === "event") this.#frame.page.push(this.#frames.payload);
            if (this.#frame.type === "exception") this.#frame.pieces.push(this.#frames.payload.slice());
            break;
          case "end":
            this.#complete(this.#frame);
            break;
        }
      }
      body.pause();
    } catch (error) {
      this.#fail(error);
    }
  }

  #begin(): Frame {
    const { headers } = this.#frames;
    if (headers.get(":message-type") !== "event") return { type: "exception", pieces: [] };
    return headers.get(":event-type") === "SubscribeToShardEvent"
      ? { type: "event", page: new PageDecoder() }
      : OTHER;
  }

  /** The records' Base64 is a third longer than they are. */
  #askForRoom(admit: Admit): void {
    this.#isAdmitting = true;
    const bytes = Math.ceil(this.#frames.payloadBytes * 0.75);
    admit(this.#closed.signal, bytes).then((grant) => {
      this.#isAdmitting = false;
      if (grant === undefined) return this.close();
      if (this.#closed.signal.aborted) return grant.release();
      this.#grant = grant;
      this.#heardAt = this.#clock.monotonic();
      this.#advance();
    }).catch((error) => this.#fail(error));
  }

  #complete(frame: Frame): void {
    this.#frame = OTHER;
    if (frame.type === "exception") throw exception(this.#frames.headers, Buffer.concat(frame.pieces));
    if (frame.type !== "event") return;
    const event = frame.page.endEvent();
    const grant = this.#grant!;
    const { resolve } = this.#waiter!;
    this.#grant = undefined;
    this.#waiter = undefined;
    resolve({ event, grant });
  }

  #finish(): void {
    if (!this.#frames.isBetweenFrames) throw brokenOff();
    this.close();
  }

  async #watch(): Promise<void> {
    const closed = this.#closed.signal;
    while (!closed.aborted) {
      const isListening = this.#waiter !== undefined && !this.#isAdmitting;
      const silentMs = isListening ? this.#clock.monotonic() - this.#heardAt : 0;
      if (silentMs >= this.#silenceMs) return this.#fail(silence(silentMs));
      await this.#clock.sleep(this.#silenceMs - silentMs, closed);
    }
  }
}

function brokenOff(): Error {
  return Object.assign(new Error("the event stream broke off"), { code: "ECONNRESET" });
}

function silence(silentMs: number): Error {
  const error = new Error(`the event stream was silent for ${Math.round(silentMs)} ms`);
  error.name = "TimeoutError";
  return error;
}

/** An exception of the stream in the SDK's shape. What is not known by its name is the server's trouble. */
function exception(headers: ReadonlyMap<string, string>, payload: Buffer): Error {
  const name = headers.get(":exception-type") ?? headers.get(":error-code") ?? "UnknownError";
  const error = new Error(headers.get(":error-message") ?? messageIn(payload));
  error.name = name;
  return Object.assign(error, { $fault: "server" });
}

function messageIn(payload: Buffer): string {
  try {
    const body = JSON.parse(payload.toString("utf8")) as { message?: unknown; Message?: unknown };
    return String(body.message ?? body.Message ?? "");
  } catch {
    return ""; // no JSON: the exception's name has to do
  }
}
