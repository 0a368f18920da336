// The files that `kinesis-pulsar init` writes. They must validate as they are: a test does so.

/** A commented configuration. */
export const CONNECTOR_TOML = `# kinesis-pulsar: from a Kinesis stream to a Pulsar topic.
#
#   kinesis-pulsar validate connector.toml     what would it do?
#   kinesis-pulsar run connector.toml          do it
#
# For completion in an editor: kinesis-pulsar schema > connector.schema.json, and as first line of this file
#   #:schema ./connector.schema.json
#
# In every value \${VAR} and \${VAR:-default} stand for variables of the environment.

# Where from.
awsKinesisStreamName = "orders"
awsRegion = "eu-west-1"

# Names the DynamoDB lease table; copies of this program with the same name share the stream's shards.
applicationName = "orders-to-pulsar"

# Where to start as long as there is no checkpoint: LATEST, TRIM_HORIZON (the oldest record), or AT_TIMESTAMP.
initialPositionInStream = "TRIM_HORIZON"
# startAtTime = "2026-09-01T00:00:00Z"

# Enhanced fan-out gives this program its own 2 MB/s per shard; AWS charges for it by shard-hour and by GB.
useEnhancedFanOut = false

# Checkpoints every so many milliseconds: what is copied again after a crash.
checkpointInterval = 60000

# Credentials: without these lines the AWS SDK's default chain (environment, profile, container, instance).
# awsCredentialPluginParam = '{"accessKey": "\${AWS_KEY}", "secretKey": "\${AWS_SECRET}"}'
# awsCredentialPluginName = "org.apache.pulsar.io.aws.STSAssumeRoleProviderPlugin"
# awsCredentialPluginParam = '{"roleArn": "arn:aws:iam::123456789012:role/reader", "roleSessionName": "kinesis-pulsar"}'

# Endpoints, for emulators and private networks.
# awsEndpoint = "http://127.0.0.1:4567"
# dynamoEndpoint = "http://127.0.0.1:8000"
# cloudwatchEndpoint = "http://127.0.0.1:4582"

# Where to.
[pulsar]
serviceUrl = "\${PULSAR_URL:-pulsar://localhost:6650}"
topic = "persistent://public/default/orders"
# serviceUrl = "pulsar+ssl://pulsar.example.com:6651"
# auth = { type = "token", token = "\${PULSAR_TOKEN}" }     # or file, env, script; types: oauth2, basic, tls
# tls = { caFile = "./ca.pem" }    # where the runtime does not trust the broker's certificate by itself
# compression = "zstd"             # or lz4, zlib, snappy
# delivery = "effectively-once"    # no duplicates after a crash; brokers must deduplicate the topic
# batchBuilder = "key-based"       # one key per batch, for consumers of Key_Shared subscriptions; at-least-once only

# Scripts that shape, route or drop records, in this order.
[[hooks]]
path = "./hooks/orders.mts"
options = { country = "" }         # "DE" would copy German orders only
onError = "stop"                   # or "skip", or "dead-letter" (the default where [deadLetter] is given)
# retries = 3                      # before that, with growing pauses

# Records that a hook fails on, or whose messages Pulsar refuses for good, instead of an end: the bytes as read, with
# what failed as properties. Under "--until" they make the exit code 3.
# [deadLetter]
# topic = "persistent://public/default/orders-dead-letters"

# [leases]
# table = "orders-to-pulsar"
# failoverTimeMs = 10000           # after which a silent worker counts as dead; the same for all workers

# Metrics for Prometheus, /livez, /readyz and /status; without authentication, so for this machine only unless told.
# [http]
# port = 9464
# host = "0.0.0.0"

# CloudWatch gets metrics in the names of the Kinesis Client Library; AWS charges for each, several per shard.
# [metrics]
# cloudwatch = "summary"           # or "none", "detailed"

# [log]
# level = "debug"
`;

/** A typed hook script. */
export const ORDERS_HOOK = `// A hook script: onRecord sees each record on its way from Kinesis to Pulsar.
// The import is for types only; the script runs without installing anything.

import type { Hooks } from "kinesis-pulsar";

interface Options {
  /** Only orders of this country, "" = all. */
  country?: string;
}

interface Order {
  id?: string;
  country?: string;
}

export default {
  onRecord(record, { options, metrics }) {
    if (!options.country) return undefined; // as it is: same bytes, partition key as key
    const order = record.json<Order>();
    if (order.country !== options.country) {
      metrics.count("orders_of_other_countries");
      return null; // drop it
    }
    return {
      ...record.message,
      key: order.id ?? record.partitionKey,
      // topic: "orders-" + order.country.toLowerCase(),
    };
  },

  onCheckpoint({ shardId, sequenceNumber, records }, { log }) {
    log.debug("checkpoint", { shardId, sequenceNumber, records });
  },
} satisfies Hooks<Options>;
`;
