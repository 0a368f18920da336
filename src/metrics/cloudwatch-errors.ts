// What CloudWatch's refusals mean, in one place.

import { awsFailure, awsWords, credentialFault } from "../core/aws-failure.ts";
import { ConnectorError, type ErrorCode } from "../core/errors.ts";

/** Any failure of PutMetricData as a ConnectorError. */
export function toConnectorError(error: unknown, namespace: string): ConnectorError {
  if (error instanceof ConnectorError) return error; // of the credentials
  const what = `CloudWatch PutMetricData (namespace "${namespace}")`;
  const words = awsWords(error);
  const where = { operation: "PutMetricData" };
  const make = (code: ErrorCode, retryable: boolean, message: string) =>
    new ConnectorError(message, { code, retryable, cause: error, where });
  switch (awsFailure(error)) {
    case "throttled":
      return make("THROTTLED", true, `${what} was throttled (${words})`);
    case "clock-skew":
    case "unavailable":
      return make("AWS_UNAVAILABLE", true, `${what} got no answer (${words})`);
    case "denied":
      return make(
        "ACCESS_DENIED",
        false,
        `${what} was refused: the credentials lack the permission cloudwatch:PutMetricData; allow it in their IAM ` +
          `policy, or set metrics.cloudwatch = "none" (${words})`,
      );
    case "credentials":
      // Without a cause: the service's message may quote signed headers.
      return new ConnectorError(`${what}: AWS does not accept the credentials: ${credentialFault(error)}`, {
        code: "CREDENTIALS_INVALID",
        where,
      });
    case "untrusted":
      return make(
        "AWS_REFUSED",
        false,
        `${what}: the endpoint's certificate is not trusted (${words}); NODE_EXTRA_CA_CERTS names further authorities`,
      );
    case "refused":
      return make("AWS_REFUSED", false, `${what} was refused (${words})`);
    default:
      return make("INTERNAL", false, `${what} failed unexpectedly (${words})`);
  }
}
