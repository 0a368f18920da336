// Effectively once: what a kill at any moment leaves, and where the next run goes on.

import { test } from "node:test";
import assert from "node:assert/strict";
import type { InitialPosition } from "../../src/pipeline/parts.ts";
import { newAggregate } from "../core/aggregate-record.ts";
import { onceWorld, range, row, start, texts } from "./once-kit.ts";

const POSITIONS: readonly { name: string; initialPosition: InitialPosition }[] = [
  { name: "TRIM_HORIZON", initialPosition: { type: "TRIM_HORIZON" } },
  { name: "AT_TIMESTAMP", initialPosition: { type: "AT_TIMESTAMP", timestamp: 3 } },
  { name: "LATEST", initialPosition: { type: "LATEST" } },
];

for (const { name, initialPosition } of POSITIONS) {
  test(`G4 effectively once: killed before the first checkpoint at ${name}, nothing is lost or there twice`, async () => {
    const world = onceWorld();
    world.stream.put(1, 2, 3, 4);
    const first = await start(world, { initialPosition, receipts: 0, reach: 3 });
    world.stream.put(5, 6, 7, 8);
    await first.clock.advance(100);
    const published = world.broker.texts();
    assert.equal(published.length, 3);
    assert.equal(row(world)["checkpoint"]?.S, name);
    first.kill();
    const second = await start(world, { initialPosition });
    await second.clock.advance(2_000);
    const wanted = name === "LATEST" ? range(5, 8) : name === "AT_TIMESTAMP" ? range(3, 8) : range(1, 8);
    assert.deepEqual(world.broker.texts(), texts(...wanted));
    assert.equal(world.broker.duplicates, 3);
    assert.deepEqual([...second.sink.producers], [...first.sink.producers]);
    assert.equal(second.opened[0]!.start.type, "AT_SEQUENCE_NUMBER");
    await second.stop();
  });
}

test("G4 effectively once: killed between checkpoints, the next run goes on with the same ids", async () => {
  const world = onceWorld();
  world.stream.put(...range(1, 10));
  const first = await start(world, { reach: 7, receipts: 4 });
  await first.clock.advance(1_000);
  assert.equal(row(world)["checkpoint"]?.S, "4");
  assert.deepEqual(row(world)["pulsarOrdinal"], { N: "4" });
  assert.deepEqual(row(world)["pulsarOrdinalAt"], { S: "4/0" });
  first.kill();
  const second = await start(world);
  assert.deepEqual(world.broker.texts(), texts(...range(1, 10)));
  assert.equal(world.broker.duplicates, 3);
  assert.deepEqual([...second.sink.producers], [...first.sink.producers]);
  await second.stop();
});

test("G4 effectively once: killed again and again in the middle of aggregates, each record is there once", async () => {
  const world = onceWorld();
  world.stream.put(newAggregate("1", ["a", "b", "c"]), 2, newAggregate("3", ["d", "e", "f", "g"]), 4);
  for (const receipts of [2, 1, 3]) {
    const run = await start(world, { reach: receipts + 2, receipts });
    await run.clock.advance(1_000);
    run.kill();
  }
  const last = await start(world);
  assert.deepEqual(world.broker.texts(), [
    "a",
    "b",
    "c",
    "record 2",
    "d",
    "e",
    "f",
    "g",
    "record 4",
  ]);
  assert.equal(last.sink.producers.size, 1);
  assert.match([...last.sink.producers][0]!, /^app\/orders\/shard-0\/[0-9a-f]{16}$/);
  await last.stop();
});
