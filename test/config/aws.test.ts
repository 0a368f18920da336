import assert from "node:assert/strict";
import { test } from "node:test";
import { parse, problems, small } from "./kit.ts";

const ARN = "arn:aws:kinesis:ap-south-1:123456789012:stream/clicks";
const { awsRegion: _region, awsKinesisStreamName: _stream, ...bare } = small;
const named = { ...bare, awsKinesisStreamName: "orders" };
const endpoints = { awsEndpoint: "http://k", dynamoEndpoint: "http://d", cloudwatchEndpoint: "http://c" };

test("config aws: a stream as ARN gives name and region", () => {
  const config = parse({ ...bare, kinesis: { streamArn: ARN } }, { AWS_REGION: "us-east-1" });
  assert.equal(config.awsKinesisStreamName, "clicks");
  assert.equal(config.awsRegion, "ap-south-1");
  assert.equal(config.kinesis.region, "ap-south-1");
  assert.equal(config.kinesis.streamArn, ARN);
  const china = parse({ ...bare, kinesis: { streamArn: ARN.replace("aws:", "aws-cn:") } });
  assert.equal(china.awsKinesisStreamName, "clicks");
});

test("config aws: an ARN that says something else than name or region is refused", () => {
  assert.deepEqual(problems({ ...named, awsRegion: "eu-west-1", kinesis: { streamArn: ARN } }), [
    'kinesis.streamArn names the stream "clicks", but awsKinesisStreamName is "orders": keep one',
    'kinesis.streamArn is in region "ap-south-1", but awsRegion is "eu-west-1": keep one',
  ]);
  const same = { awsKinesisStreamName: "clicks", awsRegion: "ap-south-1", kinesis: { streamArn: ARN } };
  assert.equal(parse({ ...bare, ...same }).awsKinesisStreamName, "clicks");
  assert.match(
    problems({ ...bare, kinesis: { streamArn: "arn:aws:s3:::x" } })[0]!,
    /^kinesis\.streamArn = .*must be an ARN/,
  );
  assert.equal(problems({ ...bare, kinesis: { streamArn: "orders" }, awsRegion: "eu-west-1" }).length, 1);
  assert.match(
    problems({ ...bare, awsRegion: "eu-west-1", awsKinesisStreamName: ARN })[0]!,
    /an ARN belongs into kinesis\.streamArn/,
  );
});

test("config aws: a consumer's ARN must be of the stream that is read", () => {
  const consumerArn = `${ARN}/consumer/me:1690000000`;
  assert.equal(parse({ ...bare, kinesis: { streamArn: ARN, consumerArn } }).kinesis.consumerArn, consumerArn);
  assert.match(
    problems({ ...named, awsRegion: "ap-south-1", kinesis: { consumerArn } })[0]!,
    /is a consumer of the stream "clicks", not of the one that is read/,
  );
  assert.match(
    problems({ ...bare, kinesis: { streamArn: ARN, consumerArn: ARN } })[0]!,
    /consumerArn = .*must be an ARN/,
  );
  assert.match(
    problems({ ...bare, kinesis: { streamArn: ARN, consumerArn, consumerName: "you" } })[0]!,
    /names the consumer "me", but kinesis\.consumerName is "you"/,
  );
});

test("config aws: a consumer's ARN names the stream, also that of another account", () => {
  const consumerArn = `${ARN}/consumer/me:1690000000`;
  const config = parse({ ...bare, useEnhancedFanOut: true, kinesis: { consumerArn } });
  assert.equal(config.kinesis.streamArn, ARN);
  assert.equal(config.awsKinesisStreamName, "clicks");
  assert.match(
    problems({ ...bare, awsRegion: "eu-west-1", kinesis: { consumerArn } })[0]!,
    /consumerArn is in region ".*", but awsRegion is "eu-west-1"/,
  );
  const unused = parse({ ...bare, useEnhancedFanOut: false, kinesis: { consumerArn } }).warnings;
  assert.deepEqual(unused, [
    "kinesis.consumerArn is for enhanced fan-out and not used: useEnhancedFanOut = false",
  ]);
});

test("config aws: the region comes from the file, the ARN, AWS_REGION, AWS_DEFAULT_REGION, in this order", () => {
  const env = { AWS_REGION: "us-west-1", AWS_DEFAULT_REGION: "us-west-2" };
  assert.equal(parse(small, env).awsRegion, "eu-west-1");
  assert.equal(parse(named, env).awsRegion, "us-west-1");
  assert.equal(parse(named, { AWS_REGION: "", AWS_DEFAULT_REGION: "us-west-2" }).awsRegion, "us-west-2");
  const own = parse({ ...small, leases: { region: "eu-north-1" }, metrics: { region: "eu-south-1" } });
  assert.deepEqual([own.kinesis.region, own.leases.region, own.metrics.region], [
    "eu-west-1",
    "eu-north-1",
    "eu-south-1",
  ]);
});

test("config aws: a stream's ARN gives its region in every partition", () => {
  for (const [partition, region] of [["aws-cn", "cn-north-1"], ["aws-us-gov", "us-gov-west-1"]]) {
    const streamArn = `arn:${partition}:kinesis:${region}:123456789012:stream/orders`;
    const { awsKinesisStreamName: _, ...unnamed } = named;
    const config = parse({ ...unnamed, kinesis: { streamArn } }, { AWS_REGION: "eu-west-1" });
    assert.deepEqual(
      [config.kinesis.region, config.leases.region, config.awsRegion, config.awsKinesisStreamName],
      [region, region, region, "orders"],
    );
    assert.match(
      problems({ ...unnamed, awsRegion: "eu-west-1", kinesis: { streamArn } })[0]!,
      new RegExp(`kinesis.streamArn is in region "${region}", but awsRegion is "eu-west-1"`),
    );
  }
});

test("config aws: an external id without its role is refused", () => {
  for (const table of ["kinesis", "leases", "metrics"]) {
    assert.deepEqual(problems({ ...small, [table]: { externalId: "x" } }), [
      `${table}.externalId is given, but no ${table}.roleArn that it belongs to`,
    ]);
    const roleArn = "arn:aws-cn:iam::123456789012:role/a/b";
    parse({ ...small, [table]: { externalId: "x", roleArn } });
    assert.equal(problems({ ...small, [table]: { externalId: "x", roleArn: "reader" } }).length, 1);
  }
});

test("config aws: no region is needed where all three endpoints are set, but with one missing it is", () => {
  assert.equal(parse({ ...named, ...endpoints }).kinesis.endpoint, "http://k");
  for (const key of Object.keys(endpoints)) {
    const [line, ...others] = problems({ ...named, ...endpoints, [key]: "" });
    assert.match(line!, new RegExp(`^awsRegion is missing: .*${key} not given`));
    assert.deepEqual(others, []);
  }
  const { dynamoEndpoint: _, ...noDynamo } = endpoints;
  assert.equal(parse({ ...named, ...noDynamo, leases: { store: "memory" } }).leases.store, "memory");
});

test("config aws: endpoints of the tables are those of the flat keys, and both must agree", () => {
  const config = parse({ ...small, ...endpoints, leases: { endpoint: "http://d" } });
  assert.equal(config.leases.endpoint, "http://d");
  assert.deepEqual(problems({ ...small, ...endpoints, leases: { endpoint: "http://other" } }), [
    "leases.endpoint is not the same as dynamoEndpoint: keep one of the two",
  ]);
  const [line] = problems({ ...small, awsEndpoint: "http://user:pass@host" });
  assert.match(line!, /^awsEndpoint = "http:\/\/\(hidden\)@host": must be a URL/);
  assert.match(
    problems({ ...small, dynamoEndpoint: "localhost:8000" })[0]!,
    /must be a URL like "https:\/\/host"/,
  );
});

test("config aws: awsEndpoint alone warns where leases go, by table, and that there are no CloudWatch metrics", () => {
  const config = parse({ ...small, awsEndpoint: "http://127.0.0.1:4567" });
  assert.deepEqual(config.warnings, [
    'awsEndpoint is set, but dynamoEndpoint is not: leases go to the table "app" of the real DynamoDB in eu-west-1',
    "awsEndpoint is set, but cloudwatchEndpoint is not: no CloudWatch metrics are sent",
  ]);
  assert.deepEqual(config.leaseWarnings, config.warnings.slice(0, 1), "the leases command sends no metrics");
  assert.equal(config.metrics.cloudwatch, "none");
  const silent = { ...endpoints, metrics: { cloudwatch: "none" } };
  assert.deepEqual(parse({ ...small, ...silent }).warnings, []);
  const quiet = { awsEndpoint: "http://k", leases: { store: "memory" }, metrics: { cloudwatch: "none" } };
  assert.deepEqual(parse({ ...small, ...quiet }).warnings, []);
});

test("config aws: applicationName names table, consumer and namespace; what AWS refuses becomes a dash, said once", () => {
  const plain = parse(small);
  assert.deepEqual([plain.leaseTable, plain.consumerName, plain.metricsNamespace], ["app", "app", "app"]);
  assert.equal(plain.applicationNameGiven, true);
  const config = parse({ ...small, applicationName: "Größe: 1/2 app" });
  assert.equal(config.applicationName, "Größe: 1/2 app");
  assert.equal(config.leaseTable, "Gr--e--1-2-app");
  assert.deepEqual(config.warnings, [
    'applicationName "Größe: 1/2 app": AWS takes only letters, digits and _ . - in names, so lease table, ' +
    'fan-out consumer and metrics namespace are named "Gr--e--1-2-app" (leases.table and kinesis.consumerName override)',
  ]);
  const { applicationName: _, ...without } = small;
  const java = parse(without);
  assert.equal(java.leaseTable, "Pulsar-IO-connector");
  assert.equal(java.applicationNameGiven, false);
});

test("config aws: leases.table and kinesis.consumerName override the application's name", () => {
  const config = parse({
    ...small,
    applicationName: "my app",
    leases: { table: "my_table" },
    kinesis: { consumerName: "me" },
  });
  assert.equal(config.leaseTable, "my_table");
  assert.equal(config.consumerName, "me");
  assert.equal(config.metricsNamespace, "my-app");
  assert.match(config.warnings[0]!, /so metrics namespace is named "my-app"/);
  assert.match(
    problems({ ...small, leases: { table: "a b" } })[0]!,
    /leases\.table = "a b": must be 3 to 255 letters/,
  );
});

test("config aws: names that are too short or too long for AWS are refused", () => {
  assert.match(
    problems({ ...small, applicationName: "ab" })[0]!,
    /DynamoDB takes 3 to 255 characters; set leases\.table/,
  );
  assert.match(
    problems({ ...small, applicationName: "a".repeat(129) })[0]!,
    /too long for a fan-out consumer's name \(128 characters\)/,
  );
});

test("config aws: enhanced fan-out is what it says, without a warning", () => {
  for (const input of [{ ...small, useEnhancedFanOut: true }, { ...small, useEnhancedFanOut: "" }]) {
    const config = parse(input);
    assert.equal(config.useEnhancedFanOut, true);
    assert.deepEqual(config.warnings, []);
  }
});
