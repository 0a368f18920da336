// The tables [kinesis], [leases] and [metrics]: what the Java connector could not be told about AWS.

import * as v from "valibot";
import { choice, flag, integer, milliseconds, text } from "./fields.ts";

const NAME_ALLOWED = "letters, digits and _ . - only";

function access(service: string, flatEndpoint: string) {
  return {
    region: v.optional(text(`AWS region of ${service}.`, { otherwise: "`awsRegion`" })),
    endpoint: v.optional(
      text(`Endpoint URL of ${service}.`, {
        otherwise: `\`${flatEndpoint}\``,
        allowed: 'a URL like "https://host" or "http://127.0.0.1:4567"',
        pattern: /^https?:\/\/[^\s@]+$/i,
      }),
    ),
    roleArn: v.optional(
      text(`An IAM role to take on for ${service}, for example in another account.`, {
        allowed: 'an ARN like "arn:aws:iam::123456789012:role/name"',
        pattern: /^arn:[^:]+:iam::\d{12}:role\/\S+$/,
      }),
    ),
    externalId: v.optional(text("The external id that the role asks for.")),
  };
}

export const kinesisTable = v.pipe(
  v.strictObject({
    streamArn: v.optional(
      text("The stream as ARN, instead of `awsKinesisStreamName` and `awsRegion`.", {
        allowed: 'an ARN like "arn:aws:kinesis:eu-west-1:123456789012:stream/orders"',
      }),
    ),
    consumerArn: v.optional(
      text(
        "An existing fan-out consumer as ARN, also of another account, instead of one that is registered by name.",
        {
          allowed:
            'an ARN like "arn:aws:kinesis:eu-west-1:123456789012:stream/orders/consumer/name:1690000000"',
        },
      ),
    ),
    consumerName: v.optional(
      text("Name of the fan-out consumer.", {
        otherwise: "`applicationName`",
        allowed: `up to 128 ${NAME_ALLOWED}`,
        pattern: /^[A-Za-z0-9_.-]{1,128}$/,
      }),
    ),
    ...access("Kinesis", "awsEndpoint"),
    http2: v.optional(
      flag(
        "Whether fan-out over an `http:` endpoint (an emulator) uses HTTP/2; over `https:` it always does.",
      ),
      false,
    ),
    maxBufferedBytes: v.optional(
      integer("Bytes of records in memory at most, over all shards; bounds memory.", { min: 1 }),
      67_108_864,
    ),
    maxReadsPerSecond: v.optional(
      integer("Reads per second and shard once the stream has throttled (the service allows 5 in all).", {
        min: 1,
      }),
      5,
    ),
    maxReadBytesPerSecond: v.optional(
      integer("Bytes per second and shard once the stream has throttled (the service allows 2 MiB in all).", {
        min: 1,
      }),
      2_097_152,
    ),
    // A reader that is well may be silent for 40 s: a read takes up to 30, and where CPU lacks a pause of 10 follows, longer
    // still only with thousands of shards (src/kinesis/pacing.ts); a silent subscription is replaced after 30.
    stallTimeoutMs: v.optional(
      milliseconds(
        "After how long without progress a shard's reader that waits for nothing is opened anew, in milliseconds.",
        45_000,
      ),
      300_000,
    ),
    idlePollMs: v.optional(milliseconds("Pause between reads of an idle shard, in milliseconds.", 1), 1000),
  }),
  v.description("Reading the stream."),
);

export const leasesTable = v.pipe(
  v.strictObject({
    store: v.optional(
      choice(
        ["dynamodb", "memory", "file"],
        "Where leases and checkpoints live. `memory` and `file` are for one process only; " +
          "`memory` forgets all when it ends.",
      ),
      "dynamodb",
    ),
    table: v.optional(
      text("Name of the lease table.", {
        otherwise: "`applicationName`",
        allowed: `3 to 255 ${NAME_ALLOWED}`,
        pattern: /^[A-Za-z0-9_.-]{3,255}$/,
      }),
    ),
    failoverTimeMs: v.optional(
      milliseconds(
        "After how long without renewal a worker counts as dead, in milliseconds; the same for all workers.",
        1000,
      ),
      10_000,
    ),
    ...access("DynamoDB", "dynamoEndpoint"),
  }),
  v.description("Leases and checkpoints: the DynamoDB table of the Kinesis Client Library."),
);

export const metricsTable = v.pipe(
  v.strictObject({
    cloudwatch: v.optional(
      choice(["none", "summary", "detailed"], "CloudWatch metrics, in the Kinesis Client Library's names."),
      "summary",
    ),
    ...access("CloudWatch", "cloudwatchEndpoint"),
  }),
  v.description("CloudWatch metrics."),
);
