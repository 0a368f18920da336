import assert from "node:assert/strict";
import { test } from "node:test";
import { GetRecordsCommand, GetShardIteratorCommand } from "@aws-sdk/client-kinesis";
import { kinesisClient } from "../servers/kinesis.ts";
import { startKinesisProcess } from "../servers/kinesis-process.ts";

test("local kinesis: a server process serves a filled stream and ends when told", async (t) => {
  const server = await startKinesisProcess({
    streamName: "filled",
    shards: 2,
    recordsPerShard: 50,
    recordBytes: 100,
  });
  t.after(() => server.stop());
  const client = kinesisClient(t, server.url);
  const { ShardIterator } = await client.send(
    new GetShardIteratorCommand({
      StreamName: "filled",
      ShardId: "shardId-000000000001",
      ShardIteratorType: "TRIM_HORIZON",
    }),
  );
  const page = await client.send(new GetRecordsCommand({ ShardIterator }));
  assert.deepEqual([page.Records!.length, page.Records![49]!.Data!.length], [50, 100]);
  client.destroy();
  await server.stop();
  await assert.rejects(fetch(server.url));
});
