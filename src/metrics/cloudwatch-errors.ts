// What CloudWatch's refusals mean, in one place.

import { awsCallError } from "../core/aws-error.ts";
import { ConnectorError } from "../core/errors.ts";

/** Any failure of PutMetricData as a ConnectorError. */
export function toConnectorError(error: unknown, namespace: string): ConnectorError {
  if (error instanceof ConnectorError) return error; // of the credentials
  return awsCallError(error, {
    what: `CloudWatch PutMetricData (namespace "${namespace}")`,
    permission: (named) => ({
      action: named ?? "cloudwatch:PutMetricData",
      otherwise: ', or set metrics.cloudwatch = "none"',
    }),
    where: { operation: "PutMetricData" },
  });
}
