// Every failure that leaves a room is a ConnectorError: what happened, where, why and what to do, in one
// sentence that stands alone in a log. Retry decisions ask `retryable`, never the text.

/** The closed list of codes; each is documented in README's table of errors. */
export type ErrorCode =
  | "CONFIG_INVALID" // a configuration file or object that cannot be used
  | "NOT_YET" // an option of the documented configuration that this version does not do
  | "HOOK_LOAD_FAILED" // a hook script that is missing or does not load
  | "HOOK_FAILED" // a hook threw, timed out, or returned what is no message
  | "CREDENTIALS_INVALID" // AWS does not accept (or we cannot find) the credentials
  | "ACCESS_DENIED" // AWS credentials are known but lack a permission
  | "STREAM_NOT_FOUND" // no such stream at start
  | "CONSUMER_NOT_FOUND" // no such fan-out consumer
  | "STREAM_GONE" // the stream was deleted, or deleted and made again
  | "FOREIGN_CHECKPOINT" // a stored checkpoint that does not belong to this stream's shard
  | "LEASE_TABLE_MISMATCH" // a DynamoDB table that is no lease table
  | "LEASE_TABLE_FOREIGN" // the lease table of another stream, or of a KCL 3.x fleet
  | "LEASE_TABLE_MISSING" // `leases` on a table that nobody has made yet
  | "LEASE_TABLE_CHOICE" // both a fresh table and Java's default table could be meant
  | "LEASE_IN_USE" // a live owner holds what a bounded run needs
  | "THROTTLED" // AWS asked us to slow down
  | "ITERATOR_EXPIRED" // a shard iterator older than five minutes
  | "SHARD_NOT_FOUND" // ResourceNotFound for a shard: means nothing before the stream was asked
  | "AWS_UNAVAILABLE" // network, time-out or 5xx of an AWS service
  | "AWS_REFUSED" // AWS refused a request for a reason that repeating does not cure
  | "PULSAR_UNREACHABLE" // no connection to a broker
  | "PULSAR_UNAVAILABLE" // a broker that answered "not now"
  | "PULSAR_NOT_AUTHORIZED" // no credentials, or authentication or authorization refused by the broker
  | "PULSAR_TLS" // the encrypted connection to a broker cannot be made, or not be trusted
  | "PULSAR_TOPIC_NOT_FOUND"
  | "PULSAR_TOPIC_TERMINATED"
  | "PULSAR_QUOTA_EXCEEDED"
  | "PULSAR_REFUSED" // refused for good: invalid name, schema, fenced, not allowed
  | "PULSAR_PROTOCOL" // a broker that speaks something else
  | "MESSAGE_TOO_LARGE" // larger than the broker's maximum
  | "DEDUPLICATION_OFF" // effectively once, but the broker does not deduplicate the topic
  | "TOO_MANY_TOPICS" // more topics than `pulsar.maxProducers`
  | "INTERNAL"; // a defect of this program

/** Where it happened: only what is known, only names (never payloads or secrets). */
export interface ErrorWhere {
  readonly stream?: string | undefined;
  readonly shardId?: string | undefined;
  readonly sequenceNumber?: string | undefined;
  readonly table?: string | undefined;
  readonly topic?: string | undefined;
  readonly operation?: string | undefined;
  readonly file?: string | undefined;
  readonly line?: number | undefined;
  readonly key?: string | undefined;
}

/** Options of a {@link ConnectorError}. */
export interface ConnectorErrorOptions {
  readonly code: ErrorCode;
  /** Whether the same request can succeed later without anybody changing anything. @default false */
  readonly retryable?: boolean;
  readonly cause?: unknown;
  readonly where?: ErrorWhere;
}

/** The one error class of this project. `message` says what happened, where, why and what to do. */
export class ConnectorError extends Error {
  override readonly name = "ConnectorError";
  readonly code: ErrorCode;
  readonly retryable: boolean;
  readonly where: ErrorWhere;

  constructor(message: string, options: ConnectorErrorOptions) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.code = options.code;
    this.retryable = options.retryable ?? false;
    this.where = options.where ?? {};
  }
}

/** An error's words, whatever was thrown. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/** Any thrown value as a ConnectorError; what is not one already is a defect of this program. */
export function toConnectorError(error: unknown): ConnectorError {
  if (error instanceof ConnectorError) return error;
  return new ConnectorError(`unexpected error: ${messageOf(error)}`, { code: "INTERNAL", cause: error });
}
