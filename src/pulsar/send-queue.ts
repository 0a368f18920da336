// The closed batches of one producer in order: which were given to the present connection, which wait. Invariants:
// a frame that a broker may have stored is always the same, unless a party that lost its lease has to come out of it
// (G5); nothing is given behind a frame larger than any that the topic took before, so that what it refuses for its
// size can be split without leaving order; whoever is told something may call back, so the queue is in order before.

import type { Buffer } from "node:buffer";
import type { ConnectorError } from "../core/errors.ts";
import type { Batch } from "./batch.ts";
import { messageTooLarge } from "./errors.ts";
import type { Delivery } from "./sink.ts";
import { addChunk, chunkCount, type ChunkOptions } from "./wire/chunks.ts";
import type { Entry, EntryHeader } from "./wire/entry.ts";

/** What frames depend on beside their messages: one session with one broker. */
export interface FrameTarget {
  readonly header: EntryHeader;
  /** Largest message that the broker takes, bytes. */
  readonly maxMessageSize: number;
  /** Whether larger messages go in chunks; otherwise they are refused. */
  readonly chunking: boolean;
  /**
   * Part of the uuid by which consumers know which chunks belong together. Another for each session,
   * of this process or another: chunks of a session that broke off must not be taken for a later one's. Seen on
   * Pulsar 4.0.7: chunk 0, a lost connection, and all chunks again with the same uuid cost consumers of the C++ and
   * Python clients the message (Java's gave it once); with a fresh uuid all give it once, also with deduplication,
   * for which chunks before the last are no duplicates.
   */
  readonly chunkMark: string;
  /**
   * Effectively once: what the broker said in the PRODUCER_SUCCESS of this session; −1 otherwise. Not the highest of
   * all sessions: after a failed write brokers go back to what is stored.
   */
  readonly lastSequenceId: number;
}

/** What a queue tells its producer. */
export interface QueueEvents {
  /** So many messages ended: acknowledged, refused or dropped. */
  finished(count: number): void;
  /** The broker acknowledged so many that it had already, and did not store them again. */
  duplicates(count: number): void;
  /** There may be frames again that were held back. */
  resumed(): void;
}

/** Nobody gives a topic a lower limit than this many bytes. */
const NO_LIMIT_BELOW = 1024;

/** One producer's. */
export class SendQueue {
  readonly #topic: string;
  readonly #events: QueueEvents;
  readonly #batches: Batch[] = [];
  /** The first so many were given whole to the present connection; the next one perhaps some of its chunks. */
  #given = 0;
  /**
   * One for each refusal that somebody has still to do something about: batches from its index on wait for that. What
   * stands between two of them goes when the first is settled, for the second may be waiting for it.
   */
  readonly #barriers = new Set<{ at: number }>();
  /** Size of the largest frame that the topic took. */
  #taken = NO_LIMIT_BELOW;
  /** Has a larger one on its way; nothing is given behind it. */
  #probe: Batch | undefined;
  /** Batches that are larger are split: a topic may take less than its broker. */
  #topicLimit = Infinity;

  constructor(topic: string, events: QueueEvents) {
    this.#topic = topic;
    this.#events = events;
  }

  get isEmpty(): boolean {
    return this.#batches.length === 0;
  }

  /** The oldest entry without a receipt, if the present connection was given it, or some of its chunks. */
  get head(): Entry | undefined {
    const batch = this.#batches[0];
    return batch !== undefined && batch.framesGiven > 0 ? batch.entry : undefined;
  }

  /** Whether nothing waits for what is done about a refusal. */
  get isSettled(): boolean {
    return this.#barriers.size === 0;
  }

  /** How many entries the present connection was given whole that have no receipt yet. */
  get given(): number {
    return this.#given;
  }

  add(batch: Batch): void {
    this.#batches.push(batch);
  }

  /** The connection is gone: all from the first again. */
  rewind(): void {
    for (let at = 0; at <= this.#given; at++) this.#batches[at]?.rewind();
    this.#given = 0;
    this.#probe = undefined;
  }

  /** Seals what comes next, up to `maxBytes`: costs time, so it is done before parties are asked. */
  prepare(target: FrameTarget, maxBytes: number): number {
    let bytes = 0;
    for (let at = this.#given; at < this.#end && bytes < maxBytes; at++) {
      this.#seal(at, target);
      bytes += this.#batches[at]!.entry.frame.length;
    }
    return bytes;
  }

  /** Adds the next frame, of parties that are alive at this moment, to `frames`; returns its bytes, 0 = none. */
  take(target: FrameTarget, frames: Buffer[]): number {
    while (this.#given < this.#end) {
      const at = this.#given;
      const batch = this.#batches[at]!;
      this.#events.finished(batch.removeDead());
      if (this.#batches[at] !== batch) continue; // a party that was asked has dropped it
      if (batch.count === 0) {
        this.#removeAt(at);
        continue;
      }
      if (this.#seal(at, target)) continue; // asked again: sealing took time
      const { entry } = batch;
      const max = target.maxMessageSize;
      if (batch.count > 1 && entry.messageSize > Math.min(max, this.#topicLimit)) {
        this.#insert(at + 1, batch.splitAt(batch.count >> 1));
      } else if (entry.messageSize <= max) {
        this.#given++;
        this.#noteFrame(batch, entry.messageSize);
        frames.push(entry.frame);
        return entry.frame.length;
      } else {
        const bytes = this.#giveChunk(batch, target, frames);
        if (bytes > 0) return bytes;
        this.#refuse(
          at,
          messageTooLarge(this.#topic, entry.messageSize, max, target.chunking),
        );
      }
    }
    return 0;
  }

  /**
   * A receipt: for the oldest entry, for one chunk of it, for an entry that had its receipt before ("stale"), or for
   * a later one ("ahead"), which means that one got lost.
   */
  receipt(sequenceId: number, isDuplicate: boolean): "done" | "chunk" | "stale" | "ahead" {
    const entry = this.head;
    if (entry === undefined || sequenceId < entry.firstSequenceId) return "stale";
    if (sequenceId > entry.lastSequenceId) return "ahead";
    const batch = this.#batches[0]!;
    batch.receipts++;
    this.#taken = Math.max(this.#taken, batch.largestFrame);
    const isDone = this.#given > 0 && batch.receipts === batch.framesGiven;
    if (isDone) {
      this.#removeAt(0);
      entry.release(); // the broker has the bytes, so no socket needs them
      this.#events.finished(batch.count);
      if (isDuplicate) this.#events.duplicates(batch.count);
      batch.acknowledged();
    }
    this.#endProbe();
    return isDone ? "done" : "chunk";
  }

  /** The entry that the present connection was given, or chunks of it, and that has this id: refusals overtake receipts. */
  inFlight(sequenceId: number): Entry | undefined {
    return this.#batches[this.#indexOf(sequenceId)]?.entry;
  }

  /** Whether nothing was given behind the entry with this id, which is in flight. */
  isLastGiven(sequenceId: number): boolean {
    return this.#isLastGiven(this.#indexOf(sequenceId));
  }

  /** The entry with this id, which is in flight, was refused for good. */
  refuse(sequenceId: number, error: ConnectorError): void {
    this.#refuse(this.#indexOf(sequenceId), error);
    this.#endProbe();
  }

  /** All of them. */
  refuseAll(error: ConnectorError): void {
    while (!this.isEmpty) this.#refuse(0, error);
  }

  /**
   * The entry with this id, which is in flight, was refused for its size alone: its halves are given instead, a single
   * message is refused. False when later entries may be stored already, which a limit that was lowered just now can do:
   * then the session has to be ended, and all is sent again. Under effectively-once that would look like duplicates, so
   * all of the entry's messages are refused.
   */
  refuseSize(sequenceId: number, error: ConnectorError): boolean {
    const at = this.#indexOf(sequenceId);
    const batch = this.#batches[at]!;
    const isLast = this.#isLastGiven(at);
    this.#topicLimit = batch.entry.messageSize - 1;
    this.#taken = Math.min(this.#taken, this.#topicLimit);
    if (batch.count === 1 || (batch.isOnce && !isLast)) {
      this.refuse(sequenceId, error);
      return true;
    }
    if (isLast) {
      this.#given = at;
      batch.rewind();
      this.#probe = undefined;
    } else this.rewind();
    this.#insert(at + 1, batch.splitAt(batch.count >> 1));
    if (isLast) this.#events.resumed();
    return isLast;
  }

  /** See MessageSink.drop. */
  drop(delivery: Delivery): void {
    for (let at = this.#batches.length - 1; at >= 0; at--) {
      const batch = this.#batches[at]!;
      if (at < this.#given) {
        batch.forget(delivery);
        continue;
      }
      const removed = batch.remove(delivery);
      if (batch.count === 0) this.#removeAt(at);
      this.#events.finished(removed);
    }
    this.#endProbe();
  }

  /** Adds to all sequence ids; before anything was sealed. */
  renumber(by: number): void {
    for (const batch of this.#batches) batch.entry.renumber(by);
  }

  /** Gives everything up, without a word to anybody. */
  clear(): void {
    this.#given = 0;
    this.#batches.length = 0;
  }

  /** Batches from here on cannot be given now. */
  get #end(): number {
    if (this.#probe !== undefined) return 0;
    let end = this.#batches.length;
    for (const { at } of this.#barriers) end = Math.min(end, at);
    return end;
  }

  /** Seals a batch that is not; true when there was something to do. */
  #seal(at: number, target: FrameTarget): boolean {
    const batch = this.#batches[at]!;
    const { entry } = batch;
    const { lastSequenceId } = target;
    if (entry.firstSequenceId <= lastSequenceId && entry.lastSequenceId > lastSequenceId) {
      this.#insert(at + 1, batch.splitAfter(lastSequenceId));
    }
    if (entry.sealed) return false;
    entry.seal(target.header, entry.lastSequenceId <= lastSequenceId);
    return true;
  }

  /** The next chunk of a message; 0 when it cannot go in chunks. The last one ends it, and is all a replay needs. */
  #giveChunk(batch: Batch, target: FrameTarget, frames: Buffer[]): number {
    const { header, maxMessageSize, chunking, chunkMark, lastSequenceId } = target;
    if (!chunking) return 0;
    const { frame, firstSequenceId } = batch.entry;
    const uuid = `${header.producerName}-${firstSequenceId}-${chunkMark}`;
    const options: ChunkOptions = { maxMessageSize, uuid };
    const count = chunkCount(frame, options);
    if (count === 0) return 0;
    const index = firstSequenceId <= lastSequenceId ? count - 1 : batch.framesGiven;
    if (index === count - 1) this.#given++;
    this.#noteFrame(batch, maxMessageSize);
    return addChunk(frame, options, index, frames);
  }

  #isLastGiven(at: number): boolean {
    return at + 1 >= this.#given && !((this.#batches[at + 1]?.framesGiven ?? 0) > 0);
  }

  #noteFrame(batch: Batch, size: number): void {
    batch.framesGiven++;
    batch.largestFrame = Math.max(batch.largestFrame, size);
    if (size > this.#taken) this.#probe = batch;
  }

  /** Goes on when the topic's answer to the largest frame is there, or nobody waits for it any more. */
  #endProbe(): void {
    const probe = this.#probe;
    if (probe === undefined) return;
    if (probe.receipts < probe.framesGiven && this.#batches.includes(probe)) return;
    this.#probe = undefined;
    this.#events.resumed();
  }

  /** −1 when there is none. */
  #indexOf(sequenceId: number): number {
    return this.#batches.findIndex(({ entry, framesGiven }) =>
      framesGiven > 0 && sequenceId >= entry.firstSequenceId && sequenceId <= entry.lastSequenceId
    );
  }

  #insert(at: number, batch: Batch): void {
    this.#batches.splice(at, 0, batch);
    for (const barrier of this.#barriers) if (at <= barrier.at) barrier.at++;
  }

  #removeAt(at: number): Batch {
    if (at < this.#given) this.#given--;
    for (const barrier of this.#barriers) if (at < barrier.at) barrier.at--;
    return this.#batches.splice(at, 1)[0]!;
  }

  /**
   * Its buffer is not used again: a socket may still be reading it. Where somebody has to do something about it
   * first, what stood behind it waits; what stood before may be sent, also again.
   */
  #refuse(at: number, error: ConnectorError): void {
    const batch = this.#removeAt(at);
    const barrier = { at };
    this.#barriers.add(barrier);
    this.#events.finished(batch.count);
    const settled = (): void => {
      this.#barriers.delete(barrier);
      this.#events.resumed();
    };
    const waitFor = batch.refused(error);
    if (waitFor.length === 0) settled();
    else void Promise.all(waitFor).then(settled);
  }
}
