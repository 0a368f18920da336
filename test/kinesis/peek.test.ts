import assert from "node:assert/strict";
import { test } from "node:test";
import { StreamPeek } from "../../src/kinesis/peek.ts";
import { FakeClock, RecordingLogger } from "../fakes.ts";
import { page, ScriptedApi } from "./scripted-api.ts";

const { signal } = new AbortController();

function peek() {
  const clock = new FakeClock();
  const api = new ScriptedApi(clock);
  const options = { clientConfig: {}, streamName: "s", backoffTimeMs: 50, clock, log: new RecordingLogger() };
  return { clock, api, stream: new StreamPeek(options, api) };
}

test("peek: pages without records are followed at a slow pace until a record comes", async () => {
  const { clock, api, stream } = peek();
  const behind = { millisBehindLatest: 5000 };
  api.pages.push(page([], behind), page([], behind), page([7], { millisBehindLatest: 100 }));
  const first = stream.first("shard-0", { type: "TRIM_HORIZON" }, signal);
  await clock.advance(2000);
  const { record, millisBehindLatest, isEnd } = await first;
  assert.deepEqual([record?.sequenceNumber, millisBehindLatest, isEnd], ["7", 100, false]);
  assert.deepEqual(api.reads.map(({ at, limit }) => [at, limit]), [[0, 1], [400, 1], [800, 1]]);
});

test("peek: nothing at the tip and nothing before a closed shard's end are told apart", async () => {
  const { api, stream } = peek();
  assert.deepEqual(await stream.first("shard-0", { type: "LATEST" }, signal), {
    record: undefined,
    millisBehindLatest: 0,
    isEnd: false,
  });
  api.pages.push(page([], { nextShardIterator: undefined }));
  const end = await stream.first("shard-0", { type: "AFTER_SEQUENCE_NUMBER", sequenceNumber: "7" }, signal);
  assert.deepEqual([end.record, end.isEnd], [undefined, true]);
});
