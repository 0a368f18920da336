// The simulation as a program.
//   main.ts --stories=N [--seed=S] [--plant=NAME]   N stories, in lots of 250 with the seeds S, S + 1, S + 2 …
//   main.ts --seed=S --path=P [--plant=NAME]        tells one story that went wrong, event by event
// The last line of output is JSON: what all stories came to. Exit code 1 when one went wrong.

import process from "node:process";
import { runtimeName } from "../../src/runtime.ts";
import { PLANTS } from "./plants.ts";
import { play } from "./story.ts";
import { type Failure, LOT, tell, type Totals } from "./tell.ts";

const say = (line: string): void => void process.stdout.write(`${line}\n`);

function option(name: string): string | undefined {
  return process.argv.find((argument) => argument.startsWith(`--${name}=`))?.slice(name.length + 3);
}

function command({ seed, path }: Failure, plant: string | undefined): string {
  const program = runtimeName === "deno" ? "deno run -A" : "node --import tsx";
  const more = plant === undefined ? "" : ` --plant="${plant}"`;
  return `${program} test/sim/main.ts --seed=${seed} --path=${path}${more}`;
}

async function main(): Promise<number> {
  const seed = Number(option("seed") ?? 1);
  const path = option("path");
  const name = option("plant");
  const plant = name === undefined ? undefined : PLANTS[name];
  if (name !== undefined && plant === undefined) throw new Error(`no planted fault is called "${name}"`);
  if (path !== undefined) {
    const { failure } = await tell({ seed, path, count: LOT, plant });
    if (failure === undefined) {
      say("nothing goes wrong there");
      return 0;
    }
    say(JSON.stringify(failure.story, undefined, 2));
    await play(failure.story, { plant, say });
    return 1;
  }
  const wanted = Number(option("stories") ?? LOT);
  const sums: Totals = { stories: 0, events: 0, stored: 0, duplicates: 0, takes: 0, steals: 0 };
  for (let told = 0; told < wanted; told += LOT) {
    const { totals, failure } = await tell({
      seed: seed + told / LOT,
      count: Math.min(LOT, wanted - told),
      plant,
    });
    for (const key of Object.keys(sums) as (keyof Totals)[]) sums[key] += totals[key];
    if (failure === undefined) continue;
    say(`${failure.message}\n${JSON.stringify(failure.story)}\nit is told by: ${command(failure, name)}`);
    say(JSON.stringify(sums));
    return 1;
  }
  say(JSON.stringify(sums));
  return 0;
}

process.exitCode = await main();
