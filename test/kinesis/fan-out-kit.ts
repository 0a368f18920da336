// A fan-out source on a local server, over any of the ways that it can be reached.

import type { TestContext } from "node:test";
import type { KinesisClientConfig } from "@aws-sdk/client-kinesis";
import { Http2Handler } from "../../src/aws/http2-handler.ts";
import { openRequestHandler } from "../../src/aws/request-handler.ts";
import { type FanOutApi, openKinesisApi } from "../../src/kinesis/client.ts";
import { type ConsumerOptions, openConsumer } from "../../src/kinesis/consumer.ts";
import { createFanOutSource, type FanOutOptions } from "../../src/kinesis/fan-out.ts";
import type { RecordSource } from "../../src/kinesis/source.ts";
import { systemClock } from "../../src/runtime.ts";
import { RecordingLogger } from "../fakes.ts";
import { kinesisClientConfig } from "../servers/kinesis.ts";
import { QUICK } from "./kit.ts";

/** HTTP/1.1, HTTP/2 in clear text, or HTTP/2 over TLS with the certificate of this authority. */
export type Transport = "http1" | "http2" | { readonly ca: string };

/** The SDK's settings of a subscribing client. */
export function subscriptionConfig(url: string, transport: Transport): KinesisClientConfig {
  const limits = { responseTimeoutMs: 5_000, connectTimeoutMs: 5_000 };
  const requestHandler = typeof transport === "object"
    ? new Http2Handler({ ...limits, connection: { ca: transport.ca } })
    : openRequestHandler({ streaming: transport, requestTimeoutMs: 5_000 });
  return {
    ...kinesisClientConfig(url),
    requestHandler: requestHandler as unknown as NonNullable<KinesisClientConfig["requestHandler"]>,
  };
}

/** What {@link openFanOut} gives. */
export interface OpenedFanOut {
  readonly api: FanOutApi;
  readonly source: RecordSource;
  readonly log: RecordingLogger;
}

/** Registers a consumer and opens a source; all of it ends with the test. */
export async function openFanOut(
  t: TestContext,
  server: { readonly url: string; readonly streamName: string },
  { transport = "http1", ...options }:
    & Partial<FanOutOptions>
    & Partial<Pick<ConsumerOptions, "consumerName" | "consumerArn">>
    & { readonly transport?: Transport } = {},
): Promise<OpenedFanOut> {
  const { streamName, url } = server;
  const clock = systemClock;
  const subscriber = subscriptionConfig(url, transport);
  const clientConfig = typeof transport === "object" ? subscriber : kinesisClientConfig(url);
  const api = await openKinesisApi({ clientConfig, subscriptionConfig: subscriber, streamName, clock });
  t.after(() => api.close());
  const log = new RecordingLogger();
  const { signal } = new AbortController();
  const { streamArn, streamCreatedAt } = await api.describeStreamSummary(signal);
  const shared = { api, streamName, streamCreatedAt, clock, log, ...QUICK };
  const consumer = options.consumer ??
    await openConsumer({ ...shared, streamArn, consumerName: "test", ...options }, signal);
  const source = createFanOutSource({ ...shared, ...options, consumer });
  t.after(() => source.close());
  return { api, source, log };
}
