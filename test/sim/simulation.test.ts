// A few of the stories of `npm run proof -- simulation`: see story.ts. SIM_STORIES=5000 tells so many, SIM_SEED=7 begins
// with that seed.

import assert from "node:assert/strict";
import { test } from "node:test";
import process from "node:process";
import fc from "fast-check";
import { play } from "./story.ts";
import { stories } from "./stories.ts";
import { tell } from "./tell.ts";

const COUNT = Number(process.env["SIM_STORIES"] ?? 150);
const SEED = Number(process.env["SIM_SEED"] ?? 1);

test("simulation: whatever is lost, late, frozen, killed or split, workers keep every promise about leases", async () => {
  const { failure, totals } = await tell({ seed: SEED, count: COUNT });
  assert.equal(failure, undefined, `${failure?.message}\n${JSON.stringify(failure)}`);
  assert.equal(totals.stories, COUNT);
  assert.ok(totals.duplicates > 0, "no owner was ever lost with records in flight: the stories are too kind");
});

test("simulation: a seed is one story, event by event", async () => {
  for (const story of fc.sample(stories, { seed: 3, numRuns: 5 })) {
    const told: string[][] = [[], []];
    for (const lines of told) await play(story, { say: (line) => lines.push(line) });
    assert.ok(told[0]!.length > 20);
    assert.deepEqual(told[0], told[1]);
  }
});
