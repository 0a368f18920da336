// Puts numbered records into a stream at a steady rate and keeps a ledger of what has to arrive: each user record's
// place in its shard and the hash of its bytes. Text, random bytes, several sizes, KPL aggregates; shards are split
// and merged on demand.

import { Buffer } from "node:buffer";
import { createHash, randomBytes, randomInt } from "node:crypto";
import { setTimeout as delay } from "node:timers/promises";
import type { LocalKinesis } from "../../src/local/mod.ts";
import { encodeAggregate } from "../core/aggregate.ts";

/** A user record that was put. */
export interface LedgerEntry {
  readonly shardId: string;
  /** Place among all user records of its shard. */
  readonly place: number;
  /** What the hooks of the proof make of it, in order; none = it is dropped. */
  readonly messages: readonly ExpectedMessage[];
  /** Of 8–10 MiB. */
  readonly isLarge?: boolean;
  /** Whether it has to arrive; `false` for what LATEST may leave out. */
  readonly required: boolean;
}

/** A message as it has to arrive. */
export interface ExpectedMessage {
  readonly key: string;
  readonly sha256: string;
}

/** What was put: by `sequenceNumber/subSequenceNumber`. */
export interface Ledger {
  readonly entries: ReadonlyMap<string, LedgerEntry>;
  /** Child → parents, of splits and merges. */
  readonly parents: ReadonlyMap<string, readonly string[]>;
}

/** Options of {@link Load}. */
export interface LoadOptions {
  readonly kinesis: LocalKinesis;
  readonly streamName: string;
  /** Kinesis records; an aggregate holds several user records. @default 600 */
  readonly recordsPerSecond?: number;
  /** What the worker's hooks make of a user record. @default one message, as it is */
  readonly messagesOf?:
    | ((key: string, data: Uint8Array) => readonly { key: string; data: Uint8Array }[])
    | undefined;
  /** One record of so many is of 8–10 MiB, in two or more chunks at a broker. @default none */
  readonly oneLargeOf?: number;
  /** Whether a record put into this shard now has to arrive. @default always */
  readonly isRequired?: (shardId: string) => boolean;
}

const TICK_MS = 20;
const MIB = 1024 * 1024;
const HASH_KEYS = 1n << 128n;

/** See the file's header. Make it, {@link Load.start}, {@link Load.stop}. */
export class Load implements Ledger {
  readonly entries = new Map<string, LedgerEntry>();
  readonly parents = new Map<string, readonly string[]>();
  readonly #options: LoadOptions;
  readonly #places = new Map<string, number>();
  #number = 0;
  #put = 0;
  #stopping: AbortController | undefined;
  #running: Promise<void> = Promise.resolve();

  constructor(options: LoadOptions) {
    this.#options = options;
  }

  start(): void {
    this.#stopping = new AbortController();
    this.#running = this.#run(this.#stopping.signal);
  }

  async stop(): Promise<void> {
    this.#stopping?.abort();
    await this.#running;
  }

  /** Puts so many records now. */
  put(count: number): void {
    for (let i = 0; i < count; i++) this.#putOne();
  }

  /** Splits a random open shard; merges a random pair of neighbours instead when there are more than `most`. */
  reshard(most = 6): string {
    const { kinesis, streamName } = this.#options;
    const open = kinesis.openShardIds(streamName);
    if (open.length > most) {
      const at = randomInt(open.length - 1);
      const pair = [open[at]!, open[at + 1]!] as const;
      this.parents.set(kinesis.mergeShards(streamName, ...pair), pair);
      return `merged ${pair.join(" and ")}`;
    }
    const shardId = open[randomInt(open.length)]!;
    for (const child of kinesis.splitShard(streamName, shardId)) this.parents.set(child, [shardId]);
    return `split ${shardId}`;
  }

  async #run(signal: AbortSignal): Promise<void> {
    const { recordsPerSecond = 600 } = this.#options;
    const start = performance.now();
    let put = 0;
    while (!signal.aborted) {
      const due = Math.floor(((performance.now() - start) * recordsPerSecond) / 1000);
      this.put(due - put);
      put = due;
      await delay(TICK_MS);
    }
  }

  #putOne(): void {
    const explicitHashKey = (BigInt(`0x${randomBytes(16).toString("hex")}`) % HASH_KEYS).toString();
    const { kinesis, streamName, oneLargeOf = 0, isRequired = () => true } = this.#options;
    const isLarge = oneLargeOf > 0 && ++this.#put % oneLargeOf === 0;
    const isAggregate = !isLarge && randomInt(10) === 0;
    const users = Array.from({ length: isAggregate ? randomInt(1, 20) : 1 }, () => this.#userRecord(isLarge));
    const data = isAggregate
      ? encodeAggregate(users.map(({ key, data }) => ({ partitionKey: key, explicitHashKey, data })))
      : users[0]!.data;
    const partitionKey = isAggregate ? "a" : users[0]!.key;
    const { shardId, sequenceNumber } = kinesis.putRecord(streamName, {
      data,
      partitionKey,
      explicitHashKey,
    });
    const required = isRequired(shardId);
    const { messagesOf = (key, data) => [{ key, data }] } = this.#options;
    users.forEach(({ key, data }, sub) => {
      const place = this.#places.get(shardId) ?? 0;
      this.#places.set(shardId, place + 1);
      this.entries.set(`${sequenceNumber}/${sub}`, {
        shardId,
        place,
        messages: messagesOf(key, data).map(({ key, data }) => ({ key, sha256: sha256(data) })),
        isLarge,
        required,
      });
    });
  }

  #userRecord(isLarge: boolean): { key: string; data: Uint8Array } {
    const number = this.#number++;
    const size = isLarge ? randomInt(8 * MIB, 10 * MIB - 1000) : randomSize();
    const data = number % 2 === 0 && !isLarge
      ? Buffer.from(JSON.stringify({ number, text: "Grüße ".repeat(size / 8) }))
      : Buffer.concat([Buffer.from(`${number}:`), randomBytes(size)]);
    return { key: `key-${randomInt(50)}`, data };
  }
}

/** Of a payload, hexadecimal. */
export function sha256(data: Uint8Array): string {
  return createHash("sha256").update(data).digest("hex");
}

/** Mostly small, some of a few KiB, few large. */
function randomSize(): number {
  const dice = randomInt(200);
  if (dice === 0) return randomInt(60_000, 200_000);
  return dice < 20 ? randomInt(2_000, 10_000) : randomInt(10, 600);
}
