// What makes messages of records, as one fingerprint: each script with the relative files that it imports, its options
// and policy, and the routing. The same digest makes the same messages with the same ids (effectively once); whatever
// cannot be seen here (packages, files that are read, times) must not decide about messages.

import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";
import { dirname, extname, relative, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { ConnectorError, messageOf } from "../core/errors.ts";
import type { Logger } from "../core/log.ts";
import { HOOK_NAMES } from "./check.ts";
import type { HookSettings } from "./load.ts";
import type { Hooks } from "./types.ts";

/** What {@link hooksDigest} covers. */
export interface DigestOptions {
  /** In the order of the configuration. */
  readonly scripts: readonly Pick<HookSettings, "path" | "options" | "onError">[];
  /** Hooks given as objects: the source text of their functions, not what they close over. */
  readonly inline: readonly Hooks[];
  /** Whatever decides about a message's topic and partition. */
  readonly routing: Readonly<Record<string, unknown>>;
  /** Of this program: ready-made hooks (`builtin:…`) change with it. */
  readonly version: string;
  readonly log: Logger;
}

/**
 * The fingerprint, 64 hexadecimal digits; independent of the folder in which the scripts are.
 * @throws ConnectorError HOOK_LOAD_FAILED for a script that cannot be read
 */
export async function hooksDigest(options: DigestOptions): Promise<string> {
  const { scripts, inline, routing, version, log } = options;
  const hash = createHash("sha256");
  const add = (what: unknown): void => void hash.update(`${canonical(what)}\n`);
  add(["kinesis-pulsar digest 1", routing]);
  for (const { path, options, onError } of scripts) {
    add(["script", options, onError]);
    if (path.startsWith("builtin:")) add([path, version]);
    else for (const file of await filesOf(path, log)) add(file);
  }
  for (const hooks of inline) {
    add(["inline", ...HOOK_NAMES.map((name) => String(hooks[name]))]);
  }
  return hash.digest("hex");
}

/** JSON with sorted keys. */
function canonical(value: unknown): string {
  return JSON.stringify(value, (_key, part: unknown) => {
    if (typeof part !== "object" || part === null || Array.isArray(part)) return part;
    return Object.fromEntries(Object.entries(part).sort(([a], [b]) => a < b ? -1 : 1));
  }) ?? "undefined";
}

const LITERAL = /\b(?:from|import|require)\s*\(?\s*(["'`])((?:\.{1,2}\/|\/|file:)(?:(?!\1|\$\{)[^\\\n])+)\1/g;
const COMPUTED = /\b(?:import|require)\s*\(\s*(?!\s*["'`/])[^)\s]|\b(?:import|require)\s*\(\s*`[^`]*\$\{/;
const EXTENSIONS = ["", ".ts", ".mts", ".cts", ".js", ".mjs", ".cjs", ".json"];

/** A script and what it imports by relative names, each as name (from the script's folder) and text. */
async function filesOf(script: string, log: Logger): Promise<[name: string, text: string][]> {
  const files: [string, string][] = [];
  const paths = [script];
  for (const path of paths) { // grows while it is walked
    const text = await read(path, path === script);
    const name = relative(dirname(script), path).replaceAll("\\", "/");
    files.push([name, text ?? "missing"]);
    if (text === undefined || path.endsWith(".json")) continue;
    if (COMPUTED.test(text)) {
      log.debug(
        `${path} imports what only its run decides: changes of that are not seen by effectively-once`,
      );
    }
    for (const [, , specifier] of text.matchAll(LITERAL)) {
      const next = await resolveImport(specifier!, dirname(path));
      if (!paths.includes(next)) paths.push(next);
    }
  }
  return files;
}

async function read(path: string, isRequired: boolean): Promise<string | undefined> {
  try {
    return await readFile(path, "utf8");
  } catch (error) {
    if (!isRequired) return undefined; // text in a comment, or a branch that is not run: else the script had not loaded
    throw new ConnectorError(`the hook script ${path} cannot be read: ${messageOf(error)}`, {
      code: "HOOK_LOAD_FAILED",
      cause: error,
      where: { file: path },
    });
  }
}

/** Names without extension work in CommonJS and through jiti. */
async function resolveImport(specifier: string, folder: string): Promise<string> {
  const [bare] = specifier.split(/[?#]/);
  const path = bare!.startsWith("file:") ? fileURLToPath(bare!) : resolve(folder, bare!);
  if (extname(path) !== "" && await read(path, false) !== undefined) return path;
  for (const base of [path, `${path}/index`]) {
    for (const extension of EXTENSIONS) {
      if (await read(base + extension, false) !== undefined) return base + extension;
    }
  }
  return path;
}
