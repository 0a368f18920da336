// What went wrong on the way to credentials, as a ConnectorError. The SDK's error is its cause only where that cannot
// hold a secret.

import { awsFailure, awsWords, credentialFault } from "../core/aws-failure.ts";
import { ConnectorError } from "../core/errors.ts";

/** What was tried. */
export interface CredentialRequest {
  readonly operation: "AssumeRole" | "credentials";
  readonly roleArn?: string | undefined;
}

/** Any failure of a credential provider as a ConnectorError. */
export function toConnectorError(error: unknown, request: CredentialRequest): ConnectorError {
  if (error instanceof ConnectorError) return error;
  const { operation, roleArn } = request;
  const where = { operation };
  if (operation === "credentials") {
    return new ConnectorError(
      `no AWS credentials were found (${
        awsWords(error)
      }); set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, a ` +
        'profile, or awsCredentialPluginParam = \'{"accessKey": "…", "secretKey": "…"}\'',
      { code: "CREDENTIALS_INVALID", where },
    );
  }
  const what = `STS AssumeRole of ${roleArn}`;
  switch (awsFailure(error)) {
    case "throttled":
      return new ConnectorError(`${what} was throttled (${awsWords(error)})`, {
        code: "THROTTLED",
        retryable: true,
        where,
        cause: error,
      });
    case "clock-skew":
    case "unavailable":
      return new ConnectorError(`${what} got no answer (${awsWords(error)})`, {
        code: "AWS_UNAVAILABLE",
        retryable: true,
        where,
        cause: error,
      });
    case "untrusted":
      return new ConnectorError(
        `${what}: the certificate of the endpoint is not trusted (${
          awsWords(error)
        }); NODE_EXTRA_CA_CERTS names ` +
          "further authorities",
        { code: "AWS_REFUSED", where, cause: error },
      );
    case "denied":
      return new ConnectorError(
        `${what} was refused: the base credentials lack the permission sts:AssumeRole on this role, or the role's ` +
          `trust policy does not name them or asks for another externalId (${awsWords(error)})`,
        { code: "ACCESS_DENIED", where, cause: error },
      );
    case "credentials":
      return new ConnectorError(
        `${what}: AWS does not accept the base credentials: ${credentialFault(error)}`,
        {
          code: "CREDENTIALS_INVALID",
          where,
        },
      );
    default:
      return new ConnectorError(`${what} was refused (${awsWords(error)})`, {
        code: "CREDENTIALS_INVALID",
        where,
        cause: error,
      });
  }
}
