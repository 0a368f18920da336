// Yardstick: the stock AWS SDK reads every record of a stream, page after page, four shards at a time, and throws
// them away. HTTP/1.1 with keep-alive as ours. Prints one JSON line.

import process from "node:process";
import {
  GetRecordsCommand,
  GetShardIteratorCommand,
  KinesisClient,
  ListShardsCommand,
} from "@aws-sdk/client-kinesis";
import { kinesisClientConfig } from "../servers/kinesis.ts";
import { type Figures, resources } from "./figures.ts";

const { kinesisUrl, streamName } = JSON.parse(process.argv[2]!) as { kinesisUrl: string; streamName: string };
const client = new KinesisClient(kinesisClientConfig(kinesisUrl));
const { Shards: shards = [] } = await client.send(new ListShardsCommand({ StreamName: streamName }));
let records = 0;

async function readShard(ShardId: string): Promise<void> {
  const from = { StreamName: streamName, ShardId, ShardIteratorType: "TRIM_HORIZON" } as const;
  let { ShardIterator } = await client.send(new GetShardIteratorCommand(from));
  for (let behind = 1; behind > 0;) {
    const page = await client.send(new GetRecordsCommand({ ShardIterator, Limit: 10_000 }));
    records += page.Records?.length ?? 0;
    behind = page.MillisBehindLatest ?? 0;
    ShardIterator = page.NextShardIterator;
  }
}

const before = resources();
const from = performance.now();
const waiting = shards.map(({ ShardId }) => ShardId!);
await Promise.all(Array.from({ length: 4 }, async () => {
  for (let shardId = waiting.shift(); shardId !== undefined; shardId = waiting.shift()) {
    await readShard(shardId);
  }
}));
const after = resources();
const figures: Figures = {
  records,
  seconds: (performance.now() - from) / 1000,
  cpuSeconds: after.cpuSeconds - before.cpuSeconds,
  peakMegabytes: after.peakMegabytes,
};
process.stdout.write(`${JSON.stringify(figures)}\n`);
process.exit();
