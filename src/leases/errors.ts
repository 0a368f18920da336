// What DynamoDB's refusals mean, in one place. `retryable` decides everything above; the words are for people.
// An error that carries DynamoDB's answer proves that the request was not applied; AWS_UNAVAILABLE proves nothing.

import { awsCallError } from "../core/aws-error.ts";
import { awsWords, sdkErrorShape } from "../core/aws-failure.ts";
import { ConnectorError, type ErrorCode } from "../core/errors.ts";

/** What was asked of which table. */
export interface DynamoDbRequest {
  /** The API's name, e.g. UpdateItem. */
  readonly operation: string;
  readonly table: string;
  readonly shardId?: string | undefined;
}

/** Any failure of a DynamoDB request as a ConnectorError. */
export function toConnectorError(error: unknown, request: DynamoDbRequest): ConnectorError {
  if (error instanceof ConnectorError) return error; // of the credentials
  const { operation, table, shardId } = request;
  const what = `DynamoDB ${operation} on table "${table}"` +
    (shardId === undefined ? "" : ` (lease "${shardId}")`);
  const words = awsWords(error);
  const where = { ...request };
  const make = (code: ErrorCode, retryable: boolean, message: string) =>
    new ConnectorError(message, { code, retryable, cause: error, where });
  const { name = "", message = "" } = sdkErrorShape(error);

  if (name === "ResourceNotFoundException") {
    return make(
      "AWS_REFUSED",
      false,
      `${what}: the table does not exist (any more); a new start makes it anew, empty: to go on where it was, restore it ` +
        `under this name first (${words})`,
    );
  }
  if (name === "ValidationException" && /key element|schema/i.test(message)) {
    return make("LEASE_TABLE_MISMATCH", false, `${what}: this is no lease table (${words})`);
  }
  // The SDK names an ended time limit of ours so.
  if (name === "AbortError") return make("AWS_UNAVAILABLE", true, `${what} got no answer in time (${words})`);

  return awsCallError(error, {
    what,
    where,
    permission: (named) => ({ action: named ?? `dynamodb:${operation}` }),
  });
}

/**
 * Whether a failed write may have been applied, or may still be: nobody answered. Every other error is an answer.
 */
export function mayHaveBeenApplied(error: ConnectorError): boolean {
  return error.code === "AWS_UNAVAILABLE" || error.code === "INTERNAL";
}
