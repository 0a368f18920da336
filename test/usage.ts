// What the programs of the tests do with their arguments before they begin: a run takes minutes to hours, and neither a
// question about it nor a slip of the keyboard is to start one.

import process from "node:process";

/** What a program takes. */
export interface Usage {
  /** What `--help` shows. */
  readonly text: string;
  /** Which options there are. @default none */
  readonly options?: RegExp;
  /** Which other words there may be. @default none */
  readonly words?: (word: string) => boolean;
}

/** What ends the program, or `undefined` when it may begin. One line where something is not known. */
export function judgeArguments(
  args: readonly string[],
  { text, options, words }: Usage,
): { readonly code: 0 | 2; readonly say: string } | undefined {
  if (args.includes("--help") || args.includes("-h")) return { code: 0, say: text };
  const isKnown = (arg: string) => arg.startsWith("-") ? options?.test(arg) : words?.(arg);
  const unknown = args.find((arg) => isKnown(arg) !== true);
  return unknown === undefined
    ? undefined
    : { code: 2, say: `unknown argument "${unknown}": --help shows what there is` };
}

/** The program's arguments, all of them known; otherwise it ends here. */
export function knownArguments(usage: Usage): string[] {
  const args = process.argv.slice(2);
  const end = judgeArguments(args, usage);
  if (end === undefined) return args;
  (end.code === 0 ? process.stdout : process.stderr).write(`${end.say}\n`);
  process.exit(end.code);
}
