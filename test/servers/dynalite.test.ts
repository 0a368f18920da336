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
