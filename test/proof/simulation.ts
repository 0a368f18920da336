// The randomised proof of leases: thousands of stories of workers, lease table, clock and stream, on two cores. See
// test/sim/. Every story is one seed; the first that goes wrong is made smaller and told how to be told again.

import { spawn } from "node:child_process";
import { fileURLToPath } from "node:url";
import { LOT, type Totals } from "../sim/tell.ts";
import type { Figures, ProofScope } from "./proof.ts";

/** Options of {@link simulation}. */
export interface SimulationOptions {
  readonly stories: number;
  /** The first seed. */
  readonly seed?: number | undefined;
}

/** At a time; each tells one portion, because Node keeps a little of every worker that was killed in it. */
const PROCESSES = 2;
const PORTION = 2_500;
/** Deno tells others than Node: a seed is the same story on both. */
const DENO_SEEDS = 1_000_000;

/** Tells so many stories. Throws when one goes wrong. */
export async function simulation(
  scope: ProofScope,
  { stories, seed = 1 }: SimulationOptions,
): Promise<Figures> {
  const first = seed + (scope.runtime === "deno" ? DENO_SEEDS : 0);
  const portion = Math.min(PORTION, Math.ceil(stories / PROCESSES / LOT) * LOT);
  const portions = Array.from({ length: Math.ceil(stories / portion) }, (_, index) => [
    `--stories=${Math.min(portion, stories - index * portion)}`,
    `--seed=${first + index * portion / LOT}`,
  ]);
  const runs: Totals[] = [];
  const sum = (name: keyof Totals): number => runs.reduce((total, totals) => total + totals[name], 0);
  const teller = async (): Promise<void> => {
    for (let next = portions.shift(); next !== undefined; next = portions.shift()) {
      runs.push(await run(scope, next));
      scope.say?.(`${sum("stories")} stories told`);
    }
  };
  await Promise.all(Array.from({ length: PROCESSES }, teller));
  return {
    rounds: sum("stories"),
    valid: sum("stories"),
    records: sum("stored") - sum("duplicates"),
    duplicates: sum("duplicates"),
    lost: 0,
    remark: `${sum("events")} events, ${sum("takes")} takes, ${sum("steals")} of them from the living`,
  };
}

function run(scope: ProofScope, args: readonly string[]): Promise<Totals> {
  const fileOf = (path: string): string => fileURLToPath(new URL(path, import.meta.url));
  const program = fileOf("../sim/main.ts");
  // The program itself, not what starts it: it has to hear when it is to end.
  const [command, ...before] = scope.runtime === "deno"
    ? [fileOf("../../node_modules/deno/deno"), "run", "-A"]
    : ["node", "--import", "tsx"];
  return new Promise((resolve, reject) => {
    const child = spawn(command!, [...before, program, ...args], { stdio: ["ignore", "pipe", "inherit"] });
    scope.after(() => child.kill());
    let output = "";
    child.stdout.setEncoding("utf8").on("data", (text: string) => output += text);
    child.once("error", reject);
    child.once("close", (code) => {
      const lines = output.trimEnd().split("\n");
      if (code === 0) resolve(JSON.parse(lines.at(-1)!) as Totals);
      else reject(new Error(`a story went wrong (exit code ${code}):\n${lines.slice(0, -1).join("\n")}`));
    });
  });
}
