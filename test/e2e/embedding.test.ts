// The connector as a library: what mod.ts exports, in this process, against the real servers.

import assert from "node:assert/strict";
import { test } from "node:test";
import { createConnector, type Hooks } from "../../mod.ts";
import { RecordingLogger } from "../fakes.ts";
import { brokerMissing } from "../servers/broker.ts";
import { readTopic } from "../servers/topic-reader.ts";
import { eventually, layRoad } from "./kit.ts";

const skip = brokerMissing() ?? false;

test("e2e embedding: events, status, hooks as objects, stop and finished", { skip }, async (t) => {
  const road = await layRoad(t, { shards: 2 });
  const put = (texts: readonly string[]) =>
    road.kinesis.putRecords(
      road.streamName,
      texts.map((data, i) => ({ partitionKey: `key ${i}`, data })),
    );
  const first = Array.from({ length: 50 }, (_, i) => `first ${i}`);
  put(first);
  const hooks: Hooks = {
    onRecord: (record) => record.text().startsWith("drop") ? null : { ...record.message, key: "ours" },
  };
  const log = new RecordingLogger();
  const connector = createConnector({ ...road.config, checkpointInterval: 100 }, { hooks, log });
  t.after(() => connector.stop());
  const seen: Record<string, unknown[]> = {};
  for (const name of ["checkpoint", "throttle", "shardStart", "shardEnd", "error", "status"] as const) {
    connector.on(name, (event) => void (seen[name] ??= []).push(event));
  }
  const heard: string[] = [];
  const unlisten = connector.on("checkpoint", ({ shardId }) => void heard.push(shardId));

  assert.equal(connector.status().state, "starting");
  await connector.start();
  assert.equal(connector.status().state, "running");
  const records = () =>
    (seen["checkpoint"] as { records: number }[] | undefined)?.reduce((sum, { records }) => sum + records, 0);
  await eventually(() => records() === first.length, "all records are checkpointed");
  unlisten();
  const heardBefore = heard.length;
  put(["drop this", "second"]);
  await eventually(() => connector.status().dropped === 1, "the hook dropped one");
  await eventually(() => records() === first.length + 2, "checkpoints after the first listener left");
  assert.equal(heard.length, heardBefore);

  const [shard] = road.kinesis.openShardIds(road.streamName) as [string];
  const children = road.kinesis.splitShard(road.streamName, shard);
  await eventually(() => seen["shardStart"]?.length === 4, "the children are read");
  const status = connector.status();
  assert.equal(status.streamName, road.streamName);
  assert.deepEqual(
    status.shards.map(({ shardId, inFlight, state }) => ({ shardId, inFlight, state }))
      .sort((a, b) => a.shardId < b.shardId ? -1 : 1),
    road.kinesis.openShardIds(road.streamName).map((shardId) => ({
      shardId,
      inFlight: 0,
      state: "processing",
    })).sort((a, b) => a.shardId < b.shardId ? -1 : 1),
  );
  assert.deepEqual(
    { records: status.records, dropped: status.dropped, throttles: status.throttles },
    { records: first.length + 2, dropped: 1, throttles: 0 },
  );
  assert.ok(status.checkpoints >= 2);

  const result = await connector.stop();
  assert.deepEqual(result, { reason: "stop", error: undefined, undrained: [] });
  assert.equal(await connector.finished, result);
  assert.equal(connector.status().state, "stopped");
  assert.deepEqual(seen["shardEnd"], [{
    streamName: road.streamName,
    shardId: shard,
    childShardIds: children,
  }]);
  assert.equal(seen["error"], undefined);
  const messages = await readTopic(road.topic);
  assert.deepEqual(messages.map(({ data }) => String(data)).sort(), [...first, "second"].sort());
  assert.ok(messages.every(({ key }) => key === "ours"));
  assert.deepEqual(log.messages("error"), []);
});

test("e2e embedding: what prevents a start is thrown by it and told by finished and the error event", {
  skip,
}, async (t) => {
  const road = await layRoad(t);
  assert.throws(() => createConnector({ ...road.config, checkpointIntervall: 1 }, {}), {
    code: "CONFIG_INVALID",
    message: /did you mean "checkpointInterval"/,
  });
  const connector = createConnector({ ...road.config, awsKinesisStreamName: "no-such-stream" });
  t.after(() => connector.stop());
  const errors: unknown[] = [];
  connector.on("error", (error) => void errors.push(error));
  await assert.rejects(connector.start(), { code: "STREAM_NOT_FOUND", message: /no-such-stream/ });
  const { error, reason } = await connector.finished;
  assert.equal(reason, "error");
  assert.equal(error?.code, "STREAM_NOT_FOUND");
  assert.deepEqual(errors, [error]);
});
