// Hands a topic's entries to one consumer. Invariant: in the topic's order, never more messages than the client
// has asked for (the last batch may exceed it, as on a real broker), and nothing while its socket is full.

import { Buffer } from "node:buffer";
import { encodeCommand, writeCommand } from "../../pulsar/wire/frames.ts";
import type { Cursor, Topic } from "./topic.ts";

/** Where a consumer writes to. */
export interface Outlet {
  write(frame: Buffer): void;
  /** False while the socket's buffer is full. */
  readonly writable: boolean;
}

/** A connected consumer or reader. */
export class Consumer {
  readonly consumerId: number;
  readonly topic: Topic;
  readonly subscription: string;
  /** What a durable subscription remembers; a reader has none. */
  readonly cursor: Cursor | undefined;
  readonly #outlet: Outlet;
  #next: number;
  #permits = 0;
  #toldEnd = false;

  constructor(
    options: Pick<Consumer, "consumerId" | "topic" | "subscription" | "cursor"> & { readonly next: number },
    outlet: Outlet,
  ) {
    this.consumerId = options.consumerId;
    this.topic = options.topic;
    this.subscription = options.subscription;
    this.cursor = options.cursor;
    this.#next = options.next;
    this.#outlet = outlet;
  }

  /** The client takes so many messages more. */
  allow(permits: number): void {
    this.#permits += permits;
    this.dispatch();
  }

  /** Sends what may be sent now. */
  dispatch(): void {
    const { log, ledgerId, partition } = this.topic;
    while (this.#permits > 0 && this.#outlet.writable) {
      this.#next = Math.max(this.#next, log.firstEntryId); // older ones were dropped
      const entry = log.get(this.#next);
      if (!entry) break;
      this.#next++;
      this.#permits -= Math.max(1, entry.messages); // a chunk counts, too
      const messageId = { ledgerId, entryId: entry.entryId, partition };
      this.#outlet.write(messageFrame(this.consumerId, messageId, entry.bytes));
    }
    if (this.topic.terminated && this.#next >= log.nextEntryId && !this.#toldEnd) {
      this.#toldEnd = true;
      this.#outlet.write(encodeCommand("REACHED_END_OF_TOPIC", { consumerId: this.consumerId }));
    }
  }
}

/** A MESSAGE frame around what a SEND frame had behind its command: the checksum stays as its producer made it. */
function messageFrame(
  consumerId: number,
  messageId: { ledgerId: number; entryId: number; partition: number },
  headersAndPayload: Buffer,
): Buffer {
  const frame = Buffer.allocUnsafe(8 + 100 + headersAndPayload.length);
  const behind = writeCommand(frame, 8, "MESSAGE", { consumerId, messageId });
  const end = behind + headersAndPayload.copy(frame, behind);
  frame.writeUInt32BE(end - 4, 0);
  frame.writeUInt32BE(behind - 8, 4);
  return frame.subarray(0, end);
}
