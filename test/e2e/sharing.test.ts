// Several workers on one stream, and clean stops: the short forms of the proofs.

import { test } from "node:test";
import { busyHook } from "../proof/busy-hook.ts";
import { cleanStop } from "../proof/clean-stop.ts";
import { frozen } from "../proof/frozen.ts";
import { takeover } from "../proof/takeover.ts";
import { brokerMissing } from "../servers/broker.ts";

const skip = brokerMissing() ?? false;

test("e2e sharing: clean stops under load lose nothing and leave no duplicate", { skip }, async (t) => {
  await cleanStop(t, { rounds: 3 });
});

test(
  "e2e sharing: the shards of a killed worker are taken over in time, nothing is lost",
  { skip },
  async (t) => {
    await takeover(t, { rounds: 1 });
  },
);

test(
  "e2e sharing: a worker frozen and woken writes nothing of shards that another took over",
  { skip },
  async (t) => {
    await frozen(t, { rounds: 1 });
  },
);

test("e2e sharing: a hook that blocks longer than the failover time publishes and checkpoints nothing", {
  skip,
}, async (t) => {
  await busyHook(t, { loopMs: 4_000, failoverTimeMs: 2_000 });
});
