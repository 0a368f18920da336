// KPL aggregates on the whole road: gone on with in their middle, also when connections break before anything came,
// and their bytes and times as the KCL's users know them.

import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { test } from "node:test";
import { justBefore } from "../../src/core/position.ts";
import { createDynamoDbLeaseStore } from "../../src/leases/dynamodb.ts";
import { systemClock } from "../../src/runtime.ts";
import { encodeAggregate, sealAggregate } from "../core/aggregate.ts";
import { newRow } from "../leases/stores.ts";
import { startDynalite } from "../servers/dynalite.ts";
import { faultWorld, soon } from "./kit.ts";

const SHARD = "shardId-000000000000";
const text = new TextEncoder();
const packed = (texts: readonly string[]) =>
  encodeAggregate(texts.map((one) => ({ partitionKey: one, data: text.encode(one) })));

for (const useEnhancedFanOut of [false, true]) {
  const how = useEnhancedFanOut ? "fan-out" : "polling";
  test(`aggregates: half done by Java, the rest comes and nothing else, although connections break (${how}) (KCL scenario 2)`, async (t) => {
    const dynalite = await startDynalite();
    t.after(() => dynalite.close());
    const world = await faultWorld(t, {
      dynamoEndpoint: dynalite.url,
      resubscribeAfterMs: 0,
      heartbeatMs: 200,
    });
    const { kinesis, streamName } = world;
    kinesis.putRecord(streamName, { partitionKey: "k", data: "before" });
    const five = packed(["0", "1", "2", "3", "4"]);
    const { sequenceNumber } = kinesis.putRecord(streamName, { partitionKey: "k", data: five });
    kinesis.putRecord(streamName, { partitionKey: "k", data: "after" });
    const store = await createDynamoDbLeaseStore({
      tableName: String(world.config["applicationName"]),
      clientConfig: dynalite.clientConfig,
      clock: systemClock,
    });
    t.after(() => store.close());
    await store.open(new AbortController().signal);
    // As Java leaves it, but without waiting until its owner counts as dead.
    const none = { streamArn: undefined, streamCreatedAt: undefined };
    await store.create(
      newRow(SHARD, { ...none, leaseCounter: 9, checkpoint: { sequenceNumber, subSequenceNumber: 2 } }),
    );
    const fault = useEnhancedFanOut
      ? kinesis.inject({ operation: "SubscribeToShard", afterEvents: 0, drop: true, times: 2 })
      : kinesis.inject({ operation: "GetRecords", error: "InternalFailure", times: 2 });
    const run = world.run({ useEnhancedFanOut });
    await world.arrived(3);
    await run.stop();
    assert.ok(fault.hits >= 2, "connections broke");
    assert.deepEqual(world.published(), ["3", "4", "after"]);
  });
}

test("aggregates: just before one begins with its first record", async (t) => {
  const dynalite = await startDynalite();
  t.after(() => dynalite.close());
  const world = await faultWorld(t, { dynamoEndpoint: dynalite.url });
  world.kinesis.putRecord(world.streamName, { partitionKey: "k", data: "before" });
  const { sequenceNumber } = world.kinesis.putRecord(world.streamName, {
    partitionKey: "k",
    data: packed(["0", "1"]),
  });
  const store = await createDynamoDbLeaseStore({
    tableName: String(world.config["applicationName"]),
    clientConfig: dynalite.clientConfig,
    clock: systemClock,
  });
  t.after(() => store.close());
  await store.open(new AbortController().signal);
  const none = { streamArn: undefined, streamCreatedAt: undefined };
  await store.create(newRow(SHARD, { ...none, checkpoint: justBefore(sequenceNumber) }));
  const run = world.run();
  await world.arrived(2);
  await run.stop();
  assert.deepEqual(world.published(), ["0", "1"]);
});

test("aggregates: bytes arrive as they are, encrypted or not, aggregated or damaged, with times as Java prints them (KCL scenario 23)", async (t) => {
  const world = await faultWorld(t);
  const { kinesis, streamName } = world;
  const binary = Uint8Array.of(0xff, 0x00, 0x80, 0xc3, 0x28);
  const damaged = encodeAggregate([{ partitionKey: "a", data: binary }]);
  damaged[damaged.length - 1]! ^= 1;
  const data = [
    binary,
    encodeAggregate([{ partitionKey: "a", data: binary }, { partitionKey: "b", data: new Uint8Array() }]),
    damaged,
    sealAggregate(Uint8Array.of(0x0f)),
  ];
  const arrivedAt = Date.UTC(2020, 0, 1) + Math.floor((Date.now() - Date.UTC(2020, 0, 1)) / 1000) * 1000 -
    60_000;
  const put = () =>
    data.forEach((one) => kinesis.putRecord(streamName, { partitionKey: "k", data: one, arrivedAt }));
  put();
  kinesis.setEncryption(streamName, "KMS");
  put();
  kinesis.putRecord(streamName, { partitionKey: "k", data: binary, arrivedAt: arrivedAt + 7 });
  const run = world.run();
  await world.arrived(11);
  await soon(run.stop(), "the stop");
  const wanted = [binary, binary, new Uint8Array(), damaged, sealAggregate(Uint8Array.of(0x0f))];
  const messages = world.broker.messages(world.topic);
  assert.deepEqual(
    messages.map((message) => Buffer.from(message.data).toString("hex")),
    [...wanted, ...wanted, binary].map((one) => Buffer.from(one).toString("hex")),
  );
  const iso = new Date(arrivedAt).toISOString();
  const times = messages.map(({ properties }) => properties["kinesis.arrival.timestamp"]);
  assert.deepEqual([...new Set(times)], [iso.replace(".000Z", "Z"), iso.replace(".000Z", ".007Z")]);
  assert.deepEqual(
    messages.map(({ properties }) => properties["kinesis.encryption.type"]),
    [...new Array(5).fill("NONE"), ...new Array(6).fill("KMS")],
  );
});
