// From a [[hooks]] table to hooks that can be called. Whatever is wrong with a script is said at start, with file and
// line, in a HOOK_LOAD_FAILED; nothing about a script is found out at the first record that could be known here.

import { stat } from "node:fs/promises";
import { extname } from "node:path";
import type { Clock } from "../core/clock.ts";
import { ConnectorError, messageOf } from "../core/errors.ts";
import { nearest } from "../core/suggest.ts";
import { checkHooks, hooksOfModule } from "./check.ts";
import { type ImportOptions, importScript } from "./import.ts";
import { locateLoadError } from "./locate.ts";
import type { Hooks } from "./types.ts";

/** One `[[hooks]]` table, defaults applied. */
export interface HookSettings {
  /** Absolute path of a script, or `builtin:name`. */
  readonly path: string;
  readonly options: Readonly<Record<string, unknown>>;
  readonly onError: "stop" | "skip" | "dead-letter";
  /** How often a failed call is repeated. */
  readonly retries: number;
  readonly timeoutMs: number;
  /** Asynchronous calls of one shard at the same time. */
  readonly concurrency: number;
}

/** What holds where a table says nothing. */
export const HOOK_DEFAULTS = {
  options: {},
  onError: "stop",
  retries: 0,
  timeoutMs: 30_000,
  concurrency: 16,
} as const satisfies Omit<HookSettings, "path">;

/** Hooks with how to call them. */
export interface LoadedHooks extends Omit<HookSettings, "path"> {
  /** As logs, metrics and errors name it: the path, or "hooks" for an object given to the library. */
  readonly name: string;
  // deno-lint-ignore no-explicit-any
  readonly hooks: Hooks<any>;
}

/** How to load. */
export interface LoadOptions extends ImportOptions {
  /** Where the path stands in the configuration, for messages. @default "hooks.path" */
  readonly key?: string | undefined;
  /** Ready-made hooks by name: modules as {@link importScript} would give. @default none */
  readonly builtins?: Readonly<Record<string, () => Promise<unknown>>> | undefined;
  /** By which `timeoutMs` is measured for loading too: a top-level `await` may never end. @default no limit */
  readonly clock?: Clock | undefined;
}

const EXTENSIONS = [".js", ".mjs", ".cjs", ".ts", ".mts", ".cts"];
const BUILTIN = "builtin:";

/**
 * Loads one script.
 * @throws ConnectorError HOOK_LOAD_FAILED
 */
export async function loadHooks(settings: HookSettings, options: LoadOptions = {}): Promise<LoadedHooks> {
  const key = options.key ?? "hooks.path";
  const { path: name } = settings;
  const load = async () => {
    const module = name.startsWith(BUILTIN)
      ? await loadBuiltin(name, key, options.builtins ?? {})
      : await loadScript(name, key, options);
    return await hooksOfModule(module, settings.options).catch((error: unknown) =>
      fail(name, key, error, "does not start: its default function failed")
    );
  };
  const checked = await inTime(load(), settings.timeoutMs, options.clock) ??
    {
      fault:
        `is not loaded after timeoutMs = ${settings.timeoutMs}: a top-level await, or its default function, waits`,
    };
  if ("fault" in checked) throw refuse(name, key, checked.fault);
  return { ...settings, name, hooks: checked.hooks };
}

/**
 * Hooks given as an object, as `createConnector(config, { hooks })` takes them.
 * @throws ConnectorError HOOK_LOAD_FAILED
 */
export function inlineHooks(
  // deno-lint-ignore no-explicit-any
  hooks: Hooks<any>,
  settings: Partial<Omit<LoadedHooks, "hooks">> = {},
): LoadedHooks {
  const checked = checkHooks(hooks);
  if ("fault" in checked) {
    throw new ConnectorError(`the given hooks cannot be used: the object ${checked.fault}`, {
      code: "HOOK_LOAD_FAILED",
    });
  }
  return { ...HOOK_DEFAULTS, name: "hooks", ...settings, hooks: checked.hooks };
}

/** What the work gives; undefined when it takes longer. */
async function inTime<T>(
  work: Promise<T>,
  limitMs: number,
  clock: Clock | undefined,
): Promise<T | undefined> {
  if (clock === undefined) return await work;
  const over = new AbortController();
  try {
    return await Promise.race([work, clock.sleep(limitMs, over.signal).then(() => undefined)]);
  } finally {
    over.abort();
  }
}

function loadBuiltin(
  path: string,
  key: string,
  builtins: NonNullable<LoadOptions["builtins"]>,
): Promise<unknown> {
  const name = path.slice(BUILTIN.length);
  if (Object.hasOwn(builtins, name)) return builtins[name]!();
  const known = Object.keys(builtins);
  const meant = nearest(name, known);
  const hint = known.length === 0
    ? "this version ships none: give the path of a script"
    : `known are ${known.map((one) => BUILTIN + one).join(", ")}${
      meant ? `; did you mean ${BUILTIN}${meant}?` : ""
    }`;
  throw new ConnectorError(`${key} = "${path}": there is no ready-made hook of this name (${hint})`, {
    code: "HOOK_LOAD_FAILED",
    where: { key },
  });
}

async function loadScript(path: string, key: string, options: LoadOptions): Promise<unknown> {
  const refused = (why: string, cause?: unknown): ConnectorError =>
    new ConnectorError(`${key} = "${path}": ${why}`, {
      code: "HOOK_LOAD_FAILED",
      where: { key, file: path },
      cause,
    });
  const found = await stat(path).catch((error: unknown) => {
    const { code } = error as { code?: unknown };
    throw code === "ENOENT" || code === "ENOTDIR"
      ? refused(
        "there is no such file. Relative paths count from the folder of the configuration file",
        error,
      )
      : refused(`the file cannot be read (${messageOf(error)})`, error);
  });
  if (found.isDirectory()) throw refused("this is a folder: name the script in it");
  if (!EXTENSIONS.includes(extname(path))) {
    throw refused(`a script's name ends in ${EXTENSIONS.join(", ")}; rename it`);
  }
  try {
    return await importScript(path, options);
  } catch (error) {
    return await fail(path, key, error, "does not load");
  }
}

async function fail(path: string, key: string, error: unknown, what: string): Promise<never> {
  const { place, reason } = await locateLoadError(error, path);
  const at = place === undefined
    ? ""
    : ` (${place.file}:${place.line}${place.column === undefined ? "" : `:${place.column}`})`;
  throw new ConnectorError(
    `the hook script ${path} ${what}: ${reason}${at}. Correct the script, or ${key} in the configuration`,
    {
      code: "HOOK_LOAD_FAILED",
      cause: error,
      where: { key, file: place?.file ?? path, line: place?.line },
    },
  );
}

function refuse(path: string, key: string, fault: string): ConnectorError {
  return new ConnectorError(`the hook script ${path} (${key}) ${fault}`, {
    code: "HOOK_LOAD_FAILED",
    where: { key, file: path },
  });
}
