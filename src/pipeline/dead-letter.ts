// What a record becomes that cannot be published, and which refusals of Pulsar are for the dead-letter topic: those of
// single messages and of topics that hooks chose. What refuses `pulsar.topic` itself would empty the stream into it.

import type { Clock } from "../core/clock.ts";
import type { ConnectorError, ErrorCode } from "../core/errors.ts";
import type { Logger } from "../core/log.ts";
import type { SinkMessage, UserRecord } from "../core/record.ts";
import { withoutPartition } from "../core/topic-name.ts";
import { formatInstant } from "../hooks/message.ts";
import type { Totals } from "./totals.ts";

/** Why a record cannot be published. */
export interface Failure {
  readonly error: ConnectorError;
  /** The script whose hook failed; none when Pulsar refused a message. */
  readonly script?: string | undefined;
  /** Calls of the hook; 1 for a refused message. */
  readonly attempts: number;
}

/** What {@link DeadLetters} are made with. Topics by their full names. */
export interface DeadLettersOptions {
  /** `deadLetter.topic`. */
  readonly deadLetterTopic?: string | undefined;
  /** `pulsar.topic`. */
  readonly topic: string;
  readonly streamName: string;
  readonly clock: Clock;
  readonly log: Logger;
  readonly totals: Totals;
}

// Properties may not grow without end: they count towards the broker's message size.
const LONGEST_MESSAGE = 1_000;
// A failure of every record would fill the log: after these, every power of two is said.
const SAID_IN_FULL = 10;

/** Refusals of a topic: another one would have taken the message. */
const OF_A_TOPIC: ReadonlySet<ErrorCode> = new Set<ErrorCode>([
  "PULSAR_TOPIC_TERMINATED",
  "PULSAR_TOPIC_NOT_FOUND",
  "PULSAR_NOT_AUTHORIZED",
  "PULSAR_REFUSED",
  "TOO_MANY_TOPICS",
]);

/** The dead letters of a connector. */
export class DeadLetters {
  readonly #topic: string;
  readonly #options: Omit<DeadLettersOptions, "deadLetterTopic">;
  /** How many, by script or code. */
  readonly #said = new Map<string, number>();

  /** @param topic `deadLetter.topic`, full name */
  constructor(topic: string, options: Omit<DeadLettersOptions, "deadLetterTopic">) {
    this.#topic = topic;
    this.#options = options;
  }

  /** Whether a record of which Pulsar refused a message for good becomes a dead letter; else the connector stops. */
  takes({ code, where }: ConnectorError): boolean {
    if (code === "MESSAGE_TOO_LARGE") return true;
    if (code === "PULSAR_REFUSED" && where.operation === "SEND") return true;
    if (!OF_A_TOPIC.has(code) || where.topic === undefined) return false;
    return withoutPartition(where.topic) !== withoutPartition(this.#options.topic);
  }

  /**
   * The record as it was read (aggregates taken apart), with its partition key and arrival time. Properties: the
   * record's `kinesis.*`, and `failure.*`. The names are documented in README.
   */
  message(record: UserRecord, shardId: string, failure: Failure): SinkMessage {
    const { streamName, clock } = this.#options;
    const { error, script, attempts } = failure;
    const refusedBy = script === undefined ? error.where.topic : undefined;
    return {
      topic: this.#topic,
      data: record.data,
      key: record.partitionKey,
      eventTime: record.approximateArrivalTimestamp,
      properties: {
        "kinesis.stream.name": streamName,
        "kinesis.shard.id": shardId,
        "kinesis.sequence.number": record.sequenceNumber,
        "kinesis.subsequence.number": String(record.subSequenceNumber),
        "kinesis.partition.key": record.partitionKey,
        "kinesis.arrival.timestamp": formatInstant(record.approximateArrivalTimestamp),
        "kinesis.encryption.type": record.encryptionType,
        "failure.code": error.code,
        "failure.message": cut(error.message),
        ...script === undefined ? {} : { "failure.script": script },
        ...refusedBy === undefined ? {} : { "failure.topic": refusedBy },
        "failure.attempts": String(attempts),
        "failure.time": formatInstant(clock.now()),
      },
    };
  }

  /** Tells of a record that goes to the topic: the first ten of a script or code, then every power of two. */
  say({ sequenceNumber, subSequenceNumber }: UserRecord, shardId: string, failure: Failure): void {
    const { error, script } = failure;
    const of = script ?? error.code;
    const deadLettered = (this.#said.get(of) ?? 0) + 1;
    this.#said.set(of, deadLettered);
    if (deadLettered > SAID_IN_FULL && !Number.isInteger(Math.log2(deadLettered))) return;
    this.#options.log.warn(`record goes to the dead-letter topic: ${error.message}`, {
      ...script === undefined ? {} : { script },
      shardId,
      sequenceNumber,
      subSequenceNumber,
      deadLettered,
    });
  }

  /** So many are stored. */
  stored(count: number): void {
    this.#options.totals.deadLettered.add(count);
  }
}

/** Those of a connector that has a topic for them. */
export function createDeadLetters(options: DeadLettersOptions): DeadLetters | undefined {
  return options.deadLetterTopic === undefined
    ? undefined
    : new DeadLetters(options.deadLetterTopic, options);
}

/** A text's beginning, whole characters only. */
function cut(text: string): string {
  if (text.length <= LONGEST_MESSAGE) return text;
  const end = /[\uD800-\uDBFF]/.test(text[LONGEST_MESSAGE - 2]!) ? LONGEST_MESSAGE - 2 : LONGEST_MESSAGE - 1;
  return `${text.slice(0, end)}…`;
}
