// Credentials of a role, from STS. Its refusals are told apart: who asks is unknown, who asks may not, or nobody
// answers, which is tried again.

import { awsFailure, awsWords, credentialFault } from "../core/aws-failure.ts";
import { ConnectorError } from "../core/errors.ts";
import { awsClientConfig } from "./client-config.ts";
import type { CredentialOptions, CredentialProvider } from "./credentials.ts";
import { shareCredentials } from "./shared-credentials.ts";

/** A role to take on. */
export interface Role {
  readonly roleArn: string;
  /** Seen in CloudTrail. @default "kinesis-pulsar" */
  readonly roleSessionName?: string | undefined;
  readonly externalId?: string | undefined;
}

// Three attempts stay within the time limit of a provider.
const TIMEOUT_MS = 8000;

/** Credentials of a role, taken on with those of `base` and renewed before they end. */
export async function assumeRole(
  role: Role,
  base: CredentialProvider,
  options: CredentialOptions,
): Promise<CredentialProvider> {
  const { fromTemporaryCredentials } = await import("@aws-sdk/credential-providers");
  const { roleArn, roleSessionName = "kinesis-pulsar", externalId } = role;
  const provider = fromTemporaryCredentials({
    params: {
      RoleArn: roleArn,
      RoleSessionName: roleSessionName,
      ...externalId ? { ExternalId: externalId } : {},
    },
    masterCredentials: base,
    clientConfig: await awsClientConfig({
      ...options.sts,
      credentials: base,
      userAgent: options.userAgent,
      log: options.log,
      requestTimeoutMs: TIMEOUT_MS,
      maxSockets: 2,
    }),
  });
  const fetch = async () => {
    try {
      return await provider();
    } catch (error) {
      throw assumeRoleError(error, role);
    }
  };
  return shareCredentials(fetch, { ...options, source: `role ${roleArn}` });
}

function assumeRoleError(error: unknown, role: Role): ConnectorError {
  if (error instanceof ConnectorError) return error; // of the base credentials
  const what = `cannot assume the role ${role.roleArn}`;
  const words = awsWords(error);
  const where = { operation: "AssumeRole" };
  switch (awsFailure(error)) {
    case "throttled":
    case "clock-skew":
    case "unavailable":
      return new ConnectorError(`${what} now: STS gives no answer (${words})`, {
        code: "AWS_UNAVAILABLE",
        retryable: true,
        where,
        cause: error,
      });
    case "untrusted":
      return new ConnectorError(
        `${what}: the certificate of the STS endpoint is not trusted (${words}); NODE_EXTRA_CA_CERTS names further ` +
          "authorities",
        { code: "AWS_REFUSED", where, cause: error },
      );
    case "denied":
      return new ConnectorError(
        `${what}: STS refuses it. The base credentials need the permission sts:AssumeRole on the role, and the role's ` +
          `trust policy must name them${
            role.externalId ? " and this externalId" : "; if it asks for an externalId, give one"
          } (${words})`,
        { code: "ACCESS_DENIED", where, cause: error },
      );
    case "credentials":
      // No cause: its words may quote signed headers, the session token among them.
      return new ConnectorError(
        `${what}: STS does not accept the base credentials: ${credentialFault(error)}`,
        {
          code: "CREDENTIALS_INVALID",
          where,
        },
      );
    default:
      return new ConnectorError(`${what}: STS refuses the request (${words})`, {
        code: "CREDENTIALS_INVALID",
        where,
        cause: error,
      });
  }
}
