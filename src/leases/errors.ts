// What DynamoDB's refusals mean, in one place. `retryable` decides everything above; the words are for people.
// An error that carries DynamoDB's answer proves that the request was not applied; AWS_UNAVAILABLE proves nothing.

import { ConnectorError, type ErrorCode, messageOf } from "../core/errors.ts";

/** What was asked of which table. */
export interface DynamoDbRequest {
  /** The API's name, e.g. UpdateItem. */
  readonly operation: string;
  readonly table: string;
  readonly shardId?: string | undefined;
}

/** The parts of the SDK's errors that are looked at; any of them may be missing. */
interface SdkError {
  readonly name?: string;
  readonly code?: string;
  readonly $fault?: string;
  readonly $metadata?: { readonly httpStatusCode?: number; readonly clockSkewCorrected?: boolean };
}

const THROTTLED = new Set([
  "ProvisionedThroughputExceededException",
  "ThrottlingException",
  "Throttling",
  "TooManyRequestsException",
  "RequestLimitExceeded",
  "LimitExceededException",
  "ThrottledException",
]);
const ACCESS_DENIED = new Set(["AccessDeniedException", "AccessDenied", "NotAuthorizedException"]);
const CREDENTIALS = new Set([
  "UnrecognizedClientException",
  "InvalidSignatureException",
  "IncompleteSignatureException",
  "MissingAuthenticationTokenException",
  "MissingAuthenticationToken",
  "ExpiredTokenException",
  "ExpiredToken",
  "InvalidClientTokenId",
  "SignatureDoesNotMatch",
  "CredentialsProviderError",
  "ProviderError",
  "TokenProviderError",
]);
const NETWORK_NAMES = new Set(["TimeoutError", "AbortError", "NetworkingError"]);
const NETWORK_CODE =
  /^(E(CONN\w+|PIPE|HOSTUNREACH|NETUNREACH|NETDOWN|HOSTDOWN|TIMEDOUT|AI_AGAIN|NOTFOUND|PROTO|ADDR\w+)|UND_ERR_\w+|ERR_(HTTP2|SSL|TLS|SOCKET|STREAM)_\w+|CERT_\w+|DEPTH_ZERO_SELF_SIGNED_CERT|SELF_SIGNED_CERT_IN_CHAIN|UNABLE_TO_\w+)$/;

/** Any failure of a DynamoDB request as a ConnectorError. */
export function toConnectorError(error: unknown, request: DynamoDbRequest): ConnectorError {
  if (error instanceof ConnectorError) return error;
  const sdk = (typeof error === "object" && error !== null ? error : {}) as SdkError;
  const name = sdk.name ?? "";
  const status = sdk.$metadata?.httpStatusCode;
  const what = `DynamoDB ${request.operation} on table "${request.table}"` +
    (request.shardId === undefined ? "" : ` (lease "${request.shardId}")`);
  const words = `${name || "Error"}: ${messageOf(error)}`;
  const make = (code: ErrorCode, retryable: boolean, message: string) =>
    new ConnectorError(message, { code, retryable, cause: error, where: { ...request } });

  if (THROTTLED.has(name)) {
    return make("THROTTLED", true, `${what} was throttled; it will be tried again more slowly (${words})`);
  }
  if (ACCESS_DENIED.has(name)) {
    // The message names the action when another service (STS, KMS) refused.
    const action = /perform: ([\w:-]+)/.exec(messageOf(error))?.[1] ?? `dynamodb:${request.operation}`;
    return make(
      "ACCESS_DENIED",
      false,
      `${what} was refused: the credentials lack the permission ${action}; allow it in their IAM policy (${words})`,
    );
  }
  if (sdk.$metadata?.clockSkewCorrected) {
    return make("AWS_UNAVAILABLE", true, `${what} was signed with a wrong clock, now corrected (${words})`);
  }
  if (CREDENTIALS.has(name)) {
    return make("CREDENTIALS_INVALID", false, `${what}: AWS does not accept the credentials (${words})`);
  }
  if (name === "ResourceNotFoundException") {
    return make("AWS_REFUSED", false, `${what}: the table does not exist (any more) (${words})`);
  }
  if (name === "ValidationException" && /key element|schema/i.test(messageOf(error))) {
    return make("LEASE_TABLE_MISMATCH", false, `${what}: this is no lease table (${words})`);
  }
  if (isNetworkError(sdk) || (status !== undefined && status >= 500) || sdk.$fault === "server") {
    return make("AWS_UNAVAILABLE", true, `${what} got no answer; it will be tried again (${words})`);
  }
  if (status !== undefined || sdk.$fault === "client") {
    return make("AWS_REFUSED", false, `${what} was refused (${words})`);
  }
  return make("INTERNAL", false, `${what} failed unexpectedly (${words})`);
}

/**
 * Whether a failed write may have been applied, or may still be: nobody answered. Every other error is an answer.
 */
export function mayHaveBeenApplied(error: ConnectorError): boolean {
  return error.code === "AWS_UNAVAILABLE" || error.code === "INTERNAL";
}

function isNetworkError(error: SdkError): boolean {
  return NETWORK_NAMES.has(error.name ?? "") || NETWORK_CODE.test(error.code ?? "") ||
    /socket hang up|network|connection (closed|reset|refused)|fetch failed/i.test(messageOf(error));
}
