// All stories there are: what fast-check makes up, and makes smaller when one goes wrong.

import fc from "fast-check";
import type { Deed, Step, Story } from "./story.ts";

const who = fc.nat({ max: 3 });

const busy = fc.boolean();

const deed: fc.Arbitrary<Deed> = fc.oneof(
  {
    weight: 8,
    arbitrary: fc.record({ type: fc.constant("put" as const), count: fc.integer({ min: 1, max: 6 }) }),
  },
  { weight: 2, arbitrary: fc.constant({ type: "split" as const }) },
  { weight: 2, arbitrary: fc.constant({ type: "merge" as const }) },
  { weight: 3, arbitrary: fc.constant({ type: "start" as const }) },
  { weight: 2, arbitrary: fc.record({ type: fc.constant("kill" as const), who, busy }) },
  { weight: 1, arbitrary: fc.record({ type: fc.constant("stop" as const), who }) },
  {
    weight: 3,
    arbitrary: fc.record({
      type: fc.constant("freeze" as const),
      who,
      busy,
      percent: fc.integer({ min: 5, max: 300 }),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      type: fc.constant("cut" as const),
      who,
      percent: fc.integer({ min: 5, max: 200 }),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      type: fc.constant("set clock" as const),
      who,
      seconds: fc.integer({ min: -100, max: 100 }),
    }),
  },
);

const step: fc.Arbitrary<Step> = fc.record({ percent: fc.nat({ max: 120 }), deed });

const any: fc.Arbitrary<Story> = fc.record({
  chance: fc.noShrink(fc.integer()),
  position: fc.constantFrom("TRIM_HORIZON" as const, "LATEST" as const, "AT_TIMESTAMP" as const),
  failoverTimeMs: fc.constantFrom(1_000, 2_000, 3_000),
  shards: fc.integer({ min: 1, max: 3 }),
  workers: fc.integer({ min: 1, max: 3 }),
  java: fc.integer({ min: 0, max: 7 }).map((chance) => chance === 7),
  ages: fc.integer({ min: 0, max: 15 }).map((chance) => chance === 15),
  before: fc.nat({ max: 12 }),
  steps: fc.array(step, { minLength: 1, maxLength: 24, size: "max" }),
  weather: fc.constantFrom(
    { slow: 10, sluggish: 0, throttled: 0, lost: 0 },
    { slow: 40, sluggish: 2, throttled: 1, lost: 1 },
    { slow: 40, sluggish: 10, throttled: 3, lost: 8 },
    { slow: 60, sluggish: 20, throttled: 10, lost: 20 },
  ),
  checkpointIntervalMs: fc.constantFrom(200, 700, 2_000),
  numRetries: fc.constantFrom(0, 3),
  receiveQueueSize: fc.constantFrom(1, 5, 1_000),
  room: fc.constantFrom(1, 3, 1_000),
  receiptsMs: fc.constantFrom(10, 200, 2_000),
});

/**
 * A story. With a Java connector the failover time is the KCL's, and nobody begins at LATEST: what comes while that
 * one has no reader is lost by its own rules. Long ones have it too, because less happens in them then.
 */
export const stories: fc.Arbitrary<Story> = any.map((story) =>
  story.java || story.ages
    ? {
      ...story,
      failoverTimeMs: 10_000,
      position: story.java && story.position === "LATEST" ? "TRIM_HORIZON" as const : story.position,
    }
    : story
);
