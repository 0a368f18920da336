// The polling reader against a server that speaks Kinesis' protocol.

import assert from "node:assert/strict";
import { test } from "node:test";
import { isSequenceNumber } from "../../src/core/position.ts";
import { startKinesisStream } from "../servers/kinesis.ts";
import { Grants, openSource, readFrom, readUntil } from "./kit.ts";

const TRIM_HORIZON = { type: "TRIM_HORIZON" } as const;

test("polling: reads a shard from its beginning, in order, under one grant per page", async (t) => {
  const { kinesis, streamName, shardIds } = await startKinesisStream(t);
  const numbers = Array.from({ length: 25 }, (_, index) => String(index));
  kinesis.putRecords(streamName, numbers.map((data) => ({ data, partitionKey: `k${data}` })));
  const { source } = await openSource(t, { url: kinesis.url, streamName });
  const grants = new Grants(10);
  let connected = 0;
  const reader = source.open(readFrom(shardIds[0]!, TRIM_HORIZON, { onConnected: () => connected++ }));
  const { data, pages } = await readUntil(reader, (all) => all.length === 25, grants);
  assert.deepEqual(data, numbers);
  assert.deepEqual(pages.map((page) => page.records.length), [10, 10, 5]);
  assert.equal(pages[0]!.bytes, 10);
  assert.ok(pages[0]!.records.every((record) => isSequenceNumber(record.sequenceNumber) && record.last));
  assert.deepEqual(pages[0]!.records[3]!.partitionKey, "k3");
  assert.equal(grants.held, 3);
  assert.equal(connected, 1);
});
