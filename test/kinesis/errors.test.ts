// The words and codes of what Kinesis refuses, as they come through the SDK.

import assert from "node:assert/strict";
import { test, type TestContext } from "node:test";
import { ConnectorError, type ErrorCode } from "../../src/core/errors.ts";
import type { KinesisApi } from "../../src/kinesis/client.ts";
import { type Answer, apiOn, errorAnswer } from "./transport.ts";

const signal = new AbortController().signal;
const getRecords = (api: KinesisApi) => api.getRecords("shardId-000000000003", "iterator", 10, signal);
const describe = (api: KinesisApi) => api.describeStreamSummary(signal);
const iteratorAt = (sequenceNumber: string) => (api: KinesisApi) =>
  api.getShardIterator("shardId-000000000003", { type: "AT_SEQUENCE_NUMBER", sequenceNumber }, signal);

async function failure(
  t: TestContext,
  server: () => Answer | Promise<Answer>,
  call: (api: KinesisApi) => Promise<unknown> = getRecords,
): Promise<ConnectorError> {
  const api = await apiOn(t, server);
  const error = await call(api).then(() => assert.fail("the call succeeded"), (error: unknown) => error);
  assert.ok(error instanceof ConnectorError, String(error));
  return error;
}

const CODES: readonly (readonly [string, number, ErrorCode, boolean])[] = [
  ["ProvisionedThroughputExceededException", 400, "THROTTLED", true],
  ["LimitExceededException", 400, "THROTTLED", true],
  ["ThrottlingException", 400, "THROTTLED", true],
  ["KMSThrottlingException", 400, "THROTTLED", true],
  ["SomethingNew", 429, "THROTTLED", true],
  ["ExpiredIteratorException", 400, "ITERATOR_EXPIRED", true],
  ["InvalidArgumentException", 400, "ITERATOR_EXPIRED", true],
  ["ResourceNotFoundException", 400, "SHARD_NOT_FOUND", false],
  ["AccessDeniedException", 400, "ACCESS_DENIED", false],
  ["KMSAccessDeniedException", 400, "ACCESS_DENIED", false],
  ["KMSDisabledException", 400, "AWS_REFUSED", false],
  ["KMSNotFoundException", 400, "AWS_REFUSED", false],
  ["UnrecognizedClientException", 400, "CREDENTIALS_INVALID", false],
  ["ExpiredTokenException", 400, "CREDENTIALS_INVALID", false],
  ["InvalidSignatureException", 400, "CREDENTIALS_INVALID", false],
  ["InternalFailure", 500, "AWS_UNAVAILABLE", true],
  ["ServiceUnavailableException", 503, "AWS_UNAVAILABLE", true],
  ["SomethingNew", 400, "AWS_REFUSED", false],
];

test("kinesis errors: each refusal has its code, and says whether trying again helps", async (t) => {
  for (const [type, status, code, retryable] of CODES) {
    const error = await failure(t, () => errorAnswer(type, "said the service", status));
    assert.deepEqual([type, error.code, error.retryable], [type, code, retryable]);
    assert.match(error.message, /orders/, type);
    assert.equal(error.where.shardId, "shardId-000000000003", type);
    assert.equal(error.where.operation, "GetRecords", type);
  }
});

test("kinesis errors: a missing permission is named with the action and the stream", async (t) => {
  const denied = await failure(t, () => errorAnswer("AccessDeniedException", "no"));
  assert.match(denied.message, /permission kinesis:GetRecords on stream "orders" in region us-east-1/);
  const kms = await failure(t, () => errorAnswer("KMSAccessDeniedException", "no"));
  assert.match(kms.message, /permission kms:Decrypt on the KMS key of stream "orders"/);
  const described = await failure(t, () => errorAnswer("AccessDeniedException", "no"), describe);
  assert.match(described.message, /permission kinesis:DescribeStreamSummary/);
});

test("kinesis errors: those of fan-out name the consumer, and how to do without where a right is missing", async (t) => {
  const consumerArn = "arn:aws:kinesis:us-east-1:000000000000:stream/orders/consumer/me:1";
  const streamArn = "arn:aws:kinesis:us-east-1:000000000000:stream/orders";
  const subscribe = async () => {
    const api = await apiOn(t, () => errorAnswer(type, "no"));
    return await api.subscribeToShard(consumerArn, "shard-1", {
      type: "AT_SEQUENCE_NUMBER",
      sequenceNumber: "7",
    }, signal);
  };
  const describeConsumer = async () => {
    const api = await apiOn(t, () => errorAnswer(type, "no"));
    return await api.describeStreamConsumer({ streamArn, consumerName: "me" }, signal);
  };
  const describeGiven = async () => {
    const api = await apiOn(t, () => errorAnswer(type, "no"));
    return await api.describeStreamConsumer({ consumerArn }, signal);
  };
  let type = "";
  const cases: [() => Promise<unknown>, string, ErrorCode, RegExp][] = [
    [
      subscribe,
      "AccessDeniedException",
      "ACCESS_DENIED",
      /kinesis:SubscribeToShard on consumer "arn.*= false/,
    ],
    [subscribe, "ResourceInUseException", "AWS_UNAVAILABLE", /another subscription as consumer "arn/],
    [subscribe, "ResourceNotFoundException", "SHARD_NOT_FOUND", /no such shard or stream/],
    [subscribe, "InvalidArgumentException", "FOREIGN_CHECKPOINT", /checkpoint 7 is not one of shard shard-1/],
    [subscribe, "LimitExceededException", "THROTTLED", /was throttled/],
    [
      describeConsumer,
      "ResourceNotFoundException",
      "CONSUMER_NOT_FOUND",
      /"orders" has no fan-out consumer "me" \(/,
    ],
    [
      describeGiven,
      "ResourceNotFoundException",
      "CONSUMER_NOT_FOUND",
      /"arn.*"; correct kinesis.consumerArn/,
    ],
    [
      describeConsumer,
      "AccessDeniedException",
      "ACCESS_DENIED",
      /DescribeStreamConsumer on consumer "me".*= false/,
    ],
  ];
  for (const [call, name, code, words] of cases) {
    type = name;
    const error = await call().then(() => assert.fail("the call succeeded"), (error: unknown) => error);
    assert.ok(error instanceof ConnectorError, String(error));
    assert.equal(error.code, code, error.message);
    assert.match(error.message, words);
  }
});

test("kinesis errors: a stream that does not exist is named with region, endpoint and what to check", async (t) => {
  const error = await failure(t, () => errorAnswer("ResourceNotFoundException", "no"), describe);
  assert.equal(error.code, "STREAM_NOT_FOUND");
  assert.match(
    error.message,
    /stream "orders" does not exist in region us-east-1 at http:\/\/kinesis\.invalid/,
  );
  assert.match(error.message, /check awsKinesisStreamName, awsRegion/);
});

test("kinesis errors: an invalid argument for a stored checkpoint is a foreign checkpoint", async (t) => {
  const server = () => errorAnswer("InvalidArgumentException", "did not come from this stream");
  const error = await failure(t, server, iteratorAt("12345"));
  assert.equal(error.code, "FOREIGN_CHECKPOINT");
  assert.equal(error.where.sequenceNumber, "12345");
  assert.match(error.message, /checkpoint 12345 is not one of shard shardId-000000000003 of stream "orders"/);
  assert.match(error.message, /applicationName/);
  const other = await failure(t, server, (api) => api.getShardIterator("s", { type: "LATEST" }, signal));
  assert.equal(other.code, "AWS_REFUSED");
});

test("kinesis errors: nothing of a signature's words is shown, neither in the message nor in the cause", async (t) => {
  const words = "The request signature we calculated does not match.\n\nThe Canonical String:\n" +
    "x-amz-security-token:SESSIONSECRET";
  const error = await failure(t, () => errorAnswer("InvalidSignatureException", words));
  assert.match(error.message, /secret key does not fit the access key/);
  assert.equal(error.cause, undefined);
  assert.doesNotMatch(JSON.stringify(error) + error.message + error.stack, /SESSIONSECRET/);
});

test("kinesis errors: broken connections and broken answers are worth another try", async (t) => {
  const broken = (code: string) => () => {
    throw Object.assign(new Error(`connect ${code}`), { code });
  };
  for (const code of ["ECONNREFUSED", "ECONNRESET", "ENOTFOUND", "EAI_AGAIN", "EPIPE", "ETIMEDOUT"]) {
    const error = await failure(t, broken(code));
    assert.deepEqual([code, error.code, error.retryable], [code, "AWS_UNAVAILABLE", true]);
    assert.match(error.message, new RegExp(code));
  }
  const cut = await failure(t, () => ({ body: '{"Records":[{"Data":"' }));
  assert.deepEqual([cut.code, cut.retryable], ["AWS_UNAVAILABLE", true]);
  const certificate = await failure(t, broken("SELF_SIGNED_CERT_IN_CHAIN"));
  assert.deepEqual([certificate.code, certificate.retryable], ["AWS_REFUSED", false]);
  assert.match(certificate.message, /NODE_EXTRA_CA_CERTS/);
});

test("kinesis errors: an answer of something that is not Kinesis says so", async (t) => {
  const error = await failure(t, () => ({ body: "{}" }), describe);
  assert.equal(error.code, "AWS_REFUSED");
  assert.match(error.message, /is the endpoint one of Kinesis\?/);
});

test("kinesis errors: errors of the credentials keep their own words", async (t) => {
  const own = new ConnectorError("the role is not assumable", { code: "ACCESS_DENIED" });
  assert.equal(
    await failure(t, () => {
      throw own;
    }),
    own,
  );
});
