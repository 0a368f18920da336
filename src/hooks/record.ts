// A record as hooks see it. Made for each record and each script that looks at records, so it holds references only;
// whatever costs anything is made when asked for.

import type { EncryptionType, SinkMessage, UserRecord } from "../core/record.ts";
import type { Mapper, PageInfo } from "./message.ts";
import type { KinesisRecord } from "./types.ts";

/** What the records of a page share, beside {@link PageInfo}. */
export interface RecordScope extends PageInfo {
  readonly streamName: string;
  readonly map: Mapper;
}

const utf8 = new TextDecoder("utf-8", { ignoreBOM: true });

/** A Kinesis record, or what an earlier script made of it. */
export class HookRecord implements KinesisRecord {
  readonly #record: UserRecord;
  readonly #scope: RecordScope;
  #message: SinkMessage | undefined;

  /** @param message what an earlier script of the chain returned */
  constructor(record: UserRecord, scope: RecordScope, message?: SinkMessage) {
    this.#record = record;
    this.#scope = scope;
    this.#message = message;
  }

  get data(): Uint8Array {
    return this.#message === undefined ? this.#record.data : this.#message.data;
  }
  get partitionKey(): string {
    return this.#record.partitionKey;
  }
  get sequenceNumber(): string {
    return this.#record.sequenceNumber;
  }
  get subSequenceNumber(): number {
    return this.#record.subSequenceNumber;
  }
  get shardId(): string {
    return this.#scope.shardId;
  }
  get streamName(): string {
    return this.#scope.streamName;
  }
  get approximateArrivalTimestamp(): Date {
    return new Date(this.#record.approximateArrivalTimestamp);
  }
  get encryptionType(): EncryptionType {
    return this.#record.encryptionType;
  }
  get millisBehindLatest(): number {
    return this.#scope.millisBehindLatest;
  }
  get message(): SinkMessage {
    return this.#message ??= this.#scope.map(this.#record, this.#scope);
  }

  text(): string {
    return utf8.decode(this.data);
  }

  json<T = unknown>(): T {
    try {
      return JSON.parse(this.text()) as T;
    } catch (error) {
      throw notJson(error, this.data.length);
    }
  }

  /** The message, if a script can have touched it: then it has to be looked at before it is published. */
  static touched(record: HookRecord): SinkMessage | undefined {
    return record.#message;
  }

  /** The same Kinesis record with another message: what the next script of a chain sees. */
  with(message: SinkMessage): HookRecord {
    return new HookRecord(this.#record, this.#scope, message);
  }
}

// The runtime's own words quote the payload, which must not get into a log (G8).
function notJson(error: unknown, bytes: number): SyntaxError {
  const position = /position (\d+)/.exec(error instanceof Error ? error.message : "")?.[1];
  const where = position === undefined ? "" : `, at character ${position}`;
  return new SyntaxError(`the record's data (${bytes} bytes) is not JSON${where}`);
}
