// The JSON of a GetRecords answer, or of a fan-out event, as records, while it arrives: what is complete is decoded at once, and neither the answer
// nor a record's Base64 is ever held as a whole string. Tests prove that it gives what the SDK's reader gives, which
// costs several times as much (a schema walk, and a regular expression over all Base64).

import { Buffer } from "node:buffer";
import type { RawRecord } from "../core/record.ts";
import type { ChildShard } from "../core/shard.ts";
import { INCOMPLETE, JsonBytes, malformed, type Text } from "./json-bytes.ts";
import { recordMemory } from "./record-memory.ts";

/** A GetRecords answer. */
export interface GetRecordsPage {
  readonly records: readonly RawRecord[];
  /** Sum of the records' data. */
  readonly bytes: number;
  readonly millisBehindLatest: number;
  /** Absent at the end of a closed shard. */
  readonly nextShardIterator: string | undefined;
  /** Only at the end of a closed shard, and not from every server. */
  readonly childShards: readonly ChildShard[];
}

/** An event of SubscribeToShard. */
export interface ShardEvent {
  readonly records: readonly RawRecord[];
  /** Sum of the records' data. */
  readonly bytes: number;
  readonly millisBehindLatest: number;
  /** Reading goes on AFTER it; absent at the end of a closed shard. */
  readonly continuationSequenceNumber: string | undefined;
  /** Only at the end of a closed shard, and not from every server. */
  readonly childShards: readonly ChildShard[];
}

interface WireChildShard {
  readonly ShardId: string;
  readonly ParentShards?: readonly string[];
  readonly HashKeyRange: { readonly StartingHashKey: string; readonly EndingHashKey: string };
}

/** The members of an answer or event beside its records. */
interface WirePage {
  readonly MillisBehindLatest?: number | null;
  readonly NextShardIterator?: string | null;
  readonly ContinuationSequenceNumber?: string | null;
  readonly ChildShards?: readonly WireChildShard[] | null;
}

const OPEN_BRACE = 0x7b,
  CLOSE_BRACE = 0x7d,
  OPEN_BRACKET = 0x5b,
  CLOSE_BRACKET = 0x5d,
  COMMA = 0x2c,
  COLON = 0x3a;
const RECORDS = Buffer.from('"Records":');
const UNENCRYPTED = Buffer.from('"NONE"');
/** In the order of the service's answers, so that the first comparison is mostly the last. */
const RECORD_MEMBERS = [
  "ApproximateArrivalTimestamp",
  "Data",
  "EncryptionType",
  "PartitionKey",
  "SequenceNumber",
];
const MEMBER_WORDS: readonly Uint8Array[] = RECORD_MEMBERS.map((name) => Buffer.from(`"${name}":`));
const NO_CHILDREN: readonly ChildShard[] = [];
/** Base64 becomes bytes in pieces of so many characters, a multiple of four. */
const PIECE = 24 * 1024;

/** What comes next: a member, or what follows one (`members`); the same in the list of records. */
type State = "start" | "member" | "members" | "record" | "records" | "end";

/** Reads one answer or event. Its methods throw SyntaxError for what is no JSON object. */
export class PageDecoder {
  readonly #json = new JsonBytes();
  readonly #records: RawRecord[] = [];
  readonly #members = new Map<string, unknown>();
  readonly #text: Text = { start: 0, end: 0, plain: true };
  readonly #data: Text = { start: 0, end: 0, plain: true };
  #state: State = "start";
  #bytes = 0;
  #received = 0;

  /** The next bytes of the answer. */
  push(chunk: Uint8Array): void {
    this.#received += chunk.length;
    if (this.#json.push(chunk)) this.#advance();
  }

  /** The page, when all bytes were given. */
  end(): GetRecordsPage {
    const { NextShardIterator, ...common } = this.#finish();
    return { ...this.#page(common), nextShardIterator: NextShardIterator ?? undefined };
  }

  /** The fan-out event, when all bytes were given. */
  endEvent(): ShardEvent {
    const { ContinuationSequenceNumber, ...common } = this.#finish();
    return { ...this.#page(common), continuationSequenceNumber: ContinuationSequenceNumber || undefined };
  }

  /** Gives its memory back, also of an answer that broke off. Nothing may be pushed any more. */
  close(): void {
    this.#json.close();
  }

  #finish(): WirePage {
    this.#advance();
    if (this.#state !== "end") throw this.#failure();
    this.close();
    return Object.fromEntries(this.#members) as WirePage;
  }

  #page({ MillisBehindLatest, ChildShards }: WirePage) {
    return {
      records: this.#records,
      bytes: this.#bytes,
      millisBehindLatest: MillisBehindLatest ?? 0,
      childShards: ChildShards ? ChildShards.map(childShard) : NO_CHILDREN,
    };
  }

  #advance(): void {
    const json = this.#json;
    try {
      for (;;) {
        json.mark();
        if (this.#state === "end") {
          if (!json.isAtEnd) throw malformed();
          return;
        }
        this.#state = this.#step(this.#state);
      }
    } catch (error) {
      json.rewind();
      if (error !== INCOMPLETE) throw this.#failure();
    }
  }

  #step(state: Exclude<State, "end">): State {
    const json = this.#json;
    switch (state) {
      case "start":
        json.expect(OPEN_BRACE);
        return json.takes(CLOSE_BRACE) ? "end" : "member";
      case "member":
        return this.#member();
      case "members":
        if (json.takes(CLOSE_BRACE)) return "end";
        json.expect(COMMA);
        return "member";
      case "record":
        this.#records.push(this.#record());
        return "records";
      case "records":
        if (json.takes(CLOSE_BRACKET)) return "members";
        json.expect(COMMA);
        return "record";
    }
  }

  #member(): State {
    const json = this.#json;
    const name = json.takesWord(RECORDS) ? "Records" : this.#name();
    if (name === "Records" && json.takes(OPEN_BRACKET)) {
      return json.takes(CLOSE_BRACKET) ? "members" : "record";
    }
    this.#members.set(name, json.value());
    return "members";
  }

  #record(): RawRecord {
    const json = this.#json;
    let sequenceNumber = "", partitionKey = "", arrival = 0, encrypted = false, hasData = false;
    json.expect(OPEN_BRACE);
    if (!json.takes(CLOSE_BRACE)) {
      let expected = 0;
      do {
        const member = this.#recordMember(expected);
        expected = member + 1;
        switch (RECORD_MEMBERS[member]) {
          case "Data":
            hasData = json.isString;
            if (hasData) json.longText(this.#data);
            else json.value();
            break;
          case "PartitionKey":
            partitionKey = this.#string();
            break;
          case "SequenceNumber":
            sequenceNumber = this.#string();
            break;
          case "ApproximateArrivalTimestamp":
            arrival = json.number();
            if (Number.isNaN(arrival)) arrival = Number(json.value());
            break;
          case "EncryptionType":
            encrypted = !json.takesWord(UNENCRYPTED) && json.value() === "KMS";
            break;
          default:
            json.value();
        }
      } while (json.takes(COMMA));
      json.expect(CLOSE_BRACE);
    }
    // only now: a record that is not complete yet is read again
    const data = hasData ? this.#decode(this.#data) : recordMemory(0);
    this.#bytes += data.length;
    return {
      data,
      partitionKey,
      sequenceNumber,
      approximateArrivalTimestamp: Math.round(arrival * 1000),
      encryptionType: encrypted ? "KMS" : "NONE",
      subSequenceNumber: 0,
      last: true,
    };
  }

  /** Takes a member's name; gives its number, −1 for one of no interest. The `expected` one is tried first. */
  #recordMember(expected: number): number {
    for (let tries = 0; tries < MEMBER_WORDS.length; tries++) {
      const member = (expected + tries) % MEMBER_WORDS.length;
      if (this.#json.takesWord(MEMBER_WORDS[member]!)) return member;
    }
    return RECORD_MEMBERS.indexOf(this.#name());
  }

  #name(): string {
    const name = this.#string();
    this.#json.expect(COLON);
    return name;
  }

  #string(): string {
    this.#json.text(this.#text);
    return this.#json.string(this.#text);
  }

  #decode(text: Text): Buffer {
    const length = text.end - text.start;
    const json = this.#json;
    const padding = json.latin1(Math.max(text.end - 2, text.start), text.end);
    const size = length / 4 * 3 - (padding === "==" ? 2 : padding.endsWith("=") ? 1 : 0);
    if (Number.isInteger(size)) {
      const data = recordMemory(size);
      let written = 0;
      for (let from = text.start; from < text.end; from += PIECE) {
        written += data.write(json.latin1(from, Math.min(from + PIECE, text.end)), written, "base64");
      }
      if (written === size) return data;
    }
    // Escapes, or not quite Base64: the decoder passes over each such character, so less was written.
    return Buffer.from(json.string(text), "base64");
  }

  #failure(): SyntaxError {
    return new SyntaxError(`the answer of ${this.#received} bytes is no complete JSON`);
  }
}

function childShard(child: WireChildShard): ChildShard {
  return {
    shardId: child.ShardId,
    parentShardIds: child.ParentShards ?? [],
    startingHashKey: child.HashKeyRange.StartingHashKey,
    endingHashKey: child.HashKeyRange.EndingHashKey,
  };
}
