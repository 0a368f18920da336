// The commands of the program: one list, from which arguments are parsed and help is written. What a command does is
// loaded only when it is called, so that `--version` and `--help` import nothing heavy.

import { leaseCommands } from "./lease-commands.ts";

/** An option. All have one-word names: cac lets a kebab-case flag swallow the next word. */
export interface OptionSpec {
  readonly name: string;
  /** Name of the value in help; absent for a flag. */
  readonly value?: string;
  /** Whether the command does nothing without it. */
  readonly isRequired?: boolean;
  readonly help: string;
}

/** What a command gets. Values are the texts as typed, of a given flag "". */
export interface CommandInput {
  readonly args: readonly string[];
  readonly options: Readonly<Record<string, string | undefined>>;
  readonly verbose: boolean;
}

/** One command. */
export interface CommandSpec {
  /** One word, or two: `leases reset` is a command of its own beside `leases`. */
  readonly name: string;
  /** In cac's words: `<file>` required, `[dir]` optional. */
  readonly args: string;
  readonly summary: string;
  readonly details: string;
  readonly options: readonly OptionSpec[];
  readonly examples: readonly string[];
  /** Runs it; gives the exit code. */
  readonly run: (input: CommandInput) => Promise<number>;
}

export const commands: readonly CommandSpec[] = [
  {
    name: "demo",
    args: "",
    summary: "see it work: no AWS, no Pulsar, no file needed",
    details:
      "Starts a local Kinesis server with a lively stream of orders, runs the connector with a sample hook into a\n" +
      "local stand-in for a broker, and shows what arrives, at which rate, and the checkpoints.",
    options: [
      { name: "pulsar", value: "URL", help: "publish to a real broker, like pulsar://localhost:6650" },
      { name: "seconds", value: "N", help: "how long it runs (default 20)" },
    ],
    examples: ["kinesis-pulsar demo", "kinesis-pulsar demo --pulsar pulsar://localhost:6650 --seconds 60"],
    run: async ({ options }) => {
      const seconds = options["seconds"] === undefined ? undefined : wholeSeconds(options["seconds"]);
      const { demo } = await import("./demo.ts");
      return await demo({
        ...given("pulsar", options["pulsar"]),
        ...seconds === undefined ? {} : { seconds },
      });
    },
  },
  {
    name: "init",
    args: "[dir]",
    summary: "write a commented connector.toml and a typed hook script",
    details:
      "Writes connector.toml and hooks/orders.mts into DIR (default: the current folder). Never overwrites a file.",
    options: [],
    examples: ["kinesis-pulsar init", "kinesis-pulsar init orders"],
    run: async ({ args }) => (await import("./init.ts")).init({ dir: args[0] ?? "." }),
  },
  {
    name: "validate",
    args: "<file>",
    summary: "check a configuration and tell what it would do, offline",
    details:
      "Checks FILE (.toml, .yaml or .json; also a Pulsar IO source file) without any connection: says what would\n" +
      "run, what it would cost, warnings, and all problems with line and column. Exit code 0 = fine, 2 = problems.",
    options: [],
    examples: ["kinesis-pulsar validate connector.toml"],
    run: async ({ args }) => (await import("./validate.ts")).validate({ file: args[0]! }),
  },
  {
    name: "run",
    args: "<file>",
    summary: "copy the stream, until it is stopped",
    details:
      "Runs the connector of FILE. SIGTERM and SIGINT stop it cleanly: what was read is published, checkpoints are\n" +
      "stored, leases are given up; a second signal ends it at once.",
    options: [{
      name: "until",
      value: "TIME",
      help: "end by itself once everything that arrived before TIME is copied:\n" +
        "2026-09-01T00:00Z, -6h, now",
    }],
    examples: [
      "kinesis-pulsar run connector.toml",
      "kinesis-pulsar run connector.toml --until now",
      "kinesis-pulsar run connector.toml --until 2026-09-01T00:00Z",
    ],
    run: async ({ args, options }) => {
      const { run } = await import("./run.ts");
      return await run({ file: args[0]!, ...given("until", options["until"]) });
    },
  },
  ...leaseCommands,
  {
    name: "schema",
    args: "",
    summary: "print the configuration's JSON Schema, for editors",
    details:
      "Prints a JSON Schema. With the line `#:schema ./connector.schema.json` at its top a TOML file, and with\n" +
      "`# yaml-language-server: $schema=./connector.schema.json` a YAML file, is checked and completed by editors.",
    options: [],
    examples: ["kinesis-pulsar schema > connector.schema.json"],
    run: async () => (await import("./schema.ts")).schema(),
  },
];

/** A command line that cannot be understood: one line, exit code 2. */
export class UsageError extends Error {
  override readonly name = "UsageError";
}

function given<Key extends string>(key: Key, value: string | undefined): { [K in Key]?: string } {
  return value === undefined ? {} : { [key]: value } as { [K in Key]?: string };
}

function wholeSeconds(text: string): number {
  const seconds = Number(text);
  if (!/^\d+$/.test(text) || seconds < 1 || seconds > 86_400) {
    throw new UsageError(`--seconds must be a number from 1 to 86400, not "${text}"`);
  }
  return seconds;
}
