// The client configuration, judged by what a server sees and by how calls end.

import assert from "node:assert/strict";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo, Socket } from "node:net";
import { test, type TestContext } from "node:test";
import { DynamoDBClient, ListTablesCommand } from "@aws-sdk/client-dynamodb";
import { KinesisClient, ListStreamsCommand } from "@aws-sdk/client-kinesis";
import { awsClientConfig, type AwsClientOptions } from "../../src/aws/client-config.ts";
import { userAgentConfig } from "../../src/aws/user-agent.ts";
import { RecordingLogger } from "../fakes.ts";

type Answer = (request: IncomingMessage, response: ServerResponse) => void;

async function startServer(t: TestContext, answer: Answer) {
  const sockets = new Set<Socket>();
  const server = createServer((request, response) => {
    sockets.add(request.socket);
    answer(request, response);
  });
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, sockets };
}

function configFor(endpoint: string, more: Partial<AwsClientOptions> = {}) {
  return awsClientConfig({
    region: "eu-west-1",
    endpoint,
    credentials: () => Promise.resolve({ accessKeyId: "AKIDTEST", secretAccessKey: "secret" }),
    userAgent: { applicationName: "My test application", version: "1.2.3" },
    log: new RecordingLogger(),
    requestTimeoutMs: 5000,
    maxAttempts: 1,
    ...more,
  });
}

const noStreams = JSON.stringify({ StreamNames: [], HasMoreStreams: false, TableNames: [] });

test("aws client: the server sees the application's name and our version, signed for the region, from any client", async (t) => {
  const seen: IncomingMessage["headers"][] = [];
  const server = await startServer(t, (request, response) => {
    seen.push(request.headers);
    response.end(noStreams);
  });
  const kinesis = new KinesisClient(await configFor(server.url));
  t.after(() => kinesis.destroy());
  const dynamo = new DynamoDBClient(await configFor(server.url));
  t.after(() => dynamo.destroy());
  await kinesis.send(new ListStreamsCommand({}));
  await dynamo.send(new ListTablesCommand({}));
  assert.equal(seen.length, 2);
  for (const headers of seen) {
    assert.match(String(headers["user-agent"]), / app\/My-test-application .*kinesis-pulsar\/1\.2\.3/);
    assert.match(String(headers.authorization), /Credential=AKIDTEST\/\d{8}\/eu-west-1\//);
  }
});

test("aws client: names that cannot stand in a user agent are made so", () => {
  const name = (applicationName: string) => userAgentConfig({ applicationName, version: "1.0.0" });
  assert.equal(name("Pulsar IO connector").userAgentAppId, "Pulsar-IO-connector");
  assert.equal(name("a/b#c(d)\r\ne").userAgentAppId, "a-b-c-d---e");
  assert.equal(name("Bestellungen → Käse").userAgentAppId, "Bestellungen---K-se");
  const long = name("x".repeat(51));
  assert.equal(long.userAgentAppId, undefined);
  assert.deepEqual(long.customUserAgent, [["kinesis-pulsar", "1.0.0"], ["app", "x".repeat(51)]]);
});

test("aws client: connections are kept and used again", async (t) => {
  const server = await startServer(t, (_request, response) => response.end(noStreams));
  const client = new KinesisClient(await configFor(server.url));
  t.after(() => client.destroy());
  for (let call = 0; call < 5; call++) await client.send(new ListStreamsCommand({}));
  assert.equal(server.sockets.size, 1);
});

test("aws client: two hundred calls at once are all under way at the same time", async (t) => {
  const waiting: ServerResponse[] = [];
  const server = await startServer(t, (_request, response) => {
    waiting.push(response);
    if (waiting.length === 200) { for (const one of waiting) one.end(noStreams); }
  });
  const client = new KinesisClient(await configFor(server.url, { requestTimeoutMs: 30_000 }));
  t.after(() => client.destroy());
  await Promise.all(Array.from({ length: 200 }, () => client.send(new ListStreamsCommand({}))));
  assert.equal(waiting.length, 200);
});

test("aws client: a server that never answers ends the call with a TimeoutError, after one attempt", async (t) => {
  let calls = 0;
  const server = await startServer(t, () => void calls++);
  const client = new KinesisClient(await configFor(server.url, { requestTimeoutMs: 100 }));
  t.after(() => client.destroy());
  await assert.rejects(client.send(new ListStreamsCommand({})), { name: "TimeoutError" });
  assert.equal(calls, 1);
});

test("aws client: an answer that stalls after its headers ends the call with a TimeoutError", async (t) => {
  const server = await startServer(t, (_request, response) => {
    response.writeHead(200, { "content-length": "1000" });
    response.write('{"StreamNames":');
  });
  const client = new KinesisClient(await configFor(server.url, { requestTimeoutMs: 200 }));
  t.after(() => client.destroy());
  await assert.rejects(client.send(new ListStreamsCommand({})), { name: "TimeoutError" });
});

test("aws client: an error of the server is tried once only", async (t) => {
  let calls = 0;
  const server = await startServer(t, (_request, response) => {
    calls++;
    response.writeHead(500).end("{}");
  });
  const client = new KinesisClient(await configFor(server.url));
  t.after(() => client.destroy());
  await assert.rejects(client.send(new ListStreamsCommand({})));
  assert.equal(calls, 1);
});

test("aws client: the SDK's warnings reach the log, and it has no `info` to prepare lines for", async () => {
  const log = new RecordingLogger();
  const { logger } = await configFor("http://127.0.0.1:1", { log });
  assert.equal("info" in logger, false);
  logger.warn("something is", { not: "for the log" }, "odd");
  assert.deepEqual(log.messages("warn"), ["AWS SDK: something is odd"]);
});
