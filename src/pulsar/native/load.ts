// Finds and loads the official client, which is no dependency of ours: from PULSAR_CLIENT_DIR, from the user's
// project, or from beside this package. Whatever is wrong is one line that says what to do.

import { createRequire } from "node:module";
import { join } from "node:path";
import { ConnectorError, messageOf } from "../../core/errors.ts";
import type { PulsarClientModule } from "./api.ts";

/** Where to look. */
export interface LoadOptions {
  /** A folder with the package itself, as a copy that was built by hand; nothing else is looked at then. */
  readonly packageFolder?: string | undefined;
  /** Folders from which `require("pulsar-client")` is tried, absolute, in this order. */
  readonly folders: readonly string[];
}

const NAME = "pulsar-client";

/** Loads the package. Throws CONFIG_INVALID when it is not there or does not load. */
export function loadPulsarClient({ packageFolder, folders }: LoadOptions): PulsarClientModule {
  const path = packageFolder ?? find(folders);
  if (path === undefined) {
    throw invalid(
      `the package is not installed: run "npm install ${NAME}" in ${
        folders[0]
      }, or leave pulsar.driver out to use ` +
        "the builtin producer",
    );
  }
  try {
    // By a name that is no literal, so that neither bundlers nor Deno look for the package ahead of time.
    const module: unknown = createRequire(path)(path);
    if (isPulsarClient(module)) return module;
  } catch (error) {
    const reason = messageOf(error).split("\n", 1)[0]!;
    throw invalid(
      `the package is at ${path} but does not load (${reason}): it needs its prebuilt add-on, which "npm install ` +
        `${NAME}" fetches where scripts may run (npm rebuild ${NAME}; under deno: nodeModulesDir and --allow-ffi); or ` +
        "leave pulsar.driver out to use the builtin producer",
      error,
    );
  }
  throw invalid(`what is at ${path} is not the official client (npm install ${NAME})`);
}

function find(folders: readonly string[]): string | undefined {
  const places = [...folders.map((folder) => join(folder, "package.json")), import.meta.url];
  for (const place of places) {
    try {
      return createRequire(place).resolve(NAME);
    } catch {
      // Not here. A package without an entry point would show in the next step, at install, or not at all.
    }
  }
  return undefined;
}

function isPulsarClient(module: unknown): module is PulsarClientModule {
  return typeof module === "object" && module !== null &&
    typeof (module as { Client?: unknown }).Client === "function";
}

function invalid(why: string, cause?: unknown): ConnectorError {
  return new ConnectorError(`pulsar.driver = "${NAME}": ${why}`, {
    code: "CONFIG_INVALID",
    cause,
    where: { key: "pulsar.driver" },
  });
}
