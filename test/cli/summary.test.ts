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

test("cli validate: says how messages are sent, and what effectively once asks of brokers", () => {
  const lines = (pulsar: Record<string, unknown>): string =>
    summary(parse({ ...small, pulsar: { ...small.pulsar, ...pulsar } }));
  assert.match(
    lines({}),
    /^messages +in batches of up to 1000 messages, 131072 bytes or 10 ms, not compressed; larger ones .* go in chunks$/m,
  );
  assert.match(
    lines({ batchBuilder: "key-based", compression: "lz4", chunking: false }),
    /^messages +in key-based batches .*, compressed with lz4; larger ones .* are refused$/m,
  );
  assert.match(lines({ batchMaxMessages: 1 }), /^messages +not batched, /m);
  assert.doesNotMatch(lines({}), /deduplicated/);
  assert.match(
    lines({ delivery: "effectively-once" }),
    /effectively-once \(the topic must be deduplicated by/,
  );
});
