// The one schema of the configuration: names, types, defaults and help. Everything else (errors, JSON Schema,
// README, secrets, types) is made from it. The flat names are the Java connector's, exactly.

import * as v from "valibot";
import { RECORD_PROPERTIES } from "../core/record.ts";
import { choice, flag, integer, milliseconds, secret, text, time, wordList } from "./fields.ts";
import { kinesisTable, leasesTable, metricsTable } from "./schema-aws.ts";
import { pulsarTable } from "./schema-pulsar.ts";
import { deadLetterTable, hookTable, httpTable, logTable } from "./schema-run.ts";

/** The application name when none is given, as in the Java connector of Pulsar 2.7. */
export const DEFAULT_APPLICATION_NAME = "Pulsar IO connector";

const endpoint = (service: string) =>
  v.optional(
    text(`Endpoint URL of ${service}, for emulators and private endpoints.`, {
      otherwise: "AWS's own",
      allowed: 'a URL like "https://host" or "http://127.0.0.1:4567"',
      pattern: /^https?:\/\/[^\s@]+$/i,
    }),
  );

export const configSchema = v.strictObject({
  awsKinesisStreamName: v.optional(
    text("The stream to read. Required, or `kinesis.streamArn`.", {
      allowed: "a stream's name: up to 128 letters, digits and _ . - (an ARN belongs into kinesis.streamArn)",
      pattern: /^[A-Za-z0-9_.-]{1,128}$/,
    }),
  ),
  awsRegion: v.optional(
    text("The AWS region. Not needed where all three endpoints are set.", {
      otherwise: "`AWS_REGION`, `AWS_DEFAULT_REGION`",
      allowed: 'a region like "eu-west-1"',
      pattern: /^[a-z0-9-]+$/,
    }),
  ),
  applicationName: v.optional(
    text("Names the lease table, the fan-out consumer and the metrics, and goes into the user agent."),
    DEFAULT_APPLICATION_NAME,
  ),
  initialPositionInStream: v.optional(
    choice(
      ["LATEST", "TRIM_HORIZON", "AT_TIMESTAMP"],
      "Where to start without a checkpoint: new records only, the oldest record, or `startAtTime`.",
    ),
    "LATEST",
  ),
  startAtTime: v.optional(time("Where `AT_TIMESTAMP` starts.")),
  checkpointInterval: v.optional(
    milliseconds("Time between checkpoints of a shard, in milliseconds.", 1),
    60_000,
  ),
  backoffTime: v.optional(
    milliseconds("Pause after a throttled read and between tries of a failed checkpoint, in milliseconds."),
    3000,
  ),
  numRetries: v.optional(
    integer("How often a failed checkpoint is tried again before the next interval.", { max: 1_000_000 }),
    3,
  ),
  receiveQueueSize: v.optional(
    integer("Records read and not yet handed to a producer, over all shards; no read starts beyond that.", {
      min: 1,
    }),
    1000,
  ),
  useEnhancedFanOut: v.optional(
    flag("Read by enhanced fan-out (own throughput per shard; AWS charges for it) instead of polling."),
    true,
  ),
  awsEndpoint: endpoint("Kinesis"),
  dynamoEndpoint: endpoint("DynamoDB"),
  cloudwatchEndpoint: endpoint("CloudWatch"),
  awsCredentialPluginName: v.optional(
    text(
      "Where credentials come from: `AwsDefaultProviderChainPlugin` or `STSAssumeRoleProviderPlugin` under " +
        "`org.apache.pulsar.io.kinesis.` or `org.apache.pulsar.io.aws.`, or the path of a script whose default " +
        "export gives a credential provider.",
      { otherwise: "the keys in `awsCredentialPluginParam`, else the SDK's default chain" },
    ),
  ),
  awsCredentialPluginParam: v.optional(
    secret(
      'JSON in a string. Without a plugin: `{"accessKey","secretKey"[,"sessionToken"]}`; to assume a role: ' +
        '`{"roleArn","roleSessionName"[,"externalId"]}`.',
    ),
  ),
  kinesisRecordProperties: v.optional(
    wordList(
      "Properties that messages get: the default's four, and " +
        RECORD_PROPERTIES.slice(4).map((name) => `\`${name}\``).join(", ") +
        ". A list, or names separated by commas; `[]` = none.",
    ),
    [...RECORD_PROPERTIES.slice(0, 4)],
  ),
  messageKeyMode: v.optional(
    choice(["PARTITION_KEY", "SHARD_ID"], "What becomes a message's key."),
    "PARTITION_KEY",
  ),
  shutdownTimeoutMs: v.optional(
    milliseconds("How long a stop may wait for what is in flight, in milliseconds."),
    25_000,
  ),
  pulsar: v.optional(pulsarTable, {}),
  kinesis: v.optional(kinesisTable, {}),
  leases: v.optional(leasesTable, {}),
  metrics: v.optional(metricsTable, {}),
  hooks: v.optional(v.array(hookTable), []),
  deadLetter: v.optional(deadLetterTable),
  http: v.optional(httpTable),
  log: v.optional(logTable, {}),
});

/** What a configuration file or object may hold. */
export type ConfigInput = v.InferInput<typeof configSchema>;

/** A checked configuration with its defaults, before anything is derived from it. */
export type Settings = v.InferOutput<typeof configSchema>;
