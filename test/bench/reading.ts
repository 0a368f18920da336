// CPU of reading per MB (10^6 bytes of data): our readers beside the stock SDK, polling and enhanced fan-out, all from
// our Kinesis server in another process, which keeps its records encoded; records are counted and thrown away.
// Goals: polling at most 6.5 ms per MB of 1 KiB records, fan-out at most 5 (the stock SDK: about 8.6 and 8).
// Run: npm run bench:reading [-- bytes-per-record]  (or deno run -A test/bench/reading.ts)

import process from "node:process";
import {
  GetRecordsCommand,
  GetShardIteratorCommand,
  KinesisClient,
  ListShardsCommand,
  RegisterStreamConsumerCommand,
  SubscribeToShardCommand,
} from "@aws-sdk/client-kinesis";
import { NodeHttp2Handler } from "@smithy/node-http-handler";
import { awsClientConfig } from "../../src/aws/client-config.ts";
import { silentLogger } from "../../src/core/log.ts";
import type { ReadGrant } from "../../src/kinesis/source.ts";
import { createKinesisStream } from "../../src/kinesis/stream.ts";
import { systemClock } from "../../src/runtime.ts";
import { kinesisClientConfig } from "../servers/kinesis.ts";
import { startKinesisProcess } from "../servers/kinesis-process.ts";
import { knownArguments } from "../usage.ts";

const SHARDS = 16;
const RECORDS_PER_SHARD = 10_000;
const STREAM = "bench";
const STREAM_ARN = `arn:aws:kinesis:us-east-1:000000000000:stream/${STREAM}`;
const ROUNDS = 3;

interface Result {
  readonly records: number;
  readonly bytes: number;
}

/** Reads all records of the stream. */
type Reader = (url: string, limit: number) => Promise<Result>;

async function stockPolling(url: string, limit: number): Promise<Result> {
  const client = new KinesisClient(kinesisClientConfig(url));
  let records = 0, bytes = 0;
  await Promise.all((await shardIds(client)).map(async (ShardId) => {
    const first = await client.send(
      new GetShardIteratorCommand({ StreamName: STREAM, ShardId, ShardIteratorType: "TRIM_HORIZON" }),
    );
    let iterator = first.ShardIterator;
    for (let read = 0; read < RECORDS_PER_SHARD;) {
      const page = await client.send(new GetRecordsCommand({ ShardIterator: iterator, Limit: limit }));
      for (const record of page.Records ?? []) bytes += record.Data!.length;
      read += page.Records!.length;
      records += page.Records!.length;
      iterator = page.NextShardIterator;
    }
  }));
  client.destroy();
  return { records, bytes };
}

/** With the handler that the SDK has by itself. */
async function stockFanOut(url: string): Promise<Result> {
  const client = new KinesisClient({ ...kinesisClientConfig(url), requestHandler: new NodeHttp2Handler() });
  const name = `stock-${performance.now()}`; // nobody else's subscriptions are in the way
  const { Consumer } = await client.send(
    new RegisterStreamConsumerCommand({ StreamARN: STREAM_ARN, ConsumerName: name }),
  );
  let records = 0, bytes = 0;
  await Promise.all((await shardIds(client)).map(async (ShardId) => {
    const stop = new AbortController();
    const { EventStream } = await client.send(
      new SubscribeToShardCommand({
        ConsumerARN: Consumer!.ConsumerARN,
        ShardId,
        StartingPosition: { Type: "TRIM_HORIZON" },
      }),
      { abortSignal: stop.signal },
    );
    let read = 0;
    for await (const { SubscribeToShardEvent: event } of EventStream!) {
      for (const record of event?.Records ?? []) bytes += record.Data!.length;
      read += event?.Records?.length ?? 0;
      if (read >= RECORDS_PER_SHARD) break;
    }
    records += read;
    stop.abort();
  }));
  client.destroy();
  return { records, bytes };
}

async function shardIds(client: KinesisClient): Promise<string[]> {
  const { Shards = [] } = await client.send(new ListShardsCommand({ StreamName: STREAM }));
  return Shards.map(({ ShardId }) => ShardId!);
}

function ours(streaming?: "http1" | "http2"): Reader {
  return async (url, limit) => {
    const base = {
      region: "us-east-1",
      endpoint: url,
      credentials: () => Promise.resolve({ accessKeyId: "a", secretAccessKey: "b" }),
      userAgent: { applicationName: "bench", version: "0" },
      log: silentLogger,
    };
    const stream = await createKinesisStream({
      clientConfig: await awsClientConfig(base),
      streamName: STREAM,
      fanOut: streaming && {
        consumerName: `ours-${performance.now()}`,
        clientConfig: await awsClientConfig({ ...base, streaming }),
      },
      backoffTimeMs: 3000,
      idlePollMs: 1000,
      maxReadsPerSecond: 5,
      maxReadBytesPerSecond: 2 * 1024 * 1024,
      clock: systemClock,
      log: silentLogger,
    });
    const { signal } = new AbortController();
    const source = await stream.openSource(signal);
    const grant: ReadGrant = { maxRecords: limit, release() {}, settle() {} };
    const admitted = Promise.resolve(grant);
    let records = 0, bytes = 0;
    await Promise.all((await stream.listShards(undefined, signal)).map(async ({ shardId }) => {
      const reader = source.open({ shardId, start: { type: "TRIM_HORIZON" }, signal });
      for (let read = 0; read < RECORDS_PER_SHARD;) {
        const { page } = (await reader.next(() => admitted))!;
        bytes += page.bytes;
        read += page.records.length;
        records += page.records.length;
      }
    }));
    await source.close();
    await stream.close();
    return { records, bytes };
  };
}

async function measure(name: string, read: Reader, url: string, limit: number): Promise<void> {
  let best: { cpu: number; wall: number; result: Result } | undefined;
  for (let round = 0; round < ROUNDS; round++) {
    const cpuBefore = process.cpuUsage();
    const startedAt = performance.now();
    const result = await read(url, limit);
    const { user, system } = process.cpuUsage(cpuBefore);
    const cpu = (user + system) / 1000;
    if (best === undefined || cpu < best.cpu) best = { cpu, wall: performance.now() - startedAt, result };
  }
  const { cpu, wall, result } = best!;
  if (result.records !== SHARDS * RECORDS_PER_SHARD) {
    throw new Error(`${name} read ${result.records} records`);
  }
  const columns = [
    (cpu / (result.bytes / 1e6)).toFixed(2),
    ((cpu * 1000) / result.records).toFixed(2),
    Math.round(result.records / (wall / 1000)),
    (process.memoryUsage.rss() / 1e6).toFixed(0),
  ];
  process.stdout.write(
    name.padEnd(32) + columns.map((text) => String(text).padStart(12)).join("") + "\n",
  );
}

const [bytesGiven = "1024"] = knownArguments({
  text: "npm run bench:reading [-- bytes of a record]\nCPU of our readers beside the stock SDK's, per MB.",
  words: (word) => /^[1-9][0-9]*$/.test(word),
});
const recordBytes = Number(bytesGiven);
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
  "reader".padEnd(32) +
    ["CPU ms/MB", "CPU µs/rec", "records/s", "RSS MB"].map((text) => text.padStart(12)).join("") + "\n",
);
try {
  await measure("stock SDK, fan-out, HTTP/2", stockFanOut, server.url, 0);
  await measure("ours, fan-out, HTTP/2", ours("http2"), server.url, 0);
  await measure("ours, fan-out, HTTP/1.1", ours("http1"), server.url, 0);
  for (const limit of [100, 1000, 10_000]) {
    await measure(`stock SDK, polling, Limit ${limit}`, stockPolling, server.url, limit);
    await measure(`ours, polling, Limit ${limit}`, ours(), server.url, limit);
  }
} finally {
  await server.stop();
}
