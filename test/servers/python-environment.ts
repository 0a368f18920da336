// Python programs that tests use: each has its list of packages (a requirements file), which are installed once, from
// PyPI, into an environment of their own in the cache folder.

import { execFile, spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { promisify } from "node:util";
import { cacheFolder } from "./java.ts";

const run = promisify(execFile);

const missing = new Map<string, string | undefined>();
const installed = new Map<string, Promise<string>>();

/**
 * Why Python cannot be used with these packages, or undefined: `test(name, { skip: … ?? false }, …)`. With CI=true it
 * throws instead, so that no test of it is skipped there.
 * @param requirements path of a file as pip reads it
 */
export function missingPython(requirements: string): string | undefined {
  if (!missing.has(requirements)) missing.set(requirements, whyMissing(requirements));
  const reason = missing.get(requirements);
  if (reason !== undefined && process.env.CI === "true") throw new Error(`tests need Python: ${reason}`);
  return reason;
}

/** The interpreter that has these packages, installed at first use. */
export function pythonWith(requirements: string): Promise<string> {
  let ready = installed.get(requirements);
  if (ready === undefined) installed.set(requirements, ready = install(requirements));
  return ready;
}

function python(): string {
  return process.env.PYTHON ?? "python3";
}

function whyMissing(requirements: string): string | undefined {
  const version = baseVersion();
  if (version === undefined) return `no ${python()} (3.9 or newer)`;
  const [major = 0, minor = 0] = version.split(".").map(Number);
  if (major !== 3 || minor < 9) return `Python is version ${version}, 3.9 or newer is needed`;
  if (existsSync(folderFor(version, requirements))) return undefined;
  const able = spawnSync(python(), ["-c", "import venv, ensurepip"]);
  return able.status === 0 ? undefined : "Python has no venv or pip (Debian: package python3-venv)";
}

function baseVersion(): string | undefined {
  const code = "import sys; print(*sys.version_info[:3], sep='.')";
  const answer = spawnSync(python(), ["-c", code], { encoding: "utf8" });
  return answer.error || answer.status !== 0 ? undefined : answer.stdout.trim();
}

// Other packages or another Python are another folder.
function folderFor(version: string, requirements: string): string {
  const wanted = createHash("sha256").update(readFileSync(requirements)).digest("hex").slice(0, 16);
  return join(cacheFolder(), `python-${version}-${wanted}`);
}

async function install(requirements: string): Promise<string> {
  const version = baseVersion();
  if (version === undefined) throw new Error(`python: no ${python()}`);
  const folder = folderFor(version, requirements);
  if (existsSync(folder)) return join(folder, "bin", "python");
  mkdirSync(cacheFolder(), { recursive: true });
  const made = mkdtempSync(join(cacheFolder(), "python-"));
  try {
    await run(python(), ["-m", "venv", made]);
    const pip = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r", requirements];
    await run(join(made, "bin", "python"), pip);
    // an environment finds itself by where its interpreter lies, so it may be moved (its scripts may not)
    renameSync(made, folder);
  } catch (error) {
    rmSync(made, { recursive: true, force: true });
    if (!existsSync(folder)) throw error; // else another process was first
  }
  return join(folder, "bin", "python");
}
