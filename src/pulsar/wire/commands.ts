// Pulsar's commands (PulsarApi.proto), both directions: what a producer says and hears, and what a small broker
// and a reader need. In BaseCommand the field `type` (1) is followed by the command in the field whose number
// equals the type's. Field numbers are Pulsar's; what is not listed here is skipped when read.

import {
  bool,
  bytes,
  def,
  type Incoming,
  int,
  message,
  opt,
  type Outgoing,
  rep,
  req,
  string,
  uint,
} from "./shape.ts";

export const KeyValue = { key: req(1, string), value: req(2, string) } as const;

/** ledgerId and entryId are −1 in the receipt of a message that deduplication dropped. */
export const MessageId = {
  ledgerId: req(1, uint),
  entryId: req(2, uint),
  partition: def(3, int, -1),
  batchIndex: def(4, int, -1),
  ackSet: rep(5, int),
  batchSize: opt(6, int),
} as const;

export const FeatureFlags = {
  supportsAuthRefresh: def(1, bool, false),
  supportsBrokerEntryMetadata: def(2, bool, false),
  supportsPartialProducer: def(3, bool, false),
  supportsTopicWatchers: def(4, bool, false),
  supportsGetPartitionedMetadataWithoutAutoCreation: def(5, bool, false),
} as const;

export const AuthData = { authMethodName: opt(1, string), authData: opt(2, bytes) } as const;

/** `type`: 0 none (bytes), 1 string, 2 JSON, 4 Avro … */
export const Schema = {
  name: req(1, string),
  schemaData: req(3, bytes),
  type: req(4, uint),
  properties: rep(5, message(KeyValue)),
} as const;

/** Results in PARTITIONED_METADATA_RESPONSE. */
export const METADATA_SUCCESS = 0;
export const METADATA_FAILED = 1;
/** Results in LOOKUP_RESPONSE. */
export const LOOKUP_REDIRECT = 0;
export const LOOKUP_CONNECT = 1;
export const LOOKUP_FAILED = 2;
/** Subscription types in SUBSCRIBE. */
export const SUBSCRIBE_EXCLUSIVE = 0;
export const SUBSCRIBE_SHARED = 1;
/** Where a new subscription starts. */
export const POSITION_LATEST = 0;
export const POSITION_EARLIEST = 1;

/** Every command: number of its type (and of its field in BaseCommand), and fields. */
export const COMMANDS = {
  CONNECT: {
    type: 2,
    shape: {
      clientVersion: req(1, string),
      authData: opt(3, bytes),
      protocolVersion: def(4, int, 0),
      authMethodName: opt(5, string),
      proxyToBrokerUrl: opt(6, string),
      featureFlags: opt(10, message(FeatureFlags)),
    },
  },
  CONNECTED: {
    type: 3,
    shape: {
      serverVersion: req(1, string),
      protocolVersion: def(2, int, 0),
      maxMessageSize: opt(3, int),
      featureFlags: opt(4, message(FeatureFlags)),
    },
  },
  SUBSCRIBE: {
    type: 4,
    shape: {
      topic: req(1, string),
      subscription: req(2, string),
      subType: req(3, uint),
      consumerId: req(4, uint),
      requestId: req(5, uint),
      consumerName: opt(6, string),
      durable: def(8, bool, true),
      startMessageId: opt(9, message(MessageId)),
      initialPosition: def(13, uint, POSITION_LATEST),
    },
  },
  PRODUCER: {
    type: 5,
    shape: {
      topic: req(1, string),
      producerId: req(2, uint),
      requestId: req(3, uint),
      producerName: opt(4, string),
      metadata: rep(6, message(KeyValue)),
      schema: opt(7, message(Schema)),
      epoch: def(8, uint, 0),
      userProvidedProducerName: def(9, bool, true),
      producerAccessMode: def(10, uint, 0),
      topicEpoch: opt(11, uint),
    },
  },
  SEND: {
    type: 6,
    shape: {
      producerId: req(1, uint),
      sequenceId: req(2, uint),
      numMessages: def(3, int, 1),
      highestSequenceId: def(6, uint, 0),
      isChunk: def(7, bool, false),
    },
  },
  SEND_RECEIPT: {
    type: 7,
    shape: {
      producerId: req(1, uint),
      sequenceId: req(2, uint),
      messageId: opt(3, message(MessageId)),
      highestSequenceId: def(4, uint, 0),
    },
  },
  SEND_ERROR: {
    type: 8,
    shape: {
      producerId: req(1, uint),
      sequenceId: req(2, uint),
      error: req(3, uint),
      message: req(4, string),
    },
  },
  MESSAGE: {
    type: 9,
    shape: {
      consumerId: req(1, uint),
      messageId: req(2, message(MessageId)),
      redeliveryCount: def(3, uint, 0),
    },
  },
  ACK: {
    type: 10,
    shape: {
      consumerId: req(1, uint),
      ackType: req(2, uint),
      messageId: rep(3, message(MessageId)),
      requestId: opt(8, uint),
    },
  },
  FLOW: { type: 11, shape: { consumerId: req(1, uint), messagePermits: req(2, uint) } },
  UNSUBSCRIBE: { type: 12, shape: { consumerId: req(1, uint), requestId: req(2, uint) } },
  SUCCESS: { type: 13, shape: { requestId: req(1, uint) } },
  ERROR: { type: 14, shape: { requestId: req(1, uint), error: req(2, uint), message: req(3, string) } },
  CLOSE_PRODUCER: {
    type: 15,
    shape: {
      producerId: req(1, uint),
      requestId: req(2, uint),
      assignedBrokerServiceUrl: opt(3, string),
      assignedBrokerServiceUrlTls: opt(4, string),
    },
  },
  CLOSE_CONSUMER: { type: 16, shape: { consumerId: req(1, uint), requestId: req(2, uint) } },
  PRODUCER_SUCCESS: {
    type: 17,
    shape: {
      requestId: req(1, uint),
      producerName: req(2, string),
      lastSequenceId: def(3, int, -1),
      schemaVersion: opt(4, bytes),
      topicEpoch: opt(5, uint),
      producerReady: def(6, bool, true),
    },
  },
  PING: { type: 18, shape: {} },
  PONG: { type: 19, shape: {} },
  PARTITIONED_METADATA: {
    type: 21,
    shape: {
      topic: req(1, string),
      requestId: req(2, uint),
      metadataAutoCreationEnabled: def(6, bool, true),
    },
  },
  PARTITIONED_METADATA_RESPONSE: {
    type: 22,
    shape: {
      partitions: opt(1, uint),
      requestId: req(2, uint),
      response: opt(3, uint),
      error: opt(4, uint),
      message: opt(5, string),
    },
  },
  LOOKUP: {
    type: 23,
    shape: {
      topic: req(1, string),
      requestId: req(2, uint),
      authoritative: def(3, bool, false),
      advertisedListenerName: opt(7, string),
    },
  },
  LOOKUP_RESPONSE: {
    type: 24,
    shape: {
      brokerServiceUrl: opt(1, string),
      brokerServiceUrlTls: opt(2, string),
      response: opt(3, uint),
      requestId: req(4, uint),
      authoritative: def(5, bool, false),
      error: opt(6, uint),
      message: opt(7, string),
      proxyThroughServiceUrl: def(8, bool, false),
    },
  },
  REACHED_END_OF_TOPIC: { type: 27, shape: { consumerId: req(1, uint) } },
  SEEK: {
    type: 28,
    shape: {
      consumerId: req(1, uint),
      requestId: req(2, uint),
      messageId: opt(3, message(MessageId)),
      messagePublishTime: opt(4, uint),
    },
  },
  GET_LAST_MESSAGE_ID: { type: 29, shape: { consumerId: req(1, uint), requestId: req(2, uint) } },
  GET_LAST_MESSAGE_ID_RESPONSE: {
    type: 30,
    shape: {
      lastMessageId: req(1, message(MessageId)),
      requestId: req(2, uint),
      consumerMarkDeletePosition: opt(3, message(MessageId)),
    },
  },
  AUTH_CHALLENGE: {
    type: 36,
    shape: {
      serverVersion: opt(1, string),
      challenge: opt(2, message(AuthData)),
      protocolVersion: def(3, int, 0),
    },
  },
  AUTH_RESPONSE: {
    type: 37,
    shape: {
      clientVersion: opt(1, string),
      response: opt(2, message(AuthData)),
      protocolVersion: def(3, int, 0),
    },
  },
  ACK_RESPONSE: {
    type: 38,
    shape: {
      consumerId: req(1, uint),
      error: opt(4, uint),
      message: opt(5, string),
      requestId: opt(6, uint),
    },
  },
  TOPIC_MIGRATED: {
    type: 68,
    shape: {
      resourceId: req(1, uint),
      resourceType: req(2, uint),
      brokerServiceUrl: opt(3, string),
      brokerServiceUrlTls: opt(4, string),
    },
  },
} as const;

/** Names of the commands that are known here. */
export type CommandName = keyof typeof COMMANDS;

/** What {@link encodeCommand} takes for a command. */
export type CommandFields<N extends CommandName> = Outgoing<(typeof COMMANDS)[N]["shape"]>;

/** A command as it was read: its fields and `name`. Narrow by `name`. */
export type Command = {
  readonly [N in CommandName]: { readonly name: N } & Incoming<(typeof COMMANDS)[N]["shape"]>;
}[CommandName];

/** One command as it was read. */
export type CommandOf<N extends CommandName> = Extract<Command, { readonly name: N }>;

/** SUBSCRIBE, MESSAGE … by the number of their type. */
export const COMMAND_NAMES: readonly (CommandName | undefined)[] = namesByType();

function namesByType(): (CommandName | undefined)[] {
  const names: (CommandName | undefined)[] = [];
  for (const name of Object.keys(COMMANDS) as CommandName[]) names[COMMANDS[name].type] = name;
  return names;
}
