import { test, type TestContext } from "node:test";
import assert from "node:assert/strict";
import {
  CreateTableCommand,
  DeleteTableCommand,
  DynamoDBClient,
  GetItemCommand,
  PutItemCommand,
  UpdateItemCommand,
  waitUntilTableExists,
} from "@aws-sdk/client-dynamodb";
import { dynaliteClientConfig } from "../servers/dynalite.ts";
import { startFaultyDynamoDb } from "./dynamodb.ts";
import {
  assertWords,
  fastClock,
  faultWorld,
  SECRET_KEY,
  SESSION_TOKEN,
  soon,
  until,
  type World,
  type WorldOptions,
} from "./kit.ts";

const SHARD = "shardId-000000000000";

/** A world with its lease table in DynamoDB, and a client for that. */
async function leaseWorld(t: TestContext, options: WorldOptions = {}) {
  const dynamoDb = await startFaultyDynamoDb(t);
  const world = await faultWorld(t, { ...options, dynamoEndpoint: dynamoDb.url });
  const client = new DynamoDBClient(dynaliteClientConfig(dynamoDb.url));
  t.after(() => client.destroy());
  return { dynamoDb, world, client, table: String(world.config.applicationName) };
}

/** What a lease row has as checkpoint now. */
async function storedCheckpoint(client: DynamoDBClient, table: string): Promise<string | undefined> {
  const answer = await client.send(
    new GetItemCommand({ TableName: table, Key: { leaseKey: { S: SHARD } }, ConsistentRead: true }),
  );
  return answer.Item?.["checkpoint"]?.S;
}

/** Makes the row what a Java connector would have left: no attributes of ours. */
async function asJavaRow(client: DynamoDBClient, table: string, checkpoint: string): Promise<void> {
  await client.send(
    new UpdateItemCommand({
      TableName: table,
      Key: { leaseKey: { S: SHARD } },
      UpdateExpression: "SET checkpoint = :c REMOVE streamArn, streamCreatedAt, startedAt",
      ExpressionAttributeValues: { ":c": { S: checkpoint } },
    }),
  );
}

async function makeTable(client: DynamoDBClient, name: string, key = "leaseKey"): Promise<void> {
  await client.send(
    new CreateTableCommand({
      TableName: name,
      KeySchema: [{ AttributeName: key, KeyType: "HASH" }],
      AttributeDefinitions: [{ AttributeName: key, AttributeType: "S" }],
      BillingMode: "PAY_PER_REQUEST",
    }),
  );
  await waitUntilTableExists({ client, maxWaitTime: 10, minDelay: 0.02, maxDelay: 0.1 }, { TableName: name });
}

/** Copies `count` records and stops cleanly, so that the table has a row with a checkpoint. */
async function copyAndStop(world: World, count = 3): Promise<void> {
  world.put(count);
  const run = world.run();
  await world.arrived(count);
  await run.stop();
}

function denied(operation: string) {
  return {
    type: "AccessDeniedException",
    message:
      `User: arn:aws:iam::000000000000:user/test is not authorized to perform: dynamodb:${operation} on ` +
      "resource: arn:aws:dynamodb:us-east-1:000000000000:table/any because no identity-based policy allows it",
  };
}

for (const operation of ["DescribeTable", "CreateTable", "Scan", "PutItem", "UpdateItem"]) {
  test(`faults leases: without the permission for ${operation} the error names the action and the table`, async (t) => {
    const { dynamoDb, world, table } = await leaseWorld(t);
    dynamoDb.refuse = (call) => call.operation === operation ? denied(operation) : undefined;
    world.put(2);
    const run = world.run();
    assertWords(await run.failure(), {
      code: "ACCESS_DENIED",
      exit: 1,
      words: [
        `DynamoDB ${operation} on table "${table}"`,
        `the credentials lack the permission dynamodb:${operation}`,
        "allow it in their IAM policy",
      ],
    });
    assert.deepEqual(run.checkpoints, []);
    assert.ok(dynamoDb.calls.filter((call) => call.refused).length <= 2, "it is not asked again and again");
  });
}

test("faults leases: not being allowed to look for KCL 3.x workers is a warning, no more", async (t) => {
  const { dynamoDb, world, table } = await leaseWorld(t);
  dynamoDb.refuse = (call) => call.operation === "GetItem" ? denied("GetItem") : undefined;
  world.put(2);
  const run = world.run();
  await world.arrived(2);
  assert.match(
    run.log.messages("warn").join("\n"),
    new RegExp(`KCL 3.x workers use table "${table}" is not known: .*GetItem`),
  );
  await run.stop();
});

test("faults leases: a permission that is taken away while running stops it; the next start loses nothing", async (t) => {
  const { dynamoDb, world, client, table } = await leaseWorld(t);
  await copyAndStop(world);
  const before = await storedCheckpoint(client, table);
  dynamoDb.refuse = (call) => call.checkpoint === undefined ? undefined : denied("UpdateItem");
  const run = world.run();
  await soon(run.running, "the start");
  world.put(5, "later");
  assertWords(await run.failure(), {
    code: "ACCESS_DENIED",
    exit: 1,
    words: [`DynamoDB UpdateItem on table "${table}" (lease "${SHARD}")`, "dynamodb:UpdateItem"],
  });
  assert.equal(await storedCheckpoint(client, table), before);
  dynamoDb.refuse = () => undefined;
  const again = world.run();
  await world.arrived(13);
  await again.stop();
  assert.equal(
    await storedCheckpoint(client, table),
    world.kinesis.records(world.streamName).at(-1)!.sequenceNumber,
  );
});

test("faults leases: a lease table that is deleted while running stops it and says what a new start would do", async (t) => {
  const { world, client, table } = await leaseWorld(t);
  world.put(2);
  const run = world.run();
  await world.arrived(2);
  await until(() => run.checkpoints.length > 0, "a checkpoint");
  await client.send(new DeleteTableCommand({ TableName: table }));
  assertWords(await run.failure(), {
    code: "AWS_REFUSED",
    exit: 1,
    words: [`on table "${table}"`, "the table does not exist (any more)", "restore it under this name first"],
  });
});

for (const type of ["ProvisionedThroughputExceededException", "InternalServerError"]) {
  test(`faults leases: ${type} to the first calls of every kind delays start and checkpoints, and loses nothing`, async (t) => {
    const { dynamoDb, world, client, table } = await leaseWorld(t);
    const seen = new Map<string, number>();
    dynamoDb.refuse = ({ operation, checkpoint }) => {
      const kind = `${operation} ${checkpoint !== undefined}`;
      seen.set(kind, (seen.get(kind) ?? 0) + 1);
      return seen.get(kind)! <= 2 ? { type } : undefined;
    };
    world.put(10);
    // A minute of failover time is three seconds here.
    const run = world.run({ leases: { failoverTimeMs: 60_000 } }, { clock: fastClock(20) });
    await world.arrived(10);
    const last = world.kinesis.records(world.streamName).at(-1)!.sequenceNumber;
    await until(() => run.checkpoints.at(-1)?.sequenceNumber === last, "the checkpoint of the last record");
    await run.stop();
    assert.equal(await storedCheckpoint(client, table), last);
    assert.equal(new Set(world.published()).size, 10);
    const told = new Set(run.throttles.map(({ service, operation }) => `${service} ${operation}`));
    const operations = ["DescribeTable", "CreateTable", "GetItem", "Scan", "PutItem", "UpdateItem"];
    for (const operation of operations) {
      assert.equal(told.has(`dynamodb ${operation}`), type !== "InternalServerError", operation);
    }
    assert.match(
      run.log.messages("warn").join("\n"),
      new RegExp(`DynamoDB \\w+ on table "${table}".*${type}`),
    );
  });
}

test("faults leases: an outage longer than the failover time stops the reading, not the connector; nothing is lost", async (t) => {
  const { dynamoDb, world, client, table } = await leaseWorld(t);
  world.put(5);
  const run = world.run({ leases: { failoverTimeMs: 1_000 } });
  await world.arrived(5);
  const losses = () => run.log.messages("warn").filter((line) => line.includes("lost the lease")).length;
  dynamoDb.refuse = () => ({ type: "InternalServerError" });
  const before = losses(); // a machine that stood still for a second has lost it already
  await until(() => losses() > before, "the loss");
  const seen = world.published().length;
  world.put(5, "unread");
  await new Promise((resolve) => setTimeout(resolve, 300));
  assert.equal(world.published().length, seen, "nothing is published without a lease");
  dynamoDb.refuse = () => undefined;
  await until(() => new Set(world.published()).size === 10, "all records");
  await run.stop();
  assert.match(run.log.messages("warn").join("\n"), new RegExp(`lost the lease of shard ${SHARD}: expired`));
  assert.equal(
    await storedCheckpoint(client, table),
    world.kinesis.records(world.streamName).at(-1)!.sequenceNumber,
  );
});

test("faults leases: DynamoDB that answers nothing but errors is asked for a minute, then the start fails", async (t) => {
  const { dynamoDb, world, table } = await leaseWorld(t);
  dynamoDb.refuse = () => ({ type: "InternalServerError" });
  assertWords(await world.run({}, { clock: fastClock(60) }).failure(), {
    code: "AWS_UNAVAILABLE",
    exit: 1,
    words: [
      /^gave up the start after 60 s and \d+ tries: DynamoDB DescribeTable/,
      `table "${table}" got no answer`,
      "Check the network",
      "dynamoEndpoint",
    ],
  });
});

test("faults leases: DynamoDB that never answers is given up after a minute; a stop need not wait for it", async (t) => {
  const { dynamoDb, world, table } = await leaseWorld(t);
  dynamoDb.refuse = () => "hang";
  assertWords(await world.run({}, { clock: fastClock(60) }).failure(), {
    code: "AWS_UNAVAILABLE",
    exit: 1,
    words: [
      /^gave up the start after 60 s/,
      `DynamoDB DescribeTable on table "${table}"`,
      "no answer within 10000 ms",
    ],
  });
  const run = world.run({ shutdownTimeoutMs: 500 });
  const asked = dynamoDb.calls.length;
  await until(() => dynamoDb.calls.length > asked, "a call");
  await run.stop();
});

test("faults leases: credentials that DynamoDB refuses are said without what its answer quotes", async (t) => {
  const { dynamoDb, world, table } = await leaseWorld(t);
  dynamoDb.refuse = () => ({
    type: "InvalidSignatureException",
    message:
      "The request signature we calculated does not match. The Canonical String for this request should " +
      `have been 'POST\n/\n\nx-amz-security-token:${SESSION_TOKEN}\n${SECRET_KEY}'`,
  });
  assertWords(await world.run().failure(), {
    code: "CREDENTIALS_INVALID",
    exit: 1,
    words: [
      `DynamoDB DescribeTable on table "${table}"`,
      "does not fit the access key",
      "awsCredentialPluginParam",
    ],
  });
});

test("faults leases: credentials that expire while running stop it, without their token", async (t) => {
  const { dynamoDb, world } = await leaseWorld(t);
  world.put(1);
  const run = world.run({ leases: { failoverTimeMs: 1_000 } });
  await world.arrived(1);
  dynamoDb.refuse = () => ({
    type: "ExpiredTokenException",
    message: `The token ${SESSION_TOKEN} is expired`,
  });
  assertWords(await run.failure(), {
    code: "CREDENTIALS_INVALID",
    exit: 1,
    words: ["DynamoDB UpdateItem", "they have expired (ExpiredTokenException)", "awsCredentialPluginParam"],
  });
});

test("faults leases: a table of another shape is refused by its key, and left alone", async (t) => {
  const { world, client, table } = await leaseWorld(t);
  await makeTable(client, table, "customerId");
  assertWords(await world.run().failure(), {
    code: "LEASE_TABLE_MISMATCH",
    exit: 1,
    words: [
      `DynamoDB table "${table}" is no lease table: its key is customerId (HASH), not leaseKey`,
      "choose another applicationName or leases.table",
    ],
  });
});

test("faults leases: a row whose checkpoint nobody can read is refused by its key", async (t) => {
  const { world, client, table } = await leaseWorld(t);
  await copyAndStop(world);
  await asJavaRow(client, table, "page 7");
  assertWords(await world.run().failure(), {
    code: "LEASE_TABLE_MISMATCH",
    exit: 1,
    words: [`lease "${SHARD}" in table "${table}" has the checkpoint "page 7"`],
  });
  assert.equal(await storedCheckpoint(client, table), "page 7");
});

test("faults leases: the table of another stream is refused by the stream's ARN in its rows", async (t) => {
  const { world, table } = await leaseWorld(t);
  await copyAndStop(world);
  world.kinesis.createStream("another-stream", { shards: 1 });
  const error = await world.run({ awsKinesisStreamName: "another-stream" }).failure();
  assertWords(error, {
    code: "LEASE_TABLE_FOREIGN",
    exit: 1,
    words: [
      `the lease table "${table}" belongs to stream arn:aws:kinesis:us-east-1:000000000000:stream/${world.streamName}`,
      "not to arn:aws:kinesis:us-east-1:000000000000:stream/another-stream",
      SHARD,
      "give each stream its own applicationName",
    ],
  });
});

test("faults leases: a checkpoint below its shard's first record is another stream's, also in Java's rows", async (t) => {
  const { world, client, table } = await leaseWorld(t);
  await copyAndStop(world);
  await asJavaRow(client, table, "42");
  assertWords(await world.run().failure(), {
    code: "LEASE_TABLE_FOREIGN",
    exit: 1,
    words: [
      `the lease table "${table}" was written for another stream: the checkpoint 42 of shard ${SHARD}`,
      "give each stream its own applicationName",
    ],
  });
  assert.equal(await storedCheckpoint(client, table), "42");
});

test("faults leases: a checkpoint that Kinesis does not accept stops the connector, never a start position", async (t) => {
  const { world, client, table } = await leaseWorld(t);
  await copyAndStop(world);
  world.kinesis.createStream("another-stream", { shards: 1 });
  const { sequenceNumber } = world.kinesis.putRecord("another-stream", { partitionKey: "k", data: "d" });
  await asJavaRow(client, table, sequenceNumber);
  const run = world.run();
  assertWords(await run.failure(), {
    code: "FOREIGN_CHECKPOINT",
    exit: 1,
    words: [
      `the stored checkpoint ${sequenceNumber} is not one of shard ${SHARD} of stream "${world.streamName}"`,
      "the lease table belongs to another stream",
      "applicationName",
    ],
  });
  assert.equal(world.published().length, 3, "nothing is read again");
  assert.equal(await storedCheckpoint(client, table), sequenceNumber);
});

test("faults leases: with a Java connector's default table beside a new one of ours, either choice is one line", async (t) => {
  const { world, client } = await leaseWorld(t);
  // What a Java connector without applicationName has left: a table at the second of three records.
  world.put(3);
  const java = world.run({ applicationName: "pulsar-kinesis" });
  await world.arrived(3);
  await java.stop();
  await asJavaRow(client, "pulsar-kinesis", world.kinesis.records(world.streamName)[1]!.sequenceNumber);
  const error = await world.run({ applicationName: undefined }).failure();
  assertWords(error, {
    code: "LEASE_TABLE_CHOICE",
    exit: 2,
    words: [
      'the lease table "Pulsar-IO-connector" is new',
      'a table "pulsar-kinesis" exists',
      'write applicationName = "pulsar-kinesis"',
      'write applicationName = "Pulsar IO connector"',
    ],
  });
  const goesOn = world.run({ applicationName: "pulsar-kinesis" });
  await world.arrived(4);
  await goesOn.stop();
  assert.equal(world.published().at(-1), "record 2");
  const anew = world.run({ applicationName: "Pulsar IO connector" });
  await world.arrived(7);
  await anew.stop();
  assert.deepEqual(world.published().slice(-3), ["record 0", "record 1", "record 2"]);
});

for (const version of ["CLIENT_VERSION_3X", "CLIENT_VERSION_3X_WITH_ROLLBACK"]) {
  test(`faults leases: a table of a fleet at ${version} is refused`, async (t) => {
    const { world, client, table } = await leaseWorld(t);
    await makeTable(client, table);
    await client.send(
      new PutItemCommand({
        TableName: table,
        Item: { leaseKey: { S: "Migration3.0" }, cv: { S: version } },
      }),
    );
    assertWords(await world.run().failure(), {
      code: "LEASE_TABLE_FOREIGN",
      exit: 1,
      words: [
        `the lease table "${table}" belongs to a fleet of KCL 3.x workers (${version})`,
        "stop that fleet and set it back to 2.x",
        "choose another applicationName",
      ],
    });
  });
}

test("faults leases: a bounded run beside a live owner is refused by the owner's name", async (t) => {
  const { world, table } = await leaseWorld(t);
  const owner = world.run({ leases: { failoverTimeMs: 5_000 } });
  await until(() => owner.started.length === 1, "the owner reads");
  const run = world.run({ leases: { failoverTimeMs: 5_000 } }, { until: Date.now() });
  assertWords(await run.failure(), {
    code: "LEASE_IN_USE",
    exit: 1,
    words: [/^worker ".+:\d+:/, `the lease table "${table}"`, SHARD, "stop it first"],
  });
  await owner.stop();
});
