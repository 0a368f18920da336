// The short form of the proof of `kill -9`; `npm run proof` has the long one.

import { test } from "node:test";
import { kills } from "../proof/kills.ts";
import { latest } from "../proof/latest.ts";
import { brokerMissing } from "../servers/broker.ts";

const skip = brokerMissing() ?? false;

test(
  "e2e kills: a worker killed again and again under load loses nothing and keeps the order",
  { skip },
  async (t) => {
    await kills(t, { rounds: 8, recordsPerSecond: 250 });
  },
);

test(
  "e2e kills: LATEST, killed before the first checkpoint, loses nothing put after onShardStart",
  { skip },
  async (t) => {
    await latest(t, { rounds: 1 });
  },
);
