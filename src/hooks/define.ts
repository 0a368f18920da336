// For script authors without `satisfies`: the same object, checked and completed by editors.

import type { Hooks } from "./types.ts";

/** Gives the hooks back; only its types matter. */
// deno-lint-ignore no-explicit-any
export function defineHooks<Options = any>(hooks: Hooks<Options>): Hooks<Options> {
  return hooks;
}
