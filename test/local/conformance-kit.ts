// What the conformance checks have in common: streams of random name that are waited for, records, pages, and
// errors as values. Everything goes through the SDK, so the checks run against any server.

import { createHash, randomBytes } from "node:crypto";
import { setTimeout as delay } from "node:timers/promises";
import {
  CreateStreamCommand,
  DescribeStreamSummaryCommand,
  GetRecordsCommand,
  type GetRecordsOutput,
  GetShardIteratorCommand,
  type GetShardIteratorInput,
  type KinesisClient,
  ListShardsCommand,
  MergeShardsCommand,
  PutRecordCommand,
  type Shard,
  type ShardFilter,
  SplitShardCommand,
} from "@aws-sdk/client-kinesis";

/** 2^128 − 1 */
export const MAX_HASH = 2n ** 128n - 1n;

/** One server under test. */
export class Kit {
  readonly client: KinesisClient;
  /** What the server needs to see two moments as different: kinesis-local rounds shards' times to seconds. */
  readonly tickMs: number;

  constructor(client: KinesisClient, tickMs = 10) {
    this.client = client;
    this.tickMs = tickMs;
  }

  /** A new stream that is ACTIVE. */
  async stream(shards = 1): Promise<string> {
    const name = "conformance-" + randomBytes(6).toString("hex");
    await this.client.send(new CreateStreamCommand({ StreamName: name, ShardCount: shards }));
    await this.active(name);
    return name;
  }

  async summary(name: string) {
    const answer = await this.client.send(new DescribeStreamSummaryCommand({ StreamName: name }));
    return answer.StreamDescriptionSummary!;
  }

  async active(name: string): Promise<void> {
    for (let i = 0; i < 200; i++) {
      if ((await this.summary(name)).StreamStatus === "ACTIVE") return;
      await delay(20);
    }
    throw new Error(`stream ${name} does not become ACTIVE`);
  }

  async put(name: string, data: string | Uint8Array, keys: { key?: string; hash?: bigint } = {}) {
    const answer = await this.client.send(
      new PutRecordCommand({
        StreamName: name,
        Data: typeof data === "string" ? new TextEncoder().encode(data) : data,
        PartitionKey: keys.key ?? "key",
        ExplicitHashKey: keys.hash === undefined ? undefined : String(keys.hash),
      }),
    );
    return {
      shardId: answer.ShardId!,
      sequenceNumber: answer.SequenceNumber!,
      encryption: answer.EncryptionType,
    };
  }

  async iterator(
    name: string,
    input: Omit<GetShardIteratorInput, "StreamName" | "ShardId"> & { shard?: string },
  ) {
    const { shard = "shardId-000000000000", ...rest } = input;
    const answer = await this.client.send(
      new GetShardIteratorCommand({ StreamName: name, ShardId: shard, ...rest }),
    );
    return answer.ShardIterator!;
  }

  get(iterator: string, limit?: number): Promise<GetRecordsOutput> {
    return this.client.send(new GetRecordsCommand({ ShardIterator: iterator, Limit: limit }));
  }

  /** The first page from a place, as texts. */
  async texts(name: string, input: Parameters<Kit["iterator"]>[1]): Promise<string[]> {
    return textsOf(await this.get(await this.iterator(name, input)));
  }

  async shards(name: string, filter?: ShardFilter): Promise<Shard[]> {
    const answer = await this.client.send(new ListShardsCommand({ StreamName: name, ShardFilter: filter }));
    return answer.Shards!;
  }

  /** Splits the shard in its middle. */
  async split(name: string, shardId = "shardId-000000000000"): Promise<void> {
    const range = (await this.shards(name)).find((shard) => shard.ShardId === shardId)!.HashKeyRange!;
    const middle = (BigInt(range.StartingHashKey!) + BigInt(range.EndingHashKey!) + 1n) / 2n;
    await this.client.send(
      new SplitShardCommand({ StreamName: name, ShardToSplit: shardId, NewStartingHashKey: String(middle) }),
    );
    await this.active(name);
  }

  async merge(name: string, shardId: string, adjacentShardId: string): Promise<void> {
    await this.client.send(
      new MergeShardsCommand({
        StreamName: name,
        ShardToMerge: shardId,
        AdjacentShardToMerge: adjacentShardId,
      }),
    );
    await this.active(name);
  }

  /** Reads a shard from TRIM_HORIZON until there is no further iterator, at most 5 pages. */
  async readToEnd(
    name: string,
    shardId: string,
  ): Promise<{ texts: string[]; ended: boolean; last: GetRecordsOutput }> {
    let next: string | undefined = await this.iterator(name, {
      shard: shardId,
      ShardIteratorType: "TRIM_HORIZON",
    });
    const texts: string[] = [];
    let last: GetRecordsOutput = { Records: [] };
    for (let page = 0; page < 5 && next; page++) {
      last = await this.get(next);
      texts.push(...textsOf(last));
      next = last.NextShardIterator;
    }
    return { texts, ended: !next, last };
  }
}

/** The records of a page as texts. */
export function textsOf(page: GetRecordsOutput): string[] {
  return page.Records!.map((record) => new TextDecoder().decode(record.Data));
}

/** The name of the error a call is refused with; "accepted" when it is not. */
export async function refusal(call: Promise<unknown>): Promise<string> {
  try {
    await call;
    return "accepted";
  } catch (error) {
    return (error as Error).name;
  }
}

/** The hash of a partition key. */
export function hashOf(key: string): bigint {
  return BigInt("0x" + createHash("md5").update(key).digest("hex"));
}

/** "0", "1" … for shard ids. */
export function shortId(shardId: string | undefined): string {
  return shardId === undefined ? "none" : String(Number(shardId.replace("shardId-", "")));
}
