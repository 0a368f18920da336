// What only DynamoDB can do wrong: tables of another shape, pages, silence, refusals.

import { Buffer } from "node:buffer";
import { test } from "node:test";
import assert from "node:assert/strict";
import type { Clock } from "../../src/core/clock.ts";
import { ConnectorError, type ErrorCode } from "../../src/core/errors.ts";
import { silentLogger } from "../../src/core/log.ts";
import { createDynamoDbLeaseStore } from "../../src/leases/dynamodb.ts";
import { mayHaveBeenApplied, toConnectorError } from "../../src/leases/errors.ts";
import { openLeaseTable } from "../../src/leases/preflight.ts";
import type { LeaseStore } from "../../src/leases/store.ts";
import { systemClock } from "../../src/runtime.ts";
import { dynaliteClientConfig, startDynalite } from "../servers/dynalite.ts";
import { dynamoServer, storeAt } from "./dynamo-server.ts";
import { newRow, STREAM } from "./stores.ts";

// For servers that never answer: nobody wants to wait ten seconds for that.
const fastClock: Clock = { ...systemClock, sleep: (ms, signal) => systemClock.sleep(ms / 20, signal) };

const open = (store: LeaseStore) => store.open(new AbortController().signal);

function coded(code: ErrorCode, retryable: boolean, ...words: string[]): (error: unknown) => boolean {
  return (error) => {
    assert.ok(error instanceof ConnectorError, String(error));
    assert.equal(error.code, code, error.message);
    assert.equal(error.retryable, retryable);
    for (const word of words) assert.ok(error.message.includes(word), `${word} in: ${error.message}`);
    return true;
  };
}

test("leases: DynamoDB: the table is made once, on demand, with the KCL's key, and awaited", async (t) => {
  const dynalite = await startDynalite({ createTableMs: 50 });
  t.after(() => dynalite.close());
  const stores = await Promise.all([1, 2, 3].map(() => storeAt(t, dynalite.url)));
  const opened = await Promise.all(stores.map(open));
  assert.equal(opened.filter((it) => it === "created").length, 1);
  assert.equal(await open(stores[0]!), "existed");
  const { DescribeTableCommand, DynamoDBClient } = await import("@aws-sdk/client-dynamodb");
  const client = new DynamoDBClient(dynalite.clientConfig);
  t.after(() => client.destroy());
  const { Table } = await client.send(new DescribeTableCommand({ TableName: "leases" }));
  assert.deepEqual(Table?.KeySchema, [{ AttributeName: "leaseKey", KeyType: "HASH" }]);
  assert.deepEqual(Table?.AttributeDefinitions, [{ AttributeName: "leaseKey", AttributeType: "S" }]);
  assert.equal(Table?.BillingModeSummary?.BillingMode, "PAY_PER_REQUEST");
});

test("leases: DynamoDB: without an applicationName, Java's default table stops a fresh start and names both ways on", async (t) => {
  const dynalite = await startDynalite();
  t.after(() => dynalite.close());
  const storeOf = async (tableName: string) => {
    const { clientConfig } = dynalite;
    const store = await createDynamoDbLeaseStore({ tableName, clientConfig, clock: systemClock });
    t.after(() => store.close());
    return store;
  };
  const store = await storeOf("Pulsar-IO-connector");
  const start = (tableWasChosen = false) =>
    openLeaseTable({
      store,
      stream: STREAM,
      log: silentLogger,
      signal: new AbortController().signal,
      tableWasChosen,
    });
  const java = await storeOf("pulsar-kinesis");
  await open(java);
  const isChoice = coded(
    "LEASE_TABLE_CHOICE",
    false,
    'applicationName = "pulsar-kinesis"',
    'applicationName = "Pulsar IO connector"',
  );
  await assert.rejects(start(), isChoice);
  assert.equal(await store.tableState("Pulsar-IO-connector"), "missing", "nothing was made");
  assert.deepEqual((await start(true)).leases, []);
  await assert.rejects(start(), isChoice, "an empty table is no decision yet");
  await store.create(newRow("s"));
  assert.equal((await start()).leases.length, 1);
});

test("leases: DynamoDB: a table with another key is refused by name", async (t) => {
  const dynalite = await startDynalite();
  t.after(() => dynalite.close());
  const { CreateTableCommand, DynamoDBClient } = await import("@aws-sdk/client-dynamodb");
  const client = new DynamoDBClient(dynalite.clientConfig);
  t.after(() => client.destroy());
  await client.send(
    new CreateTableCommand({
      TableName: "leases",
      KeySchema: [{ AttributeName: "id", KeyType: "HASH" }, { AttributeName: "at", KeyType: "RANGE" }],
      AttributeDefinitions: [
        { AttributeName: "id", AttributeType: "S" },
        { AttributeName: "at", AttributeType: "N" },
      ],
      BillingMode: "PAY_PER_REQUEST",
    }),
  );
  const store = await storeAt(t, dynalite.url);
  await assert.rejects(
    open(store),
    coded("LEASE_TABLE_MISMATCH", false, '"leases"', "id (HASH), at (RANGE)", "applicationName"),
  );
});

test("leases: DynamoDB: a scan reads all pages", async (t) => {
  const dynalite = await startDynalite();
  t.after(() => dynalite.close());
  const store = await storeAt(t, dynalite.url);
  await open(store);
  const { DynamoDBClient, PutItemCommand } = await import("@aws-sdk/client-dynamodb");
  const client = new DynamoDBClient(dynalite.clientConfig);
  t.after(() => client.destroy());
  for (let i = 0; i < 6; i++) { // a page ends at 1 MB
    await store.create(newRow(`shard-${i}`));
    const Item = { leaseKey: { S: `big-${i}` }, padding: { S: "x".repeat(300_000) } };
    await client.send(new PutItemCommand({ TableName: "leases", Item }));
  }
  const scan = await store.scan({ consistent: true });
  assert.deepEqual(
    scan.leases.map((lease) => lease.leaseKey).sort(),
    [0, 1, 2, 3, 4, 5].map((i) => `shard-${i}`),
  );
  assert.equal(scan.foreignItems, 6);
});

test("leases: DynamoDB: the version of a KCL 3.x fleet is found in its own table", async (t) => {
  const dynalite = await startDynalite();
  t.after(() => dynalite.close());
  const store = await storeAt(t, dynalite.url);
  await open(store);
  const { CreateTableCommand, DynamoDBClient, PutItemCommand, waitUntilTableExists } = await import(
    "@aws-sdk/client-dynamodb"
  );
  const client = new DynamoDBClient(dynalite.clientConfig);
  t.after(() => client.destroy());
  const TableName = "leases-CoordinatorState";
  await client.send(
    new CreateTableCommand({
      TableName,
      KeySchema: [{ AttributeName: "key", KeyType: "HASH" }],
      AttributeDefinitions: [{ AttributeName: "key", AttributeType: "S" }],
      BillingMode: "PAY_PER_REQUEST",
    }),
  );
  await waitUntilTableExists({ client, maxWaitTime: 10, minDelay: 0.02, maxDelay: 0.1 }, { TableName });
  const version = "CLIENT_VERSION_UPGRADE_FROM_2X";
  await client.send(
    new PutItemCommand({ TableName, Item: { key: { S: "Migration3.0" }, cv: { S: version } } }),
  );
  assert.deepEqual(await store.clientVersion(), { known: true, version });
});

test("leases: DynamoDB: a server that never answers costs one time-out, and the write may have been applied", async (t) => {
  let requests = 0;
  const url = await dynamoServer(t, () => void requests++);
  const store = await storeAt(t, url, fastClock);
  await assert.rejects(store.update("s", 1, {}), (error) => {
    coded("AWS_UNAVAILABLE", true, "UpdateItem", '"leases"', '"s"', "3333 ms")(error);
    return mayHaveBeenApplied(error as ConnectorError);
  });
  await assert.rejects(store.scan(), coded("AWS_UNAVAILABLE", true, "Scan", "10000 ms"));
  assert.ok(requests <= 2, "one attempt each");
});

test("leases: DynamoDB: a credential provider that never answers ends in time too", async (t) => {
  const store = await createDynamoDbLeaseStore({
    tableName: "leases",
    clientConfig: { ...dynaliteClientConfig("http://127.0.0.1:9"), credentials: () => new Promise(() => {}) },
    clock: fastClock,
  });
  t.after(() => store.close());
  await assert.rejects(store.get("s"), coded("AWS_UNAVAILABLE", true, "10000 ms"));
});

test("leases: DynamoDB: an aborted scan ends at once", async (t) => {
  const url = await dynamoServer(t, () => {});
  const store = await storeAt(t, url);
  const abort = new AbortController();
  const scan = assert.rejects(store.scan({ signal: abort.signal }), { name: "AbortError" });
  abort.abort();
  await scan;
});

test("leases: DynamoDB: nobody listening, a cut connection and an answer of 500 are AWS_UNAVAILABLE", async (t) => {
  const nobody = await storeAt(t, "http://127.0.0.1:1");
  await assert.rejects(nobody.get("s"), coded("AWS_UNAVAILABLE", true, "GetItem"));
  const cut = await storeAt(t, await dynamoServer(t, (request) => void request.socket.destroy()));
  await assert.rejects(cut.get("s"), coded("AWS_UNAVAILABLE", true));
  const broken = await storeAt(t, await dynamoServer(t, (_, response) => response.writeHead(500).end()));
  await assert.rejects(broken.get("s"), coded("AWS_UNAVAILABLE", true));
});

test("leases: DynamoDB: refusals keep their meaning over the wire, and only one attempt is made", async (t) => {
  let type = "";
  let requests = 0;
  const url = await dynamoServer(t, (_request, response) => {
    requests++;
    response.writeHead(400, { "content-type": "application/x-amz-json-1.0" });
    response.end(
      Buffer.from(JSON.stringify({ __type: `com.amazonaws.dynamodb.v20120810#${type}`, message: "no" })),
    );
  });
  const store = await storeAt(t, url);
  const expect = async (name: string, ...is: Parameters<typeof coded>) => {
    type = name;
    requests = 0;
    await assert.rejects(store.update("s", 1, {}), coded(...is));
    assert.equal(requests, 1, name);
  };
  await expect("ProvisionedThroughputExceededException", "THROTTLED", true);
  await expect("ThrottlingException", "THROTTLED", true);
  await expect("RequestLimitExceeded", "THROTTLED", true);
  await expect("AccessDeniedException", "ACCESS_DENIED", false, "dynamodb:UpdateItem", '"leases"');
  await expect("UnrecognizedClientException", "CREDENTIALS_INVALID", false);
  await expect("ExpiredTokenException", "CREDENTIALS_INVALID", false);
  await expect("InternalServerError", "AWS_UNAVAILABLE", true);
  await expect("ResourceNotFoundException", "AWS_REFUSED", false, '"leases"');
  await expect("ValidationException", "AWS_REFUSED", false);
  type = "ConditionalCheckFailedException";
  assert.deepEqual(await store.update("s", 1, {}), { done: false });
});

test("leases: DynamoDB: not being allowed to look for a KCL 3.x fleet is unknown, being throttled is not", async (t) => {
  let type = "AccessDeniedException";
  const url = await dynamoServer(t, (_request, response) => {
    response.writeHead(400, { "content-type": "application/x-amz-json-1.0" });
    response.end(JSON.stringify({ __type: type, message: "no" }));
  });
  const store = await storeAt(t, url);
  const found = await store.clientVersion();
  assert.ok(!found.known);
  assert.equal(found.error.code, "ACCESS_DENIED");
  type = "ThrottlingException";
  await assert.rejects(store.clientVersion(), coded("THROTTLED", true));
});

test("leases: DynamoDB: errors that come without an answer are mapped by name and code", () => {
  const map = (properties: object) =>
    toConnectorError(Object.assign(new Error("words"), properties), { operation: "Scan", table: "t" });
  assert.equal(map({ name: "CredentialsProviderError" }).code, "CREDENTIALS_INVALID");
  for (const code of ["ECONNREFUSED", "ENOTFOUND", "EAI_AGAIN", "ETIMEDOUT", "EPIPE", "ECONNRESET"]) {
    assert.equal(map({ code }).code, "AWS_UNAVAILABLE", code);
  }
  assert.equal(map({ name: "AbortError" }).retryable, true);
  assert.equal(map({ name: "TypeError" }).code, "INTERNAL");
  const skew = map({ name: "InvalidSignatureException", $metadata: { clockSkewCorrected: true } });
  assert.equal(skew.code, "AWS_UNAVAILABLE");
  const sts = toConnectorError(
    Object.assign(new Error("User: x is not authorized to perform: sts:AssumeRole on resource: y"), {
      name: "AccessDenied",
    }),
    { operation: "Scan", table: "t" },
  );
  assert.match(sts.message, /lack the permission sts:AssumeRole/);
  const known = new ConnectorError("x", { code: "HOOK_FAILED" });
  assert.equal(toConnectorError(known, { operation: "Scan", table: "t" }), known);
});
