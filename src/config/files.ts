// Paths in a configuration file are relative to that file, as its author sees them.

import { dirname, resolve } from "node:path";
import { fileURLToPath } from "node:url";

/** The absolute path of `path`, relative to the folder of the configuration file `source` (or the current one). */
export function resolveFile(path: string, source: string | undefined): string {
  if (path.startsWith("data:")) return path; // an OAuth2 key file may be one
  if (path.startsWith("file:")) return fileURLToPath(path);
  return source === undefined ? resolve(path) : resolve(dirname(source), path);
}
