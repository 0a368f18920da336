// Starts a server program that prints one JSON line when it serves. It ends when its standard input is closed, so
// it never outlives the test process, not even one that was killed; and it never keeps the test process alive.

import { type ChildProcess, spawn } from "node:child_process";
import process from "node:process";
import { setTimeout as delay } from "node:timers/promises";

/** A running server program. */
export interface ServerProcess {
  /** The JSON object of its first line. */
  readonly ready: Readonly<Record<string, unknown>>;
  readonly pid: number;
  /** Asks it to end and waits for that; killed after 15 s. */
  stop(): Promise<void>;
}

/** What to start. */
export interface ServerCommand {
  /** Its name in errors. */
  readonly name: string;
  readonly command: string;
  readonly args: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
  /** How long it may take until its line. @default 120000 */
  readonly timeoutMs?: number;
}

/** Starts the program and waits for its line. Throws with its last words when it ends or is silent too long. */
export async function startServer(options: ServerCommand): Promise<ServerProcess> {
  const child = spawn(options.command, options.args, {
    stdio: ["pipe", "pipe", "pipe"],
    env: { ...process.env, ...options.env },
  });
  let running = true; // child.exitCode says it on Node only
  const ended = new Promise<void>((resolve) => {
    const end = () => {
      running = false;
      resolve();
    };
    child.once("exit", end);
    child.once("error", end);
  });
  child.stdin.on("error", () => {}); // it may end before we close the pipe
  const line = await firstLine(child, options).catch((error: unknown) => {
    child.kill("SIGKILL");
    throw error;
  });
  // from here on nothing of the child may hold the event loop
  child.unref();
  for (const pipe of [child.stdin, child.stdout, child.stderr]) {
    pipe.removeAllListeners("data");
    (pipe as { unref?(): void }).unref?.();
  }
  child.stdout.resume();
  child.stderr.resume();
  const kill = () => running && child.kill("SIGTERM");
  process.once("exit", kill);
  return {
    ready: JSON.parse(line),
    pid: child.pid ?? -1,
    async stop() {
      process.removeListener("exit", kill);
      if (!running) return;
      child.ref();
      child.stdin.end();
      child.kill("SIGTERM");
      const given = new AbortController();
      await Promise.race([ended, delay(15_000, undefined, { signal: given.signal }).catch(() => {})]);
      given.abort();
      if (running) child.kill("SIGKILL");
      await ended;
    },
  };
}

function firstLine(child: ChildProcess, options: ServerCommand): Promise<string> {
  return new Promise((resolve, reject) => {
    let out = "";
    let words = "";
    const fail = (why: string) => {
      clearTimeout(timer);
      reject(new Error(`${options.name}: ${why}${words && `\n${words.slice(-4000)}`}`));
    };
    const timer = setTimeout(() => fail("gave no sign of life in time"), options.timeoutMs ?? 120_000);
    child.once("error", (error) => fail(error.message));
    child.once("exit", (code, signal) => fail(`ended while starting (${signal ?? code})`));
    child.stderr?.on("data", (data) => words += data);
    child.stdout?.on("data", (data) => {
      out += data;
      const end = out.indexOf("\n");
      if (end < 0) return;
      clearTimeout(timer);
      resolve(out.slice(0, end));
    });
  });
}
