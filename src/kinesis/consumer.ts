// The fan-out consumer that subscriptions are made as: found or registered, and waited for until it is active. It is
// shared by all workers of an application (the KCL's too) and never deregistered. Invariant: any number of workers may
// come at the same time; one of them registers, the others find it.

import { type Backoff, backoffDelay } from "../core/backoff.ts";
import { ConnectorError } from "../core/errors.ts";
import type { ConsumerRequest, FanOutApi, StreamConsumer } from "./client.ts";
import { isException } from "./errors.ts";
import { type ThrottleScope, whileThrottled } from "./throttle.ts";

/** Options of {@link openConsumer}. */
export interface ConsumerOptions extends ThrottleScope {
  readonly api: Pick<FanOutApi, "describeStreamConsumer" | "registerStreamConsumer">;
  /** For messages. */
  readonly streamName: string;
  /** As the stream describes itself. */
  readonly streamArn: string;
  /** By this name it is found or registered. */
  readonly consumerName: string;
  /** One that exists, maybe of another account: used as it is, in place of one by name. */
  readonly consumerArn?: string | undefined;
}

/** A consumer that is active. */
export interface FanOutConsumer {
  readonly arn: string;
  /**
   * To be called when a subscription was told that there is no such thing: registers it again where it was
   * deregistered.
   * @param signal aborted when nobody subscribes any more
   * @throws ConnectorError CONSUMER_NOT_FOUND when it was given by its ARN; as {@link openConsumer}
   */
  check(signal: AbortSignal): Promise<void>;
}

/** How long a start waits for a consumer: less than its minute for each step, so that the reason is told and not cut off. */
const PATIENCE_MS = 50_000;
/** Between looks at a consumer that is being created (a few seconds) or deleted. */
const LOOKS: Backoff = { firstMs: 250, maxMs: 2_000, jitter: 0.2 };

/**
 * Finds or registers the consumer and waits until it is active.
 * @throws ConnectorError ACCESS_DENIED, CONSUMER_NOT_FOUND, AWS_REFUSED (no more consumers are allowed, or it belongs to
 * another stream), AWS_UNAVAILABLE (retryable) when it is not active within a minute
 */
export async function openConsumer(options: ConsumerOptions, signal: AbortSignal): Promise<FanOutConsumer> {
  let arn = await activeConsumer(options, signal);
  let checking: Promise<void> | undefined;
  const check = async (signal: AbortSignal) => {
    const before = arn;
    arn = await activeConsumer(options, signal);
    if (arn !== before) {
      options.log.warn(
        `fan-out consumer "${options.consumerName}" had been deregistered and was registered again`,
      );
    }
  };
  return {
    get arn() {
      return arn;
    },
    // All shards ask at the same time.
    check: (signal) => checking ??= check(signal).finally(() => checking = undefined),
  };
}

async function activeConsumer(options: ConsumerOptions, signal: AbortSignal): Promise<string> {
  const { clock, log, consumerArn } = options;
  const deadline = clock.monotonic() + PATIENCE_MS;
  if (consumerArn !== undefined) checkStream(consumerArn, options);
  let limited: ConnectorError | undefined;
  for (let look = 1;; look++) {
    let consumer: StreamConsumer | undefined;
    try {
      consumer = consumerArn === undefined
        ? await foundOrRegistered(options, signal)
        : await given(consumerArn, options, signal);
      limited = undefined;
    } catch (error) {
      // Five registrations per second and five consumers in creation pass by themselves; twenty consumers do not.
      if (!isException(error, "LimitExceededException")) throw error;
      limited = error as ConnectorError;
    }
    if (consumer?.status === "ACTIVE") return consumer.consumerArn;
    if (clock.monotonic() > deadline) {
      throw limited ? tooMany(options, limited) : notActive(options, consumer);
    }
    if (look === 1) {
      log.info(
        `waiting for fan-out consumer ${nameOf(options)}: ${
          limited?.message ?? consumer?.status ?? "CREATING"
        }`,
      );
    }
    await clock.sleep(backoffDelay(LOOKS, look, clock.random()), signal);
    signal.throwIfAborted();
  }
}

/** A consumer of another account may be open for subscriptions only: what cannot be asked is taken as it is. */
async function given(
  consumerArn: string,
  options: ConsumerOptions,
  signal: AbortSignal,
): Promise<StreamConsumer> {
  try {
    return await described({ consumerArn }, options, signal);
  } catch (error) {
    if (!(error instanceof ConnectorError) || error.code !== "ACCESS_DENIED") throw error;
    options.log.debug(`${error.message}; it is used as it is`);
    return { consumerArn, status: "ACTIVE" };
  }
}

/** undefined = it was registered a moment ago, by whomever. */
async function foundOrRegistered(
  options: ConsumerOptions,
  signal: AbortSignal,
): Promise<StreamConsumer | undefined> {
  const { api, streamArn, consumerName, log } = options;
  try {
    return await described({ streamArn, consumerName }, options, signal);
  } catch (error) {
    if (!(error instanceof ConnectorError) || error.code !== "CONSUMER_NOT_FOUND") throw error;
  }
  try {
    const consumer = await api.registerStreamConsumer({ streamArn, consumerName }, signal);
    log.info(
      `registered fan-out consumer ${nameOf(options)}; AWS charges for it as long as shards are read by it`,
    );
    return consumer;
  } catch (error) {
    if (isException(error, "ResourceInUseException")) return undefined;
    throw error;
  }
}

function described(
  consumer: ConsumerRequest,
  options: ConsumerOptions,
  signal: AbortSignal,
): Promise<StreamConsumer> {
  return whileThrottled(() => options.api.describeStreamConsumer(consumer, signal), options, signal);
}

function checkStream(consumerArn: string, { streamArn, streamName }: ConsumerOptions): void {
  if (consumerArn.startsWith(`${streamArn}/consumer/`)) return;
  throw new ConnectorError(
    `kinesis.consumerArn = "${consumerArn}" is no consumer of stream "${streamName}", whose ARN is ${streamArn}`,
    { code: "AWS_REFUSED", where: { stream: streamName, key: "kinesis.consumerArn" } },
  );
}

function nameOf({ consumerName, consumerArn, streamName }: ConsumerOptions): string {
  return `"${consumerArn ?? consumerName}" of stream "${streamName}"`;
}

function notActive(options: ConsumerOptions, consumer: StreamConsumer | undefined): ConnectorError {
  return new ConnectorError(
    `fan-out consumer ${nameOf(options)} is ${consumer?.status ?? "not listed"} after ${
      PATIENCE_MS / 1000
    } s`,
    { code: "AWS_UNAVAILABLE", retryable: true, where: { stream: options.streamName } },
  );
}

function tooMany(options: ConsumerOptions, cause: ConnectorError): ConnectorError {
  return new ConnectorError(
    `fan-out consumer ${
      nameOf(options)
    } cannot be registered: ${cause.message}. A stream has at most 20 of them: ` +
      "deregister one (aws kinesis deregister-stream-consumer), use one that exists (kinesis.consumerName or " +
      "kinesis.consumerArn), or read by polling: useEnhancedFanOut = false",
    { code: "AWS_REFUSED", cause, where: cause.where },
  );
}
