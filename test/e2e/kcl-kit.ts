// A stream that workers of the real KCL for Java and our program share: our Kinesis server, dynalite, our broker
// stand-in, and the judge. Every record has a text of its own, by which both sides' records are known.

import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { createHash } from "node:crypto";
import { setTimeout as delay } from "node:timers/promises";
import {
  CreateTableCommand,
  DeleteItemCommand,
  DescribeTableCommand,
  DynamoDBClient,
  PutItemCommand,
} from "@aws-sdk/client-dynamodb";
import { KinesisClient, ListShardsCommand, type Shard } from "@aws-sdk/client-kinesis";
import { comparePositions, isSequenceNumber, type Position } from "../../src/core/position.ts";
import { type LocalBroker, type LocalKinesisOptions, startLocalBroker } from "../../src/local/mod.ts";
import { encodeAggregate } from "../core/aggregate.ts";
import type { CliProcess } from "../servers/cli.ts";
import { dynaliteClientConfig } from "../servers/dynalite.ts";
import { type KclJvm, KclWorker, type KclWorkerOptions } from "../servers/kcl-consumer.ts";
import { kinesisClientConfig } from "../servers/kinesis.ts";
import { leaseRows, type Row } from "./judge.ts";
import { layRoad, randomName, type Road, type Scope } from "./kit.ts";

/** A record with its text, where it is in the stream. */
export interface KnownRecord extends Position {
  readonly text: string;
  readonly shardId: string;
}

/** A row for {@link KclRoad.prepareTable}: as the KCL creates it, but for what is given. */
export interface PreparedRow {
  readonly owner?: string;
  readonly parents?: readonly string[];
  /** It is finished, and these came from it. */
  readonly children?: readonly string[];
}

/** What {@link KclRoad.ours} takes besides the configuration's keys. */
export type OurSettings = Readonly<Record<string, unknown>>;

/** Servers, a stream, and both kinds of workers on it. */
export interface KclRoad extends Road {
  readonly broker: LocalBroker;
  /** The lease table's name. */
  readonly table: string;
  /** All records that were put. */
  readonly known: readonly KnownRecord[];
  /** Puts records with new texts into a shard, or where their keys lead; gives the texts. */
  put(count: number, shardId?: string): string[];
  /** Puts one KPL aggregate of so many records with new texts. */
  putAggregate(shardId: string, count: number): Promise<KnownRecord[]>;
  /** Puts a few records all the time, until it is stopped or the test ends. */
  load(): { stop(): Promise<void> };
  /** Makes the lease table as the KCL does, with a row for each of these shards: workers need not wait for one. */
  prepareTable(rows: Readonly<Record<string, PreparedRow>>): Promise<void>;
  /** The lease table as DynamoDB holds it. */
  rows(table?: string): Promise<Map<string, Row>>;
  /** Makes a table with the same rows, attribute for attribute; gives its name. */
  copyTable(from?: string): Promise<string>;
  /** As a person deletes it in the console. */
  deleteRow(shardId: string): Promise<void>;
  /** Starts a Java worker; stopped at the test's end. */
  java(options?: Partial<KclWorkerOptions>, jvm?: Pick<KclJvm, "url">): Promise<KclWorker>;
  /** Starts `kinesis-pulsar run`; killed at the test's end. The record with the text `hold` waits for {@link letGo}. */
  ours(settings?: OurSettings, hold?: string): Promise<CliProcess>;
  /** Lets all records go that our programs hold. */
  letGo(): Promise<void>;
  /** Texts that our program published, in the order of the topic. */
  published(): string[];
  /** Texts that a Java worker got. */
  read(worker: KclWorker, shardId?: string): string[];
  /**
   * Asserts that nothing was lost, and that what came twice came after a checkpoint from which somebody started anew;
   * gives how many came more than once.
   */
  judge(ours: readonly CliProcess[], java: readonly KclWorker[]): number;
}

const PROPERTIES = "kinesis.shard.id,kinesis.sequence.number,kinesis.subsequence.number";

/** Lays it; all of it ends with the test. */
export async function layKclRoad(
  t: Scope,
  options: LocalKinesisOptions & { readonly shards: number; readonly runtime?: "node" | "deno" | undefined },
): Promise<KclRoad> {
  const broker = await startLocalBroker();
  t.after(() => broker.close());
  const road = await layRoad(t, { ...options, serviceUrl: broker.url });
  const { kinesis, streamName, dynamoUrl } = road;
  const table = String(road.config["applicationName"]);
  const dynamo = new DynamoDBClient(dynaliteClientConfig(dynamoUrl));
  t.after(() => dynamo.destroy());
  const client = new KinesisClient(kinesisClientConfig(kinesis.url));
  t.after(() => client.destroy());
  const known: KnownRecord[] = [];
  const textOf = new Map<string, string>(); // by the hash that Java tells
  const newText = (): string => {
    const text = `record ${textOf.size}`;
    textOf.set(createHash("sha256").update(text).digest("hex"), text);
    return text;
  };
  const shard = async (shardId: string): Promise<Shard> => {
    const { Shards = [] } = await client.send(new ListShardsCommand({ StreamName: streamName }));
    return Shards.find((each) => each.ShardId === shardId) ?? assert.fail(`no ${shardId}`);
  };
  let started = 0;

  const put = (count: number, shardId?: string): string[] => {
    const texts = Array.from({ length: count }, newText);
    const places = kinesis.putRecords(
      streamName,
      texts.map((text) => ({ partitionKey: `key of ${text}`, data: text, shardId })),
    );
    for (const [i, text] of texts.entries()) known.push({ text, ...places[i]!, subSequenceNumber: 0 });
    return texts;
  };

  const read = (worker: KclWorker, shardId?: string): string[] =>
    worker.records(shardId).map(({ sha256 }) => textOf.get(sha256)!);

  return {
    ...road,
    broker,
    table,
    known,
    put,
    async putAggregate(shardId, count) {
      const explicitHashKey = (await shard(shardId)).HashKeyRange!.StartingHashKey!;
      const texts = Array.from({ length: count }, newText);
      const data = encodeAggregate(
        texts.map((text) => ({ partitionKey: `key of ${text}`, explicitHashKey, data: Buffer.from(text) })),
      );
      const place = kinesis.putRecord(streamName, { partitionKey: "a", data, shardId });
      const records = texts.map((text, subSequenceNumber) => ({ text, ...place, subSequenceNumber }));
      known.push(...records);
      return records;
    },
    load() {
      let loading = true;
      const putting = (async () => {
        while (loading) {
          put(10);
          await delay(100);
        }
      })();
      const stop = async () => {
        loading = false;
        await putting;
      };
      t.after(stop);
      return { stop };
    },
    async prepareTable(rows) {
      await createTable(dynamo, table);
      for (const [shardId, { owner, parents, children }] of Object.entries(rows)) {
        const range = (await shard(shardId)).HashKeyRange!;
        await dynamo.send(
          new PutItemCommand({
            TableName: table,
            Item: {
              leaseKey: { S: shardId },
              leaseCounter: { N: "0" },
              ownerSwitchesSinceCheckpoint: { N: "0" },
              checkpoint: { S: children === undefined ? "TRIM_HORIZON" : "SHARD_END" },
              checkpointSubSequenceNumber: { N: "0" },
              startingHashKey: { S: range.StartingHashKey! },
              endingHashKey: { S: range.EndingHashKey! },
              ...(owner === undefined ? {} : { leaseOwner: { S: owner } }),
              ...(parents === undefined ? {} : { parentShardId: { SS: [...parents] } }),
              ...(children === undefined ? {} : { childShardIds: { SS: [...children] } }),
            },
          }),
        );
      }
    },
    rows: (name = table) => leaseRows(t, dynamoUrl, name),
    async copyTable(from = table) {
      const copy = randomName("app");
      const rows = await leaseRows(t, dynamoUrl, from);
      await createTable(dynamo, copy);
      for (const row of rows.values()) {
        await dynamo.send(new PutItemCommand({ TableName: copy, Item: row as never }));
      }
      return copy;
    },
    async deleteRow(shardId) {
      await dynamo.send(new DeleteItemCommand({ TableName: table, Key: { leaseKey: { S: shardId } } }));
    },
    async java(more = {}, jvm) {
      const worker = await KclWorker.start(
        { kinesisUrl: kinesis.url, dynamoUrl, streamName, table, ...more },
        jvm,
      );
      t.after(() => worker.abandon());
      return worker;
    },
    async ours(settings = {}, hold = "") {
      const name = `ours-${++started}`;
      await road.script(`${name}.mjs`, script(hold));
      const file = await road.write(`${name}.toml`, {
        checkpointInterval: 500,
        kinesisRecordProperties: PROPERTIES,
        hooks: [{ path: `./${name}.mjs`, timeoutMs: 600_000 }],
        ...settings,
      });
      return road.run("run", file);
    },
    async letGo() {
      await road.script("let-go", "");
    },
    published: () => broker.messages(road.topic).map(({ data }) => String(data)),
    read,
    judge(ours, java) {
      const times = new Map<string, number>();
      const count = (text: string) => times.set(text, (times.get(text) ?? 0) + 1);
      for (const { data } of broker.messages(road.topic)) count(String(data));
      for (const worker of java) for (const text of read(worker)) count(text);
      const starts = [...ours.flatMap(startsOf), ...java.flatMap(javaStartsOf)];
      const lost = known.filter(({ text }) => !times.has(text));
      assert.deepEqual(lost, [], `${lost.length} of ${known.length} records were lost`);
      for (const record of known) {
        const begun = starts.filter(({ shardId, from }) =>
          shardId === record.shardId && comparePositions(from, record) < 0
        );
        const came = times.get(record.text)!;
        assert.ok(
          came <= begun.length,
          `${record.text} of ${record.shardId} came ${came} times, but only ${begun.length} began before it`,
        );
      }
      return [...times.values()].filter((each) => each > 1).length;
    },
  };
}

async function createTable(dynamo: DynamoDBClient, name: string): Promise<void> {
  await dynamo.send(
    new CreateTableCommand({
      TableName: name,
      BillingMode: "PAY_PER_REQUEST",
      KeySchema: [{ AttributeName: "leaseKey", KeyType: "HASH" }],
      AttributeDefinitions: [{ AttributeName: "leaseKey", AttributeType: "S" }],
    }),
  );
  const status = async () =>
    (await dynamo.send(new DescribeTableCommand({ TableName: name }))).Table?.TableStatus;
  while (await status() !== "ACTIVE") await delay(10);
}

/** Where a worker began to read a shard: all after it may have come once more. */
interface Start {
  readonly shardId: string;
  readonly from: Position;
}

/** What our program has begun to read, by its own lines. */
export function startsOf(cli: CliProcess): Start[] {
  return Array.from(cli.stdout.matchAll(/^start (\S+) (\S+)$/gm), ([, shardId, sequenceNumber]) => ({
    shardId: shardId!,
    from: { sequenceNumber: sequenceNumber!, subSequenceNumber: 0 },
  }));
}

function javaStartsOf(worker: KclWorker): Start[] {
  return worker.told("init").map(([, shardId, sequenceNumber, sub]) => ({
    shardId,
    from: { sequenceNumber: sequenceNumber!, subSequenceNumber: Number(sub) },
  }));
}

/** A row's owner and checkpoint in one text, such as `0 TRIM_HORIZON/0`; nobody is `-`. */
export function ownerAndCheckpoint(row: Row | undefined): string {
  if (row === undefined) return "no row";
  const { leaseOwner, checkpoint, checkpointSubSequenceNumber } = row;
  return `${leaseOwner?.S ?? "-"} ${checkpoint!.S}/${checkpointSubSequenceNumber!.N}`;
}

/** How many leases each owner has; nobody is "-". */
export function leaseCounts(rows: ReadonlyMap<string, Row>): Map<string, number> {
  const counts = new Map<string, number>();
  for (const { leaseOwner } of rows.values()) {
    const owner = leaseOwner?.S ?? "-";
    counts.set(owner, (counts.get(owner) ?? 0) + 1);
  }
  return counts;
}

/** The checkpoint of a row as a number to compare; sentinels before all of them are -1. */
export function checkpointNumber(row: Row | undefined): bigint {
  const text = row?.["checkpoint"]?.S ?? "";
  return isSequenceNumber(text) ? BigInt(text) : -1n;
}

// Tells where each shard begins, and what is stored.
function script(hold: string): string {
  return `
import { existsSync, writeSync } from "node:fs";
import { setTimeout as delay } from "node:timers/promises";
const say = (...words) => writeSync(1, words.join(" ") + "\\n");
const hold = ${JSON.stringify(hold)};
const held = async (shardId) => {
  say("held", shardId);
  while (!existsSync(new URL("let-go", import.meta.url))) await delay(20);
};
export default {
  onShardStart: ({ shardId, from }) => say("start", shardId, from),
  onRecord: (record) => hold === "" || record.text() !== hold ? undefined : held(record.shardId),
  onCheckpoint: ({ shardId, sequenceNumber, subSequenceNumber, reason }) =>
    say("checkpoint", shardId, sequenceNumber, subSequenceNumber, reason),
  onShardEnd: ({ shardId }) => say("end", shardId),
};
`;
}
