// Help for people, written from the list of commands.

import { styleText } from "node:util";
import { optionText, usage } from "./arguments.ts";
import { commands, type CommandSpec } from "./commands.ts";

const COMMON = [
  ["--verbose", "errors with their causes"],
  ["--help, -h", "help, also about one command: kinesis-pulsar run --help"],
  ["--version, -v", "the version"],
] as const;

/** What `--help` prints: about the program, or one command. */
export function helpText(version: string, command?: CommandSpec): string {
  return command === undefined ? programHelp(version) : commandHelp(command);
}

function programHelp(version: string): string {
  return [
    `${bold("kinesis-pulsar")} ${version} copies an Amazon Kinesis data stream into Apache Pulsar topics.`,
    section("Usage", ["kinesis-pulsar <command> [options]"]),
    section("Commands", summaries(commands)),
    section("Options", columns(COMMON)),
    section(
      "Examples",
      columns([
        ["kinesis-pulsar demo", "see it work, in 20 seconds"],
        ["kinesis-pulsar init", "write connector.toml and hooks/orders.mts"],
        ["kinesis-pulsar validate connector.toml", "what would it do?"],
        ["kinesis-pulsar run connector.toml", "do it"],
        ["kinesis-pulsar run connector.toml --until now", "copy what is there, and end"],
      ]),
    ),
    section(
      "Exit codes",
      columns([
        ["0", "done"],
        ["1", "failed"],
        ["2", "wrong usage or configuration"],
        ["3", "done, but some records went to the dead-letter topic"],
        ["75", "interrupted: run it again to go on"],
      ]),
    ),
    section("More", [
      "All keys of the configuration, hooks and guarantees: README.md of the package.",
      "Results go to stdout, the log and errors to stderr.",
    ]),
  ].join("\n\n");
}

function commandHelp(command: CommandSpec): string {
  const own = command.options.map((option) => [optionText(option), option.help] as const);
  const longer = commands.filter((one) => one.name.startsWith(`${command.name} `));
  return [
    `${bold(`kinesis-pulsar ${command.name}`)}: ${command.summary}`,
    section("Usage", [`kinesis-pulsar ${usage(command)}`]),
    indent(command.details),
    section("Options", columns([...own, ...COMMON])),
    ...longer.length === 0 ? [] : [section("See also", summaries(longer))],
    section("Examples", command.examples),
  ].join("\n\n");
}

function summaries(some: readonly CommandSpec[]): string[] {
  return columns(some.map((one) => [`${one.name} ${argsOf(one)}`.trim(), one.summary]));
}

function argsOf(command: CommandSpec): string {
  return command.args.replace(/[<>]/g, "").toUpperCase();
}

function section(title: string, lines: readonly string[]): string {
  return `${bold(title)}\n${lines.map(indent).join("\n")}`;
}

function indent(text: string): string {
  return text.split("\n").map((line) => `  ${line}`).join("\n");
}

/** Two columns; further lines of a right cell stand below its first one. */
function columns(rows: readonly (readonly [string, string])[]): string[] {
  const width = Math.max(...rows.map(([left]) => left.length)) + 3;
  return rows.map(([left, right]) => left.padEnd(width) + right.split("\n").join(`\n${" ".repeat(width)}`));
}

function bold(text: string): string {
  return styleText("bold", text);
}
