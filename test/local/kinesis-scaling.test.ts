// UpdateShardCount of the local Kinesis server: which shards there are afterwards, and which generations between.

import assert from "node:assert/strict";
import { test } from "node:test";
import {
  type KinesisClient,
  ListShardsCommand,
  type Shard,
  UpdateShardCountCommand,
} from "@aws-sdk/client-kinesis";
import fc from "fast-check";
import { FakeClock } from "../fakes.ts";
import { randomName, startKinesisStream } from "../servers/kinesis.ts";
import { MAX_HASH, shortId } from "./conformance-kit.ts";

function update(client: KinesisClient, StreamName: string, TargetShardCount: number) {
  return client.send(
    new UpdateShardCountCommand({ StreamName, TargetShardCount, ScalingType: "UNIFORM_SCALING" }),
  );
}

async function shardsOf(client: KinesisClient, StreamName: string): Promise<Shard[]> {
  return (await client.send(new ListShardsCommand({ StreamName }))).Shards!;
}

function isOpen(shard: Shard): boolean {
  return shard.SequenceNumberRange!.EndingSequenceNumber === undefined;
}

/** "6<3<4" for shard 6 with parents 3 and 4. */
function family(shard: Shard): string {
  const parents = [shard.ParentShardId, shard.AdjacentParentShardId].filter((id) => id !== undefined);
  return [shortId(shard.ShardId), ...parents.map((id) => shortId(id))].join("<");
}

test("local kinesis: doubling splits every shard, halving merges every pair", async (t) => {
  const { client, streamName } = await startKinesisStream(t, { shards: 2 });
  const answer = await update(client, streamName, 4);
  assert.deepEqual([answer.CurrentShardCount, answer.TargetShardCount, answer.StreamName], [
    2,
    4,
    streamName,
  ]);
  assert.deepEqual((await shardsOf(client, streamName)).map(family), ["0", "1", "2<0", "3<0", "4<1", "5<1"]);
  await update(client, streamName, 2);
  const shards = await shardsOf(client, streamName);
  assert.deepEqual(shards.slice(6).map(family), ["6<2<3", "7<4<5"]);
  assert.deepEqual(shards.filter(isOpen).map((shard) => shortId(shard.ShardId)), ["6", "7"]);
});

test("local kinesis: counts that do not divide one another make short-lived shards", async (t) => {
  const { client, streamName } = await startKinesisStream(t, { shards: 2 });
  await update(client, streamName, 3);
  const shards = await shardsOf(client, streamName);
  assert.deepEqual(shards.map(family), ["0", "1", "2<0", "3<0", "4<1", "5<1", "6<3<4"]);
  assert.deepEqual(shards.filter(isOpen).map((shard) => shortId(shard.ShardId)), ["2", "5", "6"]);
});

test("local kinesis: after any updates the open shards are equal and cover every hash key once", async (t) => {
  const { kinesis, client } = await startKinesisStream(t, { clock: new FakeClock() });
  const counts = fc.array(fc.integer({ min: 1, max: 12 }), { minLength: 1, maxLength: 4 });
  await fc.assert(
    fc.asyncProperty(counts, async ([shards, ...targets]) => {
      const name = randomName("scaling");
      kinesis.createStream(name, { shards: shards! });
      for (const target of targets) {
        const before = (await shardsOf(client, name)).length;
        kinesis.updateShardCount(name, target);
        const all = await shardsOf(client, name);
        const open = all.filter(isOpen)
          .map((
            { HashKeyRange },
          ) => [BigInt(HashKeyRange!.StartingHashKey!), BigInt(HashKeyRange!.EndingHashKey!)])
          .sort(([a], [b]) => a! < b! ? -1 : 1);
        assert.equal(open.length, target);
        assert.equal(open[0]![0], 0n);
        assert.equal(open.at(-1)![1], MAX_HASH);
        open.slice(1).forEach(([first], i) => assert.equal(first, open[i]![1]! + 1n));
        const width = MAX_HASH / BigInt(target);
        for (const [first, last] of open) {
          const off = last! - first! - width;
          assert.ok(off < 200n && off > -200n, `${off} off`);
        }
        // Each wanted boundary costs a split at most, each unwanted one a merge.
        assert.ok(all.length - before <= 3 * (12 + target));
      }
      kinesis.deleteStream(name);
    }),
    { numRuns: 40 },
  );
});

test("local kinesis: a multiple and back leaves no shard of a few hash keys", async (t) => {
  const { kinesis, streamName, client } = await startKinesisStream(t, { shards: 3 });
  kinesis.updateShardCount(streamName, 6);
  kinesis.updateShardCount(streamName, 3);
  assert.equal((await shardsOf(client, streamName)).length, 3 + 6 + 3);
});

test("local kinesis: a count is refused as AWS refuses it", async (t) => {
  const { kinesis, client } = await startKinesisStream(t, { transitionMs: 0, shardLimit: 16 });
  const name = randomName("stream");
  kinesis.createStream(name, { shards: 4 });
  await assert.rejects(update(client, name, 9), {
    name: "InvalidArgumentException",
    message:
      "UpdateShardCount cannot scale up over double your current open shard count. Current open shard count: 4 " +
      "Target shard count: 9",
  });
  await assert.rejects(update(client, name, 1), {
    message: /scale down below half .* Target shard count: 1$/,
  });
  await assert.rejects(update(client, name, 0), { name: "ValidationException" });
  await update(client, name, 8);
  await assert.rejects(update(client, name, 16), { name: "LimitExceededException" });
  await assert.rejects(update(client, "nobody", 2), { name: "ResourceNotFoundException" });
  const onDemand = randomName("stream");
  kinesis.createStream(onDemand, { shards: 2, mode: "ON_DEMAND" });
  await assert.rejects(update(client, onDemand, 4), { name: "ValidationException" });
});

test("local kinesis: while a stream is UPDATING its count cannot be changed again", async (t) => {
  const clock = new FakeClock();
  const { client, streamName } = await startKinesisStream(t, { clock, transitionMs: 100, shards: 1 });
  await assert.rejects(update(client, streamName, 2), { name: "ResourceInUseException" });
  await clock.advance(100);
  await update(client, streamName, 2);
  await assert.rejects(update(client, streamName, 4), {
    name: "ResourceInUseException",
    message: /UPDATING/,
  });
  await clock.advance(100);
  await update(client, streamName, 4);
});
