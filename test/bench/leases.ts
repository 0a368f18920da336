// `npm run bench:leases`: what a worker does with a whole lease table, in milliseconds, at 1 000, 5 000 and 10 000 leases
// of 50 workers. Growth has to be about linear; that nothing is quadratic is a test (test/leases/scale.test.ts).

import process from "node:process";
import { manyLeases, STEPS } from "../leases/many.ts";
import { knownArguments } from "../usage.ts";

knownArguments({
  text: "npm run bench:leases\nWhat a worker does with a whole lease table, in milliseconds.",
});

const SIZES = [1_000, 5_000, 10_000];
const ROUNDS = 15;

function median(times: number[]): number {
  return times.sort((a, b) => a - b)[times.length >> 1]!;
}

const say = (line: string): void => void process.stdout.write(`${line}\n`);
const column = (text: string, width: number): string => text.padStart(width);

say(`${"milliseconds".padEnd(40)}${SIZES.map((size) => column(String(size), 9)).join("")}   growth`);
const tables = SIZES.map((size) => manyLeases(size));
for (const [name, step] of Object.entries(STEPS)) {
  const figures = tables.map((many) => {
    const times: number[] = [];
    for (let round = 0; round < ROUNDS; round++) {
      const start = performance.now();
      step(many);
      times.push(performance.now() - start);
    }
    return median(times);
  });
  const growth = figures[2]! / figures[0]!;
  say(
    `${name.padEnd(40)}${figures.map((ms) => column(ms.toFixed(2), 9)).join("")}   × ${
      growth.toFixed(1)
    } for × 10`,
  );
}
