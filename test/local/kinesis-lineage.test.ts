// Random puts, splits and merges against a model: nothing is lost, nothing is twice, each record lies in a shard
// whose hash range holds its key, and a walk over parents and children finds every shard.

import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import {
  GetRecordsCommand,
  GetShardIteratorCommand,
  type KinesisClient,
  ListShardsCommand,
} from "@aws-sdk/client-kinesis";
import { FakeClock } from "../fakes.ts";
import { randomName, startKinesisStream } from "../servers/kinesis.ts";
import { hashOf, MAX_HASH } from "./conformance-kit.ts";

interface ShardRead {
  readonly texts: string[];
  readonly keys: string[];
  readonly children: string[];
}

async function readShard(client: KinesisClient, StreamName: string, ShardId: string): Promise<ShardRead> {
  const start = await client.send(
    new GetShardIteratorCommand({ StreamName, ShardId, ShardIteratorType: "TRIM_HORIZON" }),
  );
  const read: ShardRead = { texts: [], keys: [], children: [] };
  let next = start.ShardIterator;
  while (next) {
    const page = await client.send(new GetRecordsCommand({ ShardIterator: next, Limit: 3 }));
    for (const record of page.Records!) {
      read.texts.push(new TextDecoder().decode(record.Data));
      read.keys.push(record.PartitionKey!);
    }
    read.children.push(...(page.ChildShards ?? []).map((child) => child.ShardId!));
    next = page.MillisBehindLatest === 0 && page.Records!.length < 3 ? undefined : page.NextShardIterator;
  }
  return read;
}

test("local kinesis: random splits and merges lose and repeat nothing", async (t) => {
  const { kinesis, client } = await startKinesisStream(t, { clock: new FakeClock() });
  const step = fc.record({ kind: fc.constantFrom("put", "put", "split", "merge"), pick: fc.nat(1000) });
  await fc.assert(
    fc.asyncProperty(
      fc.array(step, { maxLength: 25 }),
      fc.integer({ min: 1, max: 4 }),
      async (steps, shards) => {
        const name = randomName("lineage");
        kinesis.createStream(name, { shards });
        const put = new Map<string, string[]>(); // shard id → texts in order
        for (const [i, { kind, pick }] of steps.entries()) {
          const open = kinesis.openShardIds(name);
          if (kind === "split") kinesis.splitShard(name, open[pick % open.length]!);
          else if (kind === "merge" && open.length > 1) {
            const at = pick % (open.length - 1);
            kinesis.mergeShards(name, open[at]!, open[at + 1]!);
          } else {
            const { shardId } = kinesis.putRecord(name, { partitionKey: `key-${pick}`, data: `record ${i}` });
            put.set(shardId, [...put.get(shardId) ?? [], `record ${i}`]);
          }
        }
        const { Shards } = await client.send(new ListShardsCommand({ StreamName: name }));
        const reached = new Set(
          Shards!.filter((shard) => !shard.ParentShardId).map((shard) => shard.ShardId!),
        );
        for (const shard of Shards!) {
          const read = await readShard(client, name, shard.ShardId!);
          assert.deepEqual(read.texts, put.get(shard.ShardId!) ?? []);
          for (const key of read.keys) {
            const { StartingHashKey, EndingHashKey } = shard.HashKeyRange!;
            assert.ok(hashOf(key) >= BigInt(StartingHashKey!) && hashOf(key) <= BigInt(EndingHashKey!));
          }
          for (const child of read.children) reached.add(child);
          assert.equal(
            read.children.length > 0,
            shard.SequenceNumberRange!.EndingSequenceNumber !== undefined,
          );
        }
        assert.deepEqual([...reached].sort(), Shards!.map((shard) => shard.ShardId));
        const open = Shards!.filter((shard) => !shard.SequenceNumberRange!.EndingSequenceNumber)
          .map((shard) => shard.HashKeyRange!)
          .sort((a, b) => BigInt(a.StartingHashKey!) < BigInt(b.StartingHashKey!) ? -1 : 1);
        let expected = 0n;
        for (const range of open) {
          assert.equal(BigInt(range.StartingHashKey!), expected);
          expected = BigInt(range.EndingHashKey!) + 1n;
        }
        assert.equal(expected, MAX_HASH + 1n);
      },
    ),
    { numRuns: 25 },
  );
});
