// Builds one entry (a SEND frame) in place. Messages are encoded one behind the other into a buffer with head
// room; sealing writes sizes, command and metadata right-aligned before them, so that the frame is one contiguous
// piece and each payload byte is copied once. Two and more messages become a batch, one a plain message. A compressed
// frame has a buffer of its own size, and the messages' is free for the next entry. Removing messages (G5) compacts
// the same buffer, or what was decompressed for it; a sealed frame is never written anew otherwise.

import { Buffer } from "node:buffer";
import { type Codec, COMPRESSION_TYPES } from "./codec.ts";
import { crc32c } from "./crc32c.ts";
import {
  encodeEntryHeader,
  type EntryHeader,
  HEADER_BOUND,
  headerSize,
  placeHeader,
} from "./entry-header.ts";
import { PAYLOAD_HEADER } from "./frames.ts";
import { batchEntry } from "./metadata.ts";
import { FieldReader, stringBound, writeBytes, writeKeyValue, writeString, writeVarint } from "./protobuf.ts";

export type { EntryHeader } from "./entry-header.ts";

/** What is encoded of a message. */
export interface EntryMessage {
  readonly data: Uint8Array;
  readonly key?: string | undefined;
  readonly orderingKey?: Uint8Array | undefined;
  readonly properties?: Readonly<Record<string, string>> | undefined;
  /** Epoch milliseconds, 0 or absent = none. */
  readonly eventTime?: number | undefined;
}

/** Where an entry's buffers come from. */
export interface BufferSource {
  /** A buffer of at least `size` bytes, contents undefined. */
  take(size: number): Buffer;
  /** Nobody uses this buffer any more. */
  give(buffer: Buffer): void;
}

/** Head room for a name that is not known yet; broker-made names are shorter. A longer one costs one copy. */
const NAME_BOUND = 128;
/** Sizes, tags and integers of a message in a batch beside its strings and bytes. */
const MESSAGE_BOUND = 48;
/** Payloads below do not get smaller, or not so that it pays. */
const COMPRESS_FROM = 64;

/** Upper bound of the bytes that a message takes in a batch. */
export function messageBound(message: EntryMessage): number {
  let bound = MESSAGE_BOUND + message.data.length;
  if (message.key !== undefined) bound += stringBound(message.key);
  if (message.orderingKey !== undefined) bound += message.orderingKey.length;
  const properties = message.properties;
  if (properties !== undefined) {
    for (const name in properties) bound += 8 + stringBound(name) + stringBound(properties[name]!);
  }
  return bound;
}

/** Upper bound of the header before a batch whose first message is `message`. */
function headRoomFor(message: EntryMessage): number {
  return HEADER_BOUND + NAME_BOUND + (message.key === undefined ? 0 : stringBound(message.key)) +
    (message.orderingKey?.length ?? 0);
}

/** One entry, from its first message to its receipt. */
export class Entry {
  readonly #buffers: BufferSource;
  #buffer: Buffer;
  /** Where the messages start: behind the head room. */
  #start: number;
  #end: number;
  #frameStart = -1;
  #frameEnd = -1;
  /** Set when the frame is compressed: #start and #end are then places in the buffer that the messages had. */
  #codec: Codec | undefined;
  #count = 0;
  #first = 0;
  #last = 0;
  /** Epoch milliseconds; only an entry of one message can have it (protocol). */
  readonly deliverAt: number | undefined;

  /** @param expectedBytes what the messages will probably need; the buffer grows beyond */
  constructor(buffers: BufferSource, first: EntryMessage, expectedBytes: number, deliverAt?: number) {
    this.#buffers = buffers;
    this.#start = this.#end = headRoomFor(first);
    this.#buffer = buffers.take(this.#start + Math.max(expectedBytes, messageBound(first)));
    this.deliverAt = deliverAt;
  }

  /** Messages in it. */
  get count(): number {
    return this.#count;
  }
  /** Bytes of its messages, their metadata included. */
  get bytes(): number {
    return this.#end - this.#start;
  }
  /** Bytes of memory it holds. */
  get capacity(): number {
    return this.#buffer.length;
  }
  get firstSequenceId(): number {
    return this.#first;
  }
  get lastSequenceId(): number {
    return this.#last;
  }
  get sealed(): boolean {
    return this.#frameStart >= 0;
  }

  /** Encodes a message behind the others; `bound` is its {@link messageBound}. */
  append(message: EntryMessage, sequenceId: number, bound: number): void {
    if (this.#end + bound > this.#buffer.length) this.#move(this.#start, this.bytes + bound, true);
    const buffer = this.#buffer;
    const { properties, key, eventTime, orderingKey, data } = message;
    let at = this.#end + 4;
    if (properties !== undefined) {
      for (const name in properties) {
        buffer[at++] = 0x0a;
        at = writeKeyValue(buffer, at, name, properties[name]!);
      }
    }
    if (key !== undefined) {
      buffer[at++] = 0x12;
      at = writeString(buffer, at, key);
    }
    buffer[at++] = 0x18;
    at = writeVarint(buffer, at, data.length);
    if (eventTime !== undefined && eventTime > 0) {
      buffer[at++] = 0x28;
      at = writeVarint(buffer, at, eventTime);
    }
    if (orderingKey !== undefined) {
      buffer[at++] = 0x3a;
      at = writeBytes(buffer, at, orderingKey);
    }
    buffer[at++] = 0x40; // last, so that renumber() finds it at the end
    at = writeVarint(buffer, at, sequenceId);
    buffer.writeUInt32BE(at - this.#end - 4, this.#end);
    buffer.set(data, at);
    this.#end = at + data.length;
    if (this.#count++ === 0) this.#first = sequenceId;
    this.#last = sequenceId;
  }

  /** Gives a buffer that is more than half empty back for an exact one: many small entries may wait long. */
  trim(): void {
    if (!this.sealed && (this.#start + this.bytes) * 2 < this.#buffer.length) {
      this.#move(this.#start, this.bytes, false);
    }
  }

  /**
   * Compresses, and writes the header. Throws RangeError when sealed or empty.
   * @param isReplay all its ids are at or below the highest that the broker knows (effectively once). It is then judged
   * by its last id: the first says nothing about the others where batches were cut differently before, and what the
   * broker took but did not store would be dropped with it.
   */
  seal(header: EntryHeader, isReplay = false): void {
    if (this.sealed || this.#count === 0) throw new RangeError("an entry that cannot be sealed");
    const payloadStart = this.#count > 1
      ? this.#start
      : batchEntry(this.#buffer, this.#start, this.#end).dataStart;
    const payload = this.#buffer.subarray(payloadStart, this.#end);
    const { codec } = header;
    const packed = payload.length < COMPRESS_FROM ? undefined : codec?.compress(payload);
    const encoded = encodeEntryHeader({
      buffer: this.#buffer,
      start: this.#start,
      count: this.#count,
      firstSequenceId: this.#first,
      lastSequenceId: this.#last,
      judgedBy: isReplay ? this.#last : this.#first,
      payloadSize: payload.length,
      compression: packed === undefined ? COMPRESSION_TYPES.none : codec!.type,
      deliverAt: this.deliverAt,
    }, header);
    const size = headerSize(encoded);
    if (packed !== undefined) {
      this.#codec = codec;
      this.#buffers.give(this.#buffer);
      this.#frameEnd = size + packed.length;
      this.#buffer = this.#buffers.take(this.#frameEnd);
      this.#frameStart = 0;
      this.#buffer.set(packed, size);
    } else {
      if (size > payloadStart) this.#move(this.#start + size - payloadStart, this.bytes, false);
      this.#frameEnd = this.#end;
      this.#frameStart = this.#end - payload.length - size;
    }
    placeHeader(this.#buffer, this.#frameStart, encoded, this.#frameEnd);
  }

  /** The sealed frame: a view, valid until {@link release}. */
  get frame(): Buffer {
    return this.#buffer.subarray(this.#frameStart, this.#frameEnd);
  }

  /** What brokers compare with their largest message size: magic, checksum, metadata and payload. */
  get messageSize(): number {
    return this.#frameEnd - this.#frameStart - 8 - this.#buffer.readUInt32BE(this.#frameStart + 4);
  }

  /** Whether the sealed frame still has the checksum that it was sealed with. */
  get intact(): boolean {
    const behind = this.#frameStart + 8 + this.#buffer.readUInt32BE(this.#frameStart + 4);
    return this.#buffer.readUInt32BE(behind + 2) === crc32c(this.#buffer, behind + 6, this.#frameEnd);
  }

  /** Takes out the messages that `keep` refuses; the frame, if any, has to be sealed anew. */
  retain(keep: (index: number) => boolean): void {
    if (this.#count === 1) { // sealed as a plain message: its own metadata is overwritten
      if (keep(0)) return;
      this.#count = 0;
      this.#end = this.#start;
      return;
    }
    let kept = 0;
    while (kept < this.#count && keep(kept)) kept++;
    if (kept === this.#count) return;
    this.#unpack();
    const ends = this.#messageEnds();
    let to = this.#start;
    let from = this.#start;
    let count = 0;
    for (let index = 0; index < ends.length; index++) {
      const end = ends[index]!;
      if (keep(index)) {
        if (to !== from) this.#buffer.copyWithin(to, from, end);
        this.#noteSequenceId(count++, to);
        to += end - from;
      }
      from = end;
    }
    this.#count = count;
    this.#end = to;
    this.#frameStart = -1;
  }

  /** How many of its messages have at most this sequence id (they rise). */
  countUpTo(sequenceId: number): number {
    if (this.#last <= sequenceId) return this.#count;
    if (this.#first > sequenceId) return 0;
    this.#unpack();
    let count = 0;
    let at = this.#start;
    while (at < this.#end && this.#sequenceId(this.#buffer, at).value <= sequenceId) {
      at = batchEntry(this.#buffer, at, this.#end).end;
      count++;
    }
    return count;
  }

  /** Moves the messages from number `index` on to a new entry; both have to be sealed anew. */
  splitAt(index: number): Entry {
    this.#unpack();
    const ends = this.#messageEnds();
    const from = ends[index - 1]!;
    const rest = new Entry(this.#buffers, { data: NOTHING }, 0);
    rest.#start = rest.#end = this.#start;
    rest.#move(this.#start, this.#end - from, false);
    this.#buffer.copy(rest.#buffer, rest.#start, from, this.#end);
    rest.#end = rest.#start + this.#end - from;
    rest.#count = this.#count - index;
    rest.#noteSequenceId(0, rest.#start);
    rest.#last = this.#last;
    this.#end = from;
    this.#count = index;
    this.#frameStart = -1;
    this.#noteSequenceId(index, ends[index - 2] ?? this.#start);
    return rest;
  }

  /** Adds to the sequence ids of an entry that was never sealed. */
  renumber(by: number): void {
    const ends = this.#messageEnds();
    const old = this.#buffer;
    let from = this.#start;
    this.#buffer = this.#buffers.take(this.#end + ends.length * 8);
    this.#end = this.#start;
    for (const end of ends) {
      const { dataStart } = batchEntry(old, from, end);
      const { at: idAt, value } = this.#sequenceId(old, from);
      let at = this.#end + old.copy(this.#buffer, this.#end, from, idAt);
      at = writeVarint(this.#buffer, at, value + by);
      this.#buffer.writeUInt32BE(at - this.#end - 4, this.#end);
      this.#end = at + old.copy(this.#buffer, at, dataStart, end);
      from = end;
    }
    this.#first += by;
    this.#last += by;
    this.#buffers.give(old);
  }

  /** Gives the memory back; the entry is not used any more. */
  release(): void {
    this.#buffers.give(this.#buffer);
    this.#buffer = NOTHING;
  }

  /** Back to messages that can be changed; of several only, a plain one's own metadata is gone. */
  #unpack(): void {
    if (this.#codec === undefined) return;
    const frame = this.frame;
    const payload = frame.subarray(frame.length - this.#payloadSize());
    const messages = this.#codec.decompress(payload, this.bytes);
    this.#buffer = this.#buffers.take(this.#end);
    this.#buffer.set(messages, this.#start);
    this.#codec = undefined;
    this.#frameStart = -1;
  }

  /** Of the sealed frame. */
  #payloadSize(): number {
    return this.messageSize - PAYLOAD_HEADER -
      this.#buffer.readUInt32BE(this.#frameEnd - this.messageSize + PAYLOAD_HEADER - 4);
  }

  #messageEnds(): number[] {
    const ends: number[] = [];
    for (let at = this.#start; at < this.#end; ends.push(at)) {
      at = batchEntry(this.#buffer, at, this.#end).end;
    }
    return ends;
  }

  #sequenceId(buffer: Buffer, at: number): { at: number; value: number } {
    const reader = new FieldReader(buffer, at + 4, at + 4 + buffer.readUInt32BE(at));
    while (reader.next()) if (reader.field === 8) return { at: reader.valueStart, value: reader.uint() };
    throw new RangeError("a message without sequence id");
  }

  /** After a change: the message at `at` is the last so far, and the first when none was counted before. */
  #noteSequenceId(countBefore: number, at: number): void {
    const { value } = this.#sequenceId(this.#buffer, at);
    if (countBefore === 0) this.#first = value;
    this.#last = value;
  }

  /** To another buffer with `headRoom` before and `room` for messages: an exact one, or at least twice the old. */
  #move(headRoom: number, room: number, grow: boolean): void {
    const old = this.#buffer;
    const size = headRoom + room;
    const buffer = grow ? this.#buffers.take(Math.max(size, old.length * 2)) : Buffer.allocUnsafe(size);
    old.copy(buffer, headRoom, this.#start, this.#end);
    this.#end += headRoom - this.#start;
    this.#start = headRoom;
    this.#buffer = buffer;
    this.#buffers.give(old);
  }
}

const NOTHING: Buffer = Buffer.alloc(0);
