// What the official client's errors mean. They carry no code: the only sign is the name of a C++ result at the end
// of the message ("Failed to send message: TopicTerminated"). Names are those of pulsar-client-cpp's lib/Result.cc.

import { ConnectorError, type ErrorCode, messageOf } from "../../core/errors.ts";

interface Meaning {
  readonly code: ErrorCode;
  readonly retryable: boolean;
  readonly advice: string;
}

const refused = (code: ErrorCode, advice: string): Meaning => ({ code, retryable: false, advice });
const waiting = (code: ErrorCode, advice: string): Meaning => ({ code, retryable: true, advice });

const QUOTA = waiting(
  "PULSAR_QUOTA_EXCEEDED",
  "Nothing is lost: messages wait until consumers catch up or the namespace's backlog quota is raised.",
);
const UNREACHABLE = waiting("PULSAR_UNREACHABLE", "Check pulsar.serviceUrl and the network.");
const UNAVAILABLE = waiting("PULSAR_UNAVAILABLE", "The broker may be starting, or the topic moving.");

const MEANINGS: Readonly<Record<string, Meaning>> = {
  AuthenticationError: refused("PULSAR_NOT_AUTHORIZED", "Check [pulsar].auth."),
  AuthorizationError: refused("PULSAR_NOT_AUTHORIZED", "Grant the role 'produce' on the namespace."),
  TopicNotFound: refused("PULSAR_TOPIC_NOT_FOUND", "Create the topic, or allow auto-creation of topics."),
  TopicTerminated: refused("PULSAR_TOPIC_TERMINATED", "It never takes messages again: choose another topic."),
  MessageTooBig: refused(
    "MESSAGE_TOO_LARGE",
    "Raise maxMessageSize in the broker's configuration, set pulsar.chunking = true, or make the message smaller.",
  ),
  InvalidTopicName: refused("PULSAR_REFUSED", "Check the topic's name."),
  IncompatibleSchema: refused("PULSAR_REFUSED", "The topic has a schema, messages are published as bytes."),
  UnsupportedVersionError: refused("PULSAR_REFUSED", "The broker is too old or too new for this client."),
  NotAllowedError: refused("PULSAR_REFUSED", "Check the topic's policies."),
  OperationNotSupported: refused("PULSAR_REFUSED", "Check the topic's policies."),
  ProducerFenced: refused("PULSAR_REFUSED", "Another producer has exclusive access to the topic."),
  CryptoError: refused("PULSAR_REFUSED", "The message could not be encrypted."),
  InvalidMessage: refused("PULSAR_REFUSED", "The client does not take this message."),
  InvalidConfiguration: refused("CONFIG_INVALID", "Check the [pulsar] table."),
  InvalidUrl: refused("CONFIG_INVALID", "Check pulsar.serviceUrl."),
  ProducerBlockedQuotaExceededError: QUOTA,
  ProducerBlockedQuotaExceededException: QUOTA,
  ConnectError: UNREACHABLE,
  Disconnected: UNREACHABLE,
  NotConnected: UNREACHABLE,
  ReadError: UNREACHABLE,
  TimeOut: UNREACHABLE,
};

/** Refusals of one message; all others concern its topic. */
const OF_ONE_MESSAGE: ReadonlySet<string> = new Set(["MessageTooBig", "InvalidMessage", "CryptoError"]);

/** An error of the official client with what its text tells. */
export interface NativeFailure {
  /** The C++ result's name. */
  readonly result: string;
  /** Whether only the message is refused, not its topic. */
  readonly isOfMessage: boolean;
  /** Unknown names are retryable: never a loss for a word that is not in the table. */
  readonly error: ConnectorError;
}

/** Reads an error of `send()` or `createProducer()`. */
export function nativeFailure(thrown: unknown, topic: string): NativeFailure {
  const text = messageOf(thrown);
  const result = /(?:^|: )(?:Result)?(\w+)$/.exec(text.trim())?.[1] ?? "";
  const { code, retryable, advice } = MEANINGS[result] ?? UNAVAILABLE;
  const error = new ConnectorError(`pulsar-client, topic ${topic}: ${text}. ${advice}`, {
    code,
    retryable,
    cause: thrown,
    where: { topic },
  });
  return { result, isOfMessage: OF_ONE_MESSAGE.has(result), error };
}
