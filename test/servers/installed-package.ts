// The package as users get it: `npm pack` of a copy of this checkout (so that nothing here changes), installed into an
// empty folder. Done once per run: the runner hands the folder on in TEST_PACKAGE_DIR.

import { execFile } from "node:child_process";
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

/** The root of this checkout. */
export const ROOT: string = dirname(dirname(dirname(fileURLToPath(import.meta.url))));

const SOURCES = ["package.json", "deno.json", "tsconfig.json", "mod.ts", "src", "test/generate.ts"];
const DOCUMENTS = ["README.md", "CHANGELOG.md", "LICENSE"];

/** What was installed. */
export interface InstalledPackage {
  /** A folder whose node_modules holds the package and its dependencies, nothing else. */
  readonly folder: string;
  /** The files in the tarball. */
  readonly files: readonly string[];
}

let own: Promise<InstalledPackage> | undefined;

/** The installed package: the run's, else one of this process that goes when it ends. */
export function installedPackage(): Promise<InstalledPackage> {
  const { TEST_PACKAGE_DIR: folder } = process.env;
  if (folder) return Promise.resolve(read(folder));
  return own ??= installOwn();
}

async function installOwn(): Promise<InstalledPackage> {
  const folder = mkdtempSync(join(tmpdir(), "kinesis-pulsar-package-"));
  process.once("exit", () => rmSync(folder, { recursive: true, force: true }));
  await packAndInstall(folder);
  return read(folder);
}

function read(folder: string): InstalledPackage {
  return {
    folder: join(folder, "installed"),
    files: JSON.parse(readFileSync(join(folder, "files.json"), "utf8")),
  };
}

/** Packs into `folder` and installs there. Takes some seconds. */
export async function packAndInstall(folder: string): Promise<void> {
  const copy = join(folder, "checkout");
  for (const name of [...SOURCES, ...DOCUMENTS, "hooks"]) {
    if (existsSync(join(ROOT, name))) cpSync(join(ROOT, name), join(copy, name), { recursive: true });
  }
  symlinkSync(join(ROOT, "node_modules"), join(copy, "node_modules"));
  const [tarball] = JSON.parse(jsonOf(await npm(copy, "pack", "--json", "--pack-destination", folder)));
  const installed = join(folder, "installed");
  mkdirSync(installed);
  writeFileSync(join(installed, "package.json"), '{ "private": true }\n');
  await npm(installed, "install", "--no-audit", "--no-fund", join(folder, tarball.filename));
  writeFileSync(
    join(folder, "files.json"),
    JSON.stringify(tarball.files.map(({ path }: { path: string }) => path)),
  );
}

/** Runs a program and gives its output; rejects with it when it fails. */
export async function output(command: string, args: readonly string[], cwd: string): Promise<string> {
  // npm hands its settings and its script's state down as variables; a user's shell has none of them.
  const env = Object.fromEntries(
    Object.entries(process.env).filter(([name]) =>
      !/^(npm_|NODE_TEST_CONTEXT$|NODE_OPTIONS$|INIT_CWD$)/.test(name)
    ),
  );
  try {
    const { stdout } = await promisify(execFile)(command, args, { cwd, env, maxBuffer: 64 * 1024 * 1024 });
    return stdout;
  } catch (error) {
    const { stdout, stderr, code } = error as { stdout?: string; stderr?: string; code?: unknown };
    throw new Error(`${command} ${args.join(" ")} failed (${code}):\n${stdout ?? ""}\n${stderr ?? ""}`, {
      cause: error,
    });
  }
}

function npm(cwd: string, ...args: string[]): Promise<string> {
  return output("npm", args, cwd);
}

// Before its JSON npm passes on what the prepack script prints.
function jsonOf(text: string): string {
  return text.slice(text.search(/^\[$/m));
}
