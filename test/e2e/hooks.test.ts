// Hook scripts as users write them, on the whole road: TypeScript with an enum, a relative and an npm import; what they
// drop, route, change and split; everything they are told; throttling with backoffTime between the reads.

import assert from "node:assert/strict";
import { mkdir, readFile, symlink } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { brokerMissing } from "../servers/broker.ts";
import { readTopic, type TopicMessage } from "../servers/topic-reader.ts";
import { ended, eventually, layRoad, received, type Road, stopped } from "./kit.ts";

const skip = brokerMissing() ?? false;

/** What the tests compare of a message. */
type Plain = Pick<TopicMessage, "key" | "properties"> & { readonly data: string };

const BACKOFF_MS = 400;
// The record that the second script cannot take.
const UNLUCKY = 15;

// One script in a .ts file, with an enum, and one in an .mts file, with a value of our own package.
const SCRIPTS = {
  "orders.ts": `
import { parse } from "smol-toml";
import { shout } from "./shout.ts";
import type { Hooks } from "kinesis-pulsar";

enum Fate { Drop = "drop", Split = "split", Route = "route", Keep = "keep" }
interface Order { readonly fate: Fate; readonly id: number }

export default {
  onRecord(record, { options }) {
    const order = parse(record.text()) as unknown as Order;
    switch (order.fate) {
      case Fate.Drop:
        return null;
      case Fate.Split:
        return [1, 2, 3].map((part) => ({
          data: { id: order.id, part },
          key: String(order.id),
          properties: { part: String(part) },
          topic: part === 3 ? options.thirds : undefined,
        }));
      case Fate.Route:
        return { ...record.message, topic: options.routed, data: shout(record.text()) };
      default:
        return undefined;
    }
  },
} satisfies Hooks<{ routed: string; thirds: string }>;
`,
  "shout.ts": `export const shout = (text: string): string => text.toUpperCase();\n`,
  "stamp.mts": `
import { appendFileSync } from "node:fs";
import { defineHooks } from "kinesis-pulsar";

const seen = (what: string, event: unknown): void =>
  appendFileSync("events.jsonl", JSON.stringify({ what, ...(event as object) }) + "\\n");

export default defineHooks({
  onRecord(record) {
    const { key, properties, ...rest } = record.message;
    if (record.text().endsWith("id = ${UNLUCKY}")) throw new Error("an unlucky number");
    return { ...rest, key: key + "!", properties: { ...properties, stamped: "yes" } };
  },
  onStart: (event) => seen("start", event),
  onShardStart: (event) => seen("shardStart", event),
  onCheckpoint: (event) => seen("checkpoint", event),
  onShardEnd: (event) => seen("shardEnd", event),
  onThrottle: (event) => seen("throttle", event),
  onError: ({ error, shardId, record }) => seen("error", { code: error.code, shardId, text: record?.text() }),
  onStop: (event) => seen("stop", event),
});
`,
};

interface Seen {
  readonly what: string;
  readonly [field: string]: unknown;
}

async function events(road: Road): Promise<Seen[]> {
  const text = await readFile(join(road.folder, "events.jsonl"), "utf8").catch(() => "");
  return text.split("\n").filter((line) => line !== "").map((line) => JSON.parse(line));
}

test("e2e hooks: TypeScript scripts drop, split, route and change records, and hear of everything", {
  skip,
}, async (t) => {
  const road = await layRoad(t, { shards: 1 });
  // A project of its own, as users have it, with our packages for installed ones.
  const packages = fileURLToPath(new URL("../../node_modules", import.meta.url));
  await symlink(packages, join(road.folder, "node_modules"));
  await road.script("package.json", '{ "dependencies": { "smol-toml": "*" } }');
  for (const [name, text] of Object.entries(SCRIPTS)) await road.script(name, text);
  const topics = { routed: `${road.topic}-routed`, thirds: `${road.topic}-thirds` };
  const fates = ["drop", "split", "route", "keep"];
  const records = Array.from({ length: 40 }, (_, id) => `fate = "${fates[id % 4]}"\nid = ${id}`);
  const put = (texts: readonly string[]) =>
    road.kinesis.putRecords(road.streamName, texts.map((data, i) => ({ partitionKey: `key ${i}`, data })));
  put(records.slice(0, 20));
  const file = await road.write("connector.toml", {
    checkpointInterval: 200,
    backoffTime: BACKOFF_MS,
    kinesisRecordProperties: "kinesis.partition.key",
    hooks: [
      { path: "./orders.ts", options: topics },
      { path: "./stamp.mts", onError: "skip" },
    ],
  });
  const cli = road.run("run", file);
  await cli.waitFor(/reading shard/, 60_000);

  // The third read from now and the two after it are throttled.
  const shardId = "shardId-000000000000";
  const throttled = road.kinesis.inject({
    operation: "GetRecords",
    shardId,
    nth: 3,
    times: 3,
    error: "ProvisionedThroughputExceededException",
  });
  await eventually(() => throttled.hits === 3, "three throttled reads");
  put(records.slice(20));
  await eventually(
    async () => (await events(road)).some(({ what, records }) => what === "checkpoint" && records),
    "a checkpoint",
  );
  const children = road.kinesis.splitShard(road.streamName, shardId);
  await cli.waitFor(/is finished; children/);
  for (const child of children) await cli.waitFor(new RegExp(`reading shard ${child}`), 60_000);
  await stopped(cli);

  const read = async (topic: string) =>
    (await readTopic(topic)).map(({ key, properties, data }) => ({ key, properties, data: String(data) }));
  const part = (id: number, part: number): Plain => ({
    key: `${id}!`,
    properties: { part: `${part}`, stamped: "yes" },
    data: JSON.stringify({ id, part }),
  });
  const whole = (id: number, text: string): Plain => ({
    key: `key ${id % 20}!`,
    properties: { "kinesis.partition.key": `key ${id % 20}`, stamped: "yes" },
    data: text,
  });
  const by = (fate: string) =>
    records.map((text, id) => ({ text, id })).filter(({ id }) => fates[id % 4] === fate);
  assert.deepEqual(await read(topics.thirds), by("split").map(({ id }) => part(id, 3)));
  assert.deepEqual(
    await read(topics.routed),
    by("route").map(({ text, id }) => whole(id, text.toUpperCase())),
  );
  assert.deepEqual(
    await read(road.topic),
    records.flatMap((text, id): Plain[] => {
      if (fates[id % 4] === "split") return [part(id, 1), part(id, 2)];
      return fates[id % 4] === "keep" && id !== UNLUCKY ? [whole(id, text)] : [];
    }),
  );

  const seen = await events(road);
  const of = (what: string) => seen.filter((event) => event.what === what);
  assert.deepEqual(of("start"), [{ what: "start", streamName: road.streamName }]);
  assert.deepEqual(
    of("shardStart").map(({ shardId, from, parentShardIds }) => ({ shardId, from, parentShardIds })),
    [
      { shardId, from: "TRIM_HORIZON", parentShardIds: [] },
      ...of("shardStart").slice(1).map(({ shardId }) => ({
        shardId,
        from: "TRIM_HORIZON",
        parentShardIds: ["shardId-000000000000"],
      })),
    ],
  );
  assert.deepEqual(of("shardStart").map(({ shardId }) => shardId).sort(), [shardId, ...children].sort());
  assert.deepEqual(of("shardEnd"), [
    { what: "shardEnd", streamName: road.streamName, shardId, childShardIds: children },
  ]);
  const checkpoints = of("checkpoint");
  assert.equal(checkpoints.reduce((sum, { records }) => sum + Number(records), 0), records.length);
  assert.equal(checkpoints.findLast((event) => event["shardId"] === shardId)!["reason"], "shard-end");
  assert.deepEqual(of("error"), [
    { what: "error", code: "HOOK_FAILED", shardId, text: records[UNLUCKY] },
  ]);
  assert.deepEqual(of("stop"), [{ what: "stop", reason: "signal" }]);
  const throttles = of("throttle");
  assert.deepEqual(
    throttles.map(({ service, operation, shardId, attempt }) => ({ service, operation, shardId, attempt })),
    [1, 2, 3].map((attempt) => ({ service: "kinesis", operation: "GetRecords", shardId, attempt })),
  );

  // backoffTime lies between throttled reads and the next, doubling.
  const reads = road.kinesis.calls("GetRecords", { shardId });
  const waits = reads.flatMap((call, i) =>
    call.error === "ProvisionedThroughputExceededException" ? [reads[i + 1]!.at - call.at] : []
  );
  assert.equal(waits.length, 3);
  for (const [i, wait] of waits.entries()) {
    assert.ok(wait >= BACKOFF_MS * 2 ** i, `${wait} ms after throttle ${i + 1}`);
    assert.ok(wait >= Number(throttles[i]!["delayMs"]) - 5, "as onThrottle was told");
  }
});

test("e2e hooks: a record that a script cannot take is skipped or stops the connector, as onError says", {
  skip,
}, async (t) => {
  const road = await layRoad(t, { shards: 1 });
  const rest = Array.from({ length: 50 }, (_, i) => `more ${i}`);
  await mkdir(join(road.folder, "hooks"));
  await road.script(
    "hooks/picky.mts",
    [
      // Asynchronous, and listening to its signal as fetch does.
      "export async function onRecord(record: { text(): string }, context: { signal: AbortSignal }) {",
      "  await new Promise((resolve) => {",
      '    context.signal.addEventListener("abort", resolve);',
      "    setTimeout(resolve, 5);",
      "  });",
      '  if (record.text() === "bad") throw new TypeError("I do not take this");',
      "}",
    ].join("\n"),
  );
  road.kinesis.putRecords(
    road.streamName,
    ["one", "two", "bad", ...rest].map((data) => ({ partitionKey: "k", data })),
  );
  const hooks = (onError: string) => [{ path: "./hooks/picky.mts", onError }];
  const stops = road.run("run", await road.write("stop.toml", { hooks: hooks("stop") }));
  await ended(stops, 1);
  const { sequenceNumber } = road.kinesis.records(road.streamName)[2]!;
  for (
    const words of [/I do not take this/, /picky\.mts/, /shardId-000000000000/, new RegExp(sequenceNumber)]
  ) {
    assert.match(stops.stderr, words);
  }
  assert.deepEqual((await readTopic(road.topic)).map(({ data }) => String(data)), ["one", "two"]);
  const skips = road.run("run", await road.write("skip.toml", { hooks: hooks("skip") }));
  await received(skips, road.topic, 2 + rest.length);
  await stopped(skips);
  assert.match(skips.stderr, /I do not take this/);
  assert.doesNotMatch(skips.stderr, /MaxListenersExceeded/);
  assert.deepEqual(
    (await readTopic(road.topic)).map(({ data }) => String(data)),
    ["one", "two", ...rest],
  );
});
