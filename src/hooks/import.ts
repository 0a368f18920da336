// Brings a script into this process on every runtime: the runtime's own import() first, jiti (TypeScript, slower to
// start) only for the few errors that it cures. Any other error is the script's own and is not hidden by a retry.

import { fileURLToPath, pathToFileURL } from "node:url";
import type { createJiti } from "jiti";

/** How scripts are imported; the defaults are right outside of tests. */
export interface ImportOptions {
  /**
   * The module that `import … from "kinesis-pulsar"` gives where the runtime does not find it by itself: under npx, and
   * beside a global installation.
   */
  readonly self?: (() => Promise<Readonly<Record<string, unknown>>>) | undefined;
  /** @default the runtime's import() */
  readonly nativeImport?: ((url: string) => Promise<unknown>) | undefined;
}

const SELF = "kinesis-pulsar";

// What Node says where it has no type stripping, where stripping is not enough (enum, namespace), and for .ts files
// under node_modules.
const CURED_BY_JITI = new Set([
  "ERR_UNKNOWN_FILE_EXTENSION",
  "ERR_UNSUPPORTED_TYPESCRIPT_SYNTAX",
  "ERR_UNSUPPORTED_NODE_MODULES_TYPE_STRIPPING",
]);

/** Imports the module at an absolute path. Rejects with what the runtime or jiti said. */
export async function importScript(path: string, options: ImportOptions = {}): Promise<unknown> {
  const nativeImport = options.nativeImport ?? ((url: string) => import(url));
  try {
    return await nativeImport(pathToFileURL(path).href);
  } catch (error) {
    const wantsSelf = options.self !== undefined && lacksSelf(error);
    if (!wantsSelf && !isCuredByJiti(error)) throw error;
    const jiti = await openJiti(options.self === undefined ? {} : { [SELF]: await options.self() });
    return await jiti.import(path);
  }
}

/** jiti that transforms and nothing else: the disk cache would outlive us, and default exports are ours to read. */
export async function openJiti(
  virtualModules: Record<string, unknown> = {},
): Promise<ReturnType<typeof createJiti>> {
  const jiti = await import("jiti");
  return jiti.createJiti(fileURLToPath(import.meta.url), {
    fsCache: false,
    interopDefault: false,
    tryNative: false,
    virtualModules,
  });
}

function isCuredByJiti(error: unknown): boolean {
  if (!(error instanceof Error)) return false;
  const { code } = error as { code?: unknown };
  // Deno gives its own code and names Node's in the message.
  return CURED_BY_JITI.has(String(code)) || error.message.includes("NODE_MODULES_TYPE_STRIPPING");
}

// Not found by name; or, in this very package before it was built, found where nothing is yet.
function lacksSelf(error: unknown): boolean {
  return error instanceof Error && /["']kinesis-pulsar["']|[\\/]dist[\\/]mod\.js/.test(error.message);
}
