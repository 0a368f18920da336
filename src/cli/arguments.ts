// The command line as a choice of command, by cac with its traps disarmed: cac turns every value that looks like a
// number into one, takes no value that begins with a dash, finds no command behind an option, and says nothing about
// an unknown command. So cac sees `command args --option=value --flags`, and values are read from the words as typed.

import { type CAC, cac } from "cac";
import { type CommandInput, commands, type CommandSpec, UsageError } from "./commands.ts";
import { nearest } from "../core/suggest.ts";

/** What was asked for. */
export type Invocation =
  | { readonly ask: "version" }
  | { readonly ask: "help"; readonly command?: CommandSpec | undefined }
  | { readonly ask: "command"; readonly command: CommandSpec; readonly input: CommandInput };

const FLAGS = new Map([
  ["--verbose", "verbose"],
  ["--help", "help"],
  ["-h", "help"],
  ["--version", "version"],
  ["-v", "version"],
]);
const VALUE_OPTIONS = new Set(
  commands.flatMap((command) => command.options.map((option) => `--${option.name}`)),
);

/** Understands a command line (without program names). Throws {@link UsageError}. */
export function parseArguments(argv: readonly string[]): Invocation {
  const { flags, values, words } = sort(argv);
  if (flags.has("version")) return { ask: "version" };
  const wanted = words.find((word) => !word.startsWith("-"));
  const command = commands.find((one) => one.name === wanted);
  if (flags.has("help")) return { ask: "help", command };
  if (command === undefined) {
    if (wanted !== undefined) {
      throw new UsageError(unknown("command", wanted, commands.map((one) => one.name)));
    }
    if (words[0] !== undefined) throw new UsageError(unknown("option", words[0], [...FLAGS.keys()]));
    return { ask: "help" };
  }
  const program = register();
  try {
    const options = [...values].map(([name, value]) => `${name}=${value}`);
    program.parse(["", "", ...words, ...options], { run: false });
    program.runMatchedCommand();
  } catch (error) {
    if (!(error instanceof Error) || error.name !== "CACError") throw error;
    throw new UsageError(reword(error.message, command, [...words, ...values.keys()]));
  }
  return {
    ask: "command",
    command,
    input: {
      args: program.args.map(String),
      options: Object.fromEntries([...values].map(([name, value]) => [name.slice(2), value])),
      verbose: flags.has("verbose"),
    },
  };
}

/** Takes flags and value options out of the words. */
function sort(argv: readonly string[]) {
  const flags = new Set<string>();
  const values = new Map<string, string>();
  const words: string[] = [];
  for (let index = 0; index < argv.length; index++) {
    const word = argv[index]!;
    if (word === "--") {
      words.push(...argv.slice(index + 1).map((rest) => rest.startsWith("-") ? `./${rest}` : rest));
      break;
    }
    const equals = word.indexOf("=");
    const name = equals === -1 ? word : word.slice(0, equals);
    const flag = FLAGS.get(name);
    if (flag !== undefined) {
      if (equals !== -1) throw new UsageError(`option ${name} takes no value`);
      flags.add(flag);
    } else if (VALUE_OPTIONS.has(name)) {
      const next = argv[index + 1];
      const value = equals !== -1 ? word.slice(equals + 1) : next === undefined || isOption(next) ? "" : next;
      if (value === "") throw new UsageError(`option ${name} needs a value`);
      if (values.has(name)) throw new UsageError(`option ${name} is given twice`);
      values.set(name, value);
      if (equals === -1) index++;
    } else words.push(word);
  }
  return { flags, values, words };
}

// `-6h` is a value, `--until` and `-h` are not.
function isOption(word: string): boolean {
  return word.startsWith("--") || FLAGS.has(word);
}

/** All commands as cac knows them; it checks options and arguments of the one that matches. */
function register(): CAC {
  const program = cac("kinesis-pulsar");
  for (const spec of commands) {
    const command = program.command(`${spec.name} ${spec.args}`.trim(), spec.summary);
    for (const option of spec.options) command.option(`--${option.name} <${option.value}>`, option.help);
    command.action(() => {});
  }
  return program;
}

/** cac's complaints in our words; cac names options in camelCase, whatever was typed. */
function reword(message: string, command: CommandSpec, words: readonly string[]): string {
  if (message.startsWith("missing required args")) {
    return `"${command.name}" needs ${command.args.slice(1, -1).toUpperCase()}: kinesis-pulsar ${
      usage(command)
    }`;
  }
  if (message.startsWith("Unused args")) {
    return `too many arguments: kinesis-pulsar ${usage(command)} (${
      message.toLowerCase().replaceAll("`", "")
    })`;
  }
  if (message.startsWith("Unknown option") || message.endsWith("value is missing")) { // the latter by --no-until
    const typed = words.find((word) => word.startsWith("-"))?.replace(/=.*$/s, "") ?? "";
    const known = [...FLAGS.keys(), ...command.options.map((option) => `--${option.name}`)];
    const elsewhere = commands.filter((one) => one.options.some((option) => `--${option.name}` === typed));
    const owner = elsewhere.length > 0 ? ` (it belongs to "${elsewhere[0]!.name}")` : "";
    return `${unknown("option", typed, known)}${owner}`;
  }
  return message;
}

/** `run FILE [--until TIME]` */
export function usage(command: CommandSpec): string {
  const args = command.args.replace(/[<>]/g, "").toUpperCase();
  return [command.name, args, ...command.options.map((option) => `[--${option.name} ${option.value}]`)]
    .filter((part) => part !== "").join(" ");
}

function unknown(what: string, word: string, known: readonly string[]): string {
  const near = nearest(word, known);
  const hint = near === undefined ? "kinesis-pulsar --help lists them" : `did you mean "${near}"?`;
  return `unknown ${what} "${word}": ${hint}`;
}
