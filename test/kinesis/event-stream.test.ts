// The event-stream decoder: whatever the SDK reads out of the same bytes, however the network cuts them.

import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { crc32 } from "node:zlib";
import { test, type TestContext } from "node:test";
import fc from "fast-check";
import { type KinesisClient, SubscribeToShardCommand } from "@aws-sdk/client-kinesis";
import type { RawRecord } from "../../src/core/record.ts";
import type { ShardEvent } from "../../src/kinesis/decode.ts";
import { FrameDecoder } from "../../src/kinesis/event-stream.ts";
import type { ReadGrant } from "../../src/kinesis/source.ts";
import { Subscription } from "../../src/kinesis/subscription.ts";
import { systemClock } from "../../src/runtime.ts";
import { eventFrame, exceptionFrame, frame } from "./frames.ts";
import { apiOn, sdkOn } from "./transport.ts";

const GRANT: ReadGrant = { maxRecords: 10_000, release() {}, settle() {} };
const admit = () => Promise.resolve(GRANT);
const { signal } = new AbortController();

/** Frames as text; "" at the end of a stream that is whole. */
function decode(chunks: readonly Uint8Array[]): { headers: Record<string, string>; payload: string }[] {
  const decoder = new FrameDecoder();
  const frames: { headers: Record<string, string>; payload: string }[] = [];
  let payload: Buffer[] = [];
  for (const chunk of chunks) {
    decoder.push(chunk);
    for (let step = decoder.step(); step !== undefined; step = decoder.step()) {
      if (step === "headers") payload = [];
      if (step === "payload") payload.push(Buffer.from(decoder.payload));
      if (step === "end") {
        const whole = Buffer.concat(payload);
        assert.equal(whole.length, decoder.payloadBytes);
        frames.push({ headers: Object.fromEntries(decoder.headers), payload: whole.toString("base64") });
      }
    }
  }
  assert.ok(decoder.isBetweenFrames);
  return frames;
}

/** Cut at these places. */
function cut(bytes: Uint8Array, places: readonly number[]): Uint8Array[] {
  const at = [...new Set(places.map((place) => place % (bytes.length + 1)))].sort((a, b) => a - b);
  return [0, ...at].map((from, index) => bytes.subarray(from, [...at, bytes.length][index]));
}

const header = fc.tuple(fc.string({ minLength: 1, maxLength: 20 }), fc.string({ maxLength: 40 }));
const frames = fc.array(
  fc.record({ headers: fc.array(header, { maxLength: 4 }), payload: fc.uint8Array({ maxLength: 300 }) }),
  { maxLength: 5 },
);

test("event stream: frames come out as they went in, wherever the bytes were torn", () => {
  fc.assert(fc.property(frames, fc.array(fc.nat(), { maxLength: 20 }), (given, places) => {
    const bytes = Buffer.concat(
      given.map(({ headers, payload }) => frame(Object.fromEntries(headers), payload)),
    );
    assert.deepEqual(
      decode(cut(bytes, places)),
      given.map(({ headers, payload }) => ({
        headers: Object.fromEntries(headers.map(([name, value]) => [name, value])),
        payload: Buffer.from(payload).toString("base64"),
      })),
    );
  }));
});

test("event stream: a bit that was turned is never given out as a whole frame", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 100 }), fc.nat(), fc.nat({ max: 7 }), (payload, place, bit) => {
      const bytes = Buffer.from(frame({ ":message-type": "event", ":event-type": "x" }, payload));
      bytes[place % bytes.length]! ^= 1 << bit;
      const decoder = new FrameDecoder();
      decoder.push(bytes);
      assert.throws(() => {
        for (let step = decoder.step(); step !== "end"; step = decoder.step()) {
          if (step === undefined) throw new SyntaxError("not complete");
        }
      }, SyntaxError);
    }),
  );
});

test("event stream: headers of every type are passed over, strings are kept", () => {
  const name = Buffer.from([1, 0x61]);
  const values = [
    [0],
    [1],
    [2, 7],
    [3, 1, 2],
    [4, 1, 2, 3, 4],
    [5, 1, 2, 3, 4, 5, 6, 7, 8],
    [6, 0, 3, 1, 2, 3],
    [8, 1, 2, 3, 4, 5, 6, 7, 8],
    [9, ...new Uint8Array(16)],
  ];
  const others = values.flatMap((value) => [name, Buffer.from(value)]);
  const last = Buffer.concat([Buffer.from([1, 0x62, 7, 0, 2]), Buffer.from("ok")]);
  assert.deepEqual(decode([frame(Buffer.concat([...others, last]), new Uint8Array(0))]), [
    { headers: { b: "ok" }, payload: "" },
  ]);
  for (
    const broken of [[1], [1, 0x61], [1, 0x61, 10], [1, 0x61, 7, 0], [1, 0x61, 7, 0, 9, 1], [1, 0x61, 4, 1]]
  ) {
    assert.throws(
      () => decode([frame(Buffer.from(broken), new Uint8Array(0))]),
      /damaged: a header/,
      `${broken}`,
    );
  }
});

test("event stream: lengths that no frame can have are refused before anything is kept", () => {
  for (const [total, headers] of [[15, 0], [100, 90], [0xffffffff, 0], [200_000, 140_000]] as const) {
    const prelude = Buffer.alloc(12);
    prelude.writeUInt32BE(total, 0);
    prelude.writeUInt32BE(headers, 4);
    prelude.writeUInt32BE(crc32(prelude.subarray(0, 8)), 8);
    const decoder = new FrameDecoder();
    decoder.push(prelude);
    assert.throws(() => decoder.step(), /damaged: it claims/, `${total} ${headers}`);
  }
});

const digits = fc.bigInt({ min: 1n, max: 10n ** 56n }).map(String);
const shardEvents = fc.array(
  fc.record({
    Records: fc.array(
      fc.record({
        Data: fc.uint8Array({ maxLength: 200 }).map((bytes) => Buffer.from(bytes).toString("base64")),
        PartitionKey: fc.string({ minLength: 1, maxLength: 30, unit: "grapheme" }),
        SequenceNumber: digits,
        ApproximateArrivalTimestamp: fc.nat().map((n) => n / 1000),
        EncryptionType: fc.constantFrom("NONE", "KMS"),
      }, { requiredKeys: ["Data", "PartitionKey", "SequenceNumber", "ApproximateArrivalTimestamp"] }),
      { maxLength: 5 },
    ),
    ContinuationSequenceNumber: digits,
    MillisBehindLatest: fc.nat(),
    ChildShards: fc.array(
      fc.record({
        ShardId: fc.string({ minLength: 1 }),
        ParentShards: fc.array(fc.string({ minLength: 1 }), { maxLength: 2 }),
        HashKeyRange: fc.record({ StartingHashKey: digits, EndingHashKey: digits }),
      }),
      { maxLength: 2 },
    ),
  }, { requiredKeys: ["Records", "MillisBehindLatest"] }),
  { maxLength: 4 },
);

test("event stream: events are what the SDK makes of the same bytes", async (t) => {
  const greeting = frame({ ":message-type": "event", ":event-type": "initial-response" }, Buffer.from("{}"));
  await fc.assert(
    fc.asyncProperty(
      shardEvents,
      fc.boolean(),
      fc.array(fc.nat(), { maxLength: 30 }),
      async (given, greets, places) => {
        const bytes = Buffer.concat([
          ...greets ? [greeting] : [],
          ...given.map((event) => eventFrame(event)),
        ]);
        const chunks = cut(bytes, places).filter((chunk) => chunk.length > 0);
        const answer = () => ({ body: chunks });
        assert.deepEqual(await ours(t, answer), await theirs(sdkOn(t, answer)));
      },
    ),
    { numRuns: 60 },
  );
});

test("event stream: exceptions are those that the SDK throws", async (t) => {
  for (const name of ["ResourceInUseException", "KMSThrottlingException", "InternalFailureException"]) {
    const bytes = [eventFrame({ Records: [], MillisBehindLatest: 0 }), exceptionFrame(name, "because")];
    const answer = () => ({ body: bytes });
    const error = await theirs(sdkOn(t, answer)).then(() => undefined, (thrown) => thrown);
    const mine = await ours(t, answer).then(() => undefined, (thrown) => thrown);
    assert.equal(error.name, name);
    assert.equal(mine.cause.name, name);
    assert.equal(mine.cause.message, error.message);
    assert.equal(mine.where.operation, "SubscribeToShard");
  }
});

async function ours(t: TestContext, answer: () => { body: readonly Uint8Array[] }): Promise<unknown[]> {
  const api = await apiOn(t, answer);
  const stream = await api.subscribeToShard("arn", "shard", { type: "LATEST" }, signal);
  const subscription = new Subscription(stream, { clock: systemClock, signal });
  const events: ShardEvent[] = [];
  for (;;) {
    const granted = await subscription.next(admit);
    if (granted === undefined) {
      return events.map((event) => ({ ...event, records: event.records.map(plain) }));
    }
    events.push(granted.event);
  }
}

function plain({ data, ...record }: RawRecord) {
  const { partitionKey, sequenceNumber, approximateArrivalTimestamp, encryptionType } = record;
  const hex = Buffer.from(data).toString("hex");
  return { data: hex, partitionKey, sequenceNumber, approximateArrivalTimestamp, encryptionType };
}

async function theirs(client: KinesisClient): Promise<unknown[]> {
  const command = new SubscribeToShardCommand({
    ConsumerARN: "arn:aws:kinesis:us-east-1:000000000000:stream/orders/consumer/me:1",
    ShardId: "shard",
    StartingPosition: { Type: "LATEST" },
  });
  const { EventStream } = await client.send(command);
  const events: unknown[] = [];
  for await (const { SubscribeToShardEvent: event } of EventStream!) {
    if (event === undefined) continue;
    const records = event.Records!.map((record) => ({
      data: Buffer.from(record.Data!).toString("hex"),
      partitionKey: record.PartitionKey,
      sequenceNumber: record.SequenceNumber,
      approximateArrivalTimestamp: record.ApproximateArrivalTimestamp!.getTime(),
      encryptionType: record.EncryptionType ?? "NONE",
    }));
    events.push({
      records,
      bytes: records.reduce((sum, record) => sum + record.data.length / 2, 0),
      millisBehindLatest: event.MillisBehindLatest,
      childShards: (event.ChildShards ?? []).map((child) => ({
        shardId: child.ShardId,
        parentShardIds: child.ParentShards,
        startingHashKey: child.HashKeyRange!.StartingHashKey,
        endingHashKey: child.HashKeyRange!.EndingHashKey,
      })),
      continuationSequenceNumber: event.ContinuationSequenceNumber,
    });
  }
  return events;
}
