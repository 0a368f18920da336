// What the broker does with one client's commands. Invariants: nothing but CONNECT is done before CONNECT; an
// entry is receipted only when it is stored; a closed session leaves no producer and no consumer behind.

import { Buffer } from "node:buffer";
import { messageOf } from "../../core/errors.ts";
import {
  type Command,
  type CommandFields,
  type CommandOf,
  LOOKUP_CONNECT,
  LOOKUP_REDIRECT,
  METADATA_SUCCESS,
  POSITION_EARLIEST,
} from "../../pulsar/wire/commands.ts";
import { decodeCommand, decodePayload, encodeCommand } from "../../pulsar/wire/frames.ts";
import { decodeMetadata } from "../../pulsar/wire/metadata.ts";
import type { ServerErrorName } from "../../pulsar/wire/server-error.ts";
import { errorAnswer, NO_REQUEST, success } from "./answers.ts";
import type { Broker } from "./broker.ts";
import type { Connection } from "./connection.ts";
import { Consumer } from "./consumer.ts";
import type { BrokerFault, CommandTarget } from "./faults.ts";
import { largeRequestId, withRequestId } from "./request-id.ts";
import { fullTopicName } from "./topic-name.ts";
import { type ConnectedProducer, Cursor, type Topic } from "./topic.ts";

/** Protocol version that the broker speaks at most. */
const PROTOCOL_VERSION = 20;
const SERVER_VERSION = "kinesis-pulsar local broker";
/** No frame: a size of almost 4 GiB. */
const GARBAGE = Buffer.from("\xff\xff\xff\xf0this is no frame\r\n\r\n", "latin1");
const SHARED_ACCESS = 0;
const ACK_CUMULATIVE = 1;

type Reply = (frame: Buffer) => void;

/** See the top of this file. */
export class Session {
  readonly #broker: Broker;
  readonly #connection: Connection;
  readonly #producers = new Map<number, ConnectedProducer>();
  readonly #consumers = new Map<number, Consumer>();
  #connected = false;

  constructor(broker: Broker, connection: Connection) {
    this.#broker = broker;
    this.#connection = connection;
  }

  /** Does what the frame asks for, or what an injected fault makes of it. Throws PULSAR_PROTOCOL. */
  handle(frame: Buffer): void {
    const command = decodeCommand(frame);
    if (command === undefined) return; // of a later protocol version
    if (!this.#connected && command.name !== "CONNECT") throw new Error(`${command.name} before CONNECT`);
    const target = this.#target(command);
    this.#broker.noteCommand(command, target);
    const id = largeRequestId(frame, "requestId" in command ? command.requestId : undefined);
    const write = (answer: Buffer, delayMs?: number) =>
      this.#connection.write(id ? withRequestId(answer, id) : answer, delayMs);
    const fault = this.#broker.faults.next(command.name, target);
    if (fault) this.#fail(fault, command, frame, write);
    else this.#perform(command, frame, write);
  }

  /** The socket takes more again. */
  drained(): void {
    for (const consumer of this.#consumers.values()) consumer.dispatch();
  }

  /** Forgets producers and consumers. */
  end(): void {
    for (const producer of this.#producers.values()) forget(producer);
    for (const consumer of this.#consumers.values()) consumer.topic.consumers.delete(consumer);
    this.#producers.clear();
    this.#consumers.clear();
  }

  #target(command: Command): CommandTarget {
    switch (command.name) {
      case "PRODUCER":
        return { topic: fullTopicName(command.topic), producerName: command.producerName };
      case "SUBSCRIBE":
      case "LOOKUP":
      case "PARTITIONED_METADATA":
        return { topic: fullTopicName(command.topic) };
      case "SEND":
      case "CLOSE_PRODUCER": {
        const producer = this.#producers.get(command.producerId);
        return { topic: producer?.topic.name, producerName: producer?.name };
      }
      case "ACK":
      case "FLOW":
      case "SEEK":
      case "UNSUBSCRIBE":
      case "CLOSE_CONSUMER":
      case "GET_LAST_MESSAGE_ID":
        return { topic: this.#consumers.get(command.consumerId)?.topic.name };
      default:
        return {};
    }
  }

  #fail(
    fault: BrokerFault,
    command: Command,
    frame: Buffer,
    write: (answer: Buffer, delayMs?: number) => void,
  ): void {
    const connection = this.#connection;
    const answers: Buffer[] = [];
    const effect = fault.error || fault.drop || fault.hang || fault.garbage || fault.closeProducer ||
      fault.redirectTo;
    if (!effect || fault.applied || fault.garbage || fault.afterBytes !== undefined) {
      this.#perform(command, frame, (answer) => void answers.push(answer));
    }
    if (fault.error) {
      write(errorAnswer(command, fault.error, fault.message ?? "injected"), fault.delayMs);
      if (command.name === "CONNECT") connection.cutAfter(Buffer.alloc(0));
      if (command.name === "SEND" && fault.error === "PersistenceError") {
        // a failed write closes the topic's producers: nothing gets in behind what is missing
        const topic = this.#producers.get(command.producerId)?.topic;
        for (const producer of [...topic?.producers.values() ?? []]) producer.close();
      }
    } else if (fault.drop) {
      if (fault.afterBytes === undefined) connection.cut();
      else connection.cutAfter(Buffer.concat(answers).subarray(0, fault.afterBytes));
    } else if (fault.garbage) {
      write(GARBAGE, fault.delayMs);
    } else if (fault.closeProducer && command.name === "SEND") {
      this.#producers.get(command.producerId)?.close();
    } else if (fault.redirectTo && command.name === "LOOKUP") {
      write(encodeCommand("LOOKUP_RESPONSE", {
        requestId: command.requestId,
        response: LOOKUP_REDIRECT,
        brokerServiceUrl: fault.redirectTo,
        authoritative: true,
      }));
    } else if (!fault.hang) {
      for (const answer of answers) write(answer, fault.delayMs);
    }
  }

  #perform(command: Command, frame: Buffer, reply: Reply): void {
    switch (command.name) {
      case "CONNECT":
        this.#connected = true;
        return reply(encodeCommand("CONNECTED", {
          serverVersion: SERVER_VERSION,
          protocolVersion: Math.min(command.protocolVersion, PROTOCOL_VERSION),
          maxMessageSize: this.#broker.maxMessageSize,
          featureFlags: { supportsGetPartitionedMetadataWithoutAutoCreation: true },
        }));
      case "PING":
        return this.#connection.writeFirst(encodeCommand("PONG", {}));
      case "LOOKUP":
        return reply(encodeCommand("LOOKUP_RESPONSE", {
          requestId: command.requestId,
          response: LOOKUP_CONNECT,
          brokerServiceUrl: this.#broker.url,
          authoritative: true,
        }));
      case "PARTITIONED_METADATA":
        return reply(encodeCommand("PARTITIONED_METADATA_RESPONSE", {
          requestId: command.requestId,
          response: METADATA_SUCCESS,
          partitions: this.#broker.partitions(fullTopicName(command.topic)),
        }));
      case "PRODUCER":
        return this.#createProducer(command, reply);
      case "SEND":
        return this.#send(command, frame, reply);
      case "CLOSE_PRODUCER": {
        const producer = this.#producers.get(command.producerId);
        if (producer) forget(producer);
        this.#producers.delete(command.producerId);
        return reply(success(command.requestId));
      }
      case "SUBSCRIBE":
        return this.#subscribe(command, reply);
      default:
        return this.#performForConsumer(command, reply);
    }
  }

  #createProducer(command: CommandOf<"PRODUCER">, reply: Reply): void {
    const refuse = (error: ServerErrorName, why: string) => reply(errorAnswer(command, error, why));
    const topic = this.#broker.topic(command.topic);
    if (topic.terminated) return refuse("TopicTerminatedError", `Topic ${topic.name} has been terminated`);
    if (command.producerAccessMode !== SHARED_ACCESS) {
      return refuse("NotAllowedError", "the local broker knows only producers with shared access");
    }
    const { producerId, epoch } = command;
    const name = command.producerName || this.#broker.newProducerName();
    const other = topic.producers.get(name);
    if (other) {
      // replaced only by its successor: the same producer on the same connection, reconnecting
      const successor = this.#producers.get(producerId) === other && epoch > other.epoch;
      if (!successor) {
        return refuse(
          "ProducerBusy",
          `Producer with name '${name}' is already connected to topic '${topic.name}'`,
        );
      }
    }
    const producer: ConnectedProducer = {
      producerId,
      name,
      epoch,
      topic,
      close: (assignedBrokerServiceUrl) => {
        forget(producer);
        this.#producers.delete(producerId);
        this.#connection.write(encodeCommand("CLOSE_PRODUCER", {
          producerId,
          requestId: NO_REQUEST,
          ...(assignedBrokerServiceUrl === undefined ? {} : { assignedBrokerServiceUrl }),
        }));
      },
    };
    const before = this.#producers.get(producerId);
    if (before) forget(before);
    this.#producers.set(producerId, producer);
    topic.producers.set(name, producer);
    reply(encodeCommand("PRODUCER_SUCCESS", {
      requestId: command.requestId,
      producerName: name,
      lastSequenceId: topic.lastSequenceIds.get(name) ?? -1,
      schemaVersion: Buffer.alloc(0),
    }));
  }

  #send(command: CommandOf<"SEND">, frame: Buffer, reply: Reply): void {
    const producer = this.#producers.get(command.producerId);
    if (!producer) return; // closed meanwhile: a broker drops it too, its client sends it again
    const refuse = (error: ServerErrorName, why: string) => reply(errorAnswer(command, error, why));
    const { topic } = producer;
    let parts: ReturnType<typeof decodePayload>;
    try {
      parts = decodePayload(frame);
    } catch (error) {
      return refuse("ChecksumError", messageOf(error));
    }
    if (!parts) throw new Error("SEND without a payload");
    if (topic.terminated) return refuse("TopicTerminatedError", `Topic ${topic.name} has been terminated`);
    // Brokers leave 10 KiB for what stands before the payload; the Java client counts on it for its chunks.
    const isOverLimit = !command.isChunk && parts.headersAndPayload.length > topic.maxMessageSize;
    if (isOverLimit || parts.payload.length > this.#broker.maxMessageSize) {
      return refuse("NotAllowedError", "Exceed maximum message size");
    }
    const last = Math.max(command.sequenceId, command.highestSequenceId);
    const receipt = (messageId: CommandFields<"SEND_RECEIPT">["messageId"]) =>
      reply(encodeCommand("SEND_RECEIPT", {
        producerId: command.producerId,
        sequenceId: command.sequenceId,
        highestSequenceId: command.highestSequenceId,
        messageId,
      }));
    const metadata = decodeMetadata(parts.metadata);
    const { chunkId, numChunksFromMsg, numMessagesInBatch } = metadata;
    const isWhole = !command.isChunk || chunkId === numChunksFromMsg! - 1;
    if (this.#broker.deduplication && isWhole) { // of chunks the last alone decides
      if (command.sequenceId <= (topic.lastSequenceIds.get(producer.name) ?? -1)) {
        return receipt({ ledgerId: -1, entryId: -1 });
      }
      topic.lastSequenceIds.set(producer.name, last);
    }
    const { entryId } = this.#broker.append(topic, parts.headersAndPayload, {
      messages: isWhole ? numMessagesInBatch ?? 1 : 0,
      batched: numMessagesInBatch !== undefined,
      publishTime: metadata.publishTime,
    });
    receipt({ ledgerId: topic.ledgerId, entryId, partition: topic.partition });
  }

  #subscribe(command: CommandOf<"SUBSCRIBE">, reply: Reply): void {
    const topic = this.#broker.topic(command.topic);
    const { subscription, consumerId } = command;
    for (const other of topic.consumers) {
      if (other.subscription === subscription) {
        return reply(
          errorAnswer(command, "ConsumerBusy", `subscription ${subscription} has a consumer already`),
        );
      }
    }
    const { startMessageId } = command;
    const start = startMessageId
      ? topic.startAfter(startMessageId)
      : command.initialPosition === POSITION_EARLIEST
      ? topic.log.firstEntryId
      : topic.log.nextEntryId;
    let cursor: Cursor | undefined;
    if (command.durable) {
      cursor = topic.cursors.get(subscription) ?? new Cursor(start);
      topic.cursors.set(subscription, cursor);
    }
    const next = cursor?.next ?? start;
    const consumer = new Consumer({ consumerId, topic, subscription, cursor, next }, this.#connection);
    this.#consumers.set(consumerId, consumer);
    topic.consumers.add(consumer);
    reply(success(command.requestId));
  }

  #performForConsumer(command: Command, reply: Reply): void {
    if (!("consumerId" in command)) return; // PONG, and what only brokers send
    const consumer = this.#consumers.get(command.consumerId);
    if (!consumer) {
      if ("requestId" in command && command.requestId !== undefined) {
        reply(errorAnswer(command, "ConsumerNotFound", `there is no consumer ${command.consumerId}`));
      }
      return;
    }
    const { topic, cursor } = consumer;
    switch (command.name) {
      case "FLOW":
        return consumer.allow(command.messagePermits);
      case "ACK":
        for (const id of command.messageId) {
          const whole = (id.ackSet?.length ?? 0) === 0;
          if (whole) cursor?.acknowledge(id.entryId, command.ackType === ACK_CUMULATIVE);
        }
        if (command.requestId === undefined) return;
        return reply(encodeCommand("ACK_RESPONSE", {
          consumerId: command.consumerId,
          requestId: command.requestId,
        }));
      case "GET_LAST_MESSAGE_ID":
        return reply(encodeCommand("GET_LAST_MESSAGE_ID_RESPONSE", {
          requestId: command.requestId,
          lastMessageId: topic.lastMessageId(),
          ...(cursor &&
            { consumerMarkDeletePosition: { ledgerId: topic.ledgerId, entryId: cursor.next - 1 } }),
        }));
      case "SEEK":
        // as brokers do: the consumer is closed and comes again, a reader with its new start
        cursor?.reset(seekTarget(topic, command));
        this.#closeConsumer(consumer);
        this.#connection.write(encodeCommand("CLOSE_CONSUMER", {
          consumerId: command.consumerId,
          requestId: NO_REQUEST,
        }));
        return reply(success(command.requestId));
      case "UNSUBSCRIBE":
        topic.cursors.delete(consumer.subscription);
        this.#closeConsumer(consumer);
        return reply(success(command.requestId));
      case "CLOSE_CONSUMER":
        this.#closeConsumer(consumer);
        return reply(success(command.requestId));
    }
  }

  #closeConsumer(consumer: Consumer): void {
    this.#consumers.delete(consumer.consumerId);
    consumer.topic.consumers.delete(consumer);
  }
}

function forget(producer: ConnectedProducer): void {
  const { topic, name } = producer;
  if (topic.producers.get(name) === producer) topic.producers.delete(name);
}

function seekTarget(topic: Topic, command: CommandOf<"SEEK">): number {
  if (command.messageId) return topic.startAfter({ ...command.messageId, batchIndex: 0 });
  return topic.startAt(command.messagePublishTime ?? 0);
}
