// What the end-to-end tests compare: a topic as the Java client reads it against the records of the stream, and lease
// rows as DynamoDB holds them. Written from the Java connector's behaviour, without any of our own mapping code.

import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { createHash } from "node:crypto";
import { DynamoDBClient, ScanCommand } from "@aws-sdk/client-dynamodb";
import type { StoredRecord } from "../../src/local/mod.ts";
import { dynaliteClientConfig } from "../servers/dynalite.ts";
import type { TopicMessage } from "../servers/topic-reader.ts";
import type { Scope } from "./kit.ts";

/** A message of the Java connector (2026-11 build, four default properties), as the Java client read it. */
export const JAVA_MESSAGE = {
  key: "003-0",
  eventTime: 0,
  properties: {
    "kinesis.arrival.timestamp": "2026-11-23T00:55:30.490Z",
    "kinesis.encryption.type": "NONE",
    "kinesis.partition.key": "003-0",
    "kinesis.sequence.number": "49680476692433014098179508999634594405486341000000000003",
  },
} as const;

/** Java's Instant.toString for epoch milliseconds. */
export function javaInstant(ms: number): string {
  return new Date(ms).toISOString().replace(".000Z", "Z");
}

/** The properties that the Java connector gives a record by default. */
export function javaProperties(record: StoredRecord): Record<string, string> {
  return {
    "kinesis.arrival.timestamp": javaInstant(record.approximateArrivalTimestamp),
    "kinesis.encryption.type": record.encryptionType,
    "kinesis.partition.key": record.partitionKey,
    "kinesis.sequence.number": record.sequenceNumber,
  };
}

/** A message without what every run makes anew; the payload by its length and hash, so that a difference can be read. */
export function plain(message: Pick<TopicMessage, "key" | "eventTime" | "properties" | "data">) {
  const { key, eventTime, properties, data } = message;
  return { key, eventTime, properties, data: data && digest(data) };
}

/** Length and hash of a payload. */
export function digest(data: Uint8Array): string {
  return `${data.length} bytes ${createHash("sha256").update(data).digest("hex").slice(0, 16)}`;
}

/** Messages by the sequence number of their record, in the order of the topic. */
export function sequenceNumbers(messages: readonly TopicMessage[]): string[] {
  return messages.map((message) => message.properties["kinesis.sequence.number"]!);
}

/**
 * Asserts that a topic without partitions holds exactly these records, each as the Java connector would publish it,
 * each shard in its order.
 */
export function assertCopied(
  messages: readonly TopicMessage[],
  stored: readonly StoredRecord[],
  options: { readonly eventTime?: "arrival" | "none" } = {},
): void {
  assert.equal(messages.length, stored.length);
  const withTime = options.eventTime !== "none";
  const read = new Map(messages.map((message) => [message.properties["kinesis.sequence.number"]!, message]));
  assert.deepEqual(
    stored.map(({ sequenceNumber }) => plain(read.get(sequenceNumber) ?? NOTHING)),
    stored.map((record) => ({
      key: record.partitionKey,
      eventTime: withTime ? record.approximateArrivalTimestamp : 0,
      properties: javaProperties(record),
      data: digest(record.data),
    })),
  );
  assert.deepEqual(byShard(sequenceNumbers(messages), stored), byShard(numbersOf(stored), stored));
}

const NOTHING = { key: "missing", eventTime: -1, properties: {}, data: Buffer.alloc(0) };

function numbersOf(stored: readonly StoredRecord[]): string[] {
  return stored.map((record) => record.sequenceNumber);
}

function byShard(numbers: readonly string[], stored: readonly StoredRecord[]): Record<string, string[]> {
  const shardOf = new Map(stored.map(({ sequenceNumber, shardId }) => [sequenceNumber, shardId]));
  const shards: Record<string, string[]> = {};
  for (const number of numbers) (shards[shardOf.get(number)!] ??= []).push(number);
  return shards;
}

/** Messages by key, each key's in the order of the topic. */
export function textsByKey(messages: readonly TopicMessage[]): Record<string, string[]> {
  const keys: Record<string, string[]> = {};
  for (const { key, data } of messages) (keys[key!] ??= []).push(String(data));
  return keys;
}

/** One row of a lease table in DynamoDB's JSON form. */
export type Row = Record<string, { readonly S?: string; readonly N?: string; readonly SS?: string[] }>;

/** All rows of a table, by lease key. */
export async function leaseRows(
  t: Scope,
  dynamoUrl: string,
  tableName: string,
): Promise<Map<string, Row>> {
  const client = new DynamoDBClient(dynaliteClientConfig(dynamoUrl));
  t.after(() => client.destroy());
  const { Items = [] } = await client.send(new ScanCommand({ TableName: tableName, ConsistentRead: true }));
  return new Map((Items as unknown as Row[]).map((row) => [row["leaseKey"]!.S!, row]));
}

/** Attribute → DynamoDB type, sorted by name. */
export function typesOf(row: Row): Record<string, string> {
  return Object.fromEntries(
    Object.entries(row).sort(([a], [b]) => a < b ? -1 : 1).map((
      [name, value],
    ) => [name, Object.keys(value).join()]),
  );
}

/** A text's form: each digit as 9, each letter as it is. */
export function shape(text: string): string {
  return text.replace(/\d/g, "9");
}
