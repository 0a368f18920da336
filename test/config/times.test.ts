import assert from "node:assert/strict";
import { test } from "node:test";
import { parseTime } from "../../src/config/mod.ts";
import { load, parse, problems, small } from "./kit.ts";

const AT = Date.UTC(2019, 2, 5, 19, 28, 58);

test("config time: ISO-8601 with and without zone, dates, epoch milliseconds, RFC-1123 (KCL scenario 24)", () => {
  const forms: [unknown, number][] = [
    ["2019-03-05T19:28:58.000Z", AT],
    ["2019-03-05T19:28:58Z", AT],
    ["2019-03-05T19:28:58", AT],
    ["2019-03-05 19:28:58", AT],
    ["2019-03-05T19:28:58.5", AT + 500],
    ["2019-03-05T19:28:58.123456789Z", AT + 123],
    ["2019-03-05T20:28:58+01:00", AT],
    ["2019-03-05T20:28:58+0100", AT],
    ["2019-03-05T17:58:58-01:30", AT],
    ["2019-03-05T19:28Z", AT - 58_000],
    ["2019-03-05", Date.UTC(2019, 2, 5)],
    ["2020-02-29", Date.UTC(2020, 1, 29)],
    [AT, AT],
    [String(AT), AT],
    ["0", 0],
    [" 2019-03-05 ", Date.UTC(2019, 2, 5)],
    ["Tue, 05 Mar 2019 19:28:58 GMT", AT],
    ["Tue, 5 Mar 2019 20:28:58 +0100", AT],
    [new Date(AT), AT],
  ];
  for (const [text, wanted] of forms) assert.equal(parseTime(text), wanted, String(text));
});

test("config time: what is no moment is refused", () => {
  const wrong = [
    "yesterday",
    "2019",
    "2019-02-29",
    "2019-13-01",
    "2019-03-05T24:00:00Z",
    "2019-03-05T19:60:00Z",
    "2019-03-05T19:28:58+25:00",
    "05.03.2019",
    "Tue, 30 Feb 2019 19:28:58 GMT",
    1.5,
    NaN,
    1e17,
    true,
    {},
    new Date(NaN),
  ];
  for (const value of wrong) assert.equal(parseTime(value), undefined, String(value));
});

test("config time: TOML's own dates count as UTC where they have no zone", async (t) => {
  const toml = (time: string) =>
    `awsKinesisStreamName = "s"\nawsRegion = "eu-west-1"\nstartAtTime = ${time}\n` +
    `[pulsar]\nserviceUrl = "pulsar://h"\ntopic = "t"\n`;
  for (
    const [text, wanted] of [
      ["2019-03-05T19:28:58Z", AT],
      ["2019-03-05T20:28:58+01:00", AT],
      ["2019-03-05T19:28:58", AT],
      ["2019-03-05 19:28:58.000", AT],
      ["2019-03-05", Date.UTC(2019, 2, 5)],
      [String(AT), AT],
    ] as const
  ) assert.equal((await load(t, "c.toml", toml(text))).startAtTime, wanted, text);
  await assert.rejects(load(t, "c.toml", toml("19:28:58")), /startAtTime = .*: must be a time/);
});

test("config time: AT_TIMESTAMP without a time is refused in the Java connector's words (KCL scenario 24)", () => {
  const [line, ...others] = problems({ ...small, initialPositionInStream: "AT_TIMESTAMP" });
  assert.match(line!, /When initialPositionInStream is AT_TIMESTAMP, startAtTime must be specified$/);
  assert.deepEqual(others, []);
  assert.deepEqual(
    problems({ ...small, initialPositionInStream: "AT_TIMESTAMP", startAtTime: "soon" }).length,
    1,
  );
  assert.equal(parse({ ...small, initialPositionInStream: "AT_TIMESTAMP", startAtTime: 5 }).startAtTime, 5);
});
