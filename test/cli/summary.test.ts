import assert from "node:assert/strict";
import { test } from "node:test";
import { summary } from "../../src/cli/summary.ts";
import { parse, small } from "../config/kit.ts";

const deadLetters = (extra: Record<string, unknown>): string | undefined =>
  /^dead letters +(.*)$/m.exec(summary(parse({ ...small, ...extra })))?.[1];

test("cli validate: says what goes to the dead-letter topic, or that there is none", () => {
  const deadLetter = { topic: "dead" };
  const ofPulsar = "whose messages Pulsar refuses for good";
  assert.equal(deadLetters({}), "none: a message that Pulsar refuses for good stops the connector");
  assert.equal(
    deadLetters({ deadLetter, hooks: [{ path: "./a.mts" }] }),
    `persistent://public/default/dead: records that a hook fails on, or ${ofPulsar}`,
  );
  assert.equal(
    deadLetters({ deadLetter, hooks: [{ path: "./a.mts", onError: "skip" }] }),
    `persistent://public/default/dead: records ${ofPulsar}`,
  );
});
