// What the tests of effectively once share: a shard as a sink sees it, with a name of its own, and a stream that is
// read again and again from wherever the last run had got to.

import { Buffer } from "node:buffer";
import type { SinkMessage } from "../../src/core/record.ts";
import type { MessageSink, OnceIdentity } from "../../src/pulsar/sink.ts";
import { tcpTransport, type TransportFactory } from "../../src/pulsar/transport.ts";
import { RecordingDelivery } from "./sink-harness.ts";

/** A shard under one lease and generation. */
export class OnceDelivery extends RecordingDelivery {
  readonly once: OnceIdentity;
  /** By topic, as the lease row keeps them. */
  readonly stored: Map<string, number>;

  constructor(producerName: string, stored: Map<string, number> = new Map<string, number>()) {
    super();
    this.stored = stored;
    this.once = {
      producerName,
      partitions: (topic) => stored.get(topic),
      storePartitions: (topic, count) => {
        stored.set(topic, count);
        return Promise.resolve();
      },
    };
  }
}

/** The messages that hooks make of record number `place`; the same at every replay. */
export type MessagesOf = (place: number) => readonly SinkMessage[];

/** Reads records `from` … `to` (exclusive) into the sink; ordinals are their places. False = the signal aborted. */
export async function readInto(
  sink: MessageSink,
  delivery: OnceDelivery,
  messagesOf: MessagesOf,
  { from, to, signal, each }: {
    readonly from: number;
    readonly to: number;
    readonly signal: AbortSignal;
    readonly each?: (place: number) => void | Promise<void>;
  },
): Promise<boolean> {
  for (let place = from; place < to; place++) {
    const messages = messagesOf(place);
    if (messages.length > 0) {
      const room = sink.reserve(messages.length, signal);
      if (room !== true && !(await room)) return false;
      if (signal.aborted) return false;
    }
    messages.forEach((message, index) => sink.send(message, delivery, place, place * 1024 + index));
    await each?.(place);
  }
  return true;
}

/** The first record that is not finished: what a checkpoint may say at most. */
export function firstUnfinished(
  delivery: OnceDelivery,
  messagesOf: MessagesOf,
  from: number,
  to: number,
): number {
  let place = from;
  while (place < to && (delivery.acks.get(place) ?? 0) === messagesOf(place).length) place++;
  return place;
}

/** `key:place.index` as the data of a message. */
export function numbered(topic: string, place: number, index = 0, key?: string): SinkMessage {
  return { topic, key, data: Buffer.from(`${place}.${index}`), routingKey: `shard-key-${place % 7}` };
}

/** TCP that ends as with a crash of the process: from one moment on nothing gets out or in. */
export function crashingTransport(): { readonly factory: TransportFactory; crash(): void } {
  let isCrashed = false;
  const ends: (() => void)[] = [];
  return {
    async factory(address, events, signal) {
      if (isCrashed) throw new Error("crashed");
      const socket = await tcpTransport(address, {
        data: (chunk) => isCrashed || events.data(chunk),
        closed: (reason) => events.closed(reason),
      }, signal);
      ends.push(() => {
        socket.destroy();
        events.closed(new Error("crashed"));
      });
      return {
        write: (frames, flushed) => isCrashed ? undefined : socket.write(frames, flushed),
        destroy: () => socket.destroy(),
      };
    },
    crash() {
      isCrashed = true;
      for (const end of ends) end();
    },
  };
}
