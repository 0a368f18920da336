#!/usr/bin/env node
// The command line program. It decides which command runs and how the process ends; it imports nothing heavy, so that
// `--version` and `--help` answer at once. Results go to stdout, everything else to stderr.

import process from "node:process";
import pkg from "../../package.json" with { type: "json" };
import { parseArguments } from "./arguments.ts";
import { UsageError } from "./commands.ts";

// A loop that dies unnoticed is the worst that can happen (G7): what nobody caught ends the process.
process.on("uncaughtException", (error) => void fail(error).then(() => process.exit(process.exitCode)));
process.on("unhandledRejection", (error) => void fail(error).then(() => process.exit(process.exitCode)));
// `kinesis-pulsar schema | head` closes the pipe: nobody wants to read on.
process.stdout.on("error", (error: { code?: string }) => {
  if (error.code === "EPIPE") process.exit(process.exitCode);
  throw error;
});

const argv = process.argv.slice(2);
try {
  process.exitCode = await main();
} catch (error) {
  await fail(error);
}
// A connection that somebody forgot to close must not keep a finished program alive.
setTimeout(() => process.exit(process.exitCode), 2000).unref();

async function main(): Promise<number> {
  const invocation = parseArguments(argv);
  if (invocation.ask === "command") return await invocation.command.run(invocation.input);
  if (invocation.ask === "version") {
    process.stdout.write(`${pkg.version}\n`);
    return 0;
  }
  const { helpText } = await import("./help.ts");
  const asked = argv.length > 0;
  (asked ? process.stdout : process.stderr).write(`${helpText(pkg.version, invocation.command)}\n`);
  return asked ? 0 : 2;
}

async function fail(error: unknown): Promise<void> {
  if (error instanceof UsageError) {
    process.stderr.write(`kinesis-pulsar: ${error.message}\n`);
    process.exitCode = 2;
    return;
  }
  const { errorText, exitCodeOf } = await import("./errors.ts");
  process.stderr.write(`${errorText(error, argv.includes("--verbose"))}\n`);
  process.exitCode = exitCodeOf(error);
}
