// Where a connector begins: the three starting positions with records before and after, and checkpoints in the middle
// of a KPL aggregate.

import assert from "node:assert/strict";
import { test } from "node:test";
import { encodeAggregate } from "../core/aggregate.ts";
import { brokerMissing } from "../servers/broker.ts";
import { readTopic, type TopicMessage } from "../servers/topic-reader.ts";
import { leaseRows } from "./judge.ts";
import { ended, layRoad, received, type Road, stopped } from "./kit.ts";

const skip = brokerMissing() ?? false;

const texts = (messages: readonly TopicMessage[]) => messages.map(({ data }) => String(data)).sort();

function put(road: Road, prefix: string, count: number, arrivedAt?: number): string[] {
  const records = Array.from({ length: count }, (_, i) => `${prefix} ${i}`);
  road.kinesis.putRecords(
    road.streamName,
    records.map((data, i) => ({ partitionKey: `key ${i}`, data, arrivedAt })),
  );
  return records;
}

test(
  "e2e positions: TRIM_HORIZON, LATEST and AT_TIMESTAMP each start where they should",
  { skip },
  async (t) => {
    const road = await layRoad(t);
    const time = Date.now() - 60_000;
    const old = put(road, "old", 20, time - 1);
    const since = [...put(road, "at the time", 10, time), ...put(road, "since", 20, time + 1)];
    const starts = {
      TRIM_HORIZON: {},
      LATEST: {},
      AT_TIMESTAMP: { startAtTime: new Date(time).toISOString() },
    };
    const runs = Object.fromEntries(
      await Promise.all(
        Object.entries(starts).map(async ([position, changes]) => {
          const file = await road.write(`${position}.toml`, {
            ...changes,
            initialPositionInStream: position,
            applicationName: `${position}-${road.streamName}`,
            pulsar: { topic: `${road.topic}-${position}` },
          });
          const cli = road.run("run", file);
          for (const shardId of road.kinesis.shardIds(road.streamName)) {
            await cli.waitFor(new RegExp(`reading shard ${shardId} from ${position}`), 60_000);
          }
          return [position, cli] as const;
        }),
      ),
    );
    const after = put(road, "after", 20);
    const expected = {
      TRIM_HORIZON: [...old, ...since, ...after],
      LATEST: after,
      AT_TIMESTAMP: [...since, ...after],
    };
    for (const [position, records] of Object.entries(expected)) {
      const messages = await received(runs[position]!, `${road.topic}-${position}`, records.length);
      assert.deepEqual(texts(messages), records.sort(), position);
    }
    await Promise.all(Object.values(runs).map((cli) => stopped(cli)));
    // A second start goes on from its checkpoint, whatever the initial position says.
    const missed = put(road, "while it was away", 10);
    const cli = road.run("run", `${road.folder}/LATEST.toml`);
    const messages = await received(cli, `${road.topic}-LATEST`, after.length + missed.length);
    assert.deepEqual(texts(messages), [...after, ...missed].sort());
    await stopped(cli);
  },
);

const AGGREGATE_HOOK = `
export function onRecord(record, { options }) {
  if (record.text() === options.failAt) throw new Error("not this one yet");
}`;

test("e2e positions: KPL aggregates are taken apart, and one half done is gone on with at its next record", {
  skip,
}, async (t) => {
  const road = await layRoad(t, { shards: 1 });
  const users = (name: string, count: number) =>
    Array.from({ length: count }, (_, i) => ({ partitionKey: `${name} ${i % 2}`, data: `${name} ${i}` }));
  const put = (partitionKey: string, data: Uint8Array | string) =>
    road.kinesis.putRecord(road.streamName, { partitionKey, data }).sequenceNumber;
  const encode = (records: ReturnType<typeof users>) =>
    encodeAggregate(
      records.map(({ partitionKey, data }) => ({ partitionKey, data: new TextEncoder().encode(data) })),
    );
  const first = put("a", encode(users("a", 5)));
  const between = put("plain", "plain");
  const second = put("b", encode(users("b", 7)));
  const last = put("plain", "last");
  await road.script("fail.mjs", AGGREGATE_HOOK);
  const settings = {
    kinesisRecordProperties: "kinesis.sequence.number,kinesis.subsequence.number,kinesis.partition.key",
  };
  const hooks = (failAt: string) => [{ path: "./fail.mjs", options: { failAt } }];
  const failing = road.run("run", await road.write("failing.toml", { ...settings, hooks: hooks("b 3") }));
  await ended(failing, 1);
  assert.match(failing.stderr, /not this one yet/);
  const table = String(road.config["applicationName"]);
  const checkpoint = async () => {
    const row = (await leaseRows(t, road.dynamoUrl, table)).get("shardId-000000000000")!;
    return [row["checkpoint"]!.S, row["checkpointSubSequenceNumber"]!.N];
  };
  assert.deepEqual(await checkpoint(), [second, "2"]);

  const cli = road.run("run", await road.write("going-on.toml", { ...settings, hooks: hooks("none") }));
  await received(cli, road.topic, 14);
  await stopped(cli);
  const messages = await readTopic(road.topic);
  const expected = [
    ...users("a", 5).map((user, i) => ({ ...user, first, i })),
    { partitionKey: "plain", data: "plain", first: between, i: 0 },
    ...users("b", 7).map((user, i) => ({ ...user, first: second, i })),
    { partitionKey: "plain", data: "last", first: last, i: 0 },
  ];
  assert.deepEqual(
    messages.map(({ key, data, properties }) => ({ key, data: String(data), properties })),
    expected.map(({ partitionKey, data, first, i }) => ({
      key: partitionKey,
      data,
      properties: {
        "kinesis.sequence.number": first,
        "kinesis.subsequence.number": String(i),
        "kinesis.partition.key": partitionKey,
      },
    })),
  );
  assert.deepEqual(await checkpoint(), [last, "0"]);
});
