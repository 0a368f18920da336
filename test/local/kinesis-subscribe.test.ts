// SubscribeToShard of the local Kinesis server through the stock SDK, over HTTP/1.1 and HTTP/2.

import assert from "node:assert/strict";
import { test } from "node:test";
import { randomName, startKinesisStream } from "../servers/kinesis.ts";
import { clientOver, subscribe, TRANSPORTS } from "./subscriptions.ts";

for (const transport of TRANSPORTS) {
  test(`local fan-out: what is put arrives at once, over ${transport}`, async (t) => {
    const { kinesis, streamName, shardIds: [shardId] } = await startKinesisStream(t, { heartbeatMs: 60_000 });
    const arn = kinesis.registerConsumer(streamName, "reader");
    kinesis.putRecord(streamName, { partitionKey: "k", data: "before" });
    const subscription = await subscribe(t, clientOver(t, kinesis.url, transport), arn, shardId!);
    assert.deepEqual(await subscription.texts(1), ["before"]);
    const waiting = subscription.next();
    kinesis.putRecords(streamName, [
      { partitionKey: "k", data: "one" },
      { partitionKey: "k", data: "two" },
    ]);
    const event = (await waiting)!;
    assert.deepEqual(event.Records!.map((record) => new TextDecoder().decode(record.Data)), ["one", "two"]);
    assert.equal(event.MillisBehindLatest, 0);
    assert.ok(BigInt(event.ContinuationSequenceNumber!) > BigInt(event.Records!.at(-1)!.SequenceNumber!));
    assert.equal(event.ChildShards, undefined);
  });

  test(`local fan-out: a shard's last event has its children and no number, over ${transport}`, async (t) => {
    const { kinesis, streamName, shardIds: [shardId] } = await startKinesisStream(t);
    const arn = kinesis.registerConsumer(streamName, randomName("consumer"));
    const subscription = await subscribe(t, clientOver(t, kinesis.url, transport), arn, shardId!);
    const first = (await subscription.next())!;
    assert.deepEqual(first.Records, []);
    assert.ok(first.ContinuationSequenceNumber);
    const waiting = subscription.next();
    const children = kinesis.splitShard(streamName, shardId!);
    const last = (await waiting)!;
    assert.equal(last.ContinuationSequenceNumber, undefined);
    assert.deepEqual(last.ChildShards!.map((child) => child.ShardId), children);
    assert.deepEqual(last.ChildShards!.map((child) => child.ParentShards), [[shardId], [shardId]]);
    assert.equal(await subscription.next(), undefined);
    assert.deepEqual(kinesis.subscriptions(), []);
  });
}
