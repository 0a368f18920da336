// The command line as a choice of command, by cac with its traps disarmed: cac turns every value that looks like a
// number into one, takes no value that begins with a dash, finds no command behind an option, knows none of two words,
// and says nothing about an unknown one. So cac sees `command args --option=value --flags`; values are read as typed.

import { type CAC, cac } from "cac";
import { type CommandInput, commands, type CommandSpec, type OptionSpec, UsageError } from "./commands.ts";
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
const OPTIONS = commands.flatMap((command) => command.options);
const VALUE_OPTIONS = new Set(OPTIONS.filter(takesValue).map((option) => `--${option.name}`));
const FLAG_OPTIONS = new Set(
  OPTIONS.filter((option) => !takesValue(option)).map((option) => `--${option.name}`),
);

/** Understands a command line (without program names). Throws {@link UsageError}. */
export function parseArguments(argv: readonly string[]): Invocation {
  const { flags, values, words, literal } = sort(argv);
  if (flags.has("version")) return { ask: "version" };
  const command = commandOf(words);
  if (flags.has("help")) return { ask: "help", command };
  if (command === undefined) {
    if (words[0] !== undefined) throw new UsageError(unknown("option", words[0], [...FLAGS.keys()]));
    for (const name of values.keys()) {
      throw new UsageError(`option ${name} without a command: it belongs to "${ownerOf(name)}"`);
    }
    return { ask: "help" };
  }
  const names = new Set(command.name.split(" "));
  const rest = words.filter((word) => !names.delete(word));
  const program = register();
  try {
    const options = [...values].map(([name, value]) => value === "" ? name : `${name}=${value}`);
    program.parse(["", "", cacName(command), ...rest, ...literal, ...options], { run: false });
    program.runMatchedCommand();
  } catch (error) {
    if (!(error instanceof Error) || error.name !== "CACError") throw error;
    throw new UsageError(reword(error.message, command, [...rest, ...values.keys()]));
  }
  const lacking = command.options.find(({ name, isRequired }) => isRequired && !values.has(`--${name}`));
  if (lacking !== undefined) {
    throw new UsageError(
      `"${command.name}" needs --${lacking.name} ${lacking.value}: kinesis-pulsar ${usage(command)}`,
    );
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

/** The first command that has this option. */
function ownerOf(name: string): string | undefined {
  return commands.find((one) => one.options.some((option) => `--${option.name}` === name))?.name;
}

function takesValue(option: OptionSpec): boolean {
  return option.value !== undefined;
}

/**
 * The command that the words begin with. The second word of `leases reset FILE` belongs to it: a configuration file
 * always has an extension, so that no file is ever taken for it, and a word without one is a slip of the pen.
 * @throws UsageError for a word that is no command
 */
function commandOf(words: readonly string[]): CommandSpec | undefined {
  const [first, second = ""] = words.filter((word) => !word.startsWith("-"));
  if (first === undefined) return undefined;
  const names = commands.map((one) => one.name);
  const longer = names.filter((name) => name.startsWith(`${first} `));
  const isWord = longer.length > 0 && /^[^./\\]+$/.test(second);
  const name = isWord ? `${first} ${second}` : first;
  const command = commands.find((one) => one.name === name);
  if (command === undefined) throw new UsageError(unknown("command", name, isWord ? longer : names));
  return command;
}

/** cac knows no commands of two words. */
function cacName(command: CommandSpec): string {
  return command.name.replace(" ", "-");
}

/** Takes flags and options out of the words; `literal` are those behind `--`. */
function sort(argv: readonly string[]) {
  const flags = new Set<string>();
  const values = new Map<string, string>();
  const words: string[] = [];
  const literal: string[] = [];
  for (let index = 0; index < argv.length; index++) {
    const word = argv[index]!;
    if (word === "--") {
      literal.push(...argv.slice(index + 1).map((rest) => rest.startsWith("-") ? `./${rest}` : rest));
      break;
    }
    const equals = word.indexOf("=");
    const name = equals === -1 ? word : word.slice(0, equals);
    const flag = FLAGS.get(name);
    if (flag !== undefined || FLAG_OPTIONS.has(name)) {
      if (equals !== -1) throw new UsageError(`option ${name} takes no value`);
      if (flag !== undefined) flags.add(flag);
      else values.set(name, "");
    } else if (VALUE_OPTIONS.has(name)) {
      const next = argv[index + 1];
      const value = equals !== -1 ? word.slice(equals + 1) : next === undefined || isOption(next) ? "" : next;
      if (value === "") throw new UsageError(`option ${name} needs a value`);
      if (values.has(name)) throw new UsageError(`option ${name} is given twice`);
      values.set(name, value);
      if (equals === -1) index++;
    } else words.push(word);
  }
  return { flags, values, words, literal };
}

// `-6h` is a value, `--until` and `-h` are not.
function isOption(word: string): boolean {
  return word.startsWith("--") || FLAGS.has(word);
}

/** All commands as cac knows them; it checks options and arguments of the one that matches. */
function register(): CAC {
  const program = cac("kinesis-pulsar");
  for (const spec of commands) {
    const command = program.command(`${cacName(spec)} ${spec.args}`.trim(), spec.summary);
    for (const option of spec.options) {
      command.option(
        takesValue(option) ? `--${option.name} <${option.value}>` : `--${option.name}`,
        option.help,
      );
    }
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
    const owner = ownerOf(typed);
    return `${unknown("option", typed, known)}${owner === undefined ? "" : ` (it belongs to "${owner}")`}`;
  }
  return message;
}

/** `run FILE [--until TIME]` */
export function usage(command: CommandSpec): string {
  const args = command.args.replace(/[<>]/g, "").toUpperCase();
  const options = command.options.map((option) =>
    option.isRequired ? optionText(option) : `[${optionText(option)}]`
  );
  return [command.name, args, ...options].filter((part) => part !== "").join(" ");
}

/** `--until TIME`, or `--json` */
export function optionText({ name, value }: OptionSpec): string {
  return value === undefined ? `--${name}` : `--${name} ${value}`;
}

function unknown(what: string, word: string, known: readonly string[]): string {
  const near = nearest(word, known);
  const hint = near === undefined ? "kinesis-pulsar --help lists them" : `did you mean "${near}"?`;
  return `unknown ${what} "${word}": ${hint}`;
}
