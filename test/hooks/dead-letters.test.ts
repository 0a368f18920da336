// onError = "dead-letter": which records come out as failed, with which error, script and number of calls.

import assert from "node:assert/strict";
import { test } from "node:test";
import { FailedRecord, type HookOutcome } from "../../src/hooks/outcome.ts";
import type { Hooks, KinesisRecord } from "../../src/hooks/types.ts";
import { records, testChain, texts } from "./chains.ts";

const policy = { onError: "dead-letter" } as const;

/** Outcomes as text; a failed record as `script attempts: reason`. */
function fates(outcomes: readonly HookOutcome[]): unknown[] {
  return outcomes.map((outcome) => {
    if (!(outcome instanceof FailedRecord)) return texts([outcome])[0];
    assert.equal(outcome.error.code, "HOOK_FAILED");
    const { message } = outcome.error.cause as Error;
    return `${outcome.script} ${outcome.attempts}: ${message}`;
  });
}

const failsOn = (bad: string, reason = "no"): Hooks => ({
  onRecord(record) {
    if (record.text() === bad) throw new Error(reason);
  },
});

test("hooks dead letters: a failed record comes out as such, in its place, and the others go on", async () => {
  const told: unknown[] = [];
  const { outcomes, metric } = testChain([{
    ...failsOn("bad", "boom"),
    with: policy,
    onError: ({ error, shardId, record }) => void told.push([error.code, shardId, record!.text()]),
  }]);
  const result = await outcomes(records("a", "bad", "c"));
  assert.deepEqual(fates(result), ["a", "script-1.ts 1: boom", "c"]);
  const { error } = result[1] as FailedRecord;
  assert.match(
    error.message,
    /^onRecord of script-1\.ts failed for stream orders, shardId-000000000007, sequence number 2: boom \(.*dead-letters\.test\.ts:\d+\)\. Correct the script; the record goes to the dead-letter topic$/,
  );
  assert.equal(error.where.sequenceNumber, "2");
  assert.deepEqual(told, [["HOOK_FAILED", "shardId-000000000007", "bad"]], "as for skipped records");
  assert.equal(metric("hook_failures_total"), 1);
  assert.equal(metric("hook_records_skipped_total"), 0);
});

test("hooks dead letters: the script in the middle of a chain that failed is named, later ones are not called", async () => {
  const seen: string[] = [];
  const { outcomes } = testChain([
    { onRecord: (record) => ({ ...record.message, data: record.text().toUpperCase() }) },
    { ...failsOn("BAD"), with: policy },
    { onRecord: (record) => void seen.push(record.text()) },
  ]);
  assert.deepEqual(fates(await outcomes(records("a", "bad"))), ["A", "script-2.ts 1: no"]);
  assert.deepEqual(seen, ["A"]);
});

test("hooks dead letters: calls are counted, a timed-out one and an invalid result too", async () => {
  const { outcomes, clock } = testChain([{
    with: { ...policy, retries: 3, timeoutMs: 1_000 },
    onRecord(record): Promise<undefined> | undefined {
      if (record.text() === "throws") throw new Error("poison");
      if (record.text() === "hangs") return new Promise(() => {});
      if (record.text() === "lies") return 7 as never;
      return undefined;
    },
  }]);
  const all = outcomes(records("throws", "hangs", "lies", "good"));
  await clock.advance(60_000);
  assert.deepEqual(fates(await all), [
    "script-1.ts 4: poison",
    "script-1.ts 4: it gave no answer within timeoutMs = 1000",
    "script-1.ts 1: returned a number where a message { data, key?, … } is needed",
    "good",
  ]);
});

test("hooks dead letters: a record of which one message fails goes as a whole, once", async () => {
  const told: string[] = [];
  const split: Hooks = { onRecord: (record) => [..."abcd"].map((part) => ({ data: record.text() + part })) };
  const fails = {
    with: policy,
    onRecord(record: KinesisRecord) {
      if (/^1[bd]/.test(record.text())) throw new Error(`not ${record.text()}`);
    },
    onError: ({ record }: { record?: KinesisRecord | undefined }) => void told.push(record!.text()),
  };
  const asynchronous = {
    ...fails,
    onRecord: (record: KinesisRecord) => Promise.resolve().then(() => fails.onRecord(record)),
  };
  const batch = { ...split, onBatch: (all: readonly KinesisRecord[]) => all.map(() => undefined) };
  for (const chain of [[split, fails], [split, asynchronous], [{ onBatch: batch.onBatch }, split, fails]]) {
    told.length = 0;
    assert.deepEqual(fates(await testChain(chain).outcomes(records("1", "2"))), [
      `script-${chain.length}.ts 1: not 1b`,
      ["2a", "2b", "2c", "2d"],
    ]);
    assert.deepEqual(told, ["1b", "1d"], "each failed call is told");
  }
});

test("hooks dead letters: a failing onBatch fails all of its records, an invalid result only its own", async () => {
  const { outcomes, clock } = testChain([
    { onRecord: (record) => record.text() === "dropped" ? null : undefined },
    {
      with: { ...policy, retries: 1 },
      onBatch(all) {
        if (all.some((record) => record.text() === "poison")) throw new Error("not this page");
        return all.map((record) => record.text() === "odd" ? (7 as never) : undefined);
      },
    },
  ]);
  const first = outcomes(records("a", "dropped", "poison"));
  await clock.advance(1_000);
  assert.deepEqual(fates(await first), [
    "script-2.ts 2: not this page",
    null,
    "script-2.ts 2: not this page",
  ]);
  assert.deepEqual(fates(await outcomes(records("a", "odd", "c"))), [
    "a",
    "script-2.ts 1: returned a number where a message { data, key?, … } is needed",
    "c",
  ]);
});

test("hooks dead letters: a batch script after a failed record does not see it, and a stop behind it still stops", async () => {
  const seen: string[][] = [];
  const { run } = testChain([
    { ...failsOn("bad"), with: policy },
    { onBatch: (all) => (seen.push(all.map((record) => record.text())), all.map(() => undefined)) },
    failsOn("worse", "this ends it"),
  ]);
  const pass = run(records("a", "bad", "c", "worse", "e"));
  assert.deepEqual(fates((await pass.next())!), ["a", "script-1.ts 1: no", "c"]);
  await assert.rejects(async () => await pass.next(), /this ends it/);
  assert.deepEqual(seen, [["a", "c", "worse", "e"]]);
});

test("hooks dead letters: too many messages of one record make it one", async () => {
  const many = { with: policy, onRecord: () => new Array(33).fill({ data: "x" }) };
  // What the second script made of the first one's messages is counted together.
  assert.deepEqual(fates(await testChain([many, many]).outcomes(records("a"))), [
    "script-1.ts 1: made 1089 messages of one record: at most 1024 are allowed",
  ]);
});

test("hooks dead letters: a reserved topic is no hook's to publish to", async () => {
  const { outcomes } = testChain([{
    with: policy,
    onRecord: (record) => ({ ...record.message, topic: record.text() }),
  }], { isReserved: (topic) => topic === "dead" });
  assert.deepEqual(fates(await outcomes(records("other", "dead"))), [
    "other",
    "script-1.ts 1: returned a message for dead, the topic for dead letters: under " +
    'delivery = "effectively-once" only those may go there. Choose another topic, or throw for this record to become ' +
    "a dead letter",
  ]);
});
