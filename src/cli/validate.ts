// `kinesis-pulsar validate`: what a configuration would do, without any connection. The summary goes to stdout,
// problems and warnings to stderr.

import { stat } from "node:fs/promises";
import process from "node:process";
import { type Config, inspectConfigFile } from "../config/mod.ts";
import { findSecurityFaults } from "../create-connector.ts";
import { environment } from "../runtime.ts";
import { EXIT } from "./errors.ts";
import { summary } from "./summary.ts";

/** Checks the file and tells. Gives the exit code: 0, or 2 where it cannot be run. */
export async function validate(options: { file: string }): Promise<number> {
  const { config, problems, notYet, warnings } = await inspectConfigFile(options.file, environment());
  const faults = [...problems, ...problems.length === 0 ? await missingFiles(config) : []];
  for (const warning of warnings) process.stderr.write(`warning: ${warning}\n`);
  for (const fault of [...faults, ...notYet]) process.stderr.write(`${fault}\n`);
  if (faults.length === 0) process.stdout.write(`${summary(config)}\n`);
  const count = faults.length + notYet.length;
  if (count === 0) {
    process.stdout.write(`\n${options.file} is valid.\n`);
    return EXIT.done;
  }
  const words = [
    faults.length > 0 ? plural(faults.length, "problem") : "",
    notYet.length > 0 ? plural(notYet.length, "option") + " that this version does not have yet" : "",
  ];
  process.stderr.write(`${options.file} cannot be run: ${words.filter((part) => part !== "").join(", ")}.\n`);
  return EXIT.usage;
}

function plural(count: number, noun: string): string {
  return `${count} ${noun}${count === 1 ? "" : "s"}`;
}

/** Files that the configuration names and that are not there, or not what they should be. */
async function missingFiles(config: Config): Promise<string[]> {
  const { hooks, awsCredentials, given } = config;
  const files: [key: string, path: string][] = hooks
    .map((hook, index): [string, string] => [`hooks[${index}].path`, hook.path])
    .filter(([, path]) => !path.startsWith("builtin:"));
  if (awsCredentials.type === "script") files.push(["awsCredentialPluginName", awsCredentials.path]);
  const missing: string[] = [];
  for (const [key, path] of files) {
    const place = given[key] ?? "";
    const fault = await stat(path).then(
      (found) => found.isDirectory() ? `${path} is a folder` : "",
      () => `there is no file ${path}`,
    );
    if (fault !== "") missing.push(`${place === "" ? "" : `${place}: `}${key}: ${fault}`);
  }
  for (const { message, where: { key = "" } } of await findSecurityFaults(config, environment())) {
    const place = given[key] ?? "";
    missing.push(`${place === "" ? "" : `${place}: `}${message}`);
  }
  return missing;
}
