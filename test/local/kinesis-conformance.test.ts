// The same checks on our server and on kinesis-local. Ours must show what AWS shows; where kinesis-local does
// not, that is listed here, and a difference that vanishes or appears fails.

import assert from "node:assert/strict";
import { test } from "node:test";
import { startLocalKinesis } from "../../src/local/mod.ts";
import { kinesisClient } from "../servers/kinesis.ts";
import { startKinesisLocal } from "../servers/kinesis-local.ts";
import { CHECKS } from "./conformance.ts";
import { Kit } from "./conformance-kit.ts";
import { clientOver, TRANSPORTS } from "./subscriptions.ts";

/** What kinesis-local 0.6.2 shows where AWS and our server show `expected`. */
const KINESIS_LOCAL_DIFFERENCES: Readonly<Record<string, unknown>> = {
  "ListShards filters": {
    all: ["0", "1", "2", "3"],
    atTrimHorizon: ["0", "1", "2", "3"], // shards that were created later too
    fromTrimHorizon: ["0", "1", "2", "3"],
    atLatest: ["1", "2", "3"],
    atTimeBeforeSplit: ["0", "1"],
    atTimeAfterSplit: ["1", "2", "3"],
    fromTimeBeforeSplit: ["0", "1", "2", "3"],
    fromTimeAfterSplit: ["1", "2", "3"],
    after1: ["2", "3"],
  },
  // the word NONE where AWS says nothing
  "records come back as they were put": {
    keys: ['ключ-"1"\n', "b"],
    sameBytes: true,
    empty: 0,
    arrived: true,
    encryption: "NONE",
  },
  "encryption is told with the records put while it is on": {
    summary: "KMS",
    put: "KMS",
    records: ["NONE", "KMS", "NONE"],
  },
  // not refused at all
  "AT_TIMESTAMP in the future is refused": "accepted",
  "another shard's sequence number is refused": "accepted",
  "another stream's sequence number is refused": "accepted",
  "501 records at once are refused": "accepted",
  // refused under another name
  "an iterator type that does not exist is refused": "SerializationException",
  "a made-up iterator is refused": "Unknown", // HTTP 500 without a body
  "GetRecords keeps to its Limit": { pages: [["a", "b"], ["c"]], tooMany: "InvalidArgumentException" },
  "a record above 1 MiB is refused": "InvalidArgumentException",
  // empty events go on for ever
  "a subscription to a split shard ends with its children": { texts: ["a"], goesOn: true },
};

for (const transport of TRANSPORTS) {
  test(`local kinesis: our server shows a client what AWS shows, over ${transport}`, async (t) => {
    const kinesis = await startLocalKinesis();
    t.after(() => kinesis.close());
    assert.deepEqual(await seeAll(new Kit(clientOver(t, kinesis.url, transport))), expected({}));
  });
}

test("local kinesis: kinesis-local differs from AWS exactly where it is listed", async (t) => {
  const server = await startKinesisLocal();
  t.after(() => server.stop());
  assert.deepEqual(
    await seeAll(new Kit(kinesisClient(t, server.url), 1100)),
    expected(KINESIS_LOCAL_DIFFERENCES),
  );
});

test("local kinesis: the listed differences name checks and differ", () => {
  for (const [name, seen] of Object.entries(KINESIS_LOCAL_DIFFERENCES)) {
    const check = CHECKS.find((check) => check.name === name);
    assert.ok(check, `no check "${name}"`);
    assert.notDeepEqual(seen, check.expected, name);
  }
});

// Few at a time: all at once, kinesis-local takes four times as long.
async function seeAll(kit: Kit): Promise<Record<string, unknown>> {
  const seen: Record<string, unknown> = {};
  const checks = CHECKS.values();
  const work = async () => {
    for (const check of checks) {
      try {
        seen[check.name] = await check.see(kit);
      } catch (error) {
        seen[check.name] = `threw ${error}`;
      }
    }
  };
  await Promise.all([work(), work()]);
  return JSON.parse(JSON.stringify(seen)); // drops fields that are undefined
}

function expected(differences: Readonly<Record<string, unknown>>): Record<string, unknown> {
  return Object.fromEntries(CHECKS.map((check) => [check.name, differences[check.name] ?? check.expected]));
}
