// A Kinesis of which the test writes every subscription, for fan-out readers on a clock that stands still.

import { Buffer } from "node:buffer";
import { PassThrough } from "node:stream";
import { ConnectorError } from "../../src/core/errors.ts";
import type { EventStream, FanOutApi, IteratorPosition, StreamConsumer } from "../../src/kinesis/client.ts";
import type { FanOutConsumer } from "../../src/kinesis/consumer.ts";
import { toConnectorError } from "../../src/kinesis/errors.ts";
import { createFanOutSource, type FanOutOptions } from "../../src/kinesis/fan-out.ts";
import type { RecordSource } from "../../src/kinesis/source.ts";
import { FakeClock, RecordingLogger } from "../fakes.ts";
import { eventFrame, exceptionFrame } from "./frames.ts";
import { type Reply, ScriptedApi } from "./scripted-api.ts";

const PIECE = 16 * 1024;

/** One subscription, of which the test writes every byte. */
export class ScriptedStream {
  readonly at: number;
  readonly position: IteratorPosition;
  readonly body = new PassThrough({ highWaterMark: 1024 });

  constructor(at: number, position: IteratorPosition) {
    this.at = at;
    this.position = position;
    this.body.on("error", () => {}); // what it is destroyed with is the reader's
  }

  /** An event with records of these numbers; it goes on after the last of them unless told otherwise. */
  event(
    numbers: readonly number[],
    more: { continuation?: number | null; behind?: number; children?: readonly object[]; bytes?: number } =
      {},
  ): this {
    const { continuation = numbers.at(-1), behind = 0, children, bytes = 100 } = more;
    this.#write(eventFrame({
      Records: numbers.map((number) => ({
        Data: Buffer.alloc(bytes).toString("base64"),
        PartitionKey: "k",
        SequenceNumber: String(number),
        ApproximateArrivalTimestamp: number,
      })),
      ContinuationSequenceNumber: continuation === null ? undefined : String(continuation),
      MillisBehindLatest: behind,
      ...children ? { ChildShards: children } : {},
    }));
    return this;
  }

  /** In pieces, as from a network. */
  #write(bytes: Uint8Array): void {
    for (let at = 0; at < bytes.length; at += PIECE) this.body.write(bytes.subarray(at, at + PIECE));
  }

  exception(name: string, message = "scripted"): this {
    this.body.end(exceptionFrame(name, message));
    return this;
  }

  /** As after five minutes. */
  end(): this {
    this.body.end();
    return this;
  }

  cut(): this {
    this.body.destroy(Object.assign(new Error("read ECONNRESET"), { code: "ECONNRESET" }));
    return this;
  }

  get isOpen(): boolean {
    return !this.body.destroyed;
  }
}

/** Subscriptions come from the queue; afterwards they succeed. */
export class ScriptedFanOut extends ScriptedApi implements FanOutApi {
  readonly refusals: (ConnectorError | undefined)[] = [];
  readonly streams: ScriptedStream[] = [];
  /** Every SubscribeToShard, also those that were refused. */
  readonly asked: {
    readonly at: number;
    readonly position: IteratorPosition;
    readonly consumerArn: string;
  }[] = [];
  readonly consumers: Reply<StreamConsumer>[] = [];
  readonly registrations: Reply<StreamConsumer>[] = [];
  readonly consumerCalls: string[] = [];

  async subscribeToShard(
    consumerArn: string,
    shardId: string,
    position: IteratorPosition,
  ): Promise<EventStream> {
    await Promise.resolve();
    const at = this.clock.monotonic();
    this.asked.push({ at, position, consumerArn });
    const refusal = this.refusals.shift();
    if (refusal !== undefined) throw refusal;
    const stream = new ScriptedStream(at, position);
    this.streams.push(stream);
    const request = { operation: "SubscribeToShard", stream: "orders", shardId, place: "eu-west-1" } as const;
    return { body: stream.body, toError: (error) => toConnectorError(error, request) };
  }

  async describeStreamConsumer(): Promise<StreamConsumer> {
    this.consumerCalls.push(`describe ${this.clock.monotonic()}`);
    return await this.#reply(this.consumers.shift() ?? { consumerArn: "arn:me", status: "ACTIVE" });
  }

  async registerStreamConsumer(): Promise<StreamConsumer> {
    this.consumerCalls.push(`register ${this.clock.monotonic()}`);
    return await this.#reply(this.registrations.shift() ?? { consumerArn: "arn:me", status: "CREATING" });
  }

  /** The newest subscription. */
  get stream(): ScriptedStream {
    return this.streams.at(-1)!;
  }

  async #reply<T>(given: Reply<T>): Promise<T> {
    await Promise.resolve();
    if (given instanceof ConnectorError) throw given;
    return typeof given === "function" ? await (given as () => Promise<T>)() : given;
  }
}

/** A failure of a fan-out call, as the SDK names it. */
export function refused(
  name: string,
  operation: "SubscribeToShard" | "DescribeStreamConsumer" | "RegisterStreamConsumer" = "SubscribeToShard",
): ConnectorError {
  const request = { operation, stream: "orders", place: "eu-west-1", consumer: "me" };
  const error = Object.assign(new Error("scripted"), { name, $fault: "client" });
  return toConnectorError(
    error,
    operation === "SubscribeToShard" ? { ...request, shardId: "shard-0" } : request,
  );
}

/** A fan-out source on a scripted api. */
export function scriptedFanOut(options: Partial<FanOutOptions> = {}): {
  readonly api: ScriptedFanOut;
  readonly clock: FakeClock;
  readonly log: RecordingLogger;
  readonly source: RecordSource;
  readonly checks: number[];
} {
  const clock = new FakeClock();
  const api = new ScriptedFanOut(clock);
  const log = new RecordingLogger();
  const checks: number[] = [];
  const consumer: FanOutConsumer = {
    arn: "arn:me",
    check: () => {
      checks.push(clock.monotonic());
      return Promise.resolve();
    },
  };
  const source = createFanOutSource({
    api,
    consumer,
    streamName: "orders",
    streamCreatedAt: 1000,
    backoffTimeMs: 3000,
    clock,
    log,
    ...options,
  });
  return { api, clock, log, source, checks };
}
