// Runs the command line program as a child process, on the runtime that the test runs on.

import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { createRequire } from "node:module";
import { constants } from "node:os";
import process from "node:process";
import { fileURLToPath, pathToFileURL } from "node:url";
import { runtimeName } from "../../src/runtime.ts";

/** Options of {@link spawnCli}. */
export interface SpawnCliOptions {
  /** @default the current folder */
  readonly cwd?: string;
  /** Added to the environment; `undefined` takes a variable out. */
  readonly env?: Readonly<Record<string, string | undefined>>;
  /** Text for its standard input, which is then closed. @default nothing, closed at once */
  readonly stdin?: string;
  /** @default the runtime of the test */
  readonly runtime?: "node" | "deno" | undefined;
}

/** A running (or ended) program. */
export interface CliProcess {
  readonly pid: number;
  /** What it wrote so far. */
  readonly stdout: string;
  readonly stderr: string;
  /** Resolves when it has ended and its output is complete; 128 + number for a signal, as in a shell. */
  readonly exitCode: Promise<number>;
  /** Sends a signal; false when it has ended already. @param signal default SIGTERM */
  kill(signal?: NodeJS.Signals): boolean;
  /** Resolves when stdout and stderr together match; rejects when it ends or time is up (a minute) before. */
  waitFor(pattern: RegExp, timeoutMs?: number): Promise<RegExpExecArray>;
}

/** Starts `kinesis-pulsar <args>`. Close it: `t.after(() => cli.kill("SIGKILL"))`. */
export function spawnCli(args: readonly string[], options: SpawnCliOptions = {}): CliProcess {
  const runtime = options.runtime ?? runtimeName;
  const child = spawn(executable(runtime), [...program(runtime), ...args], {
    cwd: options.cwd,
    env: environment(options.env ?? {}),
    stdio: ["pipe", "pipe", "pipe"],
  });
  const output = { stdout: "", stderr: "" };
  const watchers = new Set<() => void>();
  for (const name of ["stdout", "stderr"] as const) {
    child[name].setEncoding("utf8").on("data", (text: string) => {
      output[name] += text;
      for (const watch of watchers) watch();
    });
  }
  child.stdin.on("error", () => {}); // it may end before it has read
  child.stdin.end(options.stdin ?? "");
  const exitCode = new Promise<number>((resolve, reject) => {
    child.once("error", reject);
    child.once("close", (code, signal) => resolve(code ?? 128 + constants.signals[signal!]));
  });
  exitCode.catch(() => {}); // whoever awaits it is told; nobody else needs to be
  return {
    pid: child.pid ?? -1,
    get stdout() {
      return output.stdout;
    },
    get stderr() {
      return output.stderr;
    },
    exitCode,
    kill: (signal = "SIGTERM") => {
      if (child.pid === undefined || child.exitCode !== null || child.signalCode !== null) return false;
      try {
        // After child.kill() Deno tells of the signal, whatever code the program then ended with.
        return process.kill(child.pid, signal);
      } catch (error) {
        if ((error as { code?: unknown }).code === "ESRCH") return false; // its end is not told yet
        throw error;
      }
    },
    waitFor: (pattern, timeoutMs = 60_000) =>
      new Promise((resolve, reject) => {
        const words = () => `${output.stdout}\n${output.stderr}`;
        const end = () => {
          watchers.delete(watch);
          clearTimeout(timer);
        };
        const watch = () => {
          const match = pattern.exec(words());
          if (!match) return false;
          end();
          resolve(match);
          return true;
        };
        const fail = (why: string) => {
          if (watch()) return;
          end();
          reject(
            new Error(`kinesis-pulsar ${args.join(" ")} ${why} before ${pattern}:\n${words().slice(-4000)}`),
          );
        };
        const timer = setTimeout(() => fail(`wrote for ${timeoutMs} ms`), timeoutMs);
        watchers.add(watch);
        if (!watch()) exitCode.then((code) => fail(`ended with ${code}`), () => fail("did not start"));
      }),
  };
}

/** Runs `kinesis-pulsar <args>` to its end. */
export async function runCli(
  args: readonly string[],
  options: SpawnCliOptions = {},
): Promise<{ code: number; stdout: string; stderr: string }> {
  const cli = spawnCli(args, options);
  const code = await cli.exitCode;
  return { code, stdout: cli.stdout, stderr: cli.stderr };
}

const root = new URL("../../", import.meta.url);

/** The program itself, never a wrapper that starts it: a signal to the child must reach it. */
function executable(runtime: "node" | "deno"): string {
  if (runtime === runtimeName) return process.execPath;
  return runtime === "node" ? "node" : fileURLToPath(new URL("node_modules/deno/deno", root));
}

function program(runtime: "node" | "deno"): string[] {
  const main = fileURLToPath(new URL("src/cli/main.ts", root));
  if (runtime === "deno") {
    const entry = fileURLToPath(new URL("mod.ts", root));
    return ["run", "-A", existsSync(entry) ? entry : main];
  }
  const tsx = pathToFileURL(createRequire(import.meta.url).resolve("tsx")).href;
  return ["--import", tsx, main];
}

function environment(added: Readonly<Record<string, string | undefined>>): NodeJS.ProcessEnv {
  // Deno runs test files side by side in one process: AWS variables that another test has set are not this child's.
  const inherited = Object.entries(process.env).filter(([name]) => !name.startsWith("AWS_"));
  const merged: NodeJS.ProcessEnv = { ...Object.fromEntries(inherited), ...added };
  // Coverage and test runner variables would make the child part of this test run.
  for (const name of ["NODE_TEST_CONTEXT", "NODE_OPTIONS"]) if (!(name in added)) delete merged[name];
  return Object.fromEntries(Object.entries(merged).filter(([, value]) => value !== undefined));
}
