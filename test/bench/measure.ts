// One line per micro benchmark: nanoseconds per item, the best of several rounds (the machine may be shared).

import process from "node:process";

/** Runs `work` (which handles `items` items) until about a second has passed and prints ns per item. */
export async function measure(name: string, items: number, work: () => void | Promise<void>): Promise<void> {
  let best = Infinity;
  const end = performance.now() + 1000;
  do {
    const start = performance.now();
    await work();
    best = Math.min(best, performance.now() - start);
  } while (performance.now() < end);
  process.stdout.write(`${name.padEnd(44)} ${(best * 1e6 / items).toFixed(0).padStart(7)} ns\n`);
}
