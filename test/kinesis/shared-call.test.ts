// One call for many who ask at the same time.

import assert from "node:assert/strict";
import { test } from "node:test";
import { setImmediate } from "node:timers";
import { SharedCall } from "../../src/kinesis/shared-call.ts";

const open = new AbortController().signal;
const settle = () => new Promise((resolve) => setImmediate(resolve));

/** Calls that are answered by hand, in order. */
function calls(): { answers: ((value: number | Error) => void)[]; shared: SharedCall<number> } {
  const answers: ((value: number | Error) => void)[] = [];
  const shared = new SharedCall(() =>
    new Promise<number>((resolve, reject) => {
      answers.push((value) => value instanceof Error ? reject(value) : resolve(value));
    })
  );
  return { answers, shared };
}

test("kinesis shared call: a thousand who ask while one is under way share the next, which begins after it", async () => {
  const { answers, shared } = calls();
  const first = shared.ask(open);
  const others = Array.from({ length: 1000 }, () => shared.ask(open));
  await settle();
  assert.equal(answers.length, 1);
  answers[0]!(1);
  assert.equal(await first, 1);
  await settle();
  assert.equal(answers.length, 2);
  answers[1]!(2);
  assert.deepEqual(new Set(await Promise.all(others)), new Set([2]));
  const later = shared.ask(open);
  answers[2]!(3);
  assert.equal(await later, 3, "nothing is remembered");
});

test("kinesis shared call: a failure is told to those who shared it, and the next call is made all the same", async () => {
  const { answers, shared } = calls();
  const first = shared.ask(open);
  const second = shared.ask(open);
  answers[0]!(new Error("throttled"));
  await assert.rejects(first, /throttled/);
  await settle();
  answers[1]!(2);
  assert.equal(await second, 2);
});

test("kinesis shared call: who gives up takes nobody's answer away", async () => {
  const { answers, shared } = calls();
  const stop = new AbortController();
  const first = shared.ask(stop.signal);
  const second = shared.ask(open);
  stop.abort(new Error("stopped"));
  await assert.rejects(first, /stopped/);
  answers[0]!(1);
  await settle();
  answers[1]!(2);
  assert.equal(await second, 2);
});
