// A whole connector's metrics, as an independent CloudWatch (moto) stores them.

import assert from "node:assert/strict";
import { test, type TestContext } from "node:test";
import {
  CloudWatchClient,
  type CloudWatchClientConfig,
  GetMetricStatisticsCommand,
  paginateListMetrics,
} from "@aws-sdk/client-cloudwatch";
import { fromTemporaryCredentials } from "@aws-sdk/credential-providers";
import { DeleteItemCommand, DynamoDBClient } from "@aws-sdk/client-dynamodb";
import { awsEnvironment } from "../aws/kit.ts";
import { faultWorld, KEYS, until } from "../faults/kit.ts";
import { startDynalite } from "../servers/dynalite.ts";
import { type Moto, motoMissing, startMoto } from "../servers/moto.ts";

const skip = motoMissing() ?? false;
const region = "us-east-1";

/** What an account's CloudWatch has in a namespace. */
function cloudWatch(
  t: TestContext,
  moto: Moto,
  namespace: string,
  credentials: CloudWatchClientConfig["credentials"],
) {
  const client = new CloudWatchClient({ endpoint: moto.url, region, credentials: credentials! });
  t.after(() => client.destroy());
  return {
    /** `Operation[/shard] name`, sorted; worker ids are left out. */
    async list(): Promise<string[]> {
      const found: string[] = [];
      for await (const { Metrics = [] } of paginateListMetrics({ client }, { Namespace: namespace })) {
        for (const { MetricName, Dimensions = [] } of Metrics) {
          const value = (name: string) => Dimensions.find(({ Name }) => Name === name)?.Value;
          const shard = value("ShardId") === undefined ? "" : `/${value("ShardId")}`;
          const worker = value("WorkerIdentifier") === undefined ? "" : "/worker";
          found.push(`${value("Operation")}${shard}${worker} ${MetricName}`);
        }
      }
      return found.sort();
    },
    async sum(name: string, dimensions: Record<string, string>) {
      const { Datapoints = [] } = await client.send(
        new GetMetricStatisticsCommand({
          Namespace: namespace,
          MetricName: name,
          Dimensions: Object.entries(dimensions).map(([Name, Value]) => ({ Name, Value })),
          StartTime: new Date(Date.now() - 3_600_000),
          EndTime: new Date(Date.now() + 60_000),
          Period: 60,
          Statistics: ["Sum", "Maximum"],
        }),
      );
      return {
        sum: Datapoints.reduce((sum, { Sum = 0 }) => sum + Sum, 0),
        units: [...new Set(Datapoints.map(({ Unit }) => Unit))],
      };
    },
  };
}

test("cloudwatch moto: the summary of a connector is stored under the KCL's names, with what was counted", {
  skip,
}, async (t) => {
  const moto = await startMoto();
  t.after(() => moto.stop());
  const world = await faultWorld(t);
  world.put(7);
  const run = world.run({ cloudwatchEndpoint: moto.url, applicationName: "my app" });
  await world.arrived(7);
  await run.stop();
  const { list, sum } = cloudWatch(t, moto, "my-app", KEYS);
  const [shardId] = world.kinesis.openShardIds(world.streamName) as [string];
  assert.deepEqual(
    await list(),
    [
      "ApplicationTracker MillisBehindLatest",
      "BlockOnParentShardTask Success",
      "BlockOnParentShardTask Time",
      "InitializeTask RecordProcessor.initialize.Time",
      "InitializeTask Success",
      "InitializeTask Time",
      "ProcessTask Success",
      "ProcessTask Time",
      ...[
        "DataBytesProcessed",
        "MillisBehindLatest",
        "RecordProcessor.processRecords.Time",
        "RecordsProcessed",
      ]
        .map((name) => `ProcessTask/${shardId} ${name}`),
      `ProcessTask/${shardId} Success`,
      `ProcessTask/${shardId} Time`,
      ...["CurrentLeases", "LostLeases", "Success", "Time"].map((name) => `RenewAllLeases/worker ${name}`),
      "ShardSyncTask Success",
      "ShardSyncTask Time",
      ...[
        "ExpiredLeases",
        "LeaseSpillover",
        "NumWorkers",
        "Success",
        "TakenLeases",
        "Time",
        "UntakenLeases",
        "VeryOldLeases",
      ]
        .map((name) => `TakeLeases/worker ${name}`),
    ].sort(),
  );
  const shard = { Operation: "ProcessTask", ShardId: shardId };
  assert.deepEqual(await sum("RecordsProcessed", shard), { sum: 7, units: ["Count"] });
  assert.deepEqual(await sum("DataBytesProcessed", shard), { sum: 7 * "record 0".length, units: ["Bytes"] });
  assert.deepEqual((await sum("MillisBehindLatest", { Operation: "ApplicationTracker" })).units, [
    "Milliseconds",
  ]);
  assert.deepEqual(run.log.messages("warn").filter((line) => !line.startsWith("applicationName")), []);
});

test("cloudwatch moto: detailed adds the calls; a role of its own puts the metrics into the role's account", {
  skip,
}, async (t) => {
  const moto = await startMoto();
  t.after(() => moto.stop());
  await awsEnvironment(t, { AWS_ENDPOINT_URL_STS: moto.url });
  const roleArn = "arn:aws:iam::222222222222:role/metrics";
  const world = await faultWorld(t);
  world.put(1);
  const run = world.run({
    metrics: { endpoint: moto.url, cloudwatch: "detailed", roleArn },
    applicationName: "app",
  });
  await world.arrived(1);
  await run.stop();
  const ofRole = fromTemporaryCredentials({
    params: { RoleArn: roleArn, RoleSessionName: "test" },
    masterCredentials: KEYS,
    clientConfig: { endpoint: moto.url, region },
  });
  const found = await cloudWatch(t, moto, "app", ofRole).list();
  const [shardId] = world.kinesis.openShardIds(world.streamName) as [string];
  for (
    const name of [
      `ProcessTask/${shardId} KinesisDataFetcher.getRecords.Time`,
      `ProcessTask/${shardId} KinesisDataFetcher.getShardIterator.Success`,
      `ProcessTask/${shardId} UpdateLease.Success`,
      "RenewAllLeases/worker CurrentLeases",
      "ShardSyncTask CreateLease_TRIM_HORIZON.Success",
      "TakeLeases/worker ListLeases.Time",
      "TakeLeases/worker TakeLease.Success",
      "TakeLeases/worker TotalLeases",
    ]
  ) {
    assert.ok(found.includes(name), `${name} is not in ${found.join("\n")}`);
  }
  assert.deepEqual(await cloudWatch(t, moto, "app", KEYS).list(), [], "nothing is in the stream's account");
  assert.deepEqual(run.log.messages("warn"), []);
});

test(
  "cloudwatch moto: a merge one of whose parents lost its lease is stored under the KCL's name, as are shards' ends",
  {
    skip,
  },
  async (t) => {
    const moto = await startMoto();
    t.after(() => moto.stop());
    const dynalite = await startDynalite();
    t.after(() => dynalite.close());
    const table = new DynamoDBClient(dynalite.clientConfig);
    t.after(() => table.destroy());
    const world = await faultWorld(t, { shards: 2, dynamoEndpoint: dynalite.url });
    const run = world.run({ cloudwatchEndpoint: moto.url, applicationName: "app" });
    await until(() => run.started.length === 2, "both shards are read");
    const [kept, lost] = world.kinesis.openShardIds(world.streamName) as [string, string];
    await table.send(new DeleteItemCommand({ TableName: "app", Key: { leaseKey: { S: lost } } }));
    const merged = world.kinesis.mergeShards(world.streamName, kept, lost);
    await until(
      () => run.started.includes(merged),
      "the merged shard is read, after a new lease for its parent",
    );
    await run.stop();
    const { list, sum } = cloudWatch(t, moto, "app", KEYS);
    const found = (await list()).filter((line) => line.startsWith("ShutdownTask"));
    assert.deepEqual(found, [
      "ShutdownTask MissingMergeParentLease",
      "ShutdownTask RecordProcessor.shutdown.Time",
      "ShutdownTask Success",
      "ShutdownTask Time",
    ]);
    const missing = await sum("MissingMergeParentLease", { Operation: "ShutdownTask" });
    assert.ok(missing.sum >= 1);
    assert.deepEqual(missing.units, ["Count"]);
    assert.ok((await sum("Success", { Operation: "ShutdownTask" })).sum >= 2, "both parents have ended");
  },
);
