// The names of AWS resources that come from `applicationName`, and warnings of where things would really go.

import type { AwsTargets } from "./aws-rules.ts";
import type { Findings } from "./findings.ts";
import { toAwsName } from "./names.ts";
import type { Settings } from "./schema.ts";

/** Names of AWS resources. */
export interface AwsNames {
  readonly leaseTable: string;
  readonly consumerName: string;
  readonly metricsNamespace: string;
}

/** The names of lease table, fan-out consumer and metrics namespace; says once what was changed in them. */
export function resolveNames(settings: Settings, findings: Findings): AwsNames {
  const { applicationName, leases, kinesis } = settings;
  const name = toAwsName(applicationName);
  const names = {
    leaseTable: leases.table ?? name,
    consumerName: kinesis.consumerName ?? name,
    metricsNamespace: name,
  };
  if (name !== applicationName) {
    const uses = [
      leases.table === undefined && leases.store === "dynamodb" ? "lease table" : "",
      kinesis.consumerName === undefined ? "fan-out consumer" : "",
      "metrics namespace",
    ].filter((use) => use !== "");
    const last = uses.pop()!;
    const what = uses.length === 0 ? `${last} is` : `${uses.join(", ")} and ${last} are`;
    findings.warn(
      `applicationName "${applicationName}": AWS takes only letters, digits and _ . - in names, so ` +
        `${what} named "${name}" (leases.table and kinesis.consumerName override)`,
      "leases",
    );
  }
  if (leases.store === "dynamodb" && leases.table === undefined && (name.length < 3 || name.length > 255)) {
    findings.problem(
      ["applicationName"],
      ` gives the lease table's name "${name}", but DynamoDB takes 3 to 255 characters; set leases.table`,
    );
  }
  if (kinesis.consumerName === undefined && name.length > 128) {
    findings.problem(
      ["applicationName"],
      " is too long for a fan-out consumer's name (128 characters); set kinesis.consumerName",
    );
  }
  return names;
}

/** Says where leases and metrics go when only Kinesis has an endpoint. */
export function warnOfEndpoints(
  settings: Settings,
  targets: AwsTargets,
  names: AwsNames,
  findings: Findings,
): void {
  if (targets.kinesis.endpoint === undefined) return;
  if (settings.leases.store === "dynamodb" && targets.leases.endpoint === undefined) {
    findings.warn(
      `awsEndpoint is set, but dynamoEndpoint is not: leases go to the table "${names.leaseTable}" of the real ` +
        `DynamoDB in ${targets.leases.region}`,
      "leases",
    );
  }
  if (settings.metrics.cloudwatch !== "none" && targets.metrics.endpoint === undefined) {
    findings.warn("awsEndpoint is set, but cloudwatchEndpoint is not: no CloudWatch metrics are sent");
  }
}
