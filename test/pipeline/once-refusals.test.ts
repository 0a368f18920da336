// Effectively once, and Pulsar refuses a message for good while it takes later ones: the record comes back under an id
// that is no duplicate, unless a dead letter keeps it.

import { test } from "node:test";
import assert from "node:assert/strict";
import { ConnectorError } from "../../src/core/errors.ts";
import type { LeaseStore } from "../../src/leases/store.ts";
import { DEAD, onceWorld, range, row, type Run, start, texts } from "./once-kit.ts";

const refuses = (text: string): boolean => text === "record 3";
const newNames = ({ log }: Run): string[] =>
  log.messages("warn").filter((line) => line.includes("new producer name"));

test("once: a refused record that no dead letter keeps is published at the next start, under a new name", async () => {
  const world = onceWorld();
  world.stream.put(...range(1, 6));
  const first = await start(world, { refuses });
  assert.equal(row(world)["pulsarRefused"]?.BOOL, true, "at once, not with the last checkpoint");
  await assert.rejects(first.stop(), { code: "MESSAGE_TOO_LARGE" });
  assert.deepEqual(world.broker.texts(), texts(1, 2, 4, 5, 6));
  assert.deepEqual([row(world)["checkpoint"]?.S, row(world)["pulsarRefused"]?.BOOL], ["2", true]);
  const second = await start(world); // the limit was raised
  assert.deepEqual(world.broker.texts(), texts(1, 2, 4, 5, 6, 3, 4, 5, 6));
  assert.match(newNames(second).join(), /shard-0: .* from 3\/0 on: Pulsar refused a message for good.*twice/);
  assert.equal(row(world)["pulsarRefused"]?.BOOL, false);
  await second.stop();
  const third = await start(world);
  assert.deepEqual(newNames(third), []);
  await third.stop();
});

test("once: killed before a refused record's dead letter is stored, the next start publishes it under a new name", async () => {
  const world = onceWorld();
  world.stream.put(...range(1, 6));
  const first = await start(world, { refuses, deadLetterTopic: DEAD, reach: 6 });
  await first.clock.advance(1_000);
  assert.deepEqual([row(world)["checkpoint"]?.S, row(world)["pulsarRefused"]?.BOOL], ["2", true]);
  first.kill();
  const second = await start(world, { deadLetterTopic: DEAD });
  assert.ok(world.broker.texts().includes("record 3"));
  assert.equal(newNames(second).length, 1);
  await second.stop();
});

test("once: a refused record whose dead letter is stored is no reason for a new name", async () => {
  const world = onceWorld();
  world.stream.put(...range(1, 6));
  const first = await start(world, { refuses, deadLetterTopic: DEAD });
  assert.deepEqual(world.broker.texts(DEAD), texts(3));
  assert.equal(row(world)["checkpoint"]?.S, "TRIM_HORIZON");
  assert.equal(row(world)["pulsarRefused"]?.BOOL, false);
  first.kill();
  const second = await start(world, { deadLetterTopic: DEAD });
  assert.deepEqual(newNames(second), []);
  assert.deepEqual(world.broker.texts(), texts(1, 2, 4, 5, 6));
  await second.stop();
});

test("once: the mark of a refusal is written again when the table did not take it, at the latest by the stop", async () => {
  for (const isBackSoon of [true, false]) {
    const world = onceWorld();
    world.stream.put(...range(1, 4));
    let isDown = false;
    const wrapStore = (store: LeaseStore): LeaseStore => {
      const update = store.update.bind(store);
      store.update = (...args) =>
        isDown
          ? Promise.reject(new ConnectorError("down", { code: "THROTTLED", retryable: true }))
          : update(...args);
      return store;
    };
    const run = await start(world, {
      wrapStore,
      refuses: (text) => isDown ||= refuses(text),
      deadLetterTopic: DEAD,
      reach: 4,
    });
    assert.equal(row(world)["pulsarRefused"]?.BOOL, false);
    isDown = false;
    if (isBackSoon) await run.clock.advance(900);
    else await run.stop();
    assert.equal(row(world)["pulsarRefused"]?.BOOL, true);
    assert.equal(row(world)["pulsarDrained"]?.BOOL, false);
    if (isBackSoon) run.kill();
  }
});
