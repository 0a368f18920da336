import assert from "node:assert/strict";
import { test } from "node:test";
import { ConnectorError } from "../../src/core/errors.ts";
import { errorText, EXIT, exitCodeOf } from "../../src/cli/errors.ts";

test("cli errors: configuration ends with 2, everything else with 1", () => {
  assert.equal(exitCodeOf(new ConnectorError("x", { code: "CONFIG_INVALID" })), 2);
  assert.equal(exitCodeOf(new ConnectorError("x", { code: "NOT_YET" })), 2);
  assert.equal(exitCodeOf(new ConnectorError("x", { code: "HOOK_LOAD_FAILED" })), 2);
  assert.equal(exitCodeOf(new ConnectorError("x", { code: "STREAM_GONE" })), 1);
  assert.equal(exitCodeOf(new Error("x")), 1);
  assert.equal(exitCodeOf("thrown text"), 1);
  assert.deepEqual(EXIT, { done: 0, failed: 1, usage: 2, deadLettered: 3, interrupted: 75 });
});

test("cli errors: one line with the code, and the chain when asked", () => {
  const root = new Error("socket closed");
  const cause = new ConnectorError("no answer", { code: "AWS_UNAVAILABLE", cause: root });
  const error = new ConnectorError("cannot read", {
    code: "STREAM_GONE",
    cause,
    where: { stream: "orders" },
  });
  assert.equal(errorText(error, false), "error [STREAM_GONE] cannot read");
  const long = errorText(error, true);
  assert.match(
    long,
    /^error \[STREAM_GONE\] cannot read\n {2}where: stream=orders\n {2}caused by: .*no answer/,
  );
  assert.match(long, /\n {2}caused by: Error: socket closed/);
});

test("cli errors: an unexpected error is named as a defect, and passwords of URLs are hidden", () => {
  assert.equal(
    errorText(new TypeError("x of http://a:b@c"), false),
    "error [INTERNAL] unexpected error: x of http://(hidden)@c (a defect of this program; --verbose shows where)",
  );
  const circle = new Error("a");
  circle.cause = circle;
  assert.match(errorText(circle, true), /caused by: Error: a/);
});
