import assert from "node:assert/strict";
import { test } from "node:test";
import { ConnectorError } from "../../src/core/errors.ts";
import { createLogger, type LogOptions } from "../../src/cli/log.ts";

function logTo(options: LogOptions, isTTY: boolean) {
  const lines: string[] = [];
  return { lines, log: createLogger(options, { isTTY, write: (line) => lines.push(line) }) };
}

test("cli log: JSON lines where there is no terminal, with level, time, words and fields", () => {
  const { lines, log } = logTo({ level: "info", format: "auto" }, false);
  log.info("started", { shardId: "shardId-0", count: 3, big: 12345678901234567890n });
  assert.equal(lines.length, 1);
  const { time, ...entry } = JSON.parse(lines[0]!);
  assert.match(time, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/);
  assert.deepEqual(entry, {
    level: "info",
    msg: "started",
    shardId: "shardId-0",
    count: 3,
    big: "12345678901234567890",
  });
});

test("cli log: text on a terminal, or where it is asked for", () => {
  const terminal = logTo({ level: "info", format: "auto" }, true);
  terminal.log.warn("slow", { shardId: "s", note: "two words" });
  const escape = String.fromCharCode(27);
  const bare = terminal.lines.join("").replace(new RegExp(`${escape}\\[\\d+m`, "g"), "");
  assert.match(bare, /^\d\d:\d\d:\d\d\.\d{3} WARN {2}slow shardId=s note="two words"\n$/);
  const text = logTo({ level: "info", format: "text" }, false);
  text.log.error("bad");
  assert.match(text.lines.join(""), /^\d\d:\d\d:\d\d\.\d{3} ERROR bad\n$/);
});

test("cli log: the level decides what is left out", () => {
  for (const [level, count] of [["debug", 4], ["info", 3], ["warn", 2], ["error", 1]] as const) {
    const { lines, log } = logTo({ level, format: "json" }, false);
    log.debug("a");
    log.info("b");
    log.warn("c");
    log.error("d");
    assert.equal(lines.length, count, level);
  }
});

test("cli log: errors are shown by code, words and causes, without passwords of URLs", () => {
  const cause = new Error("refused by http://user:pass@host/x");
  const error = new ConnectorError("no broker", { code: "PULSAR_UNREACHABLE", cause });
  const json = logTo({ level: "info", format: "json" }, false);
  json.log.error("failed", { error });
  const entry = JSON.parse(json.lines[0]!);
  assert.deepEqual(entry.error, {
    code: "PULSAR_UNREACHABLE",
    message: "no broker",
    cause: { name: "Error", message: "refused by http://(hidden)@host/x" },
  });
  const text = logTo({ level: "info", format: "text" }, false);
  text.log.error("failed", { error });
  assert.match(text.lines[0]!, /failed error="PULSAR_UNREACHABLE: no broker"\n$/);
});

test("cli log: a field cannot take the place of level, time or message", () => {
  const { lines, log } = logTo({ level: "info", format: "json" }, false);
  log.info("true", { msg: "false", level: "x", time: 1 });
  const entry = JSON.parse(lines[0]!);
  assert.equal(entry.msg, "true");
  assert.equal(entry.level, "info");
  assert.equal(entry.msg_, "false");
});
