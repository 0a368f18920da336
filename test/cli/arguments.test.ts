import assert from "node:assert/strict";
import { test } from "node:test";
import { parseArguments } from "../../src/cli/arguments.ts";
import { commands } from "../../src/cli/commands.ts";

function parse(line: string) {
  const invocation = parseArguments(line.split(" ").filter((word) => word !== ""));
  return invocation.ask === "command"
    ? { command: invocation.command.name, ...invocation.input }
    : { ask: invocation.ask, command: invocation.ask === "help" ? invocation.command?.name : undefined };
}

function refusal(line: string): string {
  try {
    parse(line);
  } catch (error) {
    assert.equal((error as Error).name, "UsageError");
    return (error as Error).message;
  }
  assert.fail(`"${line}" was accepted`);
}

test("cli arguments: a command with its file and options", () => {
  assert.deepEqual(parse("run a.toml --until now"), {
    command: "run",
    args: ["a.toml"],
    options: { until: "now" },
    verbose: false,
  });
  assert.deepEqual(parse("init"), { command: "init", args: [], options: {}, verbose: false });
  assert.deepEqual(parse("demo"), { command: "demo", args: [], options: {}, verbose: false });
});

test("cli arguments: values stay the texts that were typed", () => {
  for (
    const value of [
      "0123",
      "1e3",
      "0x10",
      "49590338271490256608559692538361571095921575989136588898",
      "-6h",
      "-5",
    ]
  ) {
    assert.deepEqual(
      (parse(`run a --until ${value}`) as { options: unknown }).options,
      { until: value },
      value,
    );
    assert.deepEqual(
      (parse(`run a --until=${value}`) as { options: unknown }).options,
      { until: value },
      value,
    );
  }
  assert.deepEqual((parse("validate 0123") as { args: unknown }).args, ["0123"]);
});

test("cli arguments: flags may stand anywhere and swallow nothing", () => {
  const wanted = { command: "run", args: ["a.toml"], options: {}, verbose: true };
  assert.deepEqual(parse("--verbose run a.toml"), wanted);
  assert.deepEqual(parse("run --verbose a.toml"), wanted);
  assert.deepEqual(parse("run a.toml --verbose"), wanted);
  assert.deepEqual(parse("--until now run a.toml"), { ...wanted, options: { until: "now" }, verbose: false });
});

test("cli arguments: help and version are asked for in all their forms", () => {
  assert.deepEqual(parse("--help"), { ask: "help", command: undefined });
  assert.deepEqual(parse("-h"), { ask: "help", command: undefined });
  assert.deepEqual(parse("run --help"), { ask: "help", command: "run" });
  assert.deepEqual(parse("--help run"), { ask: "help", command: "run" });
  assert.deepEqual(parse("-v"), { ask: "version", command: undefined });
  assert.deepEqual(parse("run --version"), { ask: "version", command: undefined });
  assert.deepEqual(parse(""), { ask: "help", command: undefined });
});

test("cli arguments: a command may have two words, and a file that is named like the second is one by its path", () => {
  const nothing = { options: {}, verbose: false };
  assert.deepEqual(parse("leases a.toml"), { command: "leases", args: ["a.toml"], ...nothing });
  assert.deepEqual(parse("leases release a.toml"), {
    command: "leases release",
    args: ["a.toml"],
    ...nothing,
  });
  assert.deepEqual(parse("--dry leases reset --force --to -6h a.toml"), {
    command: "leases reset",
    args: ["a.toml"],
    options: { dry: "", force: "", to: "-6h" },
    verbose: false,
  });
  assert.deepEqual(parse("leases ./reset"), { command: "leases", args: ["./reset"], ...nothing });
  assert.deepEqual(parse("leases -- reset"), { command: "leases", args: ["reset"], ...nothing });
  assert.deepEqual(parse("leases reset leases.toml --to now"), {
    command: "leases reset",
    args: ["leases.toml"],
    options: { to: "now" },
    verbose: false,
  });
  assert.deepEqual(parse("leases reset --help"), { ask: "help", command: "leases reset" });
  assert.deepEqual(parse("leases --help"), { ask: "help", command: "leases" });
});

test("cli arguments: after -- a file may begin with a dash", () => {
  assert.deepEqual((parse("validate -- -x.toml") as { args: unknown }).args, ["./-x.toml"]);
});

test("cli arguments: what is wrong is said in one line", () => {
  const lines: Record<string, string> = {
    "rn a": 'unknown command "rn": did you mean "run"?',
    "frobnicate": 'unknown command "frobnicate": kinesis-pulsar --help lists them',
    "run": '"run" needs FILE: kinesis-pulsar run FILE [--until TIME]',
    "run a b": "too many arguments: kinesis-pulsar run FILE [--until TIME] (unused args: b)",
    "run a --until": "option --until needs a value",
    "run a --until --verbose": "option --until needs a value",
    "run a --until=": "option --until needs a value",
    "run a --until 1 --until 2": "option --until is given twice",
    "run a --untl now": 'unknown option "--untl": did you mean "--until"?',
    "run a --dry-run": 'unknown option "--dry-run": kinesis-pulsar --help lists them',
    "run --dry-run a": 'unknown option "--dry-run": kinesis-pulsar --help lists them',
    "run a --no-until": 'unknown option "--no-until": did you mean "--until"?',
    "run a -x": 'unknown option "-x": did you mean "-h"?',
    "--dri": 'unknown option "--dri": kinesis-pulsar --help lists them',
    "--dry": 'option --dry without a command: it belongs to "leases reset"',
    "--until now": 'option --until without a command: it belongs to "run"',
    "leases": '"leases" needs FILE: kinesis-pulsar leases FILE [--json] [--quick]',
    "leases rset a.toml": 'unknown command "leases rset": did you mean "leases reset"?',
    "leases a.toml b.toml":
      "too many arguments: kinesis-pulsar leases FILE [--json] [--quick] (unused args: b.toml)",
    "leases a.toml --json=yes": "option --json takes no value",
    "leases release a.toml --to LATEST":
      'unknown option "--to": kinesis-pulsar --help lists them (it belongs to "leases reset")',
    "leases reset a.toml --dry":
      '"leases reset" needs --to POSITION: kinesis-pulsar leases reset FILE --to POSITION [--shard ID] [--dry] ' +
      "[--force] [--json]",
    "validate a --until now":
      'unknown option "--until": kinesis-pulsar --help lists them (it belongs to "run")',
    "run a --verbose=false": "option --verbose takes no value",
  };
  for (const [line, message] of Object.entries(lines)) {
    assert.equal(refusal(line), message);
    assert.ok(!refusal(line).includes("\n"));
  }
});

test("cli arguments: demo refuses seconds that are no number before it starts anything", async () => {
  const demo = commands.find((command) => command.name === "demo")!;
  for (const seconds of ["0", "1e3", "-1", "soon"]) {
    await assert.rejects(demo.run({ args: [], options: { seconds }, verbose: false }), {
      name: "UsageError",
      message: `--seconds must be a number from 1 to 86400, not "${seconds}"`,
    });
  }
});
