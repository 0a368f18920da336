// A Pulsar that stands still: the short form of the proof of bounded memory.

import { test } from "node:test";
import { memory } from "../proof/memory.ts";
import { brokerMissing } from "../servers/broker.ts";

const skip = brokerMissing() ?? false;

test(
  "e2e memory: 32 shards of 1 MiB records while Pulsar stands: bounded, and nothing is lost",
  { skip },
  async (t) => {
    await memory(t, { recordsPerShard: 6 });
  },
);
