// The examples of the Java connector's documentation, as they stand there: with endpoints and the Pulsar table added
// they validate and run.

import assert from "node:assert/strict";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { brokerMissing, pulsarBroker } from "../servers/broker.ts";
import { assertCopied, leaseRows } from "./judge.ts";
import { ended, layRoad, received, type Road, stopped } from "./kit.ts";
import { tableRecords } from "./tables.ts";

const skip = brokerMissing() ?? false;

const STREAM = "my-stream";
const TABLE = "My-test-application";

// Only the endpoint differs from the page, and what stands after startAtTime.
const json = (endpoint: string, dynamo: string, serviceUrl: string, topic: string) =>
  `{
    "awsEndpoint": "${endpoint}",
    "awsRegion": "us-east-1",
    "awsKinesisStreamName": "my-stream",
    "awsCredentialPluginParam": "{\\"accessKey\\":\\"myKey\\",\\"secretKey\\":\\"my-Secret\\"}",
    "applicationName": "My test application",
    "checkpointInterval": "30000",
    "backoffTime": "4000",
    "numRetries": "3",
    "receiveQueueSize": 2000,
    "initialPositionInStream": "TRIM_HORIZON",
    "startAtTime": "2019-03-05T19:28:58.000Z",
    "dynamoEndpoint": "${dynamo}",
    "pulsar": { "serviceUrl": "${serviceUrl}", "topic": "${topic}" }
}
`;

const yaml = (endpoint: string, dynamo: string, serviceUrl: string, topic: string) =>
  `configs:
    awsEndpoint: "${endpoint}"
    awsRegion: "us-east-1"
    awsKinesisStreamName: "my-stream"
    awsCredentialPluginParam: "{\\"accessKey\\":\\"myKey\\",\\"secretKey\\":\\"my-Secret\\"}"
    applicationName: "My test application"
    checkpointInterval: 30000
    backoffTime: 4000
    numRetries: 3
    receiveQueueSize: 2000
    initialPositionInStream: "TRIM_HORIZON"
    startAtTime: "2019-03-05T19:28:58.000Z"
    dynamoEndpoint: "${dynamo}"
pulsar:
    serviceUrl: "${serviceUrl}"
    topic: "${topic}"
`;

const EXAMPLES = { json, yaml };

for (const [kind, example] of Object.entries(EXAMPLES)) {
  test(`e2e java documentation: the ${kind} example validates and runs`, { skip }, async (t) => {
    const road: Road = await layRoad(t, {
      credentials: [{ accessKeyId: "myKey", secretAccessKey: "my-Secret" }],
    });
    road.kinesis.createStream(STREAM, { shards: 2 });
    road.kinesis.putRecords(STREAM, tableRecords("cars", "Name", 100));
    const stored = road.kinesis.records(STREAM);
    const { serviceUrl } = await pulsarBroker();
    const file = join(road.folder, `connector.${kind}`);
    await writeFile(file, example(road.kinesis.url, road.dynamoUrl, serviceUrl, road.topic));

    const validate = road.run("validate", file);
    await ended(validate);
    for (
      const words of [
        /stream +my-stream \(us-east-1 at /,
        /application +My test application/,
        /TRIM_HORIZON.*startAtTime is for AT_TIMESTAMP only and is not used/,
        /DynamoDB table "My-test-application"/,
        /keys from awsCredentialPluginParam/,
        /every 30000 ms/,
        new RegExp(`connector.${kind} is valid`),
      ]
    ) assert.match(validate.stdout, words);
    assert.match(validate.stdout, /enhanced fan-out, as consumer "My-test-application"/);
    assert.doesNotMatch(validate.stdout + validate.stderr, /my-Secret/);

    const cli = road.run("run", file);
    const messages = await received(cli, road.topic, stored.length);
    await stopped(cli);
    assertCopied(messages, stored);
    assert.deepEqual(
      road.kinesis.calls("RegisterStreamConsumer").map(({ input }) => input.ConsumerName),
      [TABLE],
    );
    assert.equal(road.kinesis.calls("GetRecords").length, 0, "Java's default is enhanced fan-out");
    const rows = await leaseRows(t, road.dynamoUrl, TABLE);
    assert.deepEqual([...rows.keys()].sort(), road.kinesis.shardIds(STREAM));
    // What the page promises of applicationName; AWS takes no blanks in it.
    assert.ok(road.kinesis.requests.length > 0);
    for (const { operation, headers, status } of road.kinesis.requests) {
      // The keys of the example were checked; the first look for the consumer finds none.
      if (operation !== "DescribeStreamConsumer") assert.equal(status, 200, operation);
      assert.match(headers["user-agent"] ?? "", /\bapp\/My-test-application\b/);
    }
    // Said once: what the name becomes.
    assert.equal([...cli.stderr.matchAll(/named \\"My-test-application\\"/g)].length, 1, cli.stderr);
    assert.doesNotMatch(cli.stderr, /my-Secret/);
  });
}
