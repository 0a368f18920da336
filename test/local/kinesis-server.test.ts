// The local Kinesis server as a server: where it listens, whom it lets in, what it remembers, what it costs.

import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { test } from "node:test";
import { DescribeStreamSummaryCommand, KinesisClient, PutRecordCommand } from "@aws-sdk/client-kinesis";
import { startLocalKinesis } from "../../src/local/mod.ts";
import { FakeClock } from "../fakes.ts";
import { kinesisClient, kinesisClientConfig, startKinesisStream } from "../servers/kinesis.ts";

test("local kinesis: other than loopback addresses are refused", async () => {
  for (const host of ["0.0.0.0", "::", "192.168.0.1", "example.com", "127.0.0.1.example.com"]) {
    await assert.rejects(startLocalKinesis({ host }), {
      name: "ConnectorError",
      code: "CONFIG_INVALID",
      message:
        `the local Kinesis server listens on loopback addresses only, not on "${host}": it lets everybody ` +
        "in. Use 127.0.0.1 (the default), ::1 or localhost.",
    });
  }
});

test("local kinesis: a port that is taken is named", async (t) => {
  const first = await startLocalKinesis();
  t.after(() => first.close());
  const port = Number(new URL(first.url).port);
  await assert.rejects(startLocalKinesis({ port }), {
    code: "CONFIG_INVALID",
    message: new RegExp(`cannot listen on 127\\.0\\.0\\.1:${port}: .*Give another port`),
  });
});

test("local kinesis: after close nothing listens, and close may be called again", async () => {
  const kinesis = await startLocalKinesis();
  const { url } = kinesis;
  await kinesis.close();
  await kinesis.close();
  await assert.rejects(fetch(url));
});

test("local kinesis: the Date header is the server's clock", async (t) => {
  const clock = new FakeClock({ now: Date.UTC(2031, 4, 5, 6, 7, 8) });
  const kinesis = await startLocalKinesis({ clock });
  t.after(() => kinesis.close());
  const response = await fetch(kinesis.url, { method: "POST", body: "{}" });
  await response.body?.cancel();
  assert.equal(response.headers.get("date"), "Mon, 05 May 2031 06:07:08 GMT");
});

test("local kinesis: what is no call of the API is refused by name", async (t) => {
  const kinesis = await startLocalKinesis();
  t.after(() => kinesis.close());
  const post = async (target: string, body: string, type = "application/x-amz-json-1.1") => {
    const response = await fetch(kinesis.url, {
      method: "POST",
      body,
      headers: { "content-type": type, "x-amz-target": target },
    });
    return [response.status, await typeOf(response)];
  };
  const list = "Kinesis_20131202.ListStreams";
  assert.deepEqual(await post("Kinesis_20131202.Dance", "{}"), [400, "UnknownOperationException"]);
  assert.deepEqual(await post("Kinesis_20131202.toString", "{}"), [400, "UnknownOperationException"]);
  assert.deepEqual(await post("DynamoDB_20120810.Scan", "{}"), [400, "UnknownOperationException"]);
  assert.deepEqual(await post(list, "{"), [400, "SerializationException"]);
  assert.deepEqual(await post(list, "[]"), [400, "SerializationException"]);
  assert.deepEqual(await post(list, '{"Limit":"1"}'), [400, "SerializationException"]);
  assert.deepEqual(await post(list, "{}", "application/x-amz-cbor-1.1"), [400, "SerializationException"]);
  assert.deepEqual(
    await post("Kinesis_20131202.PutRecord", '{"StreamName":"s","PartitionKey":"k","Data":"?"}'),
    [
      400,
      "SerializationException",
    ],
  );
  const large = await fetch(kinesis.url, { method: "POST", body: new Uint8Array(21 * 1024 * 1024) });
  await large.body?.cancel();
  assert.equal(large.status, 413);
});

test("local kinesis: requests are remembered with user agent, input and time", async (t) => {
  const clock = new FakeClock();
  const { kinesis, streamName } = await startKinesisStream(t, { clock, shards: 2 });
  const client = kinesisClient(t, kinesis.url, { customUserAgent: [["my-application", "1.0"]] });
  await client.send(new DescribeStreamSummaryCommand({ StreamName: streamName }));
  await clock.advance(250);
  await client.send(
    new PutRecordCommand({ StreamName: streamName, Data: Buffer.from("x"), PartitionKey: "k" }),
  );
  await assert.rejects(client.send(new DescribeStreamSummaryCommand({ StreamName: "missing" })));
  const [first, second, third] = kinesis.requests;
  assert.match(first!.headers["user-agent"]!, /my-application\/1\.0/);
  assert.deepEqual(first!.input, { StreamName: streamName });
  assert.equal(second!.at - first!.at, 250);
  assert.deepEqual(
    [second!.operation, second!.streamName, second!.status, second!.outcome, second!.input],
    ["PutRecord", streamName, 200, "answered", { StreamName: streamName, PartitionKey: "k" }],
  );
  assert.ok(second!.shardId);
  assert.deepEqual([third!.status, third!.error], [400, "ResourceNotFoundException"]);
  assert.deepEqual(kinesis.calls("PutRecord", { streamName, shardId: second!.shardId }), [second]);
  kinesis.clearRequests();
  assert.deepEqual(kinesis.requests, []);
});

test("local kinesis: the memory of requests is bounded", async (t) => {
  const { kinesis, client, streamName } = await startKinesisStream(t, { requestLogSize: 3 });
  for (let i = 0; i < 10; i++) {
    await client.send(
      new PutRecordCommand({ StreamName: streamName, Data: Buffer.from("x"), PartitionKey: `${i}` }),
    );
  }
  assert.ok(kinesis.requests.length >= 3 && kinesis.requests.length <= 6);
  assert.equal(kinesis.requests.at(-1)!.input.PartitionKey, "9");
});

test("local kinesis: configured credentials are checked, and their permissions", async (t) => {
  const kinesis = await startLocalKinesis({
    credentials: [
      { accessKeyId: "AKIAONE", secretAccessKey: "secret/one", denied: ["PutRecord"] },
      { accessKeyId: "ASIATWO", secretAccessKey: "secret/two", sessionToken: "token" },
    ],
  });
  t.after(() => kinesis.close());
  kinesis.createStream("s", { shards: 1 });
  const as = (credentials: { accessKeyId: string; secretAccessKey: string; sessionToken?: string }) => {
    const client = new KinesisClient({ ...kinesisClientConfig(kinesis.url), credentials });
    t.after(() => client.destroy());
    return client;
  };
  const describe = (client: KinesisClient) =>
    client.send(new DescribeStreamSummaryCommand({ StreamName: "s" }));
  const one = as({ accessKeyId: "AKIAONE", secretAccessKey: "secret/one" });
  await describe(one);
  await assert.rejects(
    one.send(new PutRecordCommand({ StreamName: "s", Data: new Uint8Array(1), PartitionKey: "k" })),
    {
      name: "AccessDeniedException",
      message:
        "User: arn:aws:iam::000000000000:user/AKIAONE is not authorized to perform: kinesis:PutRecord on " +
        "resource: arn:aws:kinesis:us-east-1:000000000000:stream/s because no identity-based policy allows the " +
        "kinesis:PutRecord action",
    },
  );
  assert.deepEqual(kinesis.records("s"), []);
  await describe(as({ accessKeyId: "ASIATWO", secretAccessKey: "secret/two", sessionToken: "token" }));
  await assert.rejects(
    describe(as({ accessKeyId: "ASIATWO", secretAccessKey: "secret/two", sessionToken: "old" })),
    {
      name: "UnrecognizedClientException",
    },
  );
  await assert.rejects(describe(as({ accessKeyId: "AKIAOTHER", secretAccessKey: "secret/one" })), {
    name: "UnrecognizedClientException",
    message: "The security token included in the request is invalid.",
  });
  await assert.rejects(describe(as({ accessKeyId: "AKIAONE", secretAccessKey: "wrong" })), {
    name: "InvalidSignatureException",
    message: /does not match the signature you provided/,
  });
  const unsigned = await fetch(kinesis.url, {
    method: "POST",
    body: "{}",
    headers: { "content-type": "application/x-amz-json-1.1", "x-amz-target": "Kinesis_20131202.ListStreams" },
  });
  assert.equal(await typeOf(unsigned), "MissingAuthenticationTokenException");
  kinesis.setCredentials(undefined);
  await describe(as({ accessKeyId: "AKIAOTHER", secretAccessKey: "any" }));
});

async function typeOf(response: Response): Promise<string | undefined> {
  return (await response.json() as { __type?: string }).__type;
}
