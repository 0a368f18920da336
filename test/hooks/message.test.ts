import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { RECORD_PROPERTIES, type UserRecord } from "../../src/core/record.ts";
import { createMapper, formatInstant, type MapperOptions } from "../../src/hooks/message.ts";
import { HookRecord } from "../../src/hooks/record.ts";

const page = { shardId: "shardId-000000000003", millisBehindLatest: 4711 };
const record: UserRecord = {
  data: Uint8Array.of(0xff, 0, 0x80),
  partitionKey: "003-0",
  sequenceNumber: "49680476692433014098179508999634594405486341000000000003",
  approximateArrivalTimestamp: Date.UTC(2026, 10, 23, 0, 55, 30, 490),
  encryptionType: "KMS",
  subSequenceNumber: 4,
  last: true,
};
const options: MapperOptions = {
  topic: "out",
  messageKeyMode: "PARTITION_KEY",
  kinesisRecordProperties: RECORD_PROPERTIES.slice(0, 4),
  eventTime: "arrival",
  streamName: "orders",
};
const map = (more: Partial<MapperOptions> = {}) => createMapper({ ...options, ...more })(record, page);

test("message: by default as the Java connector makes it, with the arrival as event time", () => {
  assert.deepEqual(map(), {
    topic: "out",
    data: Uint8Array.of(0xff, 0, 0x80),
    key: "003-0",
    properties: {
      "kinesis.arrival.timestamp": "2026-11-23T00:55:30.490Z",
      "kinesis.encryption.type": "KMS",
      "kinesis.partition.key": "003-0",
      "kinesis.sequence.number": "49680476692433014098179508999634594405486341000000000003",
    },
    eventTime: Date.UTC(2026, 10, 23, 0, 55, 30, 490),
  });
  assert.equal(map().data, record.data);
});

test("message: shard id as key, no event time, and all properties when asked for", () => {
  const message = map({
    messageKeyMode: "SHARD_ID",
    eventTime: "none",
    kinesisRecordProperties: [...RECORD_PROPERTIES, "kinesis.unknown"],
  });
  assert.equal(message.key, "shardId-000000000003");
  assert.equal(message.eventTime, undefined);
  assert.deepEqual(message.properties, {
    ...map().properties,
    "kinesis.shard.id": "shardId-000000000003",
    "kinesis.millis.behind.latest": "4711",
    "kinesis.subsequence.number": "4",
    "kinesis.stream.name": "orders",
  });
});

test("message: only the listed properties, or none at all", () => {
  assert.deepEqual(map({ kinesisRecordProperties: ["kinesis.shard.id"] }).properties, {
    "kinesis.shard.id": "shardId-000000000003",
  });
  assert.equal(map({ kinesisRecordProperties: [] }).properties, undefined);
});

test("message: the arrival prints as Java's Instant: 0 or 3 digits of a second, like toISOString otherwise", () => {
  assert.equal(formatInstant(Date.UTC(2019, 2, 5, 19, 28, 58)), "2019-03-05T19:28:58Z");
  assert.equal(formatInstant(Date.UTC(2019, 2, 5, 19, 28, 58, 7)), "2019-03-05T19:28:58.007Z");
  assert.equal(formatInstant(Date.UTC(2019, 2, 5, 19, 28, 58, 70)), "2019-03-05T19:28:58.070Z");
  assert.equal(formatInstant(Date.UTC(2019, 2, 5, 19, 28, 59) - 0.0002), "2019-03-05T19:28:59Z");
  fc.assert(fc.property(fc.integer({ min: -1e12, max: 4e12 }), (time) => {
    assert.equal(formatInstant(time), new Date(time).toISOString().replace(".000Z", "Z"));
  }));
});

test("message: a hook's record gives all that the record, its page and its stream say", () => {
  const seen = new HookRecord(record, { ...page, streamName: "orders", map: createMapper(options) });
  assert.equal(seen.data, record.data);
  assert.equal(seen.partitionKey, "003-0");
  assert.equal(seen.sequenceNumber, record.sequenceNumber);
  assert.equal(seen.subSequenceNumber, 4);
  assert.equal(seen.shardId, page.shardId);
  assert.equal(seen.streamName, "orders");
  assert.deepEqual(seen.approximateArrivalTimestamp, new Date(record.approximateArrivalTimestamp));
  assert.equal(seen.encryptionType, "KMS");
  assert.equal(seen.millisBehindLatest, 4711);
  assert.deepEqual(seen.message, map());
  assert.equal(seen.message, seen.message);
  assert.deepEqual({ ...seen.message, key: "other" }, { ...map(), key: "other" });
});

test("message: text and JSON of a hook's record follow its data; JSON errors do not quote the payload", () => {
  const scope = { ...page, streamName: "orders", map: createMapper(options) };
  const seen = new HookRecord({ ...record, data: new TextEncoder().encode('{"é":1}') }, scope);
  assert.equal(seen.text(), '{"é":1}');
  assert.deepEqual(seen.json(), { "é": 1 });
  const next = seen.with({ topic: "out", data: new TextEncoder().encode("hush, hush") });
  assert.equal(next.text(), "hush, hush");
  assert.equal(next.partitionKey, "003-0");
  assert.throws(() => next.json(), (error: unknown) => {
    assert.ok(error instanceof SyntaxError);
    assert.match(error.message, /\(10 bytes\) is not JSON/);
    assert.doesNotMatch(error.message, /hush/);
    return true;
  });
});
