// What hooks cost per record: node --import tsx test/bench/hooks.ts (or deno run -A …).

import type { UserRecord } from "../../src/core/record.ts";
import { createHookChain } from "../../src/hooks/chain.ts";
import { inlineHooks } from "../../src/hooks/load.ts";
import { RECORD_PROPERTIES } from "../../src/core/record.ts";
import type { Hooks } from "../../src/hooks/types.ts";
import { silentLogger } from "../../src/core/log.ts";
import { MetricsRegistry } from "../../src/metrics/registry.ts";
import { systemClock } from "../../src/runtime.ts";
import { measure } from "./measure.ts";
import { knownArguments } from "../usage.ts";

knownArguments({ text: "node --import tsx test/bench/hooks.ts\nWhat hooks cost per record." });

const PAGE = 10_000;
const data = new TextEncoder().encode(JSON.stringify({ country: "DE", id: "4711", text: "x".repeat(980) }));
const records: UserRecord[] = Array.from({ length: PAGE }, (_, index) => ({
  data,
  partitionKey: `key-${index}`,
  sequenceNumber: "49680476692433014098179508999634594405486341000000000003",
  approximateArrivalTimestamp: 1_795_000_000_000 + index,
  encryptionType: "NONE",
  subSequenceNumber: 0,
  last: true,
}));

const cases: [string, Hooks[]][] = [
  ["no hook on records", [{ onStart() {} }]],
  ["sync identity (undefined)", [{ onRecord() {} }]],
  ["sync identity (record.message)", [{ onRecord: (record) => record.message }]],
  ["sync { ...record.message, key }", [{ onRecord: (record) => ({ ...record.message, key: "k" }) }]],
  ["sync drop", [{ onRecord: () => null }]],
  ["two sync identities", [{ onRecord() {} }, { onRecord() {} }]],
  ["sync JSON of 1 KiB in, key and topic out", [{
    onRecord(record) {
      const order = record.json<{ id: string; country: string }>();
      return { ...record.message, key: order.id, topic: `orders-${order.country}` };
    },
  }]],
  ["sync JSON of 1 KiB in and out", [{ onRecord: (record) => ({ data: record.json<{ id: string }>() }) }]],
  ["async identity", [{ onRecord: () => Promise.resolve(undefined) }]],
  ["onBatch identity", [{ onBatch: (batch) => batch.map(() => undefined) }]],
];
for (const [name, hooks] of cases) {
  const signal = new AbortController().signal;
  const chain = createHookChain({
    scripts: hooks.map((one) => inlineHooks(one)),
    topic: "persistent://public/default/out",
    messageKeyMode: "PARTITION_KEY",
    kinesisRecordProperties: RECORD_PROPERTIES.slice(0, 4),
    eventTime: "arrival",
    streamName: "orders",
    log: silentLogger,
    metrics: new MetricsRegistry(),
    clock: systemClock,
    runtime: "node",
    signal,
  });
  await measure(name, PAGE, async () => {
    const run = chain.processPage(
      records,
      { shardId: "shardId-000000000000", millisBehindLatest: 0 },
      signal,
    );
    for (let given = 0; given < PAGE;) {
      const next = run.next();
      const outcomes = next instanceof Promise ? await next : next;
      given += outcomes!.length;
    }
  });
  await chain.stop({ reason: "stop" });
}
