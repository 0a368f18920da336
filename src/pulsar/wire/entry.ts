// Builds one entry (a SEND frame) in place. Messages are encoded one behind the other into a buffer with head
// room; sealing writes sizes, command and metadata right-aligned before them, so that the frame is one contiguous
// piece and each payload byte is copied once. Two and more messages become a batch, one a plain message.
// Removing messages (G5) compacts the same buffer; a sealed frame is never written anew otherwise.

import { Buffer } from "node:buffer";
import { crc32c } from "./crc32c.ts";
import { MAGIC_CHECKSUM, PAYLOAD_HEADER, writeCommand } from "./frames.ts";
import { batchEntry } from "./metadata.ts";
import { FieldReader, stringBound, writeBytes, writeKeyValue, writeString, writeVarint } from "./protobuf.ts";

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

/** What sealing needs to know. */
export interface EntryHeader {
  readonly producerId: number;
  readonly producerName: string;
  /** Epoch milliseconds. */
  readonly publishTime: number;
}

/** Upper bound of header bytes beside the producer's name and the first message's keys. */
const HEADER_BOUND = 256;
/** Head room for a name that is not known yet; broker-made names are shorter. A longer one costs one copy. */
const NAME_BOUND = 128;
/** Sizes, tags and integers of a message in a batch beside its strings and bytes. */
const MESSAGE_BOUND = 48;

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

  /** Writes the header. Throws RangeError when sealed or empty. */
  seal(header: EntryHeader): void {
    if (this.sealed || this.#count === 0) throw new RangeError("an entry that cannot be sealed");
    const dataStart = this.#count > 1
      ? this.#start
      : batchEntry(this.#buffer, this.#start, this.#end).dataStart;
    const size = this.#writeMetadata(header, this.#end - dataStart);
    const command = writeCommand(scratch, size, "SEND", {
      producerId: header.producerId,
      sequenceId: this.#first,
      numMessages: this.#count === 1 ? undefined : this.#count,
      highestSequenceId: this.#last,
    }) - size;
    const headerSize = 8 + command + PAYLOAD_HEADER + size;
    let at = dataStart - headerSize;
    if (at < 0) {
      this.#move(this.#start - at, this.bytes, false);
      return this.seal(header);
    }
    const buffer = this.#buffer;
    this.#frameStart = at;
    this.#frameEnd = this.#end;
    buffer.writeUInt32BE(this.#end - at - 4, at);
    buffer.writeUInt32BE(command, at + 4);
    scratch.copy(buffer, at + 8, size, size + command);
    at += 8 + command;
    buffer.writeUInt16BE(MAGIC_CHECKSUM, at);
    buffer.writeUInt32BE(size, at + 6);
    scratch.copy(buffer, at + PAYLOAD_HEADER, 0, size);
    buffer.writeUInt32BE(crc32c(buffer, at + 6, this.#end), at + 2);
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
    if (count === this.#count) return;
    this.#count = count;
    this.#end = to;
    this.#frameStart = -1;
  }

  /** How many of its messages have at most this sequence id (they rise). */
  countUpTo(sequenceId: number): number {
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

  /** Writes MessageMetadata into the scratch buffer; returns its size. */
  #writeMetadata(header: EntryHeader, payloadSize: number): number {
    const plain = this.#count === 1;
    const metadataSize = this.#buffer.readUInt32BE(this.#start);
    ensureScratch(HEADER_BOUND + stringBound(header.producerName) + metadataSize);
    let at = 0;
    scratch[at++] = 0x0a;
    at = writeString(scratch, at, header.producerName);
    scratch[at++] = 0x10;
    at = writeVarint(scratch, at, this.#first);
    scratch[at++] = 0x18;
    at = writeVarint(scratch, at, header.publishTime);
    at = this.#writeFromFirst(at, metadataSize, plain);
    scratch[at++] = 0x48; // uncompressed_size
    at = writeVarint(scratch, at, payloadSize);
    if (!plain) {
      scratch[at++] = 0x58; // num_messages_in_batch: its presence marks a batch
      at = writeVarint(scratch, at, this.#count);
    }
    if (this.deliverAt !== undefined) {
      scratch[at++] = 0x98; // field 19
      scratch[at++] = 0x01;
      at = writeVarint(scratch, at, this.deliverAt);
    }
    scratch[at++] = 0xc0; // highest_sequence_id, field 24: deduplication counts on it
    scratch[at++] = 0x01;
    return writeVarint(scratch, at, this.#last);
  }

  /** Copies what entry metadata shares with the first message's: its keys, and everything of a plain one. */
  #writeFromFirst(at: number, metadataSize: number, plain: boolean): number {
    const from = this.#start + 4;
    const reader = new FieldReader(this.#buffer, from, from + metadataSize);
    while (reader.next()) {
      const field = reader.field;
      if (field === 2) scratch[at++] = 0x32; // partition_key
      else if (field === 7) { // ordering_key, field 18
        scratch[at++] = 0x92;
        scratch[at++] = 0x01;
      } else if (field === 1 && plain) scratch[at++] = 0x22; // properties
      else if (field === 5 && plain) scratch[at++] = 0x60; // event_time
      else continue;
      if (field !== 5) at = writeVarint(scratch, at, reader.valueEnd - reader.valueStart);
      at += this.#buffer.copy(scratch, at, reader.valueStart, reader.valueEnd);
    }
    return at;
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
let scratch: Buffer = Buffer.allocUnsafe(4096);

function ensureScratch(size: number): void {
  if (scratch.length < size) scratch = Buffer.allocUnsafe(size * 2);
}
