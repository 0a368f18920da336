// The KPL's aggregate format: magic, AggregatedRecord as protobuf, MD5 of the protobuf. Decides what is an aggregate
// and finds its parts; says nothing about shards. What is damaged in any way is no aggregate, never an error.
//
//   message AggregatedRecord { repeated string partition_key_table = 1; repeated string explicit_hash_key_table = 2;
//                              repeated Record records = 3; }
//   message Record { required uint64 partition_key_index = 1; optional uint64 explicit_hash_key_index = 2;
//                    required bytes data = 3; repeated Tag tags = 4; }
//   message Tag { required string key = 1; optional string value = 2; }

import { md5 } from "./md5.ts";

const DIGEST_BYTES = 16;
const MAGIC_BYTES = 4;

/** The parts of an aggregate. Indexes may point outside the tables: protobuf cannot know. */
export interface Aggregate {
  readonly partitionKeys: readonly string[];
  /** Decimal, unchecked. */
  readonly explicitHashKeys: readonly string[];
  readonly entries: readonly AggregateEntry[];
}

/** One user record of an aggregate. */
export interface AggregateEntry {
  readonly partitionKeyIndex: number;
  /** -1 = none. */
  readonly explicitHashKeyIndex: number;
  /** A view into the aggregate's bytes. */
  readonly data: Uint8Array;
}

/** Whether the bytes begin like an aggregate: cheap enough to ask for every record. */
export function looksAggregated(bytes: Uint8Array): boolean {
  return bytes[0] === 0xf3 && bytes[1] === 0x89 && bytes[2] === 0x9a && bytes[3] === 0xc2 &&
    bytes.length > MAGIC_BYTES + DIGEST_BYTES;
}

/** Reads an aggregate; undefined when the magic, the digest or the protobuf is not right. Never throws. */
export function readAggregate(bytes: Uint8Array): Aggregate | undefined {
  if (!looksAggregated(bytes)) return undefined;
  const end = bytes.length - DIGEST_BYTES;
  const digest = md5(bytes.subarray(MAGIC_BYTES, end));
  for (let index = 0; index < DIGEST_BYTES; index++) {
    if (digest[index] !== bytes[end + index]) return undefined;
  }
  return new Parser(bytes).aggregate(MAGIC_BYTES, end);
}

// Wire types of protobuf.
const VARINT = 0;
const FIXED64 = 1;
const BYTES = 2;
const GROUP = 3;
const GROUP_END = 4;
const FIXED32 = 5;
// protobuf-java refuses messages nested deeper than this.
const DEEPEST_GROUP = 100;

const utf8 = new TextDecoder("utf-8", { ignoreBOM: true });

/**
 * A cursor over protobuf bytes, as lenient and as strict as protobuf-java, which the KCL uses: unknown fields and
 * known numbers with another wire type are passed over; cut-off fields and missing required ones fail the whole.
 * Failure is the `bad` flag, so that damage costs no exception.
 */
class Parser {
  readonly #bytes: Uint8Array;
  #at = 0;
  #end = 0;
  #bad = false;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
  }

  aggregate(start: number, end: number): Aggregate | undefined {
    const partitionKeys: string[] = [];
    const explicitHashKeys: string[] = [];
    const entries: AggregateEntry[] = [];
    this.#at = start;
    this.#end = end;
    while (this.#more()) {
      const tag = this.#varint();
      if (tag === (1 << 3 | BYTES)) partitionKeys.push(this.#text());
      else if (tag === (2 << 3 | BYTES)) explicitHashKeys.push(this.#text());
      else if (tag === (3 << 3 | BYTES)) {
        const entry = this.#nested(() => this.#entry());
        if (entry !== undefined) entries.push(entry);
      } else this.#pass(tag, 0);
    }
    return this.#bad ? undefined : { partitionKeys, explicitHashKeys, entries };
  }

  #entry(): AggregateEntry | undefined {
    let partitionKeyIndex = -1;
    let explicitHashKeyIndex = -1;
    let data: Uint8Array | undefined;
    while (this.#more()) {
      const tag = this.#varint();
      if (tag === (1 << 3 | VARINT)) partitionKeyIndex = this.#varint();
      else if (tag === (2 << 3 | VARINT)) explicitHashKeyIndex = this.#varint();
      else if (tag === (3 << 3 | BYTES)) data = this.#view();
      else if (tag === (4 << 3 | BYTES)) this.#nested(() => this.#tag());
      else this.#pass(tag, 0);
    }
    if (partitionKeyIndex >= 0 && data !== undefined) {
      return { partitionKeyIndex, explicitHashKeyIndex, data };
    }
    this.#bad = true;
    return undefined;
  }

  #tag(): void {
    let hasKey = false;
    while (this.#more()) {
      const tag = this.#varint();
      if (tag === (1 << 3 | BYTES)) hasKey = true;
      this.#pass(tag, 0);
    }
    if (!hasKey) this.#bad = true;
  }

  #nested<T>(parse: () => T): T | undefined {
    const length = this.#length();
    if (this.#bad) return undefined;
    const outerEnd = this.#end;
    const end = this.#at + length;
    this.#end = end;
    const result = parse();
    this.#end = outerEnd;
    this.#at = end;
    return result;
  }

  #more(): boolean {
    return !this.#bad && this.#at < this.#end;
  }

  /** Up to 2^53 exactly, above it roughly: an index that large is outside of every table anyway. */
  #varint(): number {
    let value = 0;
    let scale = 1;
    for (let count = 0; count < 10 && this.#at < this.#end; count++) {
      const byte = this.#bytes[this.#at++]!;
      value += (byte & 0x7f) * scale;
      if (byte < 0x80) return value;
      scale *= 0x80;
    }
    this.#bad = true;
    return 0;
  }

  #length(): number {
    const length = this.#varint();
    if (length <= this.#end - this.#at) return length;
    this.#bad = true;
    return 0;
  }

  #view(): Uint8Array {
    const length = this.#length();
    const view = this.#bytes.subarray(this.#at, this.#at + length);
    this.#at += length;
    return view;
  }

  #text(): string {
    const bytes = this.#view();
    if (bytes.length > 48) return utf8.decode(bytes);
    let text = "";
    for (let index = 0; index < bytes.length; index++) {
      const byte = bytes[index]!;
      if (byte > 0x7f) return utf8.decode(bytes);
      text += String.fromCharCode(byte);
    }
    return text;
  }

  #pass(tag: number, depth: number): void {
    const type = tag & 7;
    if (tag < 8 || tag > 0xffff_ffff || depth > DEEPEST_GROUP) this.#bad = true;
    else if (type === VARINT) this.#varint();
    else if (type === FIXED64) this.#skip(8);
    else if (type === BYTES) this.#skip(this.#length());
    else if (type === FIXED32) this.#skip(4);
    else if (type === GROUP) this.#passGroup(tag, depth);
    else this.#bad = true;
  }

  #passGroup(start: number, depth: number): void {
    const endTag = start - GROUP + GROUP_END;
    while (this.#more()) {
      const tag = this.#varint();
      if (tag === endTag) return;
      this.#pass(tag, depth + 1);
    }
    this.#bad = true;
  }

  #skip(length: number): void {
    if (length > this.#end - this.#at) this.#bad = true;
    else this.#at += length;
  }
}
