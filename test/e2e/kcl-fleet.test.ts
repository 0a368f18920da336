// The short form of the proof of mixed fleets; `npm run proof` watches one for five minutes.

import { test } from "node:test";
import { kclFleet } from "../proof/kcl-fleet.ts";
import { kclMissing } from "../servers/kcl-consumer.ts";

const skip = kclMissing() ?? false;

test(
  "kcl: one Java worker and two of ours settle at two of six leases each and stay there (KCL scenario 10)",
  {
    skip,
  },
  async (t) => {
    await kclFleet(t, { steadyMs: 60_000 });
  },
);
