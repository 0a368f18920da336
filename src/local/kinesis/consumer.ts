// Registered stream consumers (enhanced fan-out). Invariant: a consumer that is registered again under its old
// name is another consumer with another ARN; what was subscribed through the old one ends with it.

import type { Account, StreamReference } from "./account.ts";
import { KinesisError, notActive, validationError } from "./errors.ts";
import type { Stream } from "./stream.ts";
import type { Subscription } from "./subscription.ts";

/** The service's quotas of one stream. */
const MAX_CONSUMERS = 20;
const MAX_CREATING = 5;

/** CREATING, ACTIVE or DELETING. */
export type ConsumerStatus = "CREATING" | "ACTIVE" | "DELETING";

/** A consumer by its ARN, or by its stream and name. */
export interface ConsumerReference {
  readonly ConsumerARN?: string | undefined;
  readonly StreamARN?: string | undefined;
  readonly ConsumerName?: string | undefined;
}

/** A registered consumer. */
export class Consumer {
  readonly name: string;
  readonly arn: string;
  readonly stream: Stream;
  /** Epoch seconds, whole. */
  readonly creationTimestamp: number;
  readonly #activeAt: number;
  /** When a deregistration that is going on ends, epoch ms. */
  deletedAt: number | undefined;
  /** The last subscription to each shard, by shard id, whether it still goes on or not. */
  readonly subscriptions = new Map<string, Subscription>();
  /** When each shard was last asked for, monotonic ms. */
  readonly lastCalls = new Map<string, number>();

  constructor(stream: Stream, name: string, creationTimestamp: number, activeAt: number) {
    this.name = name;
    this.stream = stream;
    this.creationTimestamp = creationTimestamp;
    this.arn = `${stream.origin.arn}/consumer/${name}:${creationTimestamp}`;
    this.#activeAt = activeAt;
  }

  status(now: number): ConsumerStatus {
    if (this.deletedAt !== undefined) return "DELETING";
    return now < this.#activeAt ? "CREATING" : "ACTIVE";
  }

  isGone(now: number): boolean {
    return this.deletedAt !== undefined && this.deletedAt <= now;
  }
}

/** The consumers of a stream, in order of their names. */
export function consumersOf(stream: Stream, now: number): Consumer[] {
  for (const consumer of stream.consumers.values()) {
    if (consumer.isGone(now)) stream.consumers.delete(consumer.name);
  }
  return [...stream.consumers.values()].sort((a, b) => a.name < b.name ? -1 : 1);
}

/** @throws KinesisError ResourceInUseException, LimitExceededException */
export function registerConsumer(account: Account, stream: Stream, name: string): Consumer {
  const now = account.now();
  const { accountId } = account.options;
  const status = stream.status(now);
  if (status === "CREATING" || status === "DELETING") throw notActive(stream.name, status, accountId);
  const consumers = consumersOf(stream, now);
  if (stream.consumers.has(name)) {
    throw new KinesisError(
      "ResourceInUseException",
      `Consumer ${name} under stream ${stream.name}, account ${accountId} already exists.`,
    );
  }
  if (consumers.length >= MAX_CONSUMERS) {
    throw tooMany(stream, `it has ${consumers.length} consumers, the most that are allowed`);
  }
  const creating = consumers.filter((consumer) => consumer.status(now) === "CREATING").length;
  if (creating >= MAX_CREATING) {
    throw tooMany(stream, `${creating} consumers are being created, the most at a time`);
  }
  // Whole seconds: a consumer made again within one gets the next, for its ARN must be another.
  const created = Math.max(Math.floor(now / 1000), (stream.consumersCreated.get(name) ?? 0) + 1);
  stream.consumersCreated.set(name, created);
  const consumer = new Consumer(stream, name, created, now + account.options.consumerTransitionMs);
  stream.consumers.set(name, consumer);
  return consumer;
}

/** Ends a consumer and its subscriptions. */
export function deregisterConsumer(account: Account, consumer: Consumer): void {
  consumer.deletedAt ??= account.now() + account.options.consumerTransitionMs;
  for (const subscription of consumer.subscriptions.values()) subscription.wake();
}

/** @throws KinesisError ResourceNotFoundException, ValidationException */
export function findConsumer(account: Account, reference: ConsumerReference): Consumer {
  const { stream: arn, name } = namesOf(reference);
  const consumer = account.find({ StreamARN: arn }).consumers.get(name);
  const isOther = reference.ConsumerARN !== undefined && consumer?.arn !== reference.ConsumerARN;
  if (!consumer || consumer.isGone(account.now()) || isOther) {
    throw new KinesisError(
      "ResourceNotFoundException",
      `Consumer ${
        reference.ConsumerARN ?? name
      } under stream ${arn}, account ${account.options.accountId} not found.`,
    );
  }
  return consumer;
}

/** The stream a request about a consumer means, without looking whether there is one. */
export function streamOfConsumer(reference: ConsumerReference): StreamReference {
  return { StreamARN: partsOf(reference.ConsumerARN)?.stream ?? reference.StreamARN };
}

function namesOf(reference: ConsumerReference): { stream: string; name: string } {
  const parts = partsOf(reference.ConsumerARN);
  if (parts) return parts;
  const { StreamARN: stream, ConsumerName: name } = reference;
  if (stream === undefined || name === undefined) {
    throw validationError("Either ConsumerARN or both StreamARN and ConsumerName must be specified.");
  }
  return { stream, name };
}

function partsOf(arn: string | undefined): { stream: string; name: string } | undefined {
  const [, stream, name] = /^(.*:stream\/[^/]+)\/consumer\/([^:]+):\d+$/.exec(arn ?? "") ?? [];
  return stream === undefined || name === undefined ? undefined : { stream, name };
}

function tooMany(stream: Stream, why: string): KinesisError {
  return new KinesisError(
    "LimitExceededException",
    `No further consumer for stream ${stream.name} under account ${stream.origin.accountId}: ${why}.`,
  );
}
