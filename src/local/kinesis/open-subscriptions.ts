// The open subscriptions as a test sees them, and what it may do to one.

import type { Account } from "./account.ts";
import { KinesisError } from "./errors.ts";
import type { Subscription } from "./subscription.ts";

/** Which subscriptions are meant. */
export interface SubscriptionFilter {
  readonly streamName?: string | undefined;
  readonly consumerName?: string | undefined;
  readonly shardId?: string | undefined;
}

/** One that was open when it was asked for. */
export interface OpenSubscription {
  readonly streamName: string;
  readonly consumerName: string;
  readonly consumerArn: string;
  readonly shardId: string;
  /** StartingPosition as it was asked for. */
  readonly startingPosition: Readonly<Record<string, unknown>>;
  /** Opened, by the monotonic clock, milliseconds. */
  readonly openedAt: number;
  /** Events so far, empty ones included. */
  readonly events: number;
  /** Records so far. */
  readonly records: number;
  /** Ends it in good order, as after its five minutes. */
  end(): void;
  /** Ends it with an exception event, e.g. "InternalFailureException". */
  fail(exception: string, message?: string): void;
  /** Ends it as if another subscription had taken its place. */
  evict(): void;
  /** Breaks its connection. */
  cut(): void;
}

/** By stream, consumer and first subscription to each shard. */
export function openSubscriptions(account: Account, filter: SubscriptionFilter): OpenSubscription[] {
  return account.list()
    .filter((stream) => filter.streamName === undefined || filter.streamName === stream.name)
    .flatMap((stream) => [...stream.consumers.values()])
    .filter((consumer) => filter.consumerName === undefined || filter.consumerName === consumer.name)
    .flatMap((consumer) => [...consumer.subscriptions.values()])
    .filter((subscription) => filter.shardId === undefined || filter.shardId === subscription.shard.shardId)
    .filter((subscription) => subscription.end === undefined)
    .map(describe);
}

/** What the service says to a subscription whose place is taken, and to one that asks too soon. */
export function subscriptionInUse(subscription: Subscription): KinesisError {
  const { consumer, shard } = subscription;
  const { name, accountId } = consumer.stream.origin;
  return new KinesisError(
    "ResourceInUseException",
    `Another active subscription exists for this consumer: ${accountId}:${name}:${shard.shardId}:${consumer.name}`,
  );
}

function describe(subscription: Subscription): OpenSubscription {
  const { consumer, shard } = subscription;
  return {
    streamName: consumer.stream.name,
    consumerName: consumer.name,
    consumerArn: consumer.arn,
    shardId: shard.shardId,
    startingPosition: subscription.startingPosition,
    openedAt: subscription.openedAt,
    events: subscription.events,
    records: subscription.records,
    end: () => subscription.finish(),
    fail: (exception, message) =>
      subscription.finish(new KinesisError(exception, message ?? `${exception} (injected)`)),
    evict: () => subscription.finish(subscriptionInUse(subscription)),
    cut: () => subscription.cut(),
  };
}
