// What the tests of the producer share: a party that notes what it is told, a sink with patient options, and
// transports that break.

import type { TestContext } from "node:test";
import { Buffer } from "node:buffer";
import { randomUUID } from "node:crypto";
import type { ConnectorError } from "../../src/core/errors.ts";
import { systemClock } from "../../src/runtime.ts";
import { type BuiltinSinkOptions, createBuiltinSink } from "../../src/pulsar/builtin.ts";
import type { Delivery, MessageSink } from "../../src/pulsar/sink.ts";
import { tcpTransport, type TransportFactory } from "../../src/pulsar/transport.ts";

/** Notes acknowledgements and refusals. */
export class RecordingDelivery implements Delivery {
  alive = true;
  /** How often each ordinal was acknowledged. */
  readonly acks = new Map<number, number>();
  readonly runs: [from: number, to: number][] = [];
  readonly refusals: { readonly ordinal: number; readonly error: ConnectorError }[] = [];
  asked = 0;

  isAlive(): boolean {
    this.asked++;
    return this.alive;
  }
  acknowledged(from: number, to: number): void {
    this.runs.push([from, to]);
    for (let ordinal = from; ordinal <= to; ordinal++) {
      this.acks.set(ordinal, (this.acks.get(ordinal) ?? 0) + 1);
    }
  }
  refused(ordinal: number, error: ConnectorError): void {
    this.refusals.push({ ordinal, error });
  }
}

/** What a sink said beside receipts. */
export interface SinkNotes {
  readonly fatal: ConnectorError[];
  readonly reconnecting: {
    readonly topic: string;
    readonly error: ConnectorError;
    readonly delayMs: number;
  }[];
  readonly connected: string[];
  /** Messages that a broker dropped, by topic. */
  readonly duplicates: Map<string, number>;
}

/** A sink that is closed after the test, with short delays. */
export function openSink(
  t: TestContext,
  serviceUrl: string,
  options: Partial<BuiltinSinkOptions> = {},
): { sink: MessageSink; notes: SinkNotes } {
  const notes: SinkNotes = { fatal: [], reconnecting: [], connected: [], duplicates: new Map() };
  const sink = createBuiltinSink({
    serviceUrl,
    clock: systemClock,
    clientVersion: "kinesis-pulsar/test",
    batchMaxDelayMs: 2,
    backoff: { firstMs: 5, maxMs: 50 },
    events: {
      fatal: (error) => notes.fatal.push(error),
      reconnecting: (topic, error, delayMs) => notes.reconnecting.push({ topic, error, delayMs }),
      connected: (topic) => notes.connected.push(topic),
      duplicates: (topic, count) => notes.duplicates.set(topic, (notes.duplicates.get(topic) ?? 0) + count),
    },
    ...options,
  });
  t.after(() => sink.close());
  return { sink, notes };
}

/** Waits (without the time-out of a real clock in the assertion) until something holds. */
export async function until(holds: () => boolean, what: string, withinMs = 60_000): Promise<void> {
  const end = performance.now() + withinMs;
  while (!holds()) {
    if (performance.now() > end) throw new Error(`not within ${withinMs} ms: ${what}`);
    await systemClock.sleep(2);
  }
}

/** A topic nobody else uses. */
export function newTopic(name = "t"): string {
  return `${name}-${randomUUID()}`;
}

/** TCP whose present connections can be cut, also inside a frame. */
export interface BreakableTransport {
  readonly factory: TransportFactory;
  /** How many were opened. */
  readonly opened: number;
  /** Lets `bytes` more bytes out of each connection, then cuts it. */
  cutAfter(bytes: number): void;
  /** All frames that were given to sockets, by connection. */
  readonly written: Uint8Array[][];
}

/** See {@link BreakableTransport}. */
export function breakableTransport(): BreakableTransport {
  let left = Infinity;
  const written: Uint8Array[][] = [];
  return {
    written,
    get opened() {
      return written.length;
    },
    cutAfter(bytes) {
      left = bytes;
    },
    async factory(address, events, signal) {
      const socket = await tcpTransport(address, events, signal);
      const frames: Uint8Array[] = [];
      written.push(frames);
      return {
        write(more, flushed) {
          frames.push(...more.map((frame) => frame.slice()));
          const size = more.reduce((sum, frame) => sum + frame.length, 0);
          left -= size;
          if (left >= 0) return socket.write(more, flushed);
          const whole = new Uint8Array(size);
          let at = 0;
          for (const frame of more) {
            whole.set(frame, at);
            at += frame.length;
          }
          const part = whole.subarray(0, size + left);
          left = Infinity;
          const cut = (): void => {
            socket.destroy();
            events.closed(new Error("cut by the test"));
          };
          if (part.length > 0) socket.write([part], cut);
          else cut();
        },
        destroy: () => socket.destroy(),
      };
    },
  };
}

/** Sends texts as one party, ordinals from `from` on. */
export function sendTexts(
  sink: MessageSink,
  delivery: Delivery,
  texts: readonly string[],
  from = 0,
  topic = "t",
): void {
  texts.forEach((text, index) => {
    if (sink.reserve(1, NEVER) !== true) throw new Error("no room");
    sink.send({ topic, data: Buffer.from(text) }, delivery, from + index);
  });
}

/** A signal that is never aborted. */
export const NEVER: AbortSignal = new AbortController().signal;

/** a0, a1, … */
export function texts(prefix: string, count: number): string[] {
  return Array.from({ length: count }, (_, index) => prefix + index);
}
