// Roads by chance: see random-road.ts. RANDOM_ROADS=2000 travels so many, RANDOM_SEED=7 begins with that one.

import { test } from "node:test";
import process from "node:process";
import { startLocalKinesis } from "../../src/local/mod.ts";
import { travel } from "./random-road.ts";

const COUNT = Number(process.env["RANDOM_ROADS"] ?? 20);
const FIRST = Number(process.env["RANDOM_SEED"] ?? 1);

test("G1 G2 G4 by chance: whatever is cut, moved, refused, stolen, changed, stopped and killed on the way", async (t) => {
  // The roads' clock runs twenty times as fast.
  const kinesis = await startLocalKinesis({
    requestLogSize: 0,
    heartbeatMs: 250,
    resubscribeAfterMs: 250,
    maxEventBytes: 4_000,
  });
  t.after(() => kinesis.close());
  const ends: Promise<unknown>[] = [];
  const failures: string[] = [];
  for (let seed = FIRST; seed < FIRST + COUNT; seed++) {
    try {
      await travel(seed, kinesis, ends);
    } catch (error) {
      failures.push(`seed ${seed}: ${error instanceof Error ? error.stack : String(error)}`);
    }
  }
  await Promise.all(ends);
  if (failures.length > 0) throw new Error(`${failures.length} of ${COUNT} failed\n${failures.join("\n")}`);
});
