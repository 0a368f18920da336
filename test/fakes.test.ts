import { test } from "node:test";
import assert from "node:assert/strict";
import { FakeClock } from "./fakes.ts";

test("fakes: sleeps wake in order, each at its own moment, and what follows from one runs before the next", async () => {
  const clock = new FakeClock();
  const seen: string[] = [];
  const loop = async (name: string, ms: number) => {
    for (let round = 0; round < 2; round++) {
      await clock.sleep(ms);
      seen.push(`${name}@${clock.monotonic()}`);
    }
  };
  const loops = [loop("a", 30), loop("b", 20)];
  await clock.advance(29);
  assert.deepEqual(seen, ["b@20"]);
  await clock.advance(100);
  await Promise.all(loops);
  assert.deepEqual(seen, ["b@20", "a@30", "b@40", "a@60"]);
  assert.equal(clock.sleeping, 0);
  assert.equal(clock.now() - Date.UTC(2026, 0, 1), 129);
});

test("fakes: an aborted sleep ends at once and leaves nothing waiting", async () => {
  const clock = new FakeClock();
  const abort = new AbortController();
  const sleep = clock.sleep(1000, abort.signal);
  abort.abort();
  await sleep;
  await clock.sleep(1000, abort.signal);
  assert.equal(clock.sleeping, 0);
});

test("fakes: a frozen process wakes late, and time never goes back", async () => {
  const clock = new FakeClock();
  let wokeAt = 0;
  void clock.sleep(10).then(() => wokeAt = clock.monotonic());
  clock.freeze(500);
  assert.equal(wokeAt, 0);
  await clock.advance(1);
  assert.equal(wokeAt, 500);
  assert.equal(clock.monotonic(), 501);
});
