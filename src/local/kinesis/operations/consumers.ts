// Operations on consumers: register, describe, list, deregister, subscribe.

import type { Account } from "../account.ts";
import {
  type Consumer,
  type ConsumerReference,
  consumersOf,
  deregisterConsumer,
  findConsumer,
  registerConsumer,
  streamOfConsumer,
} from "../consumer.ts";
import { invalidArgument, KinesisError } from "../errors.ts";
import { subscriptionInUse } from "../open-subscriptions.ts";
import { ordinalOfStart, START_TYPE, type StartType } from "../starting-position.ts";
import { Subscription } from "../subscription.ts";
import type { Rule } from "../validation.ts";
import {
  type Operation,
  required,
  SEQUENCE_NUMBER,
  SHARD_ID,
  STREAM_ARN,
  STREAM_NAME,
  streamTarget,
  type Target,
} from "./operation.ts";

const CONSUMER_ARN: Rule = {
  type: "string",
  pattern: "arn:aws.*:kinesis:.*:\\d{12}:stream/[^/]+/consumer/\\S+:\\d+",
  min: 1,
  max: 2048,
};
// As STREAM_NAME; the service has no other rule for it.
const CONSUMER_NAME = STREAM_NAME;

export const RegisterStreamConsumer: Operation<{ StreamARN: string; ConsumerName: string }> = {
  shape: { StreamARN: required(STREAM_ARN), ConsumerName: required(CONSUMER_NAME) },
  target: streamTarget,
  run(input, account) {
    const consumer = registerConsumer(account, account.find(input), input.ConsumerName);
    return { Consumer: summary(consumer, account) };
  },
};

export const DescribeStreamConsumer: Operation<ConsumerReference> = {
  shape: { ConsumerARN: CONSUMER_ARN, StreamARN: STREAM_ARN, ConsumerName: CONSUMER_NAME },
  target: consumerTarget,
  run(input, account) {
    const consumer = findConsumer(account, input);
    return {
      ConsumerDescription: { ...summary(consumer, account), StreamARN: consumer.stream.origin.arn },
    };
  },
};

export const DeregisterStreamConsumer: Operation<ConsumerReference> = {
  shape: DescribeStreamConsumer.shape,
  target: consumerTarget,
  run(input, account) {
    deregisterConsumer(account, findConsumer(account, input));
    return undefined;
  },
};

export const ListStreamConsumers: Operation<
  { StreamARN: string; NextToken?: string; MaxResults?: number; StreamCreationTimestamp?: number }
> = {
  shape: {
    StreamARN: required(STREAM_ARN),
    NextToken: { type: "string", min: 1, max: 1048576 },
    MaxResults: { type: "integer", min: 1, max: 10000 },
    StreamCreationTimestamp: { type: "timestamp" },
  },
  target: streamTarget,
  run(input, account) {
    const stream = account.find(input);
    const [kind, arn, last] = input.NextToken === undefined
      ? ["consumers", stream.origin.arn, ""]
      : account.seal.open(input.NextToken) ?? [];
    if (kind !== "consumers" || arn !== stream.origin.arn) throw invalidArgument("Invalid NextToken.");
    const rest = consumersOf(stream, account.now()).filter((consumer) => consumer.name > last!);
    const page = rest.slice(0, input.MaxResults ?? 100);
    return {
      Consumers: page.map((consumer) => summary(consumer, account)),
      ...(page.length < rest.length
        ? { NextToken: account.seal.seal(["consumers", arn, page.at(-1)!.name]) }
        : {}),
    };
  },
};

type SubscribeToShardInput = {
  readonly ConsumerARN: string;
  readonly ShardId: string;
  readonly StartingPosition: {
    readonly Type: StartType;
    readonly SequenceNumber?: string;
    readonly Timestamp?: number;
  };
};

export const SubscribeToShard: Operation<SubscribeToShardInput> = {
  shape: {
    ConsumerARN: required(CONSUMER_ARN),
    ShardId: required(SHARD_ID),
    StartingPosition: {
      type: "structure",
      required: true,
      fields: { Type: START_TYPE, SequenceNumber: SEQUENCE_NUMBER, Timestamp: { type: "timestamp" } },
    },
  },
  target: (input, account) => ({ ...consumerTarget(input, account), shardId: input.ShardId }),
  run(input, account) {
    const consumer = findConsumer(account, input);
    requireActive(consumer, account);
    const stream = account.findReady({ StreamName: consumer.stream.name });
    const shard = stream.readableShard(input.ShardId, account.now());
    requireRate(consumer, shard.shardId, account);
    const { Type: type, SequenceNumber: sequenceNumber, Timestamp: timestamp } = input.StartingPosition;
    const ordinal = ordinalOfStart({ type, sequenceNumber, timestamp }, stream, shard, account);
    const earlier = consumer.subscriptions.get(shard.shardId);
    const now = account.options.clock.monotonic();
    if (earlier) {
      const inUse = subscriptionInUse(earlier);
      if (now - earlier.openedAt < account.options.resubscribeAfterMs) throw inUse;
      earlier.finish(inUse);
    }
    const subscription = new Subscription({
      account,
      consumer,
      shard,
      ordinal,
      startingPosition: input.StartingPosition,
    });
    consumer.subscriptions.set(shard.shardId, subscription);
    return subscription;
  },
};

function requireActive(consumer: Consumer, account: Account): void {
  const { stream } = consumer;
  if (consumer.status(account.now()) === "ACTIVE") return;
  throw new KinesisError(
    "ResourceInUseException",
    `Consumer ${consumer.name} with creation timestamp ${consumer.creationTimestamp} under stream: ${stream.name} ` +
      `, account ${stream.origin.accountId} is not in ACTIVE status.`,
  );
}

function requireRate(consumer: Consumer, shardId: string, account: Account): void {
  const { subscribesPerSecond: rate } = account.limits;
  if (rate === undefined) return;
  const now = account.options.clock.monotonic();
  const last = consumer.lastCalls.get(shardId);
  if (last !== undefined && now - last < 1000 / rate) {
    throw new KinesisError(
      "LimitExceededException",
      `Rate of SubscribeToShard exceeded for consumer ${consumer.name}, ${shardId} in stream ` +
        `${consumer.stream.name} under account ${account.options.accountId}.`,
    );
  }
  consumer.lastCalls.set(shardId, now);
}

function summary(consumer: Consumer, account: Account) {
  return {
    ConsumerARN: consumer.arn,
    ConsumerCreationTimestamp: consumer.creationTimestamp,
    ConsumerName: consumer.name,
    ConsumerStatus: consumer.status(account.now()),
  };
}

function consumerTarget(input: ConsumerReference, account: Account): Target {
  return streamTarget(streamOfConsumer(input), account);
}
