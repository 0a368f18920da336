// What kind of failure an error of the AWS SDK is, for any service. Pure: it looks at names, codes and statuses only.
// Adapters turn the kind into a ConnectorError with the words of their service.

/** Why a call to AWS failed. */
export type AwsFailure =
  /** Too many calls: wait and repeat. */
  | "throttled"
  /** Signed with a wrong clock; the SDK has corrected it: repeat. */
  | "clock-skew"
  /** Credentials are accepted, but lack a permission. */
  | "denied"
  /** No credentials, wrong or expired ones. */
  | "credentials"
  /** No answer: network, time-out, or a 5xx. */
  | "unavailable"
  /** A connection that repeating does not cure: the certificate is not trusted. */
  | "untrusted"
  /** Answered with a refusal. */
  | "refused"
  /** No answer of a service, and no failure of the way there. */
  | "unknown";

/** The parts of the SDK's errors that are looked at; any of them may be missing. */
export interface SdkErrorShape {
  readonly name?: string;
  readonly message?: string;
  readonly code?: string;
  readonly $fault?: string;
  readonly $metadata?: { readonly httpStatusCode?: number; readonly clockSkewCorrected?: boolean };
}

const THROTTLED =
  /^(ProvisionedThroughputExceeded|LimitExceeded|(KMS)?Throttl(ing|ed)|TooManyRequests|RequestLimitExceeded|SlowDown)(Exception)?$/;
const DENIED = /^(KMS)?(AccessDenied|NotAuthorized|UnauthorizedOperation)(Exception)?$/;
const CREDENTIALS =
  /^(UnrecognizedClient|InvalidSignature|IncompleteSignature|SignatureDoesNotMatch|MissingAuthenticationToken|ExpiredToken|InvalidClientTokenId|InvalidIdentityToken|AuthFailure|OptInRequired|RequestExpired|RequestTimeTooSkewed)(Exception)?$|^(CredentialsProviderError|ProviderError|TokenProviderError)$/;
const UNAVAILABLE_NAMES =
  /^(TimeoutError|NetworkingError|InternalFailure|InternalServerError|ServiceUnavailable|RequestTimeout)(Exception)?$/;
const UNTRUSTED =
  /^(CERT_\w+|DEPTH_ZERO_SELF_SIGNED_CERT|SELF_SIGNED_CERT_IN_CHAIN|UNABLE_TO_\w+|ERR_TLS_CERT_\w+)$/;
const NETWORK_CODES =
  /^(E(CONN\w+|PIPE|HOSTUNREACH|HOSTDOWN|NETUNREACH|NETDOWN|TIMEDOUT|AI_AGAIN|NOTFOUND|PROTO|ADDR\w+)|UND_ERR_\w+|HPE_\w+|ERR_(HTTP2|SSL|TLS|SOCKET|STREAM)_\w+)$/;

/** An error as the SDK shapes them, whatever was thrown. */
export function sdkErrorShape(error: unknown): SdkErrorShape {
  return typeof error === "object" && error !== null ? error : {};
}

/** The kind of an error that a call of the AWS SDK threw. Own aborts (AbortError) are the caller's to recognise. */
export function awsFailure(error: unknown): AwsFailure {
  const { name = "", code = "", $fault, $metadata } = sdkErrorShape(error);
  const status = $metadata?.httpStatusCode;
  if (THROTTLED.test(name) || status === 429) return "throttled";
  if ($metadata?.clockSkewCorrected) return "clock-skew";
  if (DENIED.test(name)) return "denied";
  if (CREDENTIALS.test(name)) return "credentials";
  if (UNTRUSTED.test(code)) return "untrusted";
  // The SDK's own: an endpoint of ours, and FIPS or dual-stack in the environment.
  if (name === "EndpointError") return "refused";
  if (UNAVAILABLE_NAMES.test(name) || $fault === "server" || (status ?? 0) >= 500) return "unavailable";
  if ((status ?? 0) >= 300 || $fault === "client") return "refused";
  // A page that broke off shows as an error of the stream ("aborted") or of the parser, with or without a status.
  if (NETWORK_CODES.test(code) || name === "SyntaxError" || status !== undefined) return "unavailable";
  return "unknown";
}

/**
 * The error's own words for a person: its name and first line. Not for credential errors: their messages may quote
 * signed headers, a session token among them.
 */
export function awsWords(error: unknown): string {
  const { name = "Error", message = String(error) } = sdkErrorShape(error);
  const line = message.split("\n", 1)[0]!.trim();
  return line === "" || line === "UnknownError" ? name : `${name}: ${line}`;
}

/** What is wrong with credentials, without the service's words. */
export function credentialFault(error: unknown): string {
  const { name = "Error" } = sdkErrorShape(error);
  if (/^ExpiredToken/.test(name)) return `they have expired (${name})`;
  if (/^(InvalidSignature|SignatureDoesNotMatch)/.test(name)) {
    return `the secret key does not fit the access key (${name})`;
  }
  if (/^(UnrecognizedClient|InvalidClientTokenId)/.test(name)) {
    return `the access key or session token is not known there (${name})`;
  }
  if (/^Request(Expired|TimeTooSkewed)/.test(name)) return `this machine's clock is wrong (${name})`;
  if (/^OptInRequired/.test(name)) return `their account has not enabled this region or service (${name})`;
  if (/ProviderError$/.test(name)) return `none could be loaded (${awsWords(error)})`;
  return name;
}
