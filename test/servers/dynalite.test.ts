import { test } from "node:test";
import assert from "node:assert/strict";
import { startDynalite } from "./dynalite.ts";

test("servers: dynalite starts on loopback, answers the SDK and stops", async (t) => {
  const dynalite = await startDynalite();
  t.after(() => dynalite.close());
  const { DynamoDBClient, ListTablesCommand } = await import("@aws-sdk/client-dynamodb");
  const client = new DynamoDBClient(dynalite.clientConfig);
  t.after(() => client.destroy());
  assert.deepEqual((await client.send(new ListTablesCommand({}))).TableNames, []);
});

test("servers: dynalite is closed while clients write: they are refused, and nothing is thrown", async (t) => {
  const { CreateTableCommand, DynamoDBClient, PutItemCommand } = await import("@aws-sdk/client-dynamodb");
  const dynalite = await startDynalite();
  const client = new DynamoDBClient({ ...dynalite.clientConfig, maxAttempts: 1 });
  t.after(() => client.destroy());
  const TableName = "table";
  await client.send(
    new CreateTableCommand({
      TableName,
      BillingMode: "PAY_PER_REQUEST",
      KeySchema: [{ AttributeName: "key", KeyType: "HASH" }],
      AttributeDefinitions: [{ AttributeName: "key", AttributeType: "S" }],
    }),
  );
  let written = 0;
  let enough = () => {};
  const writing = Array.from({ length: 20 }, async (_, writer) => {
    for (;;) {
      const write = new PutItemCommand({ TableName, Item: { key: { S: `${writer}` } } });
      const isRefused = await client.send(write).then(() => false, () => true);
      if (isRefused && written >= 60) return;
      if (!isRefused && ++written === 60) enough();
    }
  });
  await new Promise<void>((resolve) => enough = resolve);
  await dynalite.close();
  await Promise.all(writing);
});
