// Whether what a script exports is a set of hooks. Slips that would be silent otherwise are refused: a hook of an
// unknown name would simply never run.

import { nearest } from "../core/suggest.ts";
import type { Hooks } from "./types.ts";

/** All hooks that a script may have. */
export const HOOK_NAMES = [
  "onStart",
  "onShardStart",
  "onRecord",
  "onBatch",
  "onCheckpoint",
  "onThrottle",
  "onShardEnd",
  "onError",
  "onStop",
] as const satisfies readonly (keyof Hooks)[];

/** One of {@link HOOK_NAMES}. */
export type HookName = typeof HOOK_NAMES[number];

// Hooks of scripts have options of their own type, which only the script knows.
// deno-lint-ignore no-explicit-any
type AnyHooks = Hooks<any>;

/** What a check gives: hooks, or what is wrong, as the end of a sentence that begins with the script's name. */
export type Checked = { readonly hooks: AnyHooks } | { readonly fault: string };

/**
 * The hooks of a module: of its default export (an object, or a function that is called with the options), or of
 * its named exports. What the function throws is thrown on.
 */
export async function hooksOfModule(
  module: unknown,
  options: Readonly<Record<string, unknown>>,
): Promise<Checked> {
  if (!isObject(module)) return { fault: `gives ${describe(module)} instead of a module` };
  const exported = defaultExport(module);
  if (exported === undefined) {
    const named: Record<string, unknown> = {};
    for (const name of Object.keys(module)) if (looksLikeHook(name)) named[name] = module[name];
    return checkHooks(named);
  }
  const outside = namedBeside(module, exported);
  if (outside !== undefined) {
    return {
      fault: `has a default export and, beside it, the export ${outside}: move ${outside} into the default`,
    };
  }
  if (typeof exported !== "function") return checkHooks(exported);
  if (/^class\b/.test(Function.prototype.toString.call(exported))) {
    return { fault: "exports a class as default: export an instance of it, or a function that makes one" };
  }
  const made: unknown = await (exported as (options: unknown) => unknown)(options);
  if (typeof made === "function") {
    return { fault: "has a default function that returns a function, not a set of hooks" };
  }
  if (made === undefined) {
    return { fault: "has a default function that returns nothing: return the set of hooks" };
  }
  return checkHooks(made);
}

/** Checks a set of hooks; also for those that are given to the library as an object. */
export function checkHooks(value: unknown): Checked {
  if (!isObject(value)) return { fault: `exports ${describe(value)} as default, not a set of hooks` };
  const faults: string[] = [];
  let hooks = 0;
  for (const name of namesOf(value)) {
    if (!isHookName(name)) {
      if (!looksLikeHook(name)) continue;
      const meant = nearest(name, HOOK_NAMES);
      const hint = meant === undefined ? `hooks are ${HOOK_NAMES.join(", ")}` : `did you mean ${meant}?`;
      faults.push(`has an unknown hook ${name} (${hint})`);
      continue;
    }
    const hook = value[name];
    if (hook === undefined) continue;
    if (typeof hook !== "function") {
      faults.push(`has ${describe(hook)} as ${name}, where a function is needed`);
    }
    hooks++;
  }
  if (typeof value.onRecord === "function" && typeof value.onBatch === "function") {
    faults.push("has both onRecord and onBatch: onBatch takes the place of onRecord, keep one of them");
  }
  if (faults.length > 0) return { fault: faults.join("; and it ") };
  if (hooks === 0) return { fault: `has no hooks: export at least one of ${HOOK_NAMES.join(", ")}` };
  return { hooks: value as AnyHooks };
}

// A transpiled module may carry its default inside of another one.
function defaultExport(module: Record<string, unknown>): unknown {
  const outer = module.default;
  if (isObject(outer) && outer.default !== undefined && !namesOf(outer).some(isHookName)) {
    return outer.default;
  }
  return outer;
}

// CommonJS modules show the members of their default as named exports too: those are no contradiction.
function namedBeside(module: Record<string, unknown>, exported: unknown): string | undefined {
  const inner = exported as Record<string, unknown> | null;
  return Object.keys(module).find((name) => isHookName(name) && inner?.[name] !== module[name]);
}

function isHookName(name: string): name is HookName {
  return (HOOK_NAMES as readonly string[]).includes(name);
}

// "on…" announces a hook, whatever the case: a slip, not a helper of the script's own.
function looksLikeHook(name: string): boolean {
  return /^on[A-Z_]/.test(name) || (/^on/i.test(name) && nearest(name, HOOK_NAMES) !== undefined);
}

/** Own names and, for instances of classes, those of their prototypes. */
function namesOf(value: Record<string, unknown>): string[] {
  const names = new Set<string>();
  for (let level: object | null = value; level !== null && level !== Object.prototype;) {
    for (const name of Object.getOwnPropertyNames(level)) if (name !== "constructor") names.add(name);
    level = Object.getPrototypeOf(level);
  }
  return [...names];
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function describe(value: unknown): string {
  if (value === null) return "null";
  if (value === undefined) return "nothing";
  if (Array.isArray(value)) return "an array";
  return typeof value === "object" ? "an object" : `a ${typeof value}`;
}
