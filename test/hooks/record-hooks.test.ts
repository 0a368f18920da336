import assert from "node:assert/strict";
import { test } from "node:test";
import { clearImmediate, setImmediate } from "node:timers";
import type { ConnectorError } from "../../src/core/errors.ts";
import type { SinkMessage } from "../../src/core/record.ts";
import type { Hooks, KinesisRecord } from "../../src/hooks/types.ts";
import { settle } from "../fakes.ts";
import { drain, records, testChain, texts } from "./chains.ts";

const only = (outcome: unknown): SinkMessage => outcome as SinkMessage;
const hookFailed = (pattern: RegExp) => (error: unknown): boolean => {
  assert.equal((error as ConnectorError).code, "HOOK_FAILED");
  assert.match((error as ConnectorError).message, pattern);
  return true;
};

/** A promise to be settled by hand. */
function deferred<T>(): { promise: Promise<T>; resolve(value: T): void; reject(error: unknown): void } {
  let resolve!: (value: T) => void;
  let reject!: (error: unknown) => void;
  const promise = new Promise<T>((yes, no) => [resolve, reject] = [yes, no]);
  return { promise, resolve, reject };
}

test("hooks: without hooks on records a page is mapped, in pieces, and no promise is made", () => {
  const { run } = testChain([{ onStart() {} }]);
  const page = records(...Array.from({ length: 2500 }, (_, index) => `r${index}`));
  const pass = run(page);
  const taken: unknown[] = [];
  for (let next = pass.next(); next !== undefined; next = pass.next()) {
    assert.ok(Array.isArray(next));
    taken.push(...next);
  }
  assert.equal(taken.length, 2500);
  assert.deepEqual(taken[2499], {
    topic: "out",
    data: page[2499]!.data,
    key: "key-2500",
    properties: { "kinesis.sequence.number": "2500" },
    eventTime: 1_551_814_138_000 + 2499,
  });
  assert.equal(only(taken[3]).data, page[3]!.data);
});

test("hooks: undefined publishes as it stands, null drops, a message replaces, an array makes several", async () => {
  const { outcomes, metric } = testChain([{
    onRecord(record) {
      const text = record.text();
      if (text === "stays") return;
      if (text === "goes") return null;
      if (text === "none") return [];
      if (text === "two") return [{ data: "one" }, { ...record.message, data: "other", topic: "elsewhere" }];
      return { data: "new", key: "k" };
    },
  }]);
  const page = records("stays", "goes", "changes", "two", "none");
  const result = await outcomes(page);
  assert.deepEqual(texts(result), ["stays", null, "new", ["one", "other"], null]);
  assert.equal(only(result[0]).data, page[0]!.data);
  assert.equal(only(result[2]).key, "k");
  assert.equal(only(result[2]).properties, undefined);
  assert.deepEqual((result[3] as SinkMessage[]).map((message) => message.topic), ["out", "elsewhere"]);
  assert.equal(metric("hook_records_dropped_total"), 2);
});

test("hooks: a synchronous hook is called in a plain loop: outcomes come without a promise", () => {
  const { run } = testChain([{ onRecord: (record) => ({ ...record.message, key: "k" }) }]);
  const outcomes = run(records("a", "b")).next();
  assert.ok(Array.isArray(outcomes));
  assert.deepEqual(texts(outcomes), ["a", "b"]);
});

test("hooks: what one script returns is the next one's record", async () => {
  const seen: string[] = [];
  const { outcomes } = testChain([
    { onRecord: (record) => record.text() === "x" ? null : [{ data: { n: 1 } }, { data: "b", key: "kb" }] },
    {
      onRecord(record) {
        seen.push(`${record.text()} ${record.message.key} ${record.partitionKey} ${record.sequenceNumber}`);
        return record.text() === "b"
          ? null
          : { ...record.message, key: String(record.json<{ n: number }>().n) };
      },
    },
    { onRecord: (record) => ({ ...record.message, data: `<${record.text()}>` }) },
  ]);
  const result = await outcomes(records("x", "y"));
  assert.deepEqual(seen, ['{"n":1} undefined key-2 2', "b kb key-2 2"]);
  assert.deepEqual(texts(result), [null, '<{"n":1}>']);
  assert.equal(only(result[1]).key, "1");
});

test("hooks: returning the record, or changing its message in place, publishes it as it stands", async () => {
  const { outcomes } = testChain([{
    onRecord(record) {
      if (record.text() === "same") return record;
      (record.message as { key?: string }).key = "in place";
    },
  }]);
  const result = await outcomes(records("same", "changed"));
  assert.deepEqual(texts(result), ["same", "changed"]);
  assert.equal(only(result[1]).key, "in place");
});

test("hooks: strings become UTF-8, objects JSON, dates milliseconds, ordering keys bytes", async () => {
  const { outcomes } = testChain([{
    onRecord: () => [
      { data: "é", eventTime: new Date(5), deliverAt: 7.9, orderingKey: "ö" },
      { data: { a: [1] }, properties: { p: "q" } },
      { data: [1, "2"] },
      { data: Uint8Array.of(255, 0) },
    ],
  }]);
  const [first, ...others] = (await outcomes(records("x")))[0] as SinkMessage[];
  assert.deepEqual([...first!.data], [0xc3, 0xa9]);
  assert.deepEqual([first!.eventTime, first!.deliverAt, [...first!.orderingKey!]], [5, 7, [0xc3, 0xb6]]);
  assert.deepEqual(others.map((message) => [...message.data]), [
    [...new TextEncoder().encode('{"a":[1]}')],
    [...new TextEncoder().encode('[1,"2"]')],
    [255, 0],
  ]);
  assert.deepEqual(others[0]!.properties, { p: "q" });
});

test("hooks: what is no message fails by naming script, stream, shard, record, type and what is allowed", async () => {
  const circular: Record<string, unknown> = {};
  circular.self = circular;
  const cases: [unknown, RegExp][] = [
    [42, /returned a number where a message/],
    ["text", /returned a string where/],
    [true, /returned a boolean/],
    [[null], /returned null where/],
    [[[{ data: "x" }]], /returned an Array where/],
    [{}, /undefined as data/],
    [{ id: 7 }, /object without data, but with id.*perhaps \{ data: … \}/],
    [{ data: "x", propertys: {} }, /unknown field propertys \(did you mean properties\?\)/],
    [{ data: new Map() }, /a Map as data/],
    [{ data: Promise.resolve("x") }, /a Promise as data.*an await is missing/],
    [{ data: new ArrayBuffer(1) }, /an ArrayBuffer as data.*wrap it in a Uint8Array/],
    [{ data: 7 }, /a number as data: bytes \(Uint8Array\), a string, or a plain object or array/],
    [{ data: circular }, /cannot be written as JSON/],
    [{ data: { big: 1n } }, /cannot be written as JSON/],
    [{ data: "x", key: 5 }, /a number as key: only a string/],
    [{ data: "x", key: null }, /null as key/],
    [{ data: "x", topic: "" }, /an empty string as topic/],
    [{ data: "x", properties: { p: 5 } }, /property p is a number: properties are strings/],
    [{ data: "x", properties: new Map() }, /a Map as properties/],
    [{ data: "x", eventTime: "2026" }, /a string as eventTime/],
    [{ data: "x", eventTime: new Date(NaN) }, /an invalid Date as eventTime/],
    [{ data: "x", deliverAt: -1 }, /such a number as deliverAt/],
    [{ data: "x", orderingKey: 1 }, /a number as orderingKey/],
    [new Array(1025).fill({ data: "x" }), /1025 messages of one record: at most 1024/],
  ];
  for (const [returned, pattern] of cases) {
    const { outcomes } = testChain([{ onRecord: () => returned } as unknown as Hooks]);
    await assert.rejects(outcomes(records("SECRET")), (error: unknown) => {
      const { message } = error as ConnectorError;
      assert.match(message, pattern);
      assert.match(
        message,
        /^onRecord of script-1\.ts failed for stream orders, shardId-000000000007, sequence number 1: /,
      );
      assert.match(message, /undefined \(publish as it stands\), null \(drop\)/);
      assert.doesNotMatch(message, /SECRET/);
      return hookFailed(/./)(error);
    });
  }
});

test("hooks: 1024 messages of one record pass, 1025 made by two scripts together do not", async () => {
  const times = (count: number): Hooks => ({ onRecord: () => new Array(count).fill({ data: "x" }) });
  assert.equal(((await testChain([times(1024)]).outcomes(records("a")))[0] as unknown[]).length, 1024);
  assert.equal(
    ((await testChain([times(32), times(32)]).outcomes(records("a")))[0] as unknown[]).length,
    1024,
  );
  await assert.rejects(testChain([times(25), times(41)]).outcomes(records("a")), hookFailed(/1025 messages/));
});

test("hooks: asynchronous results leave in shard order, those before a slow record at once", async () => {
  const slow = deferred<void>();
  const { run } = testChain([{
    async onRecord(record) {
      if (record.text() === "slow") await slow.promise;
      return { data: record.text().toUpperCase() };
    },
  }]);
  const pass = run(records("a", "b", "slow", "d", "e"));
  assert.deepEqual(texts((await pass.next())!), ["A", "B"]);
  let arrived = false;
  const rest = Promise.resolve(pass.next()).then((outcomes) => {
    arrived = true;
    return outcomes!;
  });
  await settle();
  assert.equal(arrived, false, "nothing overtakes the slow record");
  slow.resolve();
  assert.deepEqual(texts(await rest), ["SLOW", "D", "E"]);
  assert.equal(await pass.next(), undefined);
});

test("hooks: synchronous and asynchronous results of a page keep their order", async () => {
  const { outcomes } = testChain([{
    onRecord: (record) =>
      Number(record.text()) % 3 === 0 ? Promise.resolve({ data: `p${record.text()}` }) : undefined,
  }]);
  const page = records(...Array.from({ length: 3000 }, (_, index) => String(index)));
  const expected = page.map((_, index) => index % 3 === 0 ? `p${index}` : String(index));
  assert.deepEqual(texts(await outcomes(page)), expected);
});

test("hooks: at most `concurrency` asynchronous calls of a script run at once, per script", async () => {
  const running = [0, 0];
  const most = [0, 0];
  const script = (at: 0 | 1, concurrency: number) => ({
    with: { concurrency },
    async onRecord(record: KinesisRecord) {
      most[at] = Math.max(most[at]!, ++running[at]!);
      await settle();
      running[at]!--;
      return at === 0 ? [record.message, record.message] : undefined;
    },
  });
  const { outcomes } = testChain([script(0, 5), script(1, 3)]);
  const result = await outcomes(records(...Array.from({ length: 40 }, (_, index) => `${index}`)));
  assert.deepEqual(texts(result), Array.from({ length: 40 }, (_, index) => [`${index}`, `${index}`]));
  assert.deepEqual(most, [5, 3]);
});

test("hooks: onError stop gives what is before the failed record, then the error, and calls nothing behind it", async () => {
  const seen: string[] = [];
  const told: unknown[] = [];
  const { run, chain, metric } = testChain([{
    onRecord(record) {
      seen.push(record.text());
      if (record.text() === "bad") throw new TypeError("boom");
    },
    onError({ error, shardId, record }) {
      told.push([error.code, shardId, record!.text()]);
    },
  }]);
  const pass = run(records("a", "b", "bad", "c"));
  assert.deepEqual(texts((await pass.next())!), ["a", "b"]);
  const failure = await Promise.resolve().then(() => pass.next()).then(() => undefined, (error) => error);
  hookFailed(
    /^onRecord of script-1\.ts failed for stream orders, .*sequence number 3: boom \(.*record-hooks\.test\.ts:\d+\)/,
  )(
    failure,
  );
  assert.equal((failure as ConnectorError).where.sequenceNumber, "3");
  assert.equal((failure as ConnectorError).where.shardId, "shardId-000000000007");
  assert.match((failure as ConnectorError).where.file!, /record-hooks\.test\.ts$/);
  assert.equal(((failure as ConnectorError).cause as Error).message, "boom");
  assert.deepEqual(seen, ["a", "b", "bad"]);
  await chain.error({ error: failure as ConnectorError });
  assert.deepEqual(told, [["HOOK_FAILED", "shardId-000000000007", "bad"]], "onError hooks are told once");
  assert.equal(metric("hook_failures_total"), 1);
});

test("hooks: of two asynchronous failures the earlier record's is given, after all before it", async () => {
  const gates = [deferred<void>(), deferred<void>()];
  const { run } = testChain([{
    async onRecord(record) {
      if (record.text() === "first") await gates[0]!.promise;
      if (record.text() === "second") await gates[1]!.promise;
    },
  }]);
  const pass = run(records("a", "first", "b", "second"));
  assert.deepEqual(texts((await pass.next())!), ["a"]);
  const next = Promise.resolve(pass.next()).then(() => "outcomes", (error: Error) => error.message);
  gates[1]!.reject(new Error("second failed"));
  await settle();
  gates[0]!.reject(new Error("first failed"));
  assert.match(await next, /sequence number 2: first failed/);
});

test("hooks: onError skip finishes the record, counts it, tells onError hooks and says it, but not at full rate", async () => {
  const told: string[] = [];
  const { outcomes, metric, log } = testChain([{
    with: { onError: "skip" },
    onRecord(record) {
      if (record.text() !== "good") throw new Error("no");
    },
    onError: ({ record }) => void told.push(record!.sequenceNumber),
  }]);
  const page = records(...Array.from({ length: 100 }, () => "bad"), "good");
  assert.deepEqual(texts(await outcomes(page)), [...new Array(100).fill(null), "good"]);
  assert.equal(metric("hook_records_skipped_total"), 100);
  assert.equal(told.length, 100);
  assert.deepEqual(
    log.entries.filter((entry) => entry.level === "warn").map((entry) => entry.fields.skipped),
    [
      ...[1, 2, 3, 4, 5, 6, 7, 8, 9, 10],
      ...[16, 32, 64],
    ],
  );
});

test("hooks: skip finishes one message of a fan-out, its siblings go on", async () => {
  const { outcomes } = testChain([
    { onRecord: () => [{ data: "a" }, { data: "bad" }, { data: "c" }] },
    {
      with: { onError: "skip" },
      onRecord(record) {
        if (record.text() === "bad") throw new Error("no");
      },
    },
  ]);
  assert.deepEqual(texts(await outcomes(records("x"))), [["a", "c"]]);
});

test("hooks: a failed call is repeated `retries` times with growing delays, then the policy holds", async () => {
  const calls: number[] = [];
  const { outcomes, clock, metric } = testChain([{
    with: { retries: 3, onError: "skip" },
    onRecord(record) {
      calls.push(clock.monotonic());
      if (record.text() === "never" || calls.length < 3) throw new Error("not yet");
    },
  }]);
  const first = outcomes(records("soon"));
  await clock.advance(60_000);
  assert.deepEqual(texts(await first), ["soon"]);
  assert.deepEqual(calls, [0, 75, 225]);
  const second = outcomes(records("never"));
  await clock.advance(60_000);
  assert.deepEqual(await second, [null]);
  assert.equal(calls.length, 3 + 4);
  assert.equal(metric("hook_retries_total"), 5);
});

test("hooks: an invalid result is not asked for again", async () => {
  let calls = 0;
  const { outcomes } = testChain([{ with: { retries: 5 }, onRecord: () => (calls++, 7 as never) }]);
  await assert.rejects(outcomes(records("x")), hookFailed(/returned a number/));
  assert.equal(calls, 1);
});

test("hooks: an asynchronous hook slower than timeoutMs has failed, its signal aborts, its late result is ignored", async () => {
  const late = deferred<{ data: string }>();
  let signal: AbortSignal | undefined;
  const { outcomes, clock } = testChain([{
    with: { timeoutMs: 1000, onError: "skip" },
    onRecord(record, context) {
      if (record.text() !== "slow") return Promise.resolve(undefined);
      signal = context.signal;
      return late.promise;
    },
  }]);
  const all = outcomes(records("a", "slow", "c"));
  await clock.advance(999);
  assert.equal(signal!.aborted, false);
  await clock.advance(1);
  assert.equal(signal!.aborted, true);
  assert.match(String(signal!.reason), /timeoutMs = 1000/);
  assert.deepEqual(texts(await all), ["a", null, "c"]);
  late.resolve({ data: "late" });
  await settle();
  assert.equal(clock.sleeping, 0);
});

test("hooks: calls that time out give their place to others", async () => {
  const { outcomes, clock, metric } = testChain([{
    with: { timeoutMs: 10, onError: "skip", concurrency: 2 },
    onRecord: () => new Promise<undefined>(() => {}),
  }]);
  const all = outcomes(records("a", "b", "c", "d", "e"));
  await clock.advance(100);
  assert.deepEqual(await all, [null, null, null, null, null]);
  assert.equal(metric("hook_records_skipped_total"), 5);
});

test("hooks: a synchronous hook that held the process longer than timeoutMs has failed after it returned", async () => {
  const { run, clock } = testChain([{
    with: { timeoutMs: 10_000 },
    onRecord(record) {
      if (record.text() === "busy") clock.freeze(15_000);
      return { data: "result" };
    },
  }]);
  const pass = run(records("a", "busy"));
  assert.deepEqual(texts((await pass.next())!), ["result"]);
  await assert.rejects(
    async () => await pass.next(),
    hookFailed(/sequence number 2: it held the process for 15000 ms, longer than timeoutMs = 10000/),
  );
});

test("hooks: slow synchronous hooks let other work of the process run between records", async (t) => {
  const { run, clock } = testChain([{ onRecord: () => clock.freeze(20) }]);
  const pass = run(records(..."abcdefgh"));
  let others = 0;
  let handle = setImmediate(function other() {
    others++;
    handle = setImmediate(other);
  });
  t.after(() => clearImmediate(handle));
  assert.equal((await drain(pass)).length, 8);
  assert.ok(others >= 3, `others had ${others} turns`);
  const first = run(records(..."abcdefgh")).next();
  assert.equal((first as unknown[]).length, 2, "a piece ends when 25 ms have passed");
});

test("hooks: a page whose signal aborts ends without outcomes and without further calls", async () => {
  const calls: string[] = [];
  const lost = new AbortController();
  let seen: AbortSignal | undefined;
  const { run } = testChain([{
    with: { concurrency: 1 },
    onRecord(record, context) {
      calls.push(record.text());
      seen = context.signal;
      return new Promise(() => {});
    },
  }]);
  const pass = run(records("a", "b"), lost.signal);
  const next = pass.next();
  lost.abort();
  assert.equal(await next, undefined);
  assert.equal(await pass.next(), undefined);
  assert.equal(seen!.aborted, true);
  assert.deepEqual(calls, ["a"]);
});

test("hooks: the context has the script's options, log, metrics and runtime, and the connector's signal", async () => {
  let signal: AbortSignal | undefined;
  const { outcomes, log, metric, abort } = testChain([{
    with: { options: { country: "DE" } },
    onRecord(_, context) {
      const { options, log, metrics, runtime } = context;
      signal = context.signal;
      assert.equal(context.signal, signal);
      log.info("seen", { runtime });
      metrics.count("orders_seen");
      metrics.count("orders_seen", 2);
      metrics.gauge("last_size", 7);
      return { data: String(options.country) };
    },
  }]);
  assert.deepEqual(texts(await outcomes(records("x"))), ["DE"]);
  assert.deepEqual(log.entries.at(-1), {
    level: "info",
    message: "seen",
    fields: { script: "script-1.ts", runtime: "node" },
  });
  assert.deepEqual([metric("orders_seen"), metric("last_size")], [3, 7]);
  abort.abort();
  const again = testChain([{ onRecord: (_, context) => void (signal = context.signal) }]);
  again.abort.abort(new Error("stopping"));
  await again.outcomes(records("x"));
  assert.equal(signal!.aborted, true);
});

test("hooks: hooks are called on their object, so that `this` holds state", async () => {
  class Counting implements Hooks {
    seen = 0;
    onRecord(): { data: string } {
      return { data: String(++this.seen) };
    }
  }
  const instance = new Counting();
  const { createHookChain } = await import("../../src/hooks/chain.ts");
  const { inlineHooks } = await import("../../src/hooks/load.ts");
  const base = testChain([]);
  const chain = createHookChain({
    scripts: [inlineHooks(instance)],
    topic: "out",
    messageKeyMode: "PARTITION_KEY",
    kinesisRecordProperties: [],
    eventTime: "none",
    streamName: "orders",
    log: base.log,
    metrics: base.metrics,
    clock: base.clock,
    runtime: "node",
    signal: base.abort.signal,
  });
  const run = chain.processPage(
    records("a", "b"),
    { shardId: "s", millisBehindLatest: 0 },
    new AbortController().signal,
  );
  assert.deepEqual(texts(await drain(run)), ["1", "2"]);
});
