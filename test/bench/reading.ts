// CPU of reading per MB (10^6 bytes of data): our reader beside the stock SDK, both from our Kinesis server in another
// process, records counted and thrown away. Run: node --import tsx test/bench/reading.ts  (or deno run -A …)

import process from "node:process";
import {
  GetRecordsCommand,
  GetShardIteratorCommand,
  KinesisClient,
  ListShardsCommand,
} from "@aws-sdk/client-kinesis";
import { awsClientConfig } from "../../src/aws/client-config.ts";
import { silentLogger } from "../../src/core/log.ts";
import type { ReadGrant } from "../../src/kinesis/source.ts";
import { createKinesisStream } from "../../src/kinesis/stream.ts";
import { systemClock } from "../../src/runtime.ts";
import { kinesisClientConfig } from "../servers/kinesis.ts";
import { startKinesisProcess } from "../servers/kinesis-process.ts";

const SHARDS = 16;
const RECORDS_PER_SHARD = 10_000;
const STREAM = "bench";

interface Result {
  readonly records: number;
  readonly bytes: number;
  readonly calls: number;
}

type Reader = (url: string, limit: number) => Promise<Result>;

async function stockSdk(url: string, limit: number): Promise<Result> {
  const client = new KinesisClient(kinesisClientConfig(url));
  const { Shards = [] } = await client.send(new ListShardsCommand({ StreamName: STREAM }));
  let records = 0, bytes = 0, calls = 0;
  await Promise.all(Shards.map(async ({ ShardId }) => {
    const first = await client.send(
      new GetShardIteratorCommand({ StreamName: STREAM, ShardId, ShardIteratorType: "TRIM_HORIZON" }),
    );
    let iterator = first.ShardIterator;
    for (let read = 0; read < RECORDS_PER_SHARD;) {
      const page = await client.send(new GetRecordsCommand({ ShardIterator: iterator, Limit: limit }));
      calls++;
      for (const record of page.Records ?? []) bytes += record.Data!.length;
      read += page.Records!.length;
      records += page.Records!.length;
      iterator = page.NextShardIterator;
    }
  }));
  client.destroy();
  return { records, bytes, calls };
}

async function ourReader(url: string, limit: number): Promise<Result> {
  const stream = await createKinesisStream({
    clientConfig: await awsClientConfig({
      region: "us-east-1",
      endpoint: url,
      credentials: () => Promise.resolve({ accessKeyId: "a", secretAccessKey: "b" }),
      userAgent: { applicationName: "bench", version: "0" },
      log: silentLogger,
    }),
    streamName: STREAM,
    backoffTimeMs: 3000,
    idlePollMs: 1000,
    maxReadsPerSecond: 5,
    maxReadBytesPerSecond: 2 * 1024 * 1024,
    clock: systemClock,
    log: silentLogger,
  });
  const { signal } = new AbortController();
  await stream.describe(signal);
  const source = await stream.openSource(signal);
  const grant: ReadGrant = { maxRecords: limit, release() {}, settle() {} };
  const admitted = Promise.resolve(grant);
  let records = 0, bytes = 0, calls = 0;
  await Promise.all((await stream.listShards(undefined, signal)).map(async ({ shardId }) => {
    const reader = source.open({ shardId, start: { type: "TRIM_HORIZON" }, signal });
    for (let read = 0; read < RECORDS_PER_SHARD;) {
      const { page } = (await reader.next(() => admitted))!;
      calls++;
      bytes += page.bytes;
      read += page.records.length;
      records += page.records.length;
    }
  }));
  await source.close();
  await stream.close();
  return { records, bytes, calls };
}

async function measure(name: string, read: Reader, url: string, limit: number): Promise<void> {
  let best: { cpu: number; wall: number; result: Result } | undefined;
  for (let round = 0; round < 3; round++) {
    const cpuBefore = process.cpuUsage();
    const startedAt = performance.now();
    const result = await read(url, limit);
    const { user, system } = process.cpuUsage(cpuBefore);
    const cpu = (user + system) / 1000;
    if (best === undefined || cpu < best.cpu) best = { cpu, wall: performance.now() - startedAt, result };
  }
  const { cpu, wall, result } = best!;
  const columns = [
    (cpu / (result.bytes / 1e6)).toFixed(2),
    ((cpu * 1000) / result.records).toFixed(2),
    Math.round(result.records / (wall / 1000)),
    (process.memoryUsage.rss() / 1e6).toFixed(0),
  ];
  process.stdout.write(
    name.padEnd(12) + String(limit).padStart(6) + columns.map((text) => String(text).padStart(12)).join("") +
      "\n",
  );
}

const recordBytes = Number(process.argv[2] ?? 1024);
const server = await startKinesisProcess({
  streamName: STREAM,
  shards: SHARDS,
  recordsPerShard: RECORDS_PER_SHARD,
  recordBytes,
  requestLogSize: 0,
});
const runtime = "Deno" in globalThis ? "Deno" : `Node ${process.version}`;
process.stdout.write(`${runtime}, ${SHARDS} shards × ${RECORDS_PER_SHARD} records of ${recordBytes} bytes\n`);
process.stdout.write(
  "reader".padEnd(12) + "limit".padStart(6) +
    ["CPU ms/MB", "CPU µs/rec", "records/s", "RSS MB"].map((text) => text.padStart(12)).join("") + "\n",
);
try {
  for (const limit of [100, 1000, 10_000]) {
    await measure("stock SDK", stockSdk, server.url, limit);
    await measure("ours", ourReader, server.url, limit);
  }
} finally {
  await server.stop();
}
