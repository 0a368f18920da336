// Conveniences around our own Kinesis server for tests: a client for a url, a stream of random name on a server
// of its own, a put that goes on until all is stored.

import { randomBytes } from "node:crypto";
import process from "node:process";
import type { TestContext } from "node:test";
import { KinesisClient, type KinesisClientConfig, PutRecordsCommand } from "@aws-sdk/client-kinesis";
import { NodeHttpHandler } from "@smithy/node-http-handler";
import { type LocalKinesis, type LocalKinesisOptions, startLocalKinesis } from "../../src/local/mod.ts";

// PutRecords takes 500 records and 10 MiB; 5 MiB is what kinesis-local takes.
const BATCH_RECORDS = 500;
const BATCH_BYTES = 4 * 1024 * 1024;

/** What a Kinesis client needs to reach a local server: HTTP/1.1, one attempt, any key. */
export function kinesisClientConfig(url: string): KinesisClientConfig {
  process.env.AWS_SDK_JS_NODE_VERSION_SUPPORT_WARNING_DISABLED = "true";
  return {
    endpoint: url,
    region: "us-east-1",
    credentials: { accessKeyId: "test", secretAccessKey: "test" },
    maxAttempts: 1,
    requestHandler: new NodeHttpHandler({ requestTimeout: 30_000, throwOnRequestTimeout: true }),
  };
}

/** An SDK client for a local server (ours or kinesis-local); destroyed at the test's end. */
export function kinesisClient(t: TestContext, url: string, config: KinesisClientConfig = {}): KinesisClient {
  const client = new KinesisClient({ ...kinesisClientConfig(url), ...config });
  t.after(() => client.destroy());
  return client;
}

/** A server of its own with one stream. */
export interface KinesisStream {
  readonly kinesis: LocalKinesis;
  readonly client: KinesisClient;
  readonly streamName: string;
  /** Open shards, in order of their hash ranges. */
  readonly shardIds: readonly string[];
}

/** Starts our server with a stream of random name; both end with the test. */
export async function startKinesisStream(
  t: TestContext,
  options: LocalKinesisOptions & { readonly shards?: number } = {},
): Promise<KinesisStream> {
  const kinesis = await startLocalKinesis(options);
  t.after(() => kinesis.close());
  const client = kinesisClient(t, kinesis.url);
  const streamName = randomName("stream");
  kinesis.createStream(streamName, { shards: options.shards ?? 1 });
  return { kinesis, client, streamName, shardIds: kinesis.openShardIds(streamName) };
}

/** A record for {@link putAll}. */
export interface NewRecord {
  readonly data: Uint8Array | string;
  readonly partitionKey: string;
  readonly explicitHashKey?: string | undefined;
}

/** Where each record went. */
export interface PutRecordPosition {
  readonly shardId: string;
  readonly sequenceNumber: string;
}

/** Puts all records through the client, in order; throws when one is refused. */
export async function putAll(
  client: KinesisClient,
  streamName: string,
  records: readonly NewRecord[],
): Promise<PutRecordPosition[]> {
  const positions: PutRecordPosition[] = [];
  for (const batch of batches(records)) {
    const result = await client.send(
      new PutRecordsCommand({
        StreamName: streamName,
        Records: batch.map((record) => ({
          Data: bytesOf(record.data),
          PartitionKey: record.partitionKey,
          ExplicitHashKey: record.explicitHashKey,
        })),
      }),
    );
    for (const { ShardId, SequenceNumber, ErrorCode, ErrorMessage } of result.Records ?? []) {
      if (!ShardId || !SequenceNumber) throw new Error(`PutRecords: ${ErrorCode} ${ErrorMessage}`);
      positions.push({ shardId: ShardId, sequenceNumber: SequenceNumber });
    }
  }
  return positions;
}

/** A name that no other test has. */
export function randomName(prefix: string): string {
  return `${prefix}-${randomBytes(6).toString("hex")}`;
}

function* batches(records: readonly NewRecord[]): Generator<NewRecord[]> {
  let batch: NewRecord[] = [];
  let bytes = 0;
  for (const record of records) {
    const size = bytesOf(record.data).length;
    if (batch.length === BATCH_RECORDS || (batch.length > 0 && bytes + size > BATCH_BYTES)) {
      yield batch;
      batch = [];
      bytes = 0;
    }
    batch.push(record);
    bytes += size;
  }
  if (batch.length > 0) yield batch;
}

function bytesOf(data: Uint8Array | string): Uint8Array {
  return typeof data === "string" ? new TextEncoder().encode(data) : data;
}
