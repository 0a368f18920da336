// A program that prints, as JSON, the hosts that clients would speak to: of DescribeStreamSummary, GetRecords and
// DescribeTable, or the words of their failures. Its own process, because the SDK reads the environment.
// Argument: {"region", "endpoint"?, "streamArn"?}.

import process from "node:process";
import { DescribeTableCommand, DynamoDBClient } from "@aws-sdk/client-dynamodb";
import { DescribeStreamSummaryCommand, GetRecordsCommand, KinesisClient } from "@aws-sdk/client-kinesis";
import { awsClientConfig } from "../../src/aws/client-config.ts";
import { messageOf } from "../../src/core/errors.ts";
import { silentLogger } from "../../src/core/log.ts";

const { region, endpoint, streamArn } = JSON.parse(process.argv[2]!) as {
  readonly region: string;
  readonly endpoint?: string;
  readonly streamArn?: string;
};
const told: string[] = [];
const requestHandler = {
  handle({ hostname, headers }: { hostname: string; headers: Record<string, string> }): Promise<never> {
    const signed = headers["authorization"]!.includes(`/${region}/`);
    return Promise.reject(new Error(signed ? hostname : "signed for another region"));
  },
};
const config = {
  ...await awsClientConfig({
    region,
    endpoint,
    credentials: () => Promise.resolve({ accessKeyId: "AKIDTEST", secretAccessKey: "secret" }),
    userAgent: { applicationName: "app", version: "1.2.3" },
    log: silentLogger,
    maxAttempts: 1,
  }),
  requestHandler,
} as never;
const kinesis = new KinesisClient(config);
const dynamo = new DynamoDBClient(config);
const arn = streamArn === undefined ? {} : { StreamARN: streamArn };
const summary = streamArn === undefined ? { StreamName: "orders" } : arn;
for (
  const call of [
    () => kinesis.send(new DescribeStreamSummaryCommand(summary)),
    () => kinesis.send(new GetRecordsCommand({ ShardIterator: "x", ...arn })),
    () => dynamo.send(new DescribeTableCommand({ TableName: "leases" })),
  ]
) {
  await call().catch((error: unknown) => told.push(messageOf(error)));
}
process.stdout.write(JSON.stringify(told));
