// What a failed call to AWS means where it does not depend on the service: one table of codes, of what waiting cures,
// and of the words for the person who has to do something. Adapters look first at what is their service's own.

import { awsFailure, awsWords, credentialFault, sdkErrorShape } from "./aws-failure.ts";
import { ConnectorError, type ErrorCode, type ErrorWhere } from "./errors.ts";

/** What the credentials lack. */
export interface MissingPermission {
  /** The action, and on what: `kinesis:GetRecords on stream "orders"`. */
  readonly action: string;
  /** What may be done instead of allowing it: `, or …`. @default nothing */
  readonly otherwise?: string | undefined;
}

/** A call, in words. */
export interface AwsCall {
  /** How a sentence about it begins: `DynamoDB Scan on table "orders"`. */
  readonly what: string;
  /** Where it was sent: region and endpoint. @default nothing is said */
  readonly place?: string | undefined;
  /** @param named the action that the service named: another service's (STS, KMS) where that one refused */
  readonly permission: (named: string | undefined) => MissingPermission;
  readonly where: ErrorWhere;
}

/** Any failure of a call as a ConnectorError: THROTTLED, AWS_UNAVAILABLE, ACCESS_DENIED, CREDENTIALS_INVALID … */
export function awsCallError(error: unknown, call: AwsCall): ConnectorError {
  const { what, place, where } = call;
  const words = awsWords(error);
  const make = (code: ErrorCode, retryable: boolean, message: string) =>
    new ConnectorError(`${message} (${words})`, { code, retryable, cause: error, where });
  switch (awsFailure(error)) {
    case "throttled":
      return make("THROTTLED", true, `${what} was throttled`);
    case "clock-skew":
      return make("AWS_UNAVAILABLE", true, `${what} was signed with a wrong clock, now corrected`);
    case "denied": {
      const named = /perform: ([\w:-]+)/.exec(sdkErrorShape(error).message ?? "")?.[1];
      const { action, otherwise = "" } = call.permission(named);
      return make(
        "ACCESS_DENIED",
        false,
        `${what} was refused: the credentials lack the permission ${action}; allow it in their IAM policy${otherwise}`,
      );
    }
    case "credentials":
      // Without a cause: the service's message may quote signed headers.
      return new ConnectorError(
        `${what}: AWS does not accept the credentials: ${
          credentialFault(error)
        }. Check awsCredentialPluginName and ` +
          "awsCredentialPluginParam, or the environment",
        { code: "CREDENTIALS_INVALID", where },
      );
    case "unavailable":
      return make(
        "AWS_UNAVAILABLE",
        true,
        `${what}${place === undefined ? "" : ` in ${place}`} got no answer`,
      );
    case "untrusted":
      return new ConnectorError(
        `${what}: the certificate of ${
          place ?? "the endpoint"
        } is not trusted (${words}); NODE_EXTRA_CA_CERTS names ` +
          "further authorities",
        { code: "AWS_REFUSED", cause: error, where },
      );
    case "refused":
      return make("AWS_REFUSED", false, `${what} was refused`);
    default:
      return make("INTERNAL", false, `${what} failed unexpectedly`);
  }
}
