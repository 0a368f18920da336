// The rules over several AWS keys: which stream, which regions and which endpoints.

import { type KinesisArn, parseKinesisArn } from "./arn.ts";
import type { CheckedSettings } from "./check.ts";
import type { Findings } from "./findings.ts";
import type { Settings } from "./schema.ts";
import type { ServiceAccess } from "./types.ts";
import type { Environment } from "./variables.ts";

// What requests are signed with where all endpoints are given and no region is: emulators do not care.
const ANY_REGION = "us-east-1";

/** Stream, and region and endpoint of each service. */
export interface AwsTargets {
  readonly streamName: string;
  /** When the stream, or a consumer of it, was given as ARN. */
  readonly streamArn: string | undefined;
  readonly region: string;
  readonly kinesis: ServiceAccess;
  readonly leases: ServiceAccess;
  readonly metrics: ServiceAccess;
  readonly cloudwatch: Settings["metrics"]["cloudwatch"];
}

/** Applies design §4's rules for ARNs, regions and endpoints. */
export function resolveAws(checked: CheckedSettings, env: Environment, findings: Findings): AwsTargets {
  const { settings } = checked;
  const given = checkStreamArn(settings, findings);
  const arn = checkConsumerArn(settings, given, findings) ?? given;
  const streamName = settings.awsKinesisStreamName ?? arn?.streamName;
  const isReported = (...path: string[]) => findings.isReported(path);
  if (
    streamName === undefined && !isReported("awsKinesisStreamName") && !isReported("kinesis", "streamArn")
  ) {
    findings.problem(
      ["awsKinesisStreamName"],
      " is missing: it names the stream to read (or give kinesis.streamArn)",
    );
  }

  const region = settings.awsRegion ?? arn?.region ?? word(env["AWS_REGION"]) ??
    word(env["AWS_DEFAULT_REGION"]);
  checkRoles(settings, findings);
  const kinesisEndpoint = endpointOf(settings, "kinesis", "awsEndpoint", findings);
  const dynamoEndpoint = endpointOf(settings, "leases", "dynamoEndpoint", findings);
  const cloudwatchEndpoint = endpointOf(settings, "metrics", "cloudwatchEndpoint", findings);
  const usesDynamo = settings.leases.store === "dynamodb";
  const usesCloudWatch = settings.metrics.cloudwatch !== "none";
  // Each service needs a region or an endpoint of its own; as in Java one missing endpoint makes the region required.
  const lacking = [
    settings.kinesis.region ?? kinesisEndpoint ? "" : "awsEndpoint",
    !usesDynamo || (settings.leases.region ?? dynamoEndpoint) ? "" : "dynamoEndpoint",
    !usesCloudWatch || (settings.metrics.region ?? cloudwatchEndpoint) ? "" : "cloudwatchEndpoint",
  ].filter((key) => key !== "");
  const tables = ["kinesis", "leases", "metrics"];
  const isSaid =
    ["awsRegion", "awsEndpoint", "dynamoEndpoint", "cloudwatchEndpoint"].some((key) => isReported(key)) ||
    tables.some((table) => isReported(table, "region") || isReported(table, "endpoint"));
  if (region === undefined && lacking.length > 0 && !isSaid) {
    findings.problem(
      ["awsRegion"],
      ` is missing: give the stream's AWS region, or set AWS_REGION, or give all three endpoints (${
        lacking.join(", ")
      } not given)`,
    );
  }
  return {
    streamName: streamName ?? "",
    streamArn: arn?.streamArn,
    region: region ?? settings.kinesis.region ?? ANY_REGION,
    kinesis: access(settings.kinesis.region ?? region, kinesisEndpoint),
    leases: access(settings.leases.region ?? region, dynamoEndpoint),
    metrics: access(settings.metrics.region ?? region, cloudwatchEndpoint),
    // Metrics of an emulator's stream would go to, and be paid in, the real CloudWatch.
    cloudwatch: kinesisEndpoint && !cloudwatchEndpoint ? "none" : settings.metrics.cloudwatch,
  };
}

function access(region: string | undefined, endpoint: string | undefined): ServiceAccess {
  return { region: region ?? ANY_REGION, ...endpoint === undefined ? {} : { endpoint } };
}

function word(value: string | undefined): string | undefined {
  return value === undefined || value.trim() === "" ? undefined : value.trim();
}

function endpointOf(
  settings: Settings,
  table: "kinesis" | "leases" | "metrics",
  flat: "awsEndpoint" | "dynamoEndpoint" | "cloudwatchEndpoint",
  findings: Findings,
): string | undefined {
  const own = settings[table].endpoint;
  const java = settings[flat];
  if (own !== undefined && java !== undefined && own !== java) {
    findings.problem([table, "endpoint"], ` is not the same as ${flat}: keep one of the two`);
  }
  return own ?? java;
}

/** An external id is a condition of a role: without one it would be ignored, and the wrong identity be used. */
function checkRoles(settings: Settings, findings: Findings): void {
  for (const table of ["kinesis", "leases", "metrics"] as const) {
    const { roleArn, externalId } = settings[table];
    if (externalId === undefined || roleArn !== undefined || findings.isReported([table, "roleArn"])) {
      continue;
    }
    findings.problem([table, "externalId"], ` is given, but no ${table}.roleArn that it belongs to`);
  }
}

function checkStreamArn(settings: Settings, findings: Findings): KinesisArn | undefined {
  const { streamArn } = settings.kinesis;
  if (streamArn === undefined) return undefined;
  const arn = parseKinesisArn(streamArn);
  if (arn === undefined || arn.consumerName !== undefined) {
    const path = ["kinesis", "streamArn"];
    findings.wrongValue(
      path,
      streamArn,
      'an ARN like "arn:aws:kinesis:eu-west-1:123456789012:stream/orders"',
    );
    return undefined;
  }
  const path = ["kinesis", "streamArn"];
  if (settings.awsKinesisStreamName !== undefined && settings.awsKinesisStreamName !== arn.streamName) {
    findings.problem(
      path,
      ` names the stream "${arn.streamName}", but awsKinesisStreamName is "${settings.awsKinesisStreamName}": keep one`,
    );
  }
  checkRegions(path, arn, settings, findings);
  return arn;
}

function checkRegions(path: string[], arn: KinesisArn, settings: Settings, findings: Findings): void {
  for (
    const [key, region] of [["awsRegion", settings.awsRegion], ["kinesis.region", settings.kinesis.region]]
  ) {
    if (region !== undefined && region !== arn.region) {
      findings.problem(path, ` is in region "${arn.region}", but ${key} is "${region}": keep one`);
    }
  }
}

/** Its stream is the one to read, also of another account. */
function checkConsumerArn(
  settings: Settings,
  stream: KinesisArn | undefined,
  findings: Findings,
): KinesisArn | undefined {
  const { consumerArn, consumerName } = settings.kinesis;
  if (consumerArn === undefined) return undefined;
  const path = ["kinesis", "consumerArn"];
  const arn = parseKinesisArn(consumerArn);
  if (arn?.consumerName === undefined) {
    const example = "arn:aws:kinesis:eu-west-1:123456789012:stream/orders/consumer/name:1690000000";
    findings.wrongValue(path, consumerArn, `an ARN like "${example}"`);
    return undefined;
  }
  const name = settings.awsKinesisStreamName ?? stream?.streamName;
  if (stream ? arn.streamArn !== stream.streamArn : name !== undefined && arn.streamName !== name) {
    findings.problem(path, ` is a consumer of the stream "${arn.streamName}", not of the one that is read`);
  } else if (stream === undefined) checkRegions(path, arn, settings, findings);
  if (consumerName !== undefined && consumerName !== arn.consumerName) {
    findings.problem(
      path,
      ` names the consumer "${arn.consumerName}", but kinesis.consumerName is "${consumerName}"`,
    );
  }
  return arn;
}
