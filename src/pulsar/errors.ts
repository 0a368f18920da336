// What a broker's error, or a socket's, means for us: a code, whether trying again can help, and words that say
// what to do. The only place that knows error numbers.

import { ConnectorError, type ErrorCode, messageOf } from "../core/errors.ts";
import { addressText, type BrokerAddress } from "./service-url.ts";
import { namespaceOf } from "./topic-name.ts";
import { type ServerErrorName, serverErrorName } from "./wire/server-error.ts";

interface Meaning {
  readonly code: ErrorCode;
  readonly retryable: boolean;
  readonly advice: string;
}

const REFUSED = (advice: string): Meaning => ({ code: "PULSAR_REFUSED", retryable: false, advice });
const QUOTA: Meaning = {
  code: "PULSAR_QUOTA_EXCEEDED",
  retryable: true,
  advice:
    "Nothing is lost: messages wait until consumers catch up or the namespace's backlog quota is raised.",
};
const UNAVAILABLE: Meaning = {
  code: "PULSAR_UNAVAILABLE",
  retryable: true,
  advice: "The broker may be starting, or the topic moving from one to another.",
};

const MEANINGS: Partial<Record<ServerErrorName, Meaning>> = {
  AuthenticationError: {
    code: "PULSAR_NOT_AUTHORIZED",
    retryable: false,
    advice: "Check [pulsar].auth: its type must be one that the broker accepts, and the credentials valid.",
  },
  AuthorizationError: {
    code: "PULSAR_NOT_AUTHORIZED",
    retryable: false,
    advice:
      "Grant the role 'produce': pulsar-admin namespaces grant-permission TENANT/NAMESPACE --role ROLE --actions produce.",
  },
  TopicNotFound: {
    code: "PULSAR_TOPIC_NOT_FOUND",
    retryable: false,
    advice: "Create the topic (and its tenant and namespace), or allow auto-creation of topics.",
  },
  TopicTerminatedError: {
    code: "PULSAR_TOPIC_TERMINATED",
    retryable: false,
    advice: "A terminated topic never takes messages again: choose another topic.",
  },
  InvalidTopicName: REFUSED("Check the topic's name."),
  IncompatibleSchema: REFUSED(
    "The topic has a schema, and messages are published as bytes: use another topic.",
  ),
  UnsupportedVersionError: REFUSED("The broker is too old or too new for this program."),
  NotAllowedError: REFUSED("Check the topic's policies."),
  ProducerFenced: REFUSED("Another producer has exclusive access to the topic."),
  ProducerBlockedQuotaExceededError: QUOTA,
  ProducerBlockedQuotaExceededException: QUOTA,
  ProducerBusy: {
    code: "PULSAR_UNAVAILABLE",
    retryable: true,
    advice:
      "The broker may still hold a lost connection's producer (up to a minute), or the topic has reached its limit of producers.",
  },
};

/** Where and doing what a broker refused. */
export interface RefusedOperation {
  /** The protocol's command. */
  readonly operation: string;
  readonly topic?: string | undefined;
  readonly broker: string;
}

/** A broker's answer as an error. */
export function brokerError(
  number: number | undefined,
  message: string,
  at: RefusedOperation,
): ConnectorError {
  const name = serverErrorName(number);
  const meaning = MEANINGS[name] ?? UNAVAILABLE;
  const topic = at.topic === undefined ? "" : ` for topic ${at.topic}`;
  const advice = meaning.advice.replace("TENANT/NAMESPACE", namespaceOf(at.topic ?? ""));
  return new ConnectorError(
    `the broker ${at.broker} answered ${name} to ${at.operation}${topic}: ${oneLine(message)}. ${advice}`,
    { code: meaning.code, retryable: meaning.retryable, where: { operation: at.operation, topic: at.topic } },
  );
}

/** A connection that could not be made or was lost. */
export function unreachable(
  address: BrokerAddress,
  why: unknown,
  what = "cannot connect to",
): ConnectorError {
  return new ConnectorError(
    `${what} the broker ${addressText(address)}: ${messageOf(why) || "no reason given"}`,
    { code: "PULSAR_UNREACHABLE", retryable: true, cause: why instanceof Error ? why : undefined },
  );
}

/** Brokers call it "not ready" when they lack the listener that was asked for; waiting does not bring it. */
export function noSuchListener(
  error: ConnectorError,
  message: string,
  listenerName: string | undefined,
): ConnectorError | undefined {
  if (listenerName === undefined || !/listener/i.test(message)) return undefined;
  return new ConnectorError(
    `no broker advertises a listener "${listenerName}" (${
      oneLine(message)
    }): correct pulsar.listenerName, or the ` +
      "brokers' advertisedListeners",
    { code: "PULSAR_REFUSED", where: { ...error.where, key: "pulsar.listenerName" }, cause: error },
  );
}

/** A message that this broker does not take. */
export function messageTooLarge(topic: string, size: number, max: number, isChunked = false): ConnectorError {
  const why = isChunked
    ? "and its keys and properties leave no room for chunks: "
    : topic.startsWith("non-persistent:")
    ? "and topics that are not persistent take no chunks: "
    : "and pulsar.chunking is off: switch it on, ";
  return new ConnectorError(
    `a message of ${size} bytes (metadata included) for topic ${topic} is larger than the broker's limit of ` +
      `${max}, ${why}raise maxMessageSize in the broker's configuration, or make the message smaller in a hook`,
    { code: "MESSAGE_TOO_LARGE", where: { topic } },
  );
}

/** Brokers put Java stack traces into messages; the first line says it all. */
function oneLine(message: string): string {
  const line = message.split("\n", 1)[0]!.trim().replace(/\.$/, "");
  return line.length > 300 ? `${line.slice(0, 300)}…` : line;
}
