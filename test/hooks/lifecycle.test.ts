import assert from "node:assert/strict";
import { test } from "node:test";
import type { ConnectorError } from "../../src/core/errors.ts";
import type { HookChain } from "../../src/hooks/chain.ts";
import type { Hooks } from "../../src/hooks/types.ts";
import { settle } from "../fakes.ts";
import { records, testChain, texts } from "./chains.ts";

const shardStart = { streamName: "orders", shardId: "shard-1", parentShardIds: [], from: "LATEST" };
const shardEnd = { streamName: "orders", shardId: "shard-1", childShardIds: ["shard-2"] };
const checkpoint = {
  streamName: "orders",
  shardId: "shard-1",
  sequenceNumber: "7",
  subSequenceNumber: 0,
  records: 5,
  bytes: 50,
  reason: "interval",
} as const;
const throttle = {
  service: "kinesis",
  operation: "GetRecords",
  shardId: "shard-1",
  attempt: 1,
  delayMs: 3000,
} as const;

test("hooks: lifecycle hooks get their events in the order of the scripts, synchronous or not", async () => {
  const calls: [string, unknown][] = [];
  const script = (name: string): Hooks => ({
    onStart: (event) => void calls.push([`${name} start`, event]),
    async onShardStart(event) {
      await settle();
      calls.push([`${name} shardStart`, event]);
    },
    onCheckpoint: (event) => void calls.push([`${name} checkpoint`, event]),
    onShardEnd: (event) => void calls.push([`${name} shardEnd`, event]),
    onStop: (event) => void calls.push([`${name} stop`, event]),
  });
  const { chain } = testChain([script("a"), { onRecord: () => {} }, script("b")]);
  await chain.start({ streamName: "orders" });
  await chain.shardStart(shardStart);
  await chain.checkpoint(checkpoint);
  await chain.shardEnd(shardEnd);
  await chain.stop({ reason: "signal" });
  const events: [string, unknown][] = [
    ["start", { streamName: "orders" }],
    ["shardStart", shardStart],
    ["checkpoint", checkpoint],
    ["shardEnd", shardEnd],
    ["stop", { reason: "signal" }],
  ];
  assert.deepEqual(calls, events.flatMap(([name, event]) => [[`a ${name}`, event], [`b ${name}`, event]]));
});

for (const hook of ["start", "shardStart"] as const) {
  test(`hooks: a failing ${hook} hook stops the connector, saying which script`, async () => {
    const name = hook === "start" ? "onStart" : "onShardStart";
    const boom = () => {
      throw new Error("no database");
    };
    const { chain } = testChain([{ [name]: boom }]);
    const call = hook === "start" ? chain.start({ streamName: "orders" }) : chain.shardStart(shardStart);
    await assert.rejects(call, (error: unknown) => {
      assert.equal((error as ConnectorError).code, "HOOK_FAILED");
      assert.match(
        (error as ConnectorError).message,
        new RegExp(
          `^${name} of script-1\\.ts failed for stream orders.*: no database \\(.*lifecycle\\.test\\.ts:\\d+\\)`,
        ),
      );
      return true;
    });
  });
}

test("hooks: an asynchronous onStart that never answers fails after timeoutMs", async () => {
  const { chain, clock } = testChain([{ with: { timeoutMs: 500 }, onStart: () => new Promise(() => {}) }]);
  const failed = assert.rejects(
    chain.start({ streamName: "orders" }),
    /gave no answer within timeoutMs = 500/,
  );
  await clock.advance(500);
  await failed;
  assert.equal(clock.sleeping, 0);
});

test("hooks: a synchronous onStart that held the process longer than timeoutMs has failed", async () => {
  const chain = testChain([{ with: { timeoutMs: 500 }, onStart: () => chain.clock.freeze(501) }]);
  await assert.rejects(chain.chain.start({ streamName: "orders" }), /held the process for 501 ms/);
});

const tolerated: [string, keyof Hooks, (chain: HookChain) => unknown][] = [
  ["checkpoint", "onCheckpoint", (chain) => chain.checkpoint(checkpoint)],
  ["throttle", "onThrottle", (chain) => chain.throttle(throttle)],
  ["shardEnd", "onShardEnd", (chain) => chain.shardEnd(shardEnd)],
  ["error", "onError", (chain) => chain.error({ error: new Error("x") as ConnectorError })],
  ["stop", "onStop", (chain) => chain.stop({ reason: "stop" })],
];
for (const [what, hook, call] of tolerated) {
  test(`hooks: a failing ${what} hook is logged and counted, never fatal, and the next script is called`, async () => {
    let called = 0;
    const { chain, log, metrics } = testChain([
      { [hook]: () => Promise.reject(new Error("oh no")) },
      { [hook]: () => void called++ },
    ]);
    await call(chain);
    assert.equal(called, 1);
    assert.equal(log.messages("error").length, 1);
    assert.match(log.messages("error")[0]!, new RegExp(`^${hook} of script-1\\.ts failed .*: oh no`));
    const [series] = metrics.snapshot().find((one) => one.name === "hook_failures_total")!.series;
    assert.deepEqual(series, { labels: { script: "script-1.ts", hook }, value: 1 });
  });
}

test("hooks: a slow onCheckpoint is given up after timeoutMs", async () => {
  const { chain, clock, log } = testChain([{
    with: { timeoutMs: 50 },
    onCheckpoint: () => new Promise(() => {}),
  }]);
  const done = chain.checkpoint(checkpoint);
  await clock.advance(50);
  await done;
  assert.match(log.messages("error")[0]!, /onCheckpoint.*timeoutMs = 50/);
});

test("hooks: a hook that never answers is not waited for once the connector stops at once", async () => {
  const { chain, abort, log } = testChain([{ onCheckpoint: () => new Promise(() => {}) }]);
  const called = chain.checkpoint(checkpoint);
  await settle();
  abort.abort();
  await called;
  assert.match(log.messages("error")[0]!, /onCheckpoint of script-1\.ts failed .*time for the stop was over/);
});

test("hooks: onThrottle may change the delay, the next script sees the changed one", async () => {
  const seen: number[] = [];
  const { chain } = testChain([
    { onThrottle: ({ delayMs }) => void seen.push(delayMs) },
    { onThrottle: async ({ delayMs }) => await Promise.resolve(delayMs * 2) },
    { onThrottle: ({ delayMs }) => void seen.push(delayMs) },
  ]);
  assert.equal(await chain.throttle(throttle), 6000);
  assert.deepEqual(seen, [3000, 6000]);
});

test("hooks: without onThrottle nothing is awaited; what is no delay is logged and changes nothing", async () => {
  assert.equal(testChain([{ onRecord: () => {} }]).chain.throttle(throttle), undefined);
  for (const answer of ["5", -1, NaN, Infinity, {}]) {
    const { chain, log } = testChain([{ onThrottle: () => answer as number }]);
    assert.equal(await chain.throttle(throttle), undefined);
    assert.match(log.messages("error")[0]!, /onThrottle of script-1\.ts failed.*milliseconds from 0 on/);
  }
});

test("hooks: stop runs onStop and leaves no timer", async () => {
  const { chain, clock, run } = testChain([{ onRecord: () => new Promise(() => {}), onStop() {} }]);
  const signal = new AbortController();
  const next = run(records("a"), signal.signal).next();
  await settle();
  assert.equal(clock.sleeping, 1);
  signal.abort();
  await next;
  await chain.stop({ reason: "signal" });
  assert.equal(clock.sleeping, 0);
});

test("hooks: an onBatch hook gets the page and gives one result per record, in order", async () => {
  const sizes: number[] = [];
  const { outcomes, metric } = testChain([{
    async onBatch(batch) {
      sizes.push(batch.length);
      await settle();
      return batch.map((record) => {
        if (record.text() === "drop") return null;
        if (record.text() === "stay") return undefined;
        if (record.text() === "two") return [record.message, { data: "twin" }];
        return { data: record.text().toUpperCase() };
      });
    },
  }]);
  assert.deepEqual(texts(await outcomes(records("a", "drop", "stay", "two"))), ["A", null, "stay", [
    "two",
    "twin",
  ]]);
  assert.deepEqual(sizes, [4]);
  assert.equal(metric("hook_records_dropped_total"), 1);
});

test("hooks: onBatch between onRecord scripts sees what they made, and their records come out in order", async () => {
  const seen: string[][] = [];
  const { outcomes } = testChain([
    {
      async onRecord(record) {
        if (record.text() === "slow") await settle();
        return record.text() === "x" ? null : [{ data: `${record.text()}1` }, { data: `${record.text()}2` }];
      },
    },
    {
      onBatch(batch) {
        seen.push(batch.map((record) => record.text()));
        return batch.map((record) => record.text() === "b1" ? null : undefined);
      },
    },
    { onRecord: (record) => ({ data: `<${record.text()}>` }) },
  ]);
  assert.deepEqual(texts(await outcomes(records("slow", "x", "b"))), [["<slow1>", "<slow2>"], null, "<b2>"]);
  assert.deepEqual(seen, [["slow1", "slow2", "b1", "b2"]]);
});

test("hooks: onBatch with the wrong number of results, or none, fails saying so", async () => {
  for (
    const [returned, pattern] of [[[null], /1 results for 2 records/], [
      "x",
      /returned a string: an array/,
    ]] as const
  ) {
    const { outcomes } = testChain([{ onBatch: () => returned as never }]);
    await assert.rejects(outcomes(records("a", "b")), (error: unknown) => {
      assert.match(
        (error as Error).message,
        /^onBatch of script-1\.ts failed for stream orders, .*sequence number 1/,
      );
      assert.match((error as Error).message, pattern);
      return true;
    });
  }
});

test("hooks: an invalid result inside of a batch gives what is before it, or skips that record alone", async () => {
  const onBatch = () => [{ data: "a" }, 7 as never, { data: "c" }];
  const stopping = testChain([{ onBatch }]);
  const run = stopping.run(records("a", "b", "c"));
  assert.deepEqual(texts((await run.next())!), ["a"]);
  await assert.rejects(async () => await run.next(), /sequence number 2: returned a number/);
  const skipping = testChain([{ with: { onError: "skip" }, onBatch }]);
  assert.deepEqual(texts(await skipping.outcomes(records("a", "b", "c"))), ["a", null, "c"]);
});

test("hooks: a failing onBatch is repeated, then skips its whole page or stops", async () => {
  let calls = 0;
  const { outcomes, clock, metric } = testChain([{
    with: { retries: 2, onError: "skip" },
    onBatch() {
      calls++;
      throw new Error("down");
    },
  }]);
  const all = outcomes(records("a", "b"));
  await clock.advance(60_000);
  assert.deepEqual(await all, [null, null]);
  assert.equal(calls, 3);
  assert.equal(metric("hook_records_skipped_total"), 2);
  await assert.rejects(
    testChain([{ onBatch: () => Promise.reject(new Error("down")) }]).outcomes(records("a")),
    /onBatch of script-1\.ts failed .*: down/,
  );
});

test("hooks: a record script before onBatch that stops gives what is before its record, through the batch", async () => {
  const { run } = testChain([
    {
      onRecord(record) {
        if (record.text() === "bad") throw new Error("no");
      },
    },
    { onBatch: (batch) => batch.map((record) => ({ data: `${record.text()} of ${batch.length}` })) },
  ]);
  const pass = run(records("a", "b", "bad", "c"));
  assert.deepEqual(texts((await pass.next())!), ["a of 2", "b of 2"]);
  await assert.rejects(async () => await pass.next(), /sequence number 3: no/);
});
