// Benchmarks run in processes of their own, so that each is measured alone: the clients under test, and the broker
// that forgets.

import { spawn } from "node:child_process";
import { once } from "node:events";
import { dirname, join } from "node:path";
import process from "node:process";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { pythonWithPulsar } from "../servers/python.ts";
import type { Figures } from "./figures.ts";

const here = dirname(fileURLToPath(import.meta.url));
const deno = join(here, "..", "..", "node_modules", ".bin", "deno");

/** What runs a script of this folder. */
export type Runtime = "node" | "deno" | "python";

/** Runs a script of this folder, whose last line is its figures. `flags` are for the runtime. */
export async function measureChild(
  runtime: Runtime,
  script: string,
  parameters: unknown,
  flags: readonly string[] = [],
): Promise<Figures> {
  const rest = [join(here, script), JSON.stringify(parameters)];
  const [command, args] = runtime === "node"
    ? [process.execPath, [...flags, "--import", "tsx", ...rest]]
    : runtime === "deno"
    ? [deno, ["run", "-A", ...flags, ...rest]]
    : [await pythonWithPulsar(), rest];
  const child = spawn(command, args, { stdio: ["ignore", "pipe", "inherit"] });
  let output = "";
  child.stdout.setEncoding("utf8").on("data", (text: string) => output += text);
  const code = await new Promise((resolve) => child.once("close", resolve));
  if (code !== 0) throw new Error(`${script} on ${runtime} ended with ${code}: ${output}`);
  return JSON.parse(output.trim().split("\n").at(-1)!) as Figures;
}

/** Starts discarding-broker.ts. */
export async function startDiscardingBroker(): Promise<{ serviceUrl: string; stop: () => void }> {
  const child = spawn(process.execPath, ["--import", "tsx", join(here, "discarding-broker.ts")], {
    stdio: ["pipe", "pipe", "inherit"],
  });
  const [serviceUrl] = await once(createInterface(child.stdout), "line") as [string];
  return { serviceUrl, stop: () => child.kill() };
}
