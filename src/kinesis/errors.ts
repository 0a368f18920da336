// What Kinesis' refusals mean, in one place. The reader's decisions ask `code` and `retryable`; the words are for the
// person who has to do something.

import { awsCallError } from "../core/aws-error.ts";
import { awsWords, sdkErrorShape } from "../core/aws-failure.ts";
import { ConnectorError, type ErrorCode } from "../core/errors.ts";

/** What was asked. */
export interface KinesisRequest {
  readonly operation:
    | "GetRecords"
    | "GetShardIterator"
    | "ListShards"
    | "DescribeStreamSummary"
    | "SubscribeToShard"
    | "DescribeStreamConsumer"
    | "RegisterStreamConsumer";
  /** Name or ARN, as configured. */
  readonly stream: string;
  readonly shardId?: string | undefined;
  /** Region and endpoint, for the words. */
  readonly place: string;
  /** Of the fan-out calls: name or ARN. */
  readonly consumer?: string | undefined;
  /** GetShardIterator and SubscribeToShard only: the stored sequence number that reading begins at. */
  readonly checkpoint?: string | undefined;
}

/** Any failure of a Kinesis call as a ConnectorError. */
export function toConnectorError(error: unknown, request: KinesisRequest): ConnectorError {
  if (error instanceof ConnectorError) return error; // of the credentials
  const { operation, stream, shardId, consumer, checkpoint, place } = request;
  const what = `Kinesis ${operation} on ` + (shardId === undefined ? "" : `shard ${shardId} of `) +
    `stream "${stream}"`;
  const words = awsWords(error);
  const where = { operation, stream, shardId, sequenceNumber: checkpoint };
  const make = (code: ErrorCode, retryable: boolean, message: string) =>
    new ConnectorError(message, { code, retryable, cause: error, where });

  const { name = "" } = sdkErrorShape(error);
  switch (name) {
    case "ExpiredIteratorException":
      return make("ITERATOR_EXPIRED", true, `${what}: the shard iterator has expired (${words})`);
    case "ExpiredNextTokenException":
      return make("AWS_UNAVAILABLE", true, `${what}: the listing took too long; it is begun anew (${words})`);
    case "ResourceInUseException":
      return make(
        "AWS_UNAVAILABLE",
        true,
        operation === "SubscribeToShard"
          ? `${what}: another subscription as consumer "${consumer}" holds the shard (${words})`
          : `${what}: the stream is being created or changed (${words})`,
      );
    case "ResourceNotFoundException":
      if (operation === "DescribeStreamConsumer") {
        return make(
          "CONSUMER_NOT_FOUND",
          false,
          `stream "${stream}" has no fan-out consumer "${consumer}"` +
            (consumer?.startsWith("arn:")
              ? "; correct kinesis.consumerArn, or leave it out: then one is registered"
              : "") +
            ` (${words})`,
        );
      }
      return shardId === undefined
        ? make(
          "STREAM_NOT_FOUND",
          false,
          `stream "${stream}" does not exist in ${place}; check awsKinesisStreamName, awsRegion and awsEndpoint, and ` +
            `whether the credentials belong to the stream's account (${words})`,
        )
        : make("SHARD_NOT_FOUND", false, `${what}: there is no such shard or stream any more (${words})`);
    case "InvalidArgumentException":
    case "ValidationException":
      // The reader makes a new one, and finds out by that whether the iterator was the fault.
      if (operation === "GetRecords") {
        return make("ITERATOR_EXPIRED", true, `${what}: the shard iterator is not accepted (${words})`);
      }
      if (checkpoint === undefined) break;
      return make(
        "FOREIGN_CHECKPOINT",
        false,
        `${foreignCheckpoint(checkpoint, shardId, stream)} (${words})`,
      );
    case "KMSDisabledException":
    case "KMSInvalidStateException":
    case "KMSNotFoundException":
    case "KMSOptInRequired":
      return make(
        "AWS_REFUSED",
        false,
        `${what}: the KMS key that encrypts the stream cannot be used; enable or restore it (${words})`,
      );
  }

  const permission = (named = name.startsWith("KMS") ? "kms:Decrypt" : `kinesis:${operation}`) => {
    if (named.startsWith("kms:")) return { action: `${named} on the KMS key of stream "${stream}"` };
    if (consumer === undefined) return { action: `${named} on stream "${stream}" in ${place}` };
    const whose = operation === "RegisterStreamConsumer" ? "" : `consumer "${consumer}" of `;
    return {
      action: `${named} on ${whose}stream "${stream}" in ${place}`,
      otherwise: ", or read by polling, which needs no consumer: useEnhancedFanOut = false",
    };
  };
  return awsCallError(error, { what, place, permission, where });
}

/** The words of FOREIGN_CHECKPOINT. */
export function foreignCheckpoint(checkpoint: string, shardId: string | undefined, stream: string): string {
  return `the stored checkpoint ${checkpoint} is not one of shard ${shardId} of stream "${stream}": the lease table ` +
    "belongs to another stream, or the stream was deleted and made again. Give this stream an applicationName " +
    "(or leases.table) of its own, or delete the table to start anew";
}

/** Whether a call failed by the exception of this name. */
export function isException(error: unknown, name: string): boolean {
  return error instanceof ConnectorError && sdkErrorShape(error.cause).name === name;
}
