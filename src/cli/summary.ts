// What a configuration would do, in a few lines for a person.

import type { Config } from "../config/mod.ts";
import { hideUserInfo } from "../config/mod.ts";

/** The lines that `validate` prints. */
export function summary(config: Config): string {
  const { pulsar } = config;
  const rows: [string, string][] = [
    ["stream", `${config.awsKinesisStreamName} (${place(config.kinesis)})`],
    ["application", config.applicationName],
    ["start", start(config)],
    ["reading", reading(config)],
    ["leases", leases(config)],
    ["credentials", credentials(config)],
    ["topic", pulsar.topic],
    [
      "pulsar",
      `${pulsar.serviceUrl}, ${
        delivery(config)
      }, driver ${pulsar.driver}, authentication ${pulsar.auth.type}`,
    ],
    ["messages", messages(config)],
    ["hooks", config.hooks.length === 0 ? "none: records are copied as they are" : hooks(config)],
    ["dead letters", deadLetters(config)],
    ["checkpoints", `every ${config.checkpointInterval} ms`],
    ["metrics", metrics(config)],
    ["http", http(config)],
  ];
  return rows.map(([name, value]) => `${name.padEnd(14)}${hideUserInfo(value)}`).join("\n");
}

function delivery({ pulsar }: Config): string {
  const needs = pulsar.delivery === "effectively-once"
    ? " (the topic must be deduplicated by its brokers)"
    : "";
  return `${pulsar.delivery}${needs}`;
}

function messages({ pulsar }: Config): string {
  const batches = pulsar.batchMaxMessages === 1
    ? "not batched"
    : `in ${pulsar.batchBuilder === "key-based" ? "key-based " : ""}batches of up to ` +
      `${pulsar.batchMaxMessages} messages, ${pulsar.batchMaxBytes} bytes or ${pulsar.batchMaxDelayMs} ms`;
  const compression = pulsar.compression === "none"
    ? "not compressed"
    : `compressed with ${pulsar.compression}`;
  const large = pulsar.chunking ? "go in chunks" : "are refused";
  return `${batches}, ${compression}; larger ones than the broker takes ${large}`;
}

function place(access: { readonly region: string; readonly endpoint?: string | undefined }): string {
  return access.endpoint === undefined ? access.region : `${access.region} at ${access.endpoint}`;
}

function start(config: Config): string {
  const { initialPositionInStream, startAtTime } = config;
  const first = {
    LATEST: "LATEST: records that arrive after the first start",
    TRIM_HORIZON: "TRIM_HORIZON: the oldest record that the stream keeps",
    AT_TIMESTAMP: `AT_TIMESTAMP: ${startAtTime === undefined ? "" : new Date(startAtTime).toISOString()}`,
  }[initialPositionInStream];
  const unused = startAtTime !== undefined && initialPositionInStream !== "AT_TIMESTAMP"
    ? " (startAtTime is for AT_TIMESTAMP only and is not used)"
    : "";
  return `${first}; a shard with a checkpoint goes on from there${unused}`;
}

// Prices differ by region and change: what is paid for is said, not how much.
function reading(config: Config): string {
  if (!config.useEnhancedFanOut) {
    return "polling, which AWS does not charge for; shared with other readers of the stream";
  }
  const { consumerArn } = config.kinesis;
  return `enhanced fan-out, as consumer "${
    consumerArn ?? config.consumerName
  }"; it costs: AWS charges for each ` +
    "shard-hour and each GB read (useEnhancedFanOut = false: polling, without these costs)";
}

function leases(config: Config): string {
  const { store, failoverTimeMs } = config.leases;
  if (store === "memory") return "in memory: for one process, and forgotten when it ends";
  if (store === "file") return "in a file: for one process";
  return `DynamoDB table "${config.leaseTable}" (${
    place(config.leases)
  }), failover after ${failoverTimeMs} ms`;
}

function credentials({ awsCredentials }: Config): string {
  switch (awsCredentials.type) {
    case "default":
      return "the AWS SDK's default chain";
    case "static":
      return `keys from awsCredentialPluginParam${
        awsCredentials.sessionToken === undefined ? "" : ", with session token"
      }`;
    case "assume-role":
      return `the role ${awsCredentials.roleArn}, taken on with the AWS SDK's default chain`;
    case "script":
      return `the script ${awsCredentials.path}`;
  }
}

// Prices differ by region and change: what is paid for is said, not how much.
function metrics({ metrics, metricsNamespace }: Config): string {
  const { cloudwatch } = metrics;
  if (cloudwatch === "none") return "none are sent to CloudWatch";
  const more = cloudwatch === "detailed" ? ", each call to AWS among them" : "";
  return `to CloudWatch (${
    place(metrics)
  }), namespace "${metricsNamespace}", ${cloudwatch}: AWS charges for each ` +
    `metric and month, several per shard${more}, and for the calls (metrics.cloudwatch = "none": without these costs)`;
}

function http({ http }: Config): string {
  if (http === undefined) return "no metrics, health or status over HTTP (a table [http] switches it on)";
  const { host, port } = http;
  const where = port === 0
    ? `${host}, on any free port`
    : `http://${host.includes(":") ? `[${host}]` : host}:${port}`;
  return `/metrics (Prometheus), /livez, /readyz and /status at ${where}, without authentication`;
}

function deadLetters({ deadLetter, hooks }: Config): string {
  if (deadLetter === undefined) return "none: a message that Pulsar refuses for good stops the connector";
  const ofHooks = hooks.length === 0 || hooks.some(({ onError }) => onError === "dead-letter");
  const which = ofHooks ? "records that a hook fails on, or" : "records";
  return `${deadLetter.topic}: ${which} whose messages Pulsar refuses for good`;
}

function hooks(config: Config): string {
  return config.hooks.map((hook) => `${hook.path} (onError ${hook.onError})`).join(`\n${" ".repeat(14)}`);
}
