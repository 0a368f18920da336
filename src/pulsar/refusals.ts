// What a broker's SEND_ERROR means for the frames of a producer: the end of all, of one entry, or one more attempt
// with the same bytes. The rules are those of Pulsar's Java client where it has any, except that the entry need not be
// the oldest: what a broker refuses by looking at it (its size) it answers ahead of the receipts of earlier entries.

import { ConnectorError } from "../core/errors.ts";
import { brokerError } from "./errors.ts";
import type { CommandOf } from "./wire/commands.ts";
import type { Entry } from "./wire/entry.ts";
import { serverErrorName } from "./wire/server-error.ts";

/** What to do, and why. */
export type Refusal =
  /** This and every further message is refused for good. */
  | { readonly action: "fail"; readonly error: ConnectorError }
  /** The entry is refused for good, the others go on. */
  | { readonly action: "refuse"; readonly error: ConnectorError }
  /** The entry is refused for its size: see SendQueue. */
  | { readonly action: "too-large"; readonly error: ConnectorError }
  /** The entry did not arrive as it was sent, which another attempt may cure, unless later ones were taken. */
  | { readonly action: "damaged"; readonly error: ConnectorError }
  /** The producer is opened again, and everything without a receipt sent again. */
  | { readonly action: "again"; readonly error: ConnectorError }
  /** Nothing: nobody waits for the entry any more. */
  | { readonly action: "ignore"; readonly error: ConnectorError };

/** Whose frame was refused. */
export interface RefusedFrame {
  readonly topic: string;
  readonly broker: string;
  /** The entry, if it is in flight. */
  readonly entry: Entry | undefined;
}

/** See the file's header. */
export function refusalOf(command: CommandOf<"SEND_ERROR">, { topic, broker, entry }: RefusedFrame): Refusal {
  const error = brokerError(command.error, command.message, { operation: "SEND", topic, broker });
  switch (serverErrorName(command.error)) {
    case "TopicTerminatedError":
    case "ProducerFenced":
      return { action: "fail", error };
    case "NotAllowedError":
      if (entry === undefined) return { action: "ignore", error };
      return isAboutSize(command.message)
        ? { action: "too-large", error: tooLargeForTopic(error) }
        : { action: "refuse", error };
    case "ChecksumError":
      if (entry === undefined) return { action: "ignore", error };
      if (entry.intact) return { action: "damaged", error };
      return {
        action: "refuse",
        error: new ConnectorError(`a frame for topic ${topic} was damaged in memory before it was sent`, {
          code: "INTERNAL",
          cause: error,
        }),
      };
  }
  return { action: "again", error };
}

/** Topics may have a lower limit than their broker; its name for that is NotAllowedError. */
function isAboutSize(message: string): boolean {
  return /exceed.*(size|length)/i.test(message);
}

function tooLargeForTopic(error: ConnectorError): ConnectorError {
  return new ConnectorError(
    `${error.message} This topic takes smaller messages than its broker (policy maxMessageSize).`,
    { code: "MESSAGE_TOO_LARGE", cause: error, where: error.where },
  );
}

/** Of an entry that the broker did not take, but later ones: under effectively once it cannot be sent again. */
export function overtaken(topic: string, operation: string, cause: ConnectorError): ConnectorError {
  return new ConnectorError(
    `${cause.message} The broker took later messages of topic ${topic} meanwhile, so it would drop this one as a ` +
      "duplicate",
    { code: "PULSAR_REFUSED", cause, where: { topic, operation } },
  );
}

/** What makes a producer open again when a topic's limit was lowered below what it took before. */
export function limitLowered(error: ConnectorError): ConnectorError {
  return new ConnectorError(`${error.message} Smaller batches are sent from now on.`, {
    code: "PULSAR_UNAVAILABLE",
    retryable: true,
    cause: error,
    where: error.where,
  });
}
