// The pure parts of the local Kinesis server: sequence numbers and the log of encoded records.

import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { test } from "node:test";
import { RecordLog } from "../../src/local/kinesis/record-log.ts";
import {
  END_ORDINAL,
  parseSequenceNumber,
  sequenceBase,
  sequenceNumber,
} from "../../src/local/kinesis/sequence-number.ts";

const SCOPE = { createdSeconds: 1_790_000_000, streamTag: 0x7abcde, shardIndex: 4711 };

test("local kinesis: a sequence number tells stream, shard and ordinal", () => {
  for (const ordinal of [0, 1, 2 ** 33, END_ORDINAL]) {
    const number = sequenceNumber(sequenceBase(SCOPE), ordinal, 1_790_000_123);
    assert.equal(number.length, 56);
    assert.deepEqual(parseSequenceNumber(number), { ...SCOPE, ordinal, isContinuation: false });
  }
});

test("local kinesis: sequence numbers are laid out as the service's", () => {
  const hex = BigInt(sequenceNumber(sequenceBase(SCOPE), 5, 1_790_000_123)).toString(16);
  assert.equal(hex.length, 47);
  assert.equal(hex[0], "2");
  assert.equal(parseInt(hex.slice(1, 10), 16), SCOPE.createdSeconds);
  assert.equal(parseInt(hex.slice(29, 38), 16), 1_790_000_123);
  assert.equal(parseInt(hex.slice(38, 46), 16), SCOPE.shardIndex);
  assert.equal(hex.at(-1), "2");
});

test("local kinesis: digits that are no sequence number are told apart", () => {
  for (const text of ["0", "1", "12345678901234567890", "9".repeat(56), "9".repeat(128)]) {
    assert.equal(parseSequenceNumber(text), undefined, text);
  }
});

test("local kinesis: a log gives any page as valid JSON, over any number of segments", () => {
  const log = new RecordLog();
  const text = (i: number) => `record ${i} ` + "äx".repeat(i % 97) + "-".repeat(i % 13 === 0 ? 20_000 : 0);
  for (let i = 1; i <= 500; i++) log.append(JSON.stringify({ i, text: text(i) }), i, 1000 + i);
  for (const [from, count] of [[1, 500], [0, 3], [17, 100], [499, 10], [500, 1], [501, 5]] as const) {
    const page = log.read(from, count, Infinity);
    const start = Math.max(from, 1);
    const records = recordsOf(page.chunks);
    assert.equal(records.length, Math.min(count, 501 - start));
    assert.equal(page.records, records.length);
    assert.equal(page.next, start + records.length);
    records.forEach((record, k) => assert.deepEqual(record, { i: start + k, text: text(start + k) }));
  }
});

test("local kinesis: a log's page keeps to its bytes, but gives at least one record", () => {
  const log = new RecordLog();
  for (let i = 1; i <= 5; i++) log.append(`{"i":${i}}`, 100, i);
  assert.equal(log.read(1, 10, 250).records, 2);
  assert.equal(log.read(3, 10, 50).records, 1);
  assert.equal(log.read(1, 10, 500).bytes, 500);
});

test("local kinesis: a log finds times, also when arrivals go back", () => {
  const log = new RecordLog();
  for (const [i, arrival] of [100, 200, 150, 300].entries()) log.append(`{"i":${i}}`, 1, arrival);
  assert.deepEqual([0, 100, 101, 200, 201, 301].map((time) => log.seekTime(time)), [1, 1, 2, 2, 4, 5]);
});

test("local kinesis: a trimmed log begins later and goes on", () => {
  const log = new RecordLog();
  for (let i = 1; i <= 400; i++) log.append(`{"i":${i},"text":"${"x".repeat(200)}"}`, 200, i);
  log.trim(250);
  assert.equal(log.first, 250);
  assert.deepEqual(recordsOf(log.read(1, 1, Infinity).chunks).map((record) => record.i), [250]);
  assert.equal(log.seekTime(1), 250);
  log.trim(1000);
  assert.deepEqual([log.first, log.next, log.read(1, 10, Infinity).records], [401, 401, 0]);
  log.append(`{"i":401}`, 1, 401);
  assert.deepEqual(recordsOf(log.read(0, 10, Infinity).chunks), [{ i: 401 }]);
});

function recordsOf(chunks: readonly Uint8Array[]): { i: number; text?: string }[] {
  return JSON.parse(`[${Buffer.concat(chunks).toString()}]`);
}
