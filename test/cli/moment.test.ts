import assert from "node:assert/strict";
import { test } from "node:test";
import { parseMoment, parsePosition } from "../../src/cli/moment.ts";

const NOW = Date.UTC(2026, 8, 1, 12);
const NUMBER = "49680476692410713352980978376493058687213697339282685954";

test("cli moments: times as in startAtTime, now, and back from now", () => {
  const times: Record<string, number> = {
    "now": NOW,
    "-90s": NOW - 90_000,
    "-30m": NOW - 1_800_000,
    "-6h": NOW - 21_600_000,
    "-2d": NOW - 172_800_000,
    "2026-09-01T00:00Z": NOW - 43_200_000,
    "1788220800000": 1_788_220_800_000,
  };
  for (const [text, time] of Object.entries(times)) assert.equal(parseMoment(text, NOW), time, text);
  for (const text of ["soon", "6h", "-6w", "--6h", "", "1788220800"]) {
    assert.equal(parseMoment(text, NOW), undefined, text);
  }
});

test("cli moments: a position is LATEST, TRIM_HORIZON, a time that has passed, or a shard's sequence number", () => {
  assert.deepEqual(parsePosition("latest", undefined, NOW), { type: "LATEST" });
  assert.deepEqual(parsePosition("TRIM_HORIZON", "s", NOW), { type: "TRIM_HORIZON" });
  assert.deepEqual(parsePosition("earliest", undefined, NOW), { type: "TRIM_HORIZON" });
  assert.deepEqual(parsePosition("-6h", undefined, NOW), {
    type: "AT_TIMESTAMP",
    timestamp: NOW - 21_600_000,
  });
  assert.deepEqual(parsePosition(NUMBER, "s", NOW), { type: "AT_SEQUENCE_NUMBER", sequenceNumber: NUMBER });
  for (
    const [text, why] of [
      [NUMBER, /needs --shard/],
      ["2027-01-01", /in the future; LATEST means from now on/],
      ["1788220800", /epoch milliseconds, or a sequence number, not/],
      ["SHARD_END", /--to must be LATEST, TRIM_HORIZON, a time/],
    ] as const
  ) {
    assert.throws(() => parsePosition(text, undefined, NOW), { name: "UsageError", message: why });
  }
});
