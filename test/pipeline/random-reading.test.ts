// Journeys by chance: see random-reading.ts. RANDOM_READINGS=500 makes so many, RANDOM_SEED=7 begins with that one.

import process from "node:process";
import { test } from "node:test";
import { startLocalKinesis } from "../../src/local/mod.ts";
import { travel } from "./random-reading.ts";

const COUNT = Number(process.env["RANDOM_READINGS"] ?? 6);
const FIRST = Number(process.env["RANDOM_SEED"] ?? 1);

test("G1 G2 by chance: whatever breaks while shards are read by polling and fan-out in turn, every record comes once, in order", async (t) => {
  const failures: string[] = [];
  for (const emptyPageAtShardEnd of [false, true]) {
    // The readers' clock runs twenty times as fast.
    const kinesis = await startLocalKinesis({
      requestLogSize: 0,
      heartbeatMs: 100,
      resubscribeAfterMs: 250,
      subscriptionLifeMs: 1_000,
      maxEventBytes: 1_000,
      emptyPageAtShardEnd,
    });
    t.after(() => kinesis.close());
    for (let seed = FIRST; seed < FIRST + COUNT / 2; seed++) {
      try {
        await travel(seed * 2 + Number(emptyPageAtShardEnd), kinesis);
      } catch (error) {
        failures.push(
          `seed ${seed}, ${emptyPageAtShardEnd}: ${error instanceof Error ? error.stack : String(error)}`,
        );
      }
    }
  }
  if (failures.length > 0) throw new Error(`${failures.length} of ${COUNT} failed\n${failures.join("\n")}`);
});
